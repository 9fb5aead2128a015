"""Weights of other projects as ours: a table of names for each family of detectors."""
