"""What a recipe can say: strict pydantic models, every field with its default and source.

"paper" is CFINet (ICCV 2023); "release" is the authors' code where the paper is silent or differs.
The defaults are the paper's CFINet for SODA-D; the built-in recipes list only what departs from
them. Reading, overriding and writing recipes is ``config.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _switch(value: object) -> object:
    """Let the numbers 0 and 1 be booleans where one is asked for."""
    return bool(value) if type(value) is int and value in (0, 1) else value


Switch = Annotated[bool, BeforeValidator(_switch)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Four = tuple[float, float, float, float]


class Settings(BaseModel):
    """Base of all settings: unknown keys and wrong types are errors, values cannot change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, ser_json_inf_nan="constants"
    )


class TrainTest(Settings):
    """A number that differs between training and testing."""

    train: int
    test: int


class Backbone(Settings):
    """ResNet and its training state."""

    name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet50"
    weights: str | None = Field(
        "imagenet", description="'imagenet', a file of torchvision weights, or null: random"
    )
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = Field(
        2, description="0 none, 1 conv1 and bn1, 2 also layer1, ... 5 all (release: 2)"
    )
    norm: Literal["frozen", "batch"] = Field(
        "frozen",
        description="frozen: stored statistics, trained affine; batch: ordinary batch norm",
    )


class Fpn(Settings):
    """Feature pyramid from C2..C5."""

    channels: Count = 256
    levels: Literal[4, 5] = Field(4, description="P2..P5, or with P6 by pooling")


class Threshold(Settings):
    """IoU an anchor needs to be positive in the coarse stage (paper Eq. 1, Table 6).

    min(cap, max(floor, base + gamma * log2(sqrt(w * h) / reference))), sizes at the scale of the
    patch before resizing.
    """

    base: float = 0.20
    gamma: float = 0.15
    floor: Share = 0.25
    cap: Share = 1.0
    reference: Positive = 12.0


class Region(Settings):
    """Cascade RPN's region-based assignment (paper Table 1): shares of an object's sides."""

    positive: Share = Field(0.2, description="of the inner region: positive")
    ignored: Share = Field(0.5, description="of the outer region: ignored, so not negative")


class IouMatching(Settings):
    """Max-IoU assignment and random sampling."""

    positive: Share
    negative: Share
    minimum: Share = Field(description="least IoU of a low-quality match")
    low_quality: Switch = Field(description="an object's best anchor is positive too")
    samples: Count
    positive_share: Share
    add_gt: Switch = Field(description="ground truth joins the candidates")


class Crpn(Settings):
    """Coarse-to-fine RPN (paper 3.1)."""

    anchor_scale: Positive = Field(2.0, description="anchor side in strides, one a location")
    assignment: Literal["dynamic", "region"] = Field(
        "dynamic", description="of the coarse stage: by IoU (paper), or as in Cascade RPN"
    )
    threshold: Threshold = Threshold()
    region: Region = Region()
    match_best: Switch = Field(
        True, description="an object without a positive anchor gets its best one (defect 4.8)"
    )
    coarse_stds: Four = (0.1, 0.1, 0.5, 0.5)
    fine_stds: Four = (0.05, 0.05, 0.1, 0.1)
    fine: IouMatching = IouMatching(
        positive=0.7,
        negative=0.7,
        minimum=0.3,
        low_quality=True,
        samples=256,
        positive_share=0.5,
        add_gt=False,
    )
    regression_weight: float = Field(9.0, description="alpha_1")
    classification_weight: float = Field(0.9, description="alpha_2")
    coarse_normalizer: Positive = Field(
        200.0, description="coarse loss sums are divided by anchors / this (release)"
    )
    nms_pre: TrainTest = TrainTest(train=2000, test=1000)
    nms_train: Share = 0.8
    nms_test: Share = 0.5
    proposals: TrainTest = TrainTest(train=300, test=300)


class Rpn(Settings):
    """The ordinary RPN: the baseline's, where CRPN is off."""

    anchor_scale: Positive = 2.0
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    stds: Four = (1.0, 1.0, 1.0, 1.0)
    matching: IouMatching = IouMatching(
        positive=0.7,
        negative=0.3,
        minimum=0.3,
        low_quality=True,
        samples=256,
        positive_share=0.5,
        add_gt=False,
    )
    midpoint_stds: tuple[float, float] = Field(
        (0.5, 0.5), description="of the midpoint offsets (oriented-rpn)"
    )
    regression_weight: float = 1.0
    classification_weight: float = 1.0
    nms_pre: TrainTest = TrainTest(train=2000, test=1000)
    nms_train: Share = 0.7
    nms_test: Share = 0.7
    proposals: TrainTest = TrainTest(train=1000, test=1000)


class RoiHead(Settings):
    """The R-CNN head on P2..P5."""

    pool: Count = 7
    hidden: Count = 1024
    matching: IouMatching = IouMatching(
        positive=0.5,
        negative=0.5,
        minimum=0.5,
        low_quality=False,
        samples=256,
        positive_share=0.5,
        add_gt=True,
    )
    stds: Four = (0.1, 0.1, 0.2, 0.2)
    classification_weight: float = 1.0
    angle_std: Positive = Field(0.1, description="of the angle, where boxes are oriented")
    class_agnostic: Switch = Field(False, description="one box an RoI, not one a class")
    loss: Literal["l1", "smooth_l1"] = "l1"
    regression: Literal["deltas", "gliding"] = Field(
        "deltas", description="of oriented boxes: sides and angle, or gliding vertices"
    )
    score: Share = Field(0.05, description="detections below are dropped")
    nms: Share = 0.5
    max_per_patch: Count = 100


