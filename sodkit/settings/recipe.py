"""A whole recipe: the detector, what is kept of its detections, input, schedule, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sodkit.settings.augment import Augment, ascending
from sodkit.settings.base import BoxKind, Count, Endless, Positive, Settings, Share, Switch
from sodkit.settings.detectors import Model
from sodkit.settings.two_stage import Cfinet

MergeMethod = Literal["nms", "wbf", "nmm", "border"]


class RandomCrop(Settings):
    """A square window of a training image, drawn around objects (CornerNet, CenterNet)."""

    side: Count = Field(512, description="px of the patch; the window is resized to side * scale")
    factors: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
        description="the window's side is a number of these times `side`: objects become larger "
        "or smaller by it",
    )
    border: Annotated[int, Field(ge=0)] = Field(
        128,
        description="px from the patch's border that the window's centre stays away from; halved "
        "where the patch is not larger than twice that",
    )


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
    bit_depth: Annotated[int, Field(ge=8, le=16)] | None = Field(
        None, description="bits in use of images of more than 8; null: each by its own range"
    )
    horizontal_flip: Share = 0.5
    vertical_flip: Share = 0.0
    quarter_turn: Share = Field(
        0.0,
        description="share of training images turned by 90, 180 or 270 degrees, for aerial ones",
    )
    scale_range: tuple[Positive, Positive] = Field(
        (1.0, 1.0),
        description="in training `scale` is multiplied by a factor drawn from this range",
    )
    crop: RandomCrop | None = Field(
        None, description="train on a window of each image, black beyond it, in place of all of it"
    )

    augment: Augment = Augment()

    @field_validator("scale_range")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        return ascending(value)

    @field_validator("augment")
    @classmethod
    def _one_or_the_other(cls, value: Augment, info: ValidationInfo) -> Augment:
        if value.mixes and info.data.get("crop") is not None:
            raise ValueError("a window (input.crop) cannot be mixed with other images: crop=null")
        return value

    @property
    def side(self) -> int:
        """Side in px that a whole patch has after resizing."""
        return max(1, int(self.patch * self.scale + 0.5))


class Group(Settings):
    """Parameters that are trained otherwise than the rest."""

    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = Field(
        description="of parameters or modules: backbone, roi.fc*"
    )
    rate: Annotated[float, Field(ge=0)] = Field(1.0, description="factor on the learning rate")
    decay: Annotated[float, Field(ge=0)] = Field(1.0, description="factor on the weight decay")


class Schedule(Settings):
    """Optimisation (release; the paper gives lr, steps, momentum, decay)."""

    epochs: Count = 12
    batch: Count = Field(4, description="images a step, divided over the processes")
    accumulate: Count = Field(
        1,
        description="parts that a process's images go through the detector in, one after the "
        "other: less memory, more time, the same result",
    )
    lr: Positive = 0.01
    momentum: Share = 0.9
    nesterov: Switch = Field(False, description="of SGD's momentum")
    weight_decay: float = 1e-4
    decay_norms: Switch = Field(True, description="norms and biases decay, too")
    groups: tuple[Group, ...] = Field(
        (), description="parameters with a learning rate or weight decay of their own, by name"
    )
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="sgd (paper); adamw learns faster from random weights"
    )
    decay: Literal["steps", "cosine", "cosine_after_warmup"] = Field(
        "steps",
        description="of the lr: a tenth after each of `steps`, or a half cosine, from the first "
        "iteration on, or (YOLOX) from the end of the warm-up on",
    )
    final_rate: Share = Field(0.0, description="share of the lr that a cosine ends with")
    constant_epochs: Annotated[int, Field(ge=0)] = Field(
        0, description="last epochs, after the cosine, with that rate"
    )
    steps: tuple[int, ...] = Field((8, 11), description="lr is divided by 10 after so many epochs")
    steps_in: Literal["epochs", "iterations"] = Field(
        "epochs", description="what `steps` counts; warm-up and cosine go by iterations"
    )
    warmup: Annotated[int, Field(ge=0)] = Field(
        500, description="iterations or epochs in which the lr grows"
    )
    warmup_in: Literal["iterations", "epochs"] = "iterations"
    warmup_shape: Literal["linear", "square"] = Field(
        "linear",
        description="linear: from `warmup_factor` of it; square: as the square of the part of the "
        "warm-up that is done (YOLOX)",
    )
    warmup_factor: Share = 0.001
    clip: Positive | None = Field(None, description="L2 limit of the gradient")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="autocast type; float16 with dynamic loss scale (release); float32 instead "
        "where the device has no fast one",
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="decay of an average of the weights, validated and kept instead of them"
    )
    ema_warmup: Count | None = Field(
        None,
        description="iterations in which the share of new weights in the average falls by e, from "
        "1 to 1 - ema (YOLOX: 2000); null: it is 9 / (10 + n) after n updates, 1 - ema at least",
    )
    ema_statistics: Switch = Field(
        False, description="the statistics of batch norms are averaged, too"
    )
    freeze: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="parameters or modules that are not trained, by name: backbone, roi.fc*"
    )
    deterministic: Switch = Field(
        False, description="only algorithms that give the same bits again; slower on a GPU"
    )
    evaluate_every: Count = Field(1, description="epochs between evaluations on --val")
    metric: str = Field("AP", description="of the evaluation: the best checkpoint is best in it")
    patience: Count | None = Field(
        None, description="training ends after so many evaluations without a better metric"
    )
    keep_every: Count | None = Field(
        None,
        description="epochs between checkpoints that stay in the run's folder, as "
        "checkpoints/epoch-0001.safetensors; the last epoch's is one; null: none stay",
    )
    keep_empty: Switch = Field(True, description="train on images without objects, as negatives")
    class_balance: Share = Field(
        0.0,
        description="images with a class that fewer than this share of images have are repeated "
        "(threshold t of Gupta et al. 2019, LVIS); 0: none",
    )
    repeat_es: Annotated[float, Field(ge=1, le=1000)] = Field(
        1.0, description="an epoch takes images with an eS object so many times"
    )
    save_steps: Count | None = Field(
        None, description="steps between states saved to resume from; null: no count"
    )
    save_minutes: Positive | None = Field(
        10.0, description="minutes between them; both null: saved after epochs only"
    )

    @field_validator("nesterov")
    @classmethod
    def _of_a_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("momentum") == 0:
            raise ValueError("there is none without a momentum: schedule.momentum=0.9")
        return value


class Keep(Settings):
    """What is kept of a patch's detections at test time; it holds for every kind of detector."""

    score: Share = Field(
        0.05,
        description="detections below are dropped; FCOS and ATSS: before their class score is "
        "multiplied by the centerness",
    )
    nms: Share = Field(0.5, description="IoU above which the lower of two boxes of a class goes")
    max_per_patch: Count = 100


