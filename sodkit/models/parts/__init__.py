"""What detectors are made of: each part is one idea of a paper, used by several detectors."""
