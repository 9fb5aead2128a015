"""Detectors of other libraries as ours: thin wrappers with the two methods of ``Detector``."""
