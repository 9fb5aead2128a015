"""Pictures: drawn annotations and detections, plots, reports."""
