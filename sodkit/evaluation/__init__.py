"""The SODA protocol: matching, precision and recall, by size class."""
