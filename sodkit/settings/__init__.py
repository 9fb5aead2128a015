"""What a recipe can say: strict pydantic models, every field with its default and source.

``recipe.py``     a whole recipe: detector, test, input, schedule, evaluation
``augment.py``    what is drawn for training images
``detectors.py``  the closed union of detectors; discriminator: ``kind``
``two_stage.py``  CFINet, Faster R-CNN, Oriented R-CNN and their parts
``proposers.py``  what makes their proposals
``dense.py``      RetinaNet, and what dense detectors share
``fcos.py``, ``atss.py``, ``dyhead.py``, ``reppoints.py``  a dense detector each
``rotated_dense.py``  Rotated RetinaNet, S2A-Net
``dodet.py``, ``dhrec.py``, ``roi_transformer.py``  a detector of oriented boxes each
``rotated_points.py``  Rotated RepPoints, Oriented RepPoints
``keypoints.py``  CenterNet, CornerNet
``queries.py``    Sparse R-CNN, Deformable DETR, matching of queries
``yolox.py``      YOLOX
``outside.py``    a detector of the user's own
``anchor_levels.py``  anchors as numbers, for the detectors and for their analysis

"paper" is CFINet (ICCV 2023); "release" is the authors' code where the paper is silent or differs.
The built-in recipes name only what departs from the defaults. Reading, overriding and writing
recipes is ``config.py``. Nothing here imports torch.
"""

from sodkit.settings.recipe import (
    Evaluation,
    Input,
    Keep,
    Merge,
    MergeMethod,
    Recipe,
    Schedule,
)

__all__ = ["Evaluation", "Input", "Keep", "Merge", "MergeMethod", "Recipe", "Schedule"]
