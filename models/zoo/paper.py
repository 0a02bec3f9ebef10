"""What a drawn digit lies on: a clean screen, or a photographed sheet with its light, its blur and its noise."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


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
