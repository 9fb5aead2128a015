"""The detectors that a recipe can name: a closed union with ``kind`` as discriminator.

A new detector is one more member here and one more case in ``models/zoo.py``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sodkit.settings.atss import Atss
from sodkit.settings.dense import RetinaNet
from sodkit.settings.dhrec import Dhrec
from sodkit.settings.dodet import Dodet
from sodkit.settings.dyhead import DyHead
from sodkit.settings.fcos import Fcos
from sodkit.settings.keypoints import CenterNet, CornerNet
from sodkit.settings.outside import Outside
from sodkit.settings.queries import DeformableDetr, SparseRcnn
from sodkit.settings.reppoints import RepPoints
from sodkit.settings.roi_transformer import RoiTransformer
from sodkit.settings.rotated_dense import RotatedRetinaNet, S2ANet
from sodkit.settings.rotated_points import OrientedRepPoints, RotatedRepPoints
from sodkit.settings.two_stage import Cfinet, FasterRcnn, OrientedRcnn
from sodkit.settings.yolox import Yolox

Model = Annotated[
    Cfinet
    | FasterRcnn
    | OrientedRcnn
    | Dodet
    | RoiTransformer
    | RetinaNet
    | RotatedRetinaNet
    | S2ANet
    | Fcos
    | Atss
    | DyHead
    | RepPoints
    | RotatedRepPoints
    | OrientedRepPoints
    | SparseRcnn
    | DeformableDetr
    | CenterNet
    | CornerNet
    | Yolox
    | Dhrec
    | Outside,
    Field(discriminator="kind"),
]
