"""Annotation formats, one a module; each reads into and writes from `Annotations`."""
