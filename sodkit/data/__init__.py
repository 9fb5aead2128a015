"""Annotations and predictions on disk, images, training samples, and the carriers between."""
