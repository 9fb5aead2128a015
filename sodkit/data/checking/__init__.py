"""Faults of a data set: in its annotations, its images and against the benchmark's profile."""