class Merge(Settings):
    """From patches to whole images (docs/merging.md)."""

    method: MergeMethod = Field(
        "nms",
        description="class-wise nms (release); wbf, weighted box fusion; nmm, non-maximum merging; "
        "border: boxes that their patch's border cuts yield to whole ones",
    )
    nms: Share = Field(0.5, description="overlap above which two boxes of a class are one object")
    border: Annotated[float, Field(ge=0)] = Field(
        4.0, description="px from a patch's border in which it counts as cutting a box"
    )


class Evaluation(Settings):
    """What is measured; what is null follows the protocol."""

    protocol: Literal["soda-d", "soda-a", "coco"] | None = Field(
        None, description="null: soda-a for oriented boxes, else soda-d"
    )
    areas: dict[str, tuple[Endless, Endless]] | None = Field(
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
    seed: Annotated[int, Field(ge=0)] = 0
    model: Model = Cfinet()
    keep: Keep = Keep()
    input: Input = Input()
    schedule: Schedule = Schedule()
    merge: Merge = Merge()
    evaluation: Evaluation = Evaluation()

    def __repr__(self) -> str:
        epochs = self.schedule.epochs
        return f"<Recipe {self.name}: {self.model.kind}, {self.model.boxes}, {epochs} epochs>"

    @field_validator("input")
    @classmethod
    def _fits_the_boxes(cls, value: Input, info: ValidationInfo) -> Input:
        affine, model = value.augment.affine, info.data.get("model")
        if model is not None and model.boxes == "oriented" and affine is not None and affine.shear:
            raise ValueError("oriented boxes cannot be sheared: augment.affine.shear=0")
        return value

    @property
    def boxes(self) -> BoxKind:
        """The kind of box that is learnt; the data must be of it."""
        return self.model.boxes
