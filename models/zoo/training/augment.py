"""Augmentation of digit images: redrawn with other pens, moved, scaled, on screens or on photographed paper."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .strokes import FIELD_CELLS, Ink

SUPERSAMPLING = 2
"""Scale at which images are drawn before they are reduced to the network's input size."""
PEN_CANVAS = 280
"""Side, in pixels, of the canvas that pen widths refer to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Strength of the augmentation. Lengths are fractions of the image's side, angles degrees, pens pixels of 280.

    `plain`: share of unchanged 8×8 images. `strokes`: among the others, share redrawn with a pen; the rest are
    enlarged. `inverted`: share of dark ink on light. `photographs`: among the changed, share on photographed paper.
    `thickest`: maximum pen width, as a share of the digit's height.
    """

    plain: float = 0.15
    inverted: float = 0.5
    strokes: float = 0.7
    photographs: float = 0.35
    height: tuple[float, float] = (0.33, 0.95)
    rotation: float = 15.0
    shear: float = 0.3
    aspect: float = 0.4
    bend: float = 0.04
    pen: tuple[float, float] = (4.0, 32.0)
    thickest: float = 0.22

    def eased(self, progress: float) -> "Augmentation":
        """Augmentation of a curriculum: none at progress 0, full at 1. Without it training stalls at the start."""
        late = max(0.0, 2 * progress - 1)
        return replace(
            self,
            plain=1 + (self.plain - 1) * min(1.0, 2 * progress),
            inverted=self.inverted * min(1.0, 2 * progress),
            photographs=self.photographs * progress,
            height=(0.85 + (self.height[0] - 0.85) * late, self.height[1]),
            pen=(14.0 + (self.pen[0] - 14.0) * late, self.pen[1]),
            rotation=self.rotation * progress,
            shear=self.shear * progress,
            bend=self.bend * progress,
        )


def augment(
    plain: Tensor, ink: Ink, rows: Tensor, size: int, augmentation: Augmentation, generator: Generator
) -> Tensor:
    """Augmented images, uint8 (B, size, size, 3), of the digits in `rows`, int64 (B,).

    Args:
        plain: the digits as preprocessed for serving, uint8 (N, size, size).
        ink: strokes of the same digits.
    """
    drawn = plain[rows] / 255
    chance = torch.rand(len(rows), generator=generator)
    unchanged = chance < augmentation.plain
    inked = ~unchanged & (torch.rand(len(rows), generator=generator) < augmentation.strokes) & ink.traceable[rows]
    for kind, draw, largest in ((inked, _stroke, 0.0), (~unchanged & ~inked, _tone, 0.5)):
        chosen = kind.nonzero()[:, 0]
        if not len(chosen):
            continue
        height = _heights(len(chosen), largest, augmentation, generator)
        image = draw(ink, rows[chosen], height, SUPERSAMPLING * size, augmentation, generator)
        small = F.interpolate(image[:, None], size=(size, size), mode="bicubic", antialias=True)[:, 0]
        drawn[chosen] = small.clamp(0, 1)
    photographs = (torch.rand(len(rows), generator=generator) < augmentation.photographs) & ~unchanged
    return paint(drawn, photographs, augmentation.inverted, generator)


def uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """Uniform random values, float (count,)."""
    return low + (high - low) * torch.rand(count, generator=generator)


def _heights(count: int, largest: float, augmentation: Augmentation, generator: Generator) -> Tensor:
    """Height of each digit as a share of the image; the share `largest` of them are as large as in the data set."""
    low, high = augmentation.height
    anywhere = high - (high - low) * uniform(count, 0, 1, generator) ** 1.25
    full = uniform(count, 0.85, 1.05, generator)
    return torch.where(uniform(count, 0, 1, generator) < largest, full, anywhere)


def _grid(height: Tensor, side: int, augmentation: Augmentation, generator: Generator) -> Tensor:
    """Sampling grid (B, side, side, 2) of a random affine map and bend, in the field's coordinates -1..1."""
    count = len(height)
    angle = torch.deg2rad(augmentation.rotation * torch.randn(count, generator=generator) / 2)
    shear = augmentation.shear * torch.randn(count, generator=generator) / 2
    stretch = torch.exp(uniform(count, -augmentation.aspect, augmentation.aspect, generator))
    room = (1.1 - height).clamp(min=0.05)
    shift = room[:, None] * (torch.rand(count, 2, generator=generator) - torch.rand(count, 2, generator=generator))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
    slant = torch.eye(2).repeat(count, 1, 1)
    slant[:, 0, 1], slant[:, 0, 0] = shear, stretch
    inverse = torch.linalg.inv(turn @ slant) * (8 / FIELD_CELLS) / height[:, None, None]
    theta = torch.cat([inverse, -inverse @ shift[:, :, None]], dim=2)
    bend = augmentation.bend * uniform(count, 0, 2, generator)[:, None, None, None] * _smooth(count, 2, side, generator)
    return F.affine_grid(theta, [count, 1, side, side], align_corners=False) + bend.permute(0, 2, 3, 1)


