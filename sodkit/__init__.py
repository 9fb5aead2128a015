"""sodkit: small object detection in aerial and driving images.

The public names are imported when first used, so that ``import sodkit`` and ``sodkit --help`` do
not load torch.
"""

from sodkit._version import __version__

__all__ = ["__version__"]
