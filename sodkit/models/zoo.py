"""From settings to a detector: one ``match``, so that a kind without a case is a type error."""

from __future__ import annotations

from typing import assert_never

import torch

from sodkit.errors import UsageError
from sodkit.models.atss import Atss
from sodkit.models.centernet import CenterNet
from sodkit.models.cfinet import Cfinet
from sodkit.models.cornernet import CornerNet
from sodkit.models.deformable_detr import DeformableDetr
from sodkit.models.detector import DetectorModule
from sodkit.models.dhrec import Dhrec
from sodkit.models.dodet import Dodet
from sodkit.models.dyhead import DyHead
from sodkit.models.faster_rcnn import FasterRcnn
from sodkit.models.fcos import Fcos
from sodkit.models.oriented_rcnn import OrientedRcnn
from sodkit.models.oriented_reppoints import OrientedRepPoints
from sodkit.models.parts.backbone import load_weights
from sodkit.models.reppoints import RepPoints
from sodkit.models.retinanet import RetinaNet
from sodkit.models.roi_transformer import RoiTransformer
from sodkit.models.rotated_reppoints import RotatedRepPoints
from sodkit.models.rotated_retinanet import RotatedRetinaNet
from sodkit.models.s2anet import S2ANet
from sodkit.models.sparse_rcnn import SparseRcnn
from sodkit.models.yolox import Yolox
from sodkit.settings import (
    atss,
    dense,
    dhrec,
    dodet,
    dyhead,
    fcos,
    keypoints,
    outside,
    queries,
    reppoints,
    roi_transformer,
    rotated_dense,
    rotated_points,
    two_stage,
    yolox,
)
from sodkit.settings.detectors import Model


def build(model: Model, classes: int) -> DetectorModule:
    """Return a detector in training mode, its backbone pretrained as the settings say.

    Args:
        model: the model part of a recipe.
        classes: classes of the data set, without background and ``ignore``.

    Raises:
        ModelError: if the backbone's weights cannot be had or do not fit.
    """
    detector: (
        Cfinet | Dodet | FasterRcnn | OrientedRcnn | RetinaNet | RotatedRetinaNet | S2ANet | Fcos
        | RoiTransformer | Atss | RepPoints | RotatedRepPoints | SparseRcnn | DeformableDetr
        | CenterNet | Dhrec
    )  # fmt: skip
    match model:
        case two_stage.Cfinet():
            detector = Cfinet(model, classes)
        case two_stage.FasterRcnn():
            detector = FasterRcnn(model, classes)
        case two_stage.OrientedRcnn():
            detector = OrientedRcnn(model, classes)
        case dodet.Dodet():
            detector = Dodet(model, classes)
        case roi_transformer.RoiTransformer():
            detector = RoiTransformer(model, classes)
        case dense.RetinaNet():
            detector = RetinaNet(model, classes)
        case queries.SparseRcnn():
            detector = SparseRcnn(model, classes)
        case queries.DeformableDetr():
            detector = DeformableDetr(model, classes)
        case fcos.Fcos():
            detector = Fcos(model, classes)
        case atss.Atss():
            detector = Atss(model, classes)
        case dyhead.DyHead():
            detector = DyHead(model, classes)
        case reppoints.RepPoints():
            detector = RepPoints(model, classes)
        case rotated_dense.RotatedRetinaNet():
            detector = RotatedRetinaNet(model, classes)
        case rotated_dense.S2ANet():
            detector = S2ANet(model, classes)
        case rotated_points.RotatedRepPoints():
            detector = RotatedRepPoints(model, classes)
        case rotated_points.OrientedRepPoints():
            detector = OrientedRepPoints(model, classes)
        case keypoints.CenterNet():
            detector = CenterNet(model, classes)
        case dhrec.Dhrec():
            detector = Dhrec(model, classes)
        case keypoints.CornerNet():
            return CornerNet(model, classes).to(memory_format=torch.channels_last)
        case yolox.Yolox():
            return Yolox(model, classes).to(memory_format=torch.channels_last)
        case outside.Outside():
            raise UsageError(
                "a detector from outside is made by its factory", where=f"{model.factory}"
            )
        case _:
            assert_never(model)
    load_weights(detector.backbone, model.backbone)
    return detector.to(memory_format=torch.channels_last)
