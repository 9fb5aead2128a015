"""Synthetic scenes of small objects seen from above: for demo, tests and benchmarks, no download.

``terrain`` makes the ground, ``shapes`` says what things look like, ``painting`` draws them,
``layout`` puts them somewhere, ``scene`` is one image with annotations, ``generate`` a folder.
"""

from sodkit.synthetic.generate import make_dataset
from sodkit.synthetic.scene import CATEGORIES, make_scene

__all__ = ["CATEGORIES", "make_dataset", "make_scene"]
