"""Settings of what is drawn for training images beside flips, turns and sizes."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from sodkit.settings.base import Count, Positive, Settings, Share

Pair = TypeVar("Pair", bound=tuple[float, float])


def ascending(value: Pair) -> Pair:
    """Return a range whose first number is not above its second.

    Raises:
        ValueError: it is.
    """
    if value[0] > value[1]:
        raise ValueError("the first number must not be above the second")
    return value


Range = Annotated[tuple[Positive, Positive], AfterValidator(ascending)]
Byte = Annotated[int, Field(ge=0, le=255)]


class Mosaic(Settings):
    """Four images around a point, in place of one (Bochkovskiy et al., YOLOv4, 2020)."""

    share: Share = Field(1.0, description="of the images that are made so")
    centre: Range = Field(
        (0.5, 1.5), description="where the four meet, in sides of one; the whole is two sides wide"
    )


class Affine(Settings):
    """Rotation, scale, shear and shift, about the top left corner (YOLOX)."""

    rotation: Annotated[float, Field(ge=0, le=180)] = Field(10.0, description="degrees at most")
    scale: Range = (0.1, 2.0)
    shear: Annotated[float, Field(ge=0, lt=90)] = Field(
        2.0, description="degrees at most, along each axis; oriented boxes cannot be sheared: 0"
    )
    shift: Share = Field(0.1, description="at most, in sides of the result")


class MixUp(Settings):
    """Another image shines through, half and half (Zhang et al., ICLR 2018; YOLOX)."""

    share: Share = Field(1.0, description="of the images that are made so")
    scale: Range = Field((0.8, 1.6), description="of the other image")
    flip: Share = Field(0.5, description="of the other images are mirrored left to right")


class CopyPaste(Settings):
    """Copies of small objects in free places of their image (Kisantal et al., 2019)."""

    copies: Count = Field(3, description="of an image, at most")
    largest: Positive = Field(1024.0, description="px^2 of the patch that an object may have")
    tries: Count = Field(20, description="places that are drawn for a copy until one is free")


class Colours(Settings):
    """Changes of hue, saturation and value, each made with a probability of one half (YOLOX)."""

    hue: Annotated[int, Field(ge=0, le=90)] = Field(5, description="of 180, at most")
    saturation: Byte = Field(30, description="of 255, at most")
    value: Byte = Field(30, description="of 255, at most")


class Sizes(Settings):
    """All images of some steps are resized to one size, drawn for them (YOLOX)."""

    sides: Annotated[tuple[Count, Count], AfterValidator(ascending)] = Field(
        (480, 800), description="px that input.patch * input.scale becomes, least and most"
    )
    step: Count = Field(32, description="px between two sides")
    every: Count = Field(10, description="steps between two draws; the first ones are not resized")


class Augment(Settings):
    """What is drawn for training images; null: nothing of that kind."""

    copy_paste: CopyPaste | None = None
    mosaic: Mosaic | None = None
    affine: Affine | None = None
    mixup: MixUp | None = None
    colours: Colours | None = None
    sizes: Sizes | None = None
    fill: Byte = Field(114, description="grey where no image is")
    plain_epochs: Annotated[int, Field(ge=0)] = Field(
        0, description="last epochs without copies, mosaic, affine and mix-up"
    )

    @property
    def mixes(self) -> bool:
        """A sample is not one image resized."""
        parts = (self.copy_paste, self.mosaic, self.affine, self.mixup)
        return any(part is not None for part in parts)
