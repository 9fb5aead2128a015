"""JSON lists as columns."""
