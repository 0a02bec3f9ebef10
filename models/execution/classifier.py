"""Classifier: a network on a device, with the labels and the preprocessing of its checkpoint."""

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
from ..explain.explain import Method, attention_maps
from ..networks.build import NormalizedNetwork
from ..networks.tnt import TNT
from ..networks.vit import ViT
from ..preprocessing.gpu_resize import DeviceResize
from ..preprocessing.images import ImageBatch, all_preprocessed, stack_images
from ..preprocessing.preprocess import Preprocessing
from .executor import CudaGraphExecutor, Executor

ATTENTION_BATCH_SIZE = 4
"""Images whose attention weights are in memory at once."""

Pixels = NDArray[np.uint8] | Tensor
Network = ViT | TNT


class Classifier:
    """A checkpoint on a device.

    Args:
        network: in evaluation mode; moved to `device` and `dtype`, unless an executor is given.
        executor: the folded network, which then computes logits and features in place of `network`.
        choice: one sentence on how device, backend and dtype were chosen.
    """

    def __init__(
        self,
        network: Network,
        description: Description,
        *,
        device: torch.device,
        dtype: torch.dtype,
        backend: str = "torch",
        executor: Executor | None = None,
        choice: str = "",
    ) -> None:
        self.network = network if executor else network.to(device=device, dtype=dtype)
        self.executor = executor
        self.description = description
        self.device = device
        self.dtype = dtype
        self.backend = backend
        self.choice = choice

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return self.description.name

    @property
    def config(self) -> Config:
        """Architecture of the network."""
        return self.description.config

    @property
    def labels(self) -> tuple[str, ...]:
        """Class labels by index; empty if the network has no head."""
        return self.description.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessor config of the checkpoint."""
        return self.description.preprocessing

    @property
    def buckets(self) -> tuple[int, ...]:
        """Batch sizes that logits and features are compiled for, ascending; empty if any size runs as it is."""
        return self.executor.buckets if isinstance(self.executor, CudaGraphExecutor) else ()

    @property
    def resizes_on_device(self) -> bool:
        """True if `preprocess_batch` takes images of any size, which the kernels resize and crop as `preprocess`."""
        return self.backend == "triton" and supports_interpolation(self.preprocessing.interpolation)

    @cached_property
    def device_resize(self) -> DeviceResize | None:
        """Resize kernels, compiled on first access; None unless `resizes_on_device`."""
        if not self.resizes_on_device:
            return None
        return DeviceResize(self.preprocessing, self.device, Options("triton"))

    @cached_property
    def plain(self) -> NormalizedNetwork[Network]:
        """Network as published, in `dtype` on `device`: beside an executor a copy, made on first access."""
        network, weight = self.network, next(self.network.parameters())
        if self.executor and (weight.device, weight.dtype) != (self.device, self.dtype):
            network = copy.deepcopy(network).to(device=self.device, dtype=self.dtype)
        return NormalizedNetwork(network, self.preprocessing.mean, self.preprocessing.std)

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB image of any size -> uint8 (H, W, 3), the network's input size.

        Raises:
            ValueError: as `Preprocessing`.
        """
        return self.preprocessing(image)

    def preprocess_batch(self, images: ImageBatch) -> Tensor:
        """A batch -> uint8 (B, H, W, 3) on `device`, where images that are not preprocessed are resized and cropped.

        Raises:
            ValueError: images that are not preprocessed, without `resizes_on_device`; or as `DeviceResize.pack`.
        """
        if isinstance(images, np.ndarray) or all_preprocessed(images):
            return self._to_device(stack_images(images))
        if self.device_resize is None:
            raise ValueError(f"{self.name} does not resize on its device: pass images through `preprocess` first")
        return self.device_resize(images)

    @torch.inference_mode()
    def logits(self, pixels: Pixels) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, classes) on `device`; features (B, dim) if the network has no head.

        Raises:
            ValueError: another shape or dtype.
        """
        batch = self._to_device(pixels)
        return (self.executor or self.plain)(batch).float()

    @torch.inference_mode()
    def embeddings(self, pixels: Pixels, pooling: Literal["cls", "mean"] | None = None) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, dim) on `device`.

        Args:
            pooling: the class token, or the mean of the patch tokens, after the last norm; None is the head's input.

        Raises:
            ValueError: another shape or dtype; or `cls` for a network without class token.
        """
        batch = self._to_device(pixels)
        if pooling in (None, self._head_pooling):
            if self.executor:
                return self.executor.features(batch).float()
            return self.plain.network.features(self.plain.images(batch)).float()
        if pooling == "cls" and isinstance(self.config, ViTConfig) and not self.config.class_token:
            raise ValueError(f"{self.name} has no class token; use pooling 'mean'")
        return self.plain.network.pooled(self.plain.images(batch), pooling).float()

    @torch.inference_mode()
    def attention_maps(self, pixels: Pixels, method: Method) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, layers, g, g) on `device`: the plain network's attention to each patch.

        Raises:
            ValueError: another shape or dtype.
        """
        plain = self.plain
        parts = self._to_device(pixels).split(ATTENTION_BATCH_SIZE)
        return torch.cat([attention_maps(plain.network, plain.images(part), method) for part in parts])

    @property
    def _head_pooling(self) -> Literal["cls", "mean"] | None:
        """Pooling of the head's input; None if it is neither of the two."""
        config = self.config
        if not isinstance(config, ViTConfig) or (config.pooling == "token" and not config.distillation_token):
            return "cls"
        return "mean" if config.pooling == "mean" else None

    def _to_device(self, pixels: Pixels) -> Tensor:  # uint8 (B, H, W, 3)
        batch = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.require(pixels, requirements="W"))
        size = self.preprocessing.size
        if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[1:] != (size, size, 3):
            shape = " × ".join(str(length) for length in batch.shape)
            raise ValueError(f"expected uint8 pixels (B, {size}, {size}, 3), got {batch.dtype} of {shape}")
        return batch.to(self.device, non_blocking=True)
