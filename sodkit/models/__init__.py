"""CFINet and its relatives, in the words of the paper; read backbone to detector."""
