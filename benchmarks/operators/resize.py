"""Resize benchmark: `resize_crop` on a batch of photographs, bit-exact to Pillow, beside PyTorch's antialiased resize.

PyTorch's takes images of one size only, resizes all of each image, and differs from Pillow by one level in places. So
all photographs have the same size, which is the least favourable case for `resize_crop`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.options import Options
from ...kernels.resampling import taps
from ...kernels.resize import resize_crop, run_resize_plan
from ...kernels.resize_plan import Crop, plan_resize

NAME = "resize_crop"
PHOTO = (500, 375)
"""Width and height of most photographs of ImageNet."""

Dtype = torch.dtype


@dataclass(frozen=True, slots=True)
class Resize:
    """One call of `resize_crop`; implements `measure.Work`. `dtype` is that of the network; pixels are uint8."""

    packed: Tensor
    batch: int
    crop: Crop
    size: int
    dtype: Dtype
    name: str = NAME

    def triton(self) -> Callable[[], Tensor]:
        resize_plan = plan_resize([self.crop] * self.batch, self.size, "bicubic")
        table = torch.from_numpy(resize_plan.metadata).to(self.packed.device)
        scratch = torch.empty(resize_plan.scratch, dtype=torch.uint8, device=self.packed.device)
        out = torch.empty(self.batch, self.size, self.size, 3, dtype=torch.uint8, device=self.packed.device)

        def run() -> Tensor:
            run_resize_plan(self.packed, resize_plan, table, scratch, out, options=Options("triton"))
            return out

        return run

    def torch(self) -> Callable[[], Tensor]:
        (width, height), resized, (left, top) = self.crop
        images = self.packed.view(self.batch, height, width, 3)

        def run() -> Tensor:
            planes = images.permute(0, 3, 1, 2).float()
            whole = F.interpolate(planes, size=resized[::-1], mode="bicubic", antialias=True)
            square = whole[:, :, top : top + self.size, left : left + self.size]
            return square.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

        return run

    def reference(self) -> Tensor:
        """Pixels of Pillow's resize, as float64."""
        crops = [self.crop] * self.batch
        return resize_crop(self.packed, crops, self.size, "bicubic", options=Options("torch")).double()

    def macs(self) -> int:
        """Multiply-accumulates of the two passes, over the part that the crop keeps."""
        (width, height), resized, (left, top) = self.crop
        across = taps(width, resized[0], left, self.size, "bicubic")
        down = taps(height, resized[1], top, self.size, "bicubic")
        lines = (down.stop - down.first) * (len(across.table) - 1) + self.size * (len(down.table) - 1)
        return self.batch * lines * self.size * 3

    def bytes(self) -> int:
        return self.packed.nbytes + self.batch * self.size**2 * 3


def make(size: int, batch: int, dtype: torch.dtype, device: torch.device) -> Resize:
    """Photographs to be resized as most checkpoints specify: crop fraction 0.875, `size` pixels square."""
    short = math.floor(size / 0.875)
    resized = short * PHOTO[0] // PHOTO[1], short
    corner = (resized[0] - size) // 2, (short - size) // 2
    packed = torch.randint(0, 256, (batch * PHOTO[0] * PHOTO[1] * 3,), dtype=torch.uint8, device=device)
    return Resize(packed, batch, Crop(PHOTO, resized, corner), size, dtype)
