"""Cutting images into patches, and bringing detections of patches back together."""
