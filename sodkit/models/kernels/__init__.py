"""Sampling, pooling, suppression: the same numbers on every device, by the fastest way there."""
