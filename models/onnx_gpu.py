"""An onnxruntime session on a GPU: bound buffers, one CUDA graph per batch bucket, TensorRT's settings.

Written to onnxruntime's documentation and not yet run on a GPU: unverified until someone has.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cache import cache_folder
from .compiles import compiled
from .onnx_signature import Signature

Providers = list[tuple[str, dict[str, str]]]
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


def providers(provider: str, index: int, path: Path, signature: Signature, max_batch_size: int) -> Providers:
    """The provider that was chosen, with its settings; TensorRT leaves what it does not know to CUDA."""
    if provider == CPU:
        return [(CPU, {})]
    cuda = {"device_id": str(index), "use_tf32": "0"}
    if provider == CUDA:
        return [(CUDA, cuda | {"enable_cuda_graph": "1"})]
    return [(TENSORRT, _tensorrt(index, path, signature, max_batch_size)), (CUDA, cuda)]


def _tensorrt(index: int, path: Path, signature: Signature, max_batch_size: int) -> dict[str, str]:
    """Engines are built once per file, GPU and TensorRT, for every batch up to the largest, and kept."""
    sides = [str(side or signature.size) for side in signature.input.shape[1:]]

    def profile(batch: int) -> str:
        return f"{signature.input.name}:{'x'.join([str(signature.batch or batch), *sides])}"

    return {
        "device_id": str(index),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache_folder("tensorrt") / path.stem),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache_folder("tensorrt")),
        "trt_profile_min_shapes": profile(1),
        "trt_profile_opt_shapes": profile(max_batch_size),
        "trt_profile_max_shapes": profile(max_batch_size),
    }


class BoundBatches:
    """Calls a session through buffers that stay where they are; what is short of a bucket is filled up with zeros.

    Args:
        runtime: the package onnxruntime.
        graphs: capture one CUDA graph per bucket; the provider must have been given `enable_cuda_graph`.
    """

    def __init__(
        self, runtime: Any, session: Any, signature: Signature, index: int, max_batch_size: int, *, graphs: bool
    ) -> None:
        self._runtime, self._session, self._signature, self._index = runtime, session, signature, index
        self._largest, self._graphs = signature.batch or max_batch_size, graphs
        self._bound: dict[int, tuple[Any, Any, Any, Any]] = {}

    def __call__(self, images: NDArray[np.generic], classes: int) -> NDArray[np.generic]:
        parts = [images[start : start + self._largest] for start in range(0, len(images), self._largest)]
        return np.concatenate([self._run(part, classes) for part in parts])

    @property
    def buckets(self) -> tuple[int, ...]:
        """Sizes of batch that have buffers of their own."""
        powers = (1 << power for power in range(self._largest.bit_length()))
        return (*(size for size in powers if size < self._largest), self._largest)

    def _run(self, images: NDArray[np.generic], classes: int) -> NDArray[np.generic]:
        bucket = next(size for size in self.buckets if size >= len(images))
        if bucket not in self._bound:
            self._bound[bucket] = self._bind(bucket, images, classes)
            compiled(f"onnxruntime's buffers and graph of batch {bucket}")
        binding, options, source, result = self._bound[bucket]
        padded = np.zeros((bucket, *images.shape[1:]), images.dtype)
        padded[: len(images)] = images
        source.update_inplace(padded)
        self._session.run_with_iobinding(binding, options)
        return np.asarray(result.numpy())[: len(images)]

    def _bind(self, bucket: int, images: NDArray[np.generic], classes: int) -> tuple[Any, Any, Any, Any]:
        allocate = self._runtime.OrtValue.ortvalue_from_shape_and_type
        source = allocate((bucket, *images.shape[1:]), images.dtype, "cuda", self._index)
        result = allocate((bucket, classes), np.dtype(self._signature.output.dtype), "cuda", self._index)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._signature.input.name, source)
        binding.bind_ortvalue_output(self._signature.output.name, result)
        options = self._runtime.RunOptions()
        if self._graphs:
            options.add_run_config_entry("gpu_graph_id", str(bucket))
        return binding, options, source, result