def _stroke(
    ink: Ink, rows: Tensor, height: Tensor, side: int, augmentation: Augmentation, generator: Generator
) -> Tensor:
    """Digits redrawn with a round pen of random width and pressure: (B, side, side), 0 paper to 1 ink."""
    choice = torch.randint(ink.distance.shape[1], (len(rows),), generator=generator)
    grid, field = _grid(height, side, augmentation, generator), ink.distance[rows, choice][:, None]
    cells = F.grid_sample(field, grid, padding_mode="border", align_corners=False)[:, 0]
    narrow, wide = math.log(augmentation.pen[0]), math.log(augmentation.pen[1])
    pen = torch.exp(uniform(len(rows), narrow, wide, generator)) / PEN_CANVAS
    radius = torch.minimum(pen, augmentation.thickest * height) * side / 2
    pressure = 1 + _smooth(len(rows), 1, side, generator)[:, 0].clamp(-2, 2) * 0.15
    distance = cells * (height * side / 8)[:, None, None]
    return (radius[:, None, None] * pressure - distance + 0.5).clamp(0, 1)


def _tone(
    ink: Ink, rows: Tensor, height: Tensor, side: int, augmentation: Augmentation, generator: Generator
) -> Tensor:
    """Enlarged digits with a random contrast and threshold: (B, side, side), 0 paper to 1 ink."""
    grid = _grid(height, side, augmentation, generator)
    tone = F.grid_sample(ink.tone[rows], grid, padding_mode="zeros", align_corners=False)[:, 0]
    gain = torch.exp(uniform(len(rows), 0.0, 2.3, generator))
    level = uniform(len(rows), 0.35, 0.6, generator)
    soft = torch.rand(len(rows), generator=generator) < 0.4
    gain, level = gain.masked_fill(soft, 1.0), level.masked_fill(soft, 0.5)
    return ((tone - level[:, None, None]) * gain[:, None, None] + 0.5).clamp(0, 1)


def _smooth(count: int, channels: int, side: int, generator: Generator) -> Tensor:
    """Smooth random fields (B, channels, side, side) with a standard deviation of about 1."""
    coarse = torch.randn(count, channels, 5, 5, generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)


def paint(ink: Tensor, photographs: Tensor, inverted: float, generator: Generator) -> Tensor:
    """Images uint8 (B, S, S, 3) of ink on a screen or on photographed paper.

    Args:
        ink: float (B, S, S), 0 paper to 1 ink.
        photographs: bool (B,), true for images on photographed paper.
        inverted: share of dark ink on light.
    """
    dark_ink = torch.rand(len(ink), generator=generator) < inverted
    blurred = torch.where(photographs[:, None, None], _blur(ink, generator), ink)
    paper, pen = _colours(photographs, generator)
    image = paper[:, None, None] + (pen - paper)[:, None, None] * blurred[..., None]  # (B, S, S, 3), light paper
    image = torch.where(photographs[:, None, None, None], _expose(image, generator), image).clamp(0, 1)
    image = torch.where(dark_ink[:, None, None, None], image, 1 - image)
    return (image * 255).round().to(torch.uint8)


def _colours(photographs: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Paper and pen colours, each (B, 3): white and black on most screens, grays and tints elsewhere."""
    count = len(photographs)
    gray = torch.rand(count, 2, generator=generator)
    tint = 0.25 * torch.rand(count, 2, 3, generator=generator) * (torch.rand(count, 1, 1, generator=generator) < 0.3)
    coloured = photographs | (torch.rand(count, generator=generator) < 0.25)
    strength = coloured.float()[:, None]
    paper = 1 - strength * (0.5 * gray[:, :1] + tint[:, 0])
    pen = strength * (0.6 * gray[:, 1:] * (paper.mean(dim=1, keepdim=True) - 0.15) + tint[:, 1])
    return paper, torch.minimum(pen, paper - 0.15)


def _blur(ink: Tensor, generator: Generator) -> Tensor:
    """Blur images by a random share."""
    share = torch.rand(len(ink), generator=generator)[:, None, None]
    soft = F.avg_pool2d(F.pad(ink[:, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[:, 0]
    return ink + share * (soft - ink)


def _expose(image: Tensor, generator: Generator) -> Tensor:
    """Add a lighting gradient, blotches and sensor noise."""
    count, side = len(image), image.shape[1]
    position = torch.linspace(-1, 1, side)
    slope = 0.25 * torch.randn(count, 2, generator=generator).clamp(-2, 2)
    light = 1 + slope[:, 0, None, None] * position[None, :, None] + slope[:, 1, None, None] * position[None, None, :]
    blotches = F.interpolate(0.04 * torch.randn(count, 1, 4, 4, generator=generator), size=(side, side), mode="bicubic")
    amount = 0.05 * torch.rand(count, generator=generator)[:, None, None, None]
    noise = amount * torch.randn(count, side, side, 1, generator=generator)
    return image * light.clamp(0.4, 1.4)[..., None] + blotches[:, 0, :, :, None] + noise
