"""Training samples: patches with targets, transformed, batched and loaded by workers."""
