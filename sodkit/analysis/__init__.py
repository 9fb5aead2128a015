"""Studies of data and models: anchors, proposals."""