class ImitationWeights(Settings):
    """Weight of an object's contrastive loss by its quality group (release)."""

    low: float = 0.5
    middle: float = 0.1
    high: float = 0.05


class Imitation(Settings):
    """Feature imitation (paper 3.2); numbers not in the paper are the release's."""

    enabled: Switch = True
    weight: float = Field(0.5, description="alpha_3 (Table 7)")
    temperature: Positive = Field(0.6, description="tau (Table 9)")
    high_quality: Share = Field(0.65, description="T_hq (Table 8)")
    low_quality: Share = 0.25
    min_predictions: Count = Field(8, description="good predictions a high-quality object needs")
    iq_iou: Literal["prediction", "proposal"] = Field(
        "prediction",
        description="the IoU in Eq. 3: of the predicted box, or the proposal's (release)",
    )
    iq_members: Literal["argmax", "score"] = Field(
        "argmax",
        description="S' of Eq. 3: arg max is the class, or its score >= iq_score (release)",
    )
    iq_score: Share = 0.05
    queue: Count = Field(256, description="exemplars kept a class")
    samples: Count = Field(128, description="contrastive samples an object")
    low_positive_share: Share = 0.5
    middle_positive_share: Share = 0.25
    group_weights: ImitationWeights = ImitationWeights()
    shifts: tuple[float, ...] = Field(
        (0.3, 0.5), description="copies, in parts of the object's size"
    )
    scales: tuple[float, ...] = (0.97, 1.03)
    reweight: Switch = Field(
        False, description="RoI features * (1 + softmax of Feat2Embed's features) (release)"
    )
    exemplar_gradient: Literal["none", "projection"] = Field(
        "none", description="what exemplars train: nothing (paper), or fc_enc and fc_proj (release)"
    )


class Model(Settings):
    """The detector. Table 5's ablation: ``proposals: rpn`` and ``imitation.enabled: false``."""

    backbone: Backbone = Backbone()
    fpn: Fpn = Fpn()
    proposals: Literal["crpn", "rpn", "oriented-rpn"] = "crpn"
    crpn: Crpn = Crpn()
    rpn: Rpn = Rpn()
    roi: RoiHead = RoiHead()
    imitation: Imitation = Imitation()


class Input(Settings):
    """From a patch to the network's input."""

    patch: Count = Field(800, description="side of a patch in px, for splitting at prediction")
    stride: Count = 650
    scale: Positive = Field(1.5, description="patches are resized by this factor")
    mean: tuple[float, float, float] = Field((123.675, 116.28, 103.53), description="RGB, 0..255")
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    fill: tuple[int, int, int] = Field(
        (0, 0, 0), description="RGB of the padding of images smaller than a patch, at prediction"
    )
    pad_to: Count = Field(32, description="zero-padded right and bottom to a multiple")
    horizontal_flip: Share = 0.5
    vertical_flip: Share = 0.0


class Schedule(Settings):
    """Optimisation (release; the paper gives lr, steps, momentum, decay)."""

    epochs: Count = 12
    batch: Count = 4
    lr: Positive = 0.01
    momentum: Share = 0.9
    weight_decay: float = 1e-4
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="sgd (paper); adamw learns faster from random weights"
    )
    decay: Literal["steps", "cosine"] = Field(
        "steps", description="of the lr: a tenth after each of `steps`, or a half cosine to 0"
    )
    steps: tuple[int, ...] = Field((8, 11), description="lr is divided by 10 after these epochs")
    warmup: Annotated[int, Field(ge=0)] = Field(500, description="iterations of linear warm-up")
    warmup_factor: Share = 0.001
    embedding_lr: Positive = Field(0.05, description="factor on the lr of fc_enc and fc_proj")
    clip: Positive | None = Field(None, description="L2 limit of the gradient")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="autocast type; float16 with dynamic loss scale (release)"
    )
    evaluate_every: Count = Field(1, description="epochs between evaluations on --val")
    keep_empty: Switch = Field(True, description="train on images without objects, as negatives")


class Merge(Settings):
    """From patches to whole images."""

    nms: Share = 0.5


class Evaluation(Settings):
    """What is measured; what is null follows the protocol."""

    protocol: Literal["soda-d", "soda-a", "coco"] | None = Field(
        None, description="null: soda-a for oriented boxes, else soda-d"
    )
    areas: dict[str, tuple[float, float]] | None = Field(
        None,
        description="px^2 by name, both ends included; AP, AP50, AP75 and AR@N are of the first",
    )
    max_dets: tuple[Count, ...] | None = Field(
        None, description="detections a class and image that count"
    )


class Recipe(Settings):
    """Everything that defines a detector and its training."""

    name: str
    description: str = ""
    boxes: Literal["horizontal", "oriented"] = Field(
        "horizontal", description="the kind of box that is learnt; the data must be of it"
    )
    seed: Annotated[int, Field(ge=0)] = 0
    model: Model = Model()
    input: Input = Input()
    schedule: Schedule = Schedule()
    merge: Merge = Merge()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Reject parts that make no detector together."""
        model = self.model
        if self.boxes == "horizontal" and (
            model.proposals == "oriented-rpn" or model.roi.regression == "gliding"
        ):
            raise ValueError("oriented-rpn and gliding need boxes: oriented")
        if model.proposals == "oriented-rpn" and model.imitation.enabled:
            raise ValueError("imitation needs upright proposals: crpn or rpn")
        if model.proposals == "oriented-rpn" and model.roi.regression == "gliding":
            raise ValueError("gliding needs upright proposals: crpn or rpn")
        if model.proposals == "oriented-rpn" and model.roi.matching.low_quality:
            raise ValueError("oriented proposals have no low-quality matches")
        return self
