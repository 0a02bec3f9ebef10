"""A network ready to classify: uint8 pixels in, logits out, with the labels and the preprocessing of its checkpoint."""

import copy
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...kernels.options import Options
from ...kernels.resampling import supports_interpolation
from ..checkpoints.description import Description
from ..config import Config, ViTConfig
from ..explain.explain import Method, maps
from ..networks.build import NormalizedNetwork
from ..networks.tnt import TNT
from ..networks.vit import ViT
from ..preprocessing.gpu_resize import DeviceResize
from ..preprocessing.images import Frames, all_ready, stacked
from ..preprocessing.preprocess import Preprocessing
from .executor import Captured, Executor

Pixels = NDArray[np.uint8] | Tensor
Network = ViT | TNT
PART = 4
"""Images whose attention weights are in memory at once."""


class Classifier:
    """A checkpoint on a device.

    Args:
        network: in evaluation mode; moved to `device` and `dtype`.
        fused: the folded network, which then computes in the network's stead; the network stays as it is.
        choice: a sentence on how device, backend and dtype were chosen, for people.
    """

    def __init__(
        self,
        network: Network,
        description: Description,
        *,
        device: torch.device,
        dtype: torch.dtype,
        backend: str = "torch",
        fused: Executor | None = None,
        choice: str = "",
    ) -> None:
        self.network = network if fused else network.to(device=device, dtype=dtype)
        self.fused = fused
        self.description = description
        self.device = device
        self.dtype = dtype
        self.backend = backend
        self.choice = choice

    @property
    def name(self) -> str:
        """Under which it is served."""
        return self.description.name

    @property
    def config(self) -> Config:
        return self.description.config

    @property
    def labels(self) -> tuple[str, ...]:
        """One per class; empty where the network has no head."""
        return self.description.labels

    @property
    def preprocessing(self) -> Preprocessing:
        return self.description.preprocessing

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image of any size -> uint8 (H, W, 3), ready to be batched."""
        return self.preprocessing(image)

    @property
    def resizes(self) -> bool:
        """Whether frames of any size may be gathered: its kernels resize and crop them as `preprocess` does."""
        return self.backend == "triton" and supports_interpolation(self.preprocessing.interpolation)

    @cached_property
    def resize(self) -> DeviceResize | None:
        """What resizes frames where it `resizes`. Its kernels are compiled when first asked for it."""
        return DeviceResize(self.preprocessing, self.device, Options("triton")) if self.resizes else None

    def gather(self, frames: Frames) -> Tensor:
        """A batch -> uint8 (B, H, W, 3) on `device`, resized and cropped there where frames are not ready.

        Raises:
            ValueError: frames that are not ready, where it does not resize; or as `DeviceResize.parcels`.
        """
        if isinstance(frames, np.ndarray) or all_ready(frames):
            return self._batch(stacked(frames))
        if self.resize is None:
            raise ValueError(f"{self.name} does not resize: it takes frames that are ready, as `preprocess` makes them")
        return self.resize(frames)

    @torch.inference_mode()
    def logits(self, pixels: Pixels) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, classes) on `device`; features (B, dim) where the network has no head.

        Raises:
            ValueError: another shape or type.
        """
        batch = self._batch(pixels)
        return (self.fused or self.plain)(batch).float()

    @torch.inference_mode()
    def embeddings(self, pixels: Pixels, pooling: Literal["cls", "mean"] | None = None) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, dim) on `device`: what the head reads, or what `pooling` says.

        Args:
            pooling: the class token, or the mean of the patch tokens, after the last norm.

        Raises:
            ValueError: another shape or type; or the network has no class token.
        """
        batch = self._batch(pixels)
        if pooling in (None, self._own_pooling):
            if self.fused:
                return self.fused.features(batch).float()
            return self.plain.network.features(self.plain.images(batch)).float()
        if pooling == "cls" and isinstance(self.config, ViTConfig) and not self.config.class_token:
            raise ValueError(f"{self.name} has no class token; take pooling 'mean'")
        return self.plain.network.pooled(self.plain.images(batch), pooling).float()

    @torch.inference_mode()
    def attended(self, pixels: Pixels, method: Method) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, layers, g, g) on `device`: what the plain network gave to each patch.

        Raises:
            ValueError: another shape or type.
        """
        plain = self.plain
        parts = self._batch(pixels).split(PART)
        return torch.cat([maps(plain.network, plain.images(part), method) for part in parts])

    @cached_property
    def plain(self) -> NormalizedNetwork[Network]:
        """The network as published, in `dtype` on `device`. Beside a folded one it is a copy, made when first asked."""
        network, weight = self.network, next(self.network.parameters())
        if self.fused and (weight.device, weight.dtype) != (self.device, self.dtype):
            network = copy.deepcopy(network).to(device=self.device, dtype=self.dtype)
        return NormalizedNetwork(network, self.preprocessing.mean, self.preprocessing.std)

    @property
    def buckets(self) -> tuple[int, ...]:
        """Sizes of batch that logits and the head's features are compiled for; empty where any size is the same."""
        return self.fused.buckets if isinstance(self.fused, Captured) else ()

    @property
    def _own_pooling(self) -> Literal["cls", "mean"] | None:
        """What the head reads, where it is one of the two."""
        config = self.config
        if not isinstance(config, ViTConfig) or (config.pooling == "token" and not config.distillation_token):
            return "cls"
        return "mean" if config.pooling == "mean" else None

    def _batch(self, pixels: Pixels) -> Tensor:  # uint8 (B, H, W, 3), on the device
        batch = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.require(pixels, requirements="W"))
        size = self.preprocessing.size
        if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[1:] != (size, size, 3):
            shape = " × ".join(str(length) for length in batch.shape)
            raise ValueError(f"expected uint8 pixels (B, {size}, {size}, 3), got {batch.dtype} of {shape}")
        return batch.to(self.device, non_blocking=True)
