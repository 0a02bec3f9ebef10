"""Augmented training pictures: digits drawn again with other pens, moved, scaled, on screens or photographed paper."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .strokes import FIELD_CELLS, Ink

SCALE = 2  # pictures are drawn this many times larger than the network sees them
PEN_CANVAS = 280  # pen widths are in pixels of a canvas this large


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far pictures stray. Lengths are fractions of the picture's side, angles degrees, pens pixels of 280.

    `plain`: the share of unchanged 8×8 pictures. `strokes`: among the others, the share inked again with a pen; the
    rest are enlarged. `inverted`: the share of dark ink on light. `photographs`: among the changed, those on paper.
    `thickest`: a pen is at most this share of the digit's height.
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
        """From unchanged pictures at progress 0 to all of this at 1; without such a start training stalls for long."""
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


def augment(plain: Tensor, ink: Ink, rows: Tensor, size: int, how: Augmentation, generator: Generator) -> Tensor:
    """uint8 (B, size, size, 3): the digits in `rows` (int64, (B,)), each drawn once.

    Args:
        plain: uint8 (N, size, size), the digits as they are served.
        ink: the fields of the same digits.
    """
    drawn = plain[rows] / 255
    chance = torch.rand(len(rows), generator=generator)
    unchanged = chance < how.plain
    inked = ~unchanged & (torch.rand(len(rows), generator=generator) < how.strokes) & ink.traceable[rows]
    for kind, draw, largest in ((inked, _stroke, 0.0), (~unchanged & ~inked, _tone, 0.5)):
        chosen = kind.nonzero()[:, 0]
        if not len(chosen):
            continue
        height = _heights(len(chosen), largest, how, generator)
        picture = draw(ink, rows[chosen], height, SCALE * size, how, generator)
        small = F.interpolate(picture[:, None], size=(size, size), mode="bicubic", antialias=True)[:, 0]
        drawn[chosen] = small.clamp(0, 1)
    photographs = (torch.rand(len(rows), generator=generator) < how.photographs) & ~unchanged
    return paint(drawn, photographs, how.inverted, generator)


def uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """float (count,)"""
    return low + (high - low) * torch.rand(count, generator=generator)


def _heights(count: int, largest: float, how: Augmentation, generator: Generator) -> Tensor:
    """How much of the picture each digit fills; the share `largest` of them about as much as the data's own digits."""
    low, high = how.height
    anywhere = high - (high - low) * uniform(count, 0, 1, generator) ** 1.25
    full = uniform(count, 0.85, 1.05, generator)
    return torch.where(uniform(count, 0, 1, generator) < largest, full, anywhere)


def _grid(height: Tensor, side: int, how: Augmentation, generator: Generator) -> Tensor:
    """Where each pixel of the picture lies in the field: (B, side, side, 2), the field spanning -1..1."""
    count = len(height)
    angle = torch.deg2rad(how.rotation * torch.randn(count, generator=generator) / 2)
    shear = how.shear * torch.randn(count, generator=generator) / 2
    stretch = torch.exp(uniform(count, -how.aspect, how.aspect, generator))
    room = (1.1 - height).clamp(min=0.05)
    shift = room[:, None] * (torch.rand(count, 2, generator=generator) - torch.rand(count, 2, generator=generator))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
    slant = torch.eye(2).repeat(count, 1, 1)
    slant[:, 0, 1], slant[:, 0, 0] = shear, stretch
    inverse = torch.linalg.inv(turn @ slant) * (8 / FIELD_CELLS) / height[:, None, None]
    theta = torch.cat([inverse, -inverse @ shift[:, :, None]], dim=2)
    bend = how.bend * uniform(count, 0, 2, generator)[:, None, None, None] * _smooth(count, 2, side, generator)
    return F.affine_grid(theta, [count, 1, side, side], align_corners=False) + bend.permute(0, 2, 3, 1)


def _stroke(ink: Ink, rows: Tensor, height: Tensor, side: int, how: Augmentation, generator: Generator) -> Tensor:
    """The centre lines under a round pen of random width that presses unevenly: (B, side, side), 0 paper to 1 ink."""
    choice = torch.randint(ink.distance.shape[1], (len(rows),), generator=generator)
    grid, field = _grid(height, side, how, generator), ink.distance[rows, choice][:, None]
    cells = F.grid_sample(field, grid, padding_mode="border", align_corners=False)[:, 0]
    narrow, wide = math.log(how.pen[0]), math.log(how.pen[1])
    pen = torch.exp(uniform(len(rows), narrow, wide, generator)) / PEN_CANVAS
    radius = torch.minimum(pen, how.thickest * height) * side / 2
    pressure = 1 + _smooth(len(rows), 1, side, generator)[:, 0].clamp(-2, 2) * 0.15
    distance = cells * (height * side / 8)[:, None, None]
    return (radius[:, None, None] * pressure - distance + 0.5).clamp(0, 1)


