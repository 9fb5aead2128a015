"""Annotations on disk -> records -> samples: reading, writing and making of data sets."""