def _tone(ink: Ink, rows: Tensor, height: Tensor, side: int, how: Augmentation, generator: Generator) -> Tensor:
    """The enlarged digit, from as soft as it is to a hard edge at a random level: (B, side, side), 0 paper to 1 ink."""
    grid = _grid(height, side, how, generator)
    tone = F.grid_sample(ink.tone[rows], grid, padding_mode="zeros", align_corners=False)[:, 0]
    gain = torch.exp(uniform(len(rows), 0.0, 2.3, generator))
    level = uniform(len(rows), 0.35, 0.6, generator)
    soft = torch.rand(len(rows), generator=generator) < 0.4
    gain, level = gain.masked_fill(soft, 1.0), level.masked_fill(soft, 0.5)
    return ((tone - level[:, None, None]) * gain[:, None, None] + 0.5).clamp(0, 1)


def _smooth(count: int, channels: int, side: int, generator: Generator) -> Tensor:
    """Random fields of deviation about 1 without detail, (B, channels, side, side)."""
    coarse = torch.randn(count, channels, 5, 5, generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)


def paint(ink: Tensor, photographs: Tensor, inverted: float, generator: Generator) -> Tensor:
    """uint8 (B, S, S, 3), dark on light and light on dark equally often.

    Args:
        ink: float (B, S, S), 0 paper to 1 ink.
        photographs: bool (B,), which of them were photographed; the others are on a screen.
    """
    dark_ink = torch.rand(len(ink), generator=generator) < inverted
    blurred = torch.where(photographs[:, None, None], _blur(ink, generator), ink)
    paper, pen = _colours(photographs, generator)
    picture = paper[:, None, None] + (pen - paper)[:, None, None] * blurred[..., None]  # (B, S, S, 3), light paper
    picture = torch.where(photographs[:, None, None, None], _expose(picture, generator), picture).clamp(0, 1)
    picture = torch.where(dark_ink[:, None, None, None], picture, 1 - picture)
    return (picture * 255).round().to(torch.uint8)


def _colours(photographs: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Paper and pen, each (B, 3): white and black on most screens, grays and tints elsewhere."""
    count = len(photographs)
    gray = torch.rand(count, 2, generator=generator)
    tint = 0.25 * torch.rand(count, 2, 3, generator=generator) * (torch.rand(count, 1, 1, generator=generator) < 0.3)
    coloured = photographs | (torch.rand(count, generator=generator) < 0.25)
    strength = coloured.float()[:, None]
    paper = 1 - strength * (0.5 * gray[:, :1] + tint[:, 0])
    pen = strength * (0.6 * gray[:, 1:] * (paper.mean(dim=1, keepdim=True) - 0.15) + tint[:, 1])
    return paper, torch.minimum(pen, paper - 0.15)


def _blur(ink: Tensor, generator: Generator) -> Tensor:
    """A little out of focus, by a random share."""
    share = torch.rand(len(ink), generator=generator)[:, None, None]
    soft = F.avg_pool2d(F.pad(ink[:, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[:, 0]
    return ink + share * (soft - ink)


def _expose(picture: Tensor, generator: Generator) -> Tensor:
    """Light that falls off to one side, blotches and sensor noise."""
    count, side = len(picture), picture.shape[1]
    place = torch.linspace(-1, 1, side)
    slope = 0.25 * torch.randn(count, 2, generator=generator).clamp(-2, 2)
    light = 1 + slope[:, 0, None, None] * place[None, :, None] + slope[:, 1, None, None] * place[None, None, :]
    blotches = F.interpolate(0.04 * torch.randn(count, 1, 4, 4, generator=generator), size=(side, side), mode="bicubic")
    amount = 0.05 * torch.rand(count, generator=generator)[:, None, None, None]
    noise = amount * torch.randn(count, side, side, 1, generator=generator)
    return picture * light.clamp(0.4, 1.4)[..., None] + blotches[:, 0, :, :, None] + noise
