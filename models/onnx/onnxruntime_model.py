"""An .onnx file in ONNX Runtime: on a CPU, or on a GPU with a CUDA graph per bucket or through TensorRT. No torch.

The GPU part is written to ONNX Runtime's documentation and not yet run on a GPU: unverified.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import cpu
from ..cache import cache_folder
from ..errors import CheckpointError, OperatorError
from ..execution.compile_events import notify_compiled
from .metadata import read_metadata
from .model import OnnxModel, error_summary
from .signature import Signature, TensorSpec, read_signature

if TYPE_CHECKING:
    import onnxruntime

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

Providers = list[tuple[str, dict[str, str]]]


class OnnxRuntimeModel(OnnxModel):
    """A file on one execution provider.

    Args:
        path: of the .onnx file; external data lies beside it.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: the GPU if the installed ONNX Runtime has a provider for it.
        tensorrt: through TensorRT, whose engines are cached; needs a GPU.
        max_batch_size: the largest batch that TensorRT builds its engine for.

    Raises:
        CheckpointError: the file cannot be loaded, or is not an image classifier.
        ValueError: the provider is not available.
    """

    backend = "onnxruntime"

    def __init__(self, path: Path, *, device: str = "auto", tensorrt: bool = False, max_batch_size: int = 32) -> None:
        runtime = require_onnxruntime()
        self.path = path
        provider, index = choose_provider(device, tensorrt, runtime.get_available_providers())
        self._session = load_session(path, [(CPU, {})])
        self.signature = _signature(self._session, path)
        self.metadata = read_metadata(self._session.get_modelmeta().custom_metadata_map, self.signature, path)
        self._bound: BoundBatches | None = None
        if provider != CPU:
            self._move_to_gpu(runtime, provider, index, max_batch_size)
        self.device = "cpu" if provider == CPU else f"cuda:{index}"
        self.dtype = self.metadata.dtype
        self.choice = f"{provider} of onnxruntime {runtime.__version__}, {self.dtype}"
        self.check()

    def call(self, images: NDArray[np.generic]) -> NDArray[np.generic]:
        if self._bound is not None:
            return self._bound(images, len(self.metadata.labels))
        (scores,) = self._session.run([self.signature.output.name], {self.signature.input.name: images})
        return np.asarray(scores)

    def _move_to_gpu(self, runtime: Any, provider: str, index: int, max_batch_size: int) -> None:
        if self.metadata.preprocesses:
            raise ValueError(
                f"{self.path} preprocesses in its graph, which is not supported on {provider}: choose "
                "--backend auto --device cpu, or export it without --preprocess"
            )
        options = session_providers(provider, index, self.path, self.signature, max_batch_size)
        self._session = load_session(self.path, options)
        graphs = provider == CUDA
        self._bound = BoundBatches(runtime, self._session, self.signature, index, max_batch_size, graphs=graphs)
        self.buckets = self._bound.buckets


class BoundBatches:
    """Session calls through static GPU buffers, one set per bucket; batches are padded with zeros to their bucket.

    Args:
        runtime: the package onnxruntime.
        graphs: capture one CUDA graph per bucket; the session's provider needs `enable_cuda_graph`.
    """

    def __init__(
        self, runtime: Any, session: Any, signature: Signature, index: int, max_batch_size: int, *, graphs: bool
    ) -> None:
        self._runtime, self._session, self._signature, self._index = runtime, session, signature, index
        self._max_batch, self._graphs = signature.batch or max_batch_size, graphs
        self._bound: dict[int, tuple[Any, Any, Any, Any]] = {}

    def __call__(self, images: NDArray[np.generic], classes: int) -> NDArray[np.generic]:
        parts = [images[start : start + self._max_batch] for start in range(0, len(images), self._max_batch)]
        return np.concatenate([self._run(part, classes) for part in parts])

    @property
    def buckets(self) -> tuple[int, ...]:
        """Batch sizes with buffers of their own: powers of two, and the maximum."""
        powers = (1 << power for power in range(self._max_batch.bit_length()))
        return (*(size for size in powers if size < self._max_batch), self._max_batch)

    def _run(self, images: NDArray[np.generic], classes: int) -> NDArray[np.generic]:
        bucket = next(size for size in self.buckets if size >= len(images))
        if bucket not in self._bound:
            self._bound[bucket] = self._bind(bucket, images, classes)
            notify_compiled(f"onnxruntime's buffers and graph of batch {bucket}")
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


def choose_provider(device: str, tensorrt: bool, available: Sequence[str]) -> tuple[str, int]:
    """Execution provider for a device, and the GPU's index.

    Raises:
        ValueError: an unknown device, or the installed ONNX Runtime has no provider for it.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdecimal()) or (number and kind != "cuda"):
        raise ValueError(f"device {device!r} is not one of auto, cpu, cuda, cuda:0, …")
    if kind == "auto":
        kind = "cuda" if tensorrt or CUDA in available else "cpu"
    if kind == "cpu" and tensorrt:
        raise ValueError("TensorRT needs a GPU: choose --device cuda:0, or another --backend")
    provider = CPU if kind == "cpu" else TENSORRT if tensorrt else CUDA
    if provider not in available:
        raise ValueError(
            f"the installed onnxruntime has no {provider} (it has {', '.join(available)}): "
            "pip install onnxruntime-gpu in place of onnxruntime, or choose --device cpu"
        )
    return provider, int(number or 0)


def session_providers(provider: str, index: int, path: Path, signature: Signature, max_batch_size: int) -> Providers:
    """Providers of a session with their options, in order; TensorRT falls back to CUDA for operators it lacks."""
    if provider == CPU:
        return [(CPU, {})]
    cuda = {"device_id": str(index), "use_tf32": "0"}
    if provider == CUDA:
        return [(CUDA, cuda | {"enable_cuda_graph": "1"})]
    return [(TENSORRT, _tensorrt_options(index, path, signature, max_batch_size)), (CUDA, cuda)]


def load_session(model: Path | bytes, providers: Providers) -> onnxruntime.InferenceSession:
    """Session of a file or a serialised model, with one thread for each core of this process.

    Raises:
        CheckpointError: the model cannot be loaded; OperatorError where ONNX Runtime lacks an operator.
        ValueError: the first provider did not start; ONNX Runtime itself would silently fall back to the next.
    """
    runtime = require_onnxruntime()
    name = "a model" if isinstance(model, bytes) else model
    options = runtime.SessionOptions()
    options.intra_op_num_threads = cpu.usable_cores()
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else os.fspath(model)
    try:
        session = runtime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        message = f"onnxruntime {runtime.__version__} cannot load {name}: {error_summary(error)}"
        if "NOT_IMPLEMENTED" not in str(error):
            raise CheckpointError(message) from error
        hint = "bfloat16 needs a GPU there, or --backend openvino on a CPU"
        raise OperatorError(f"{message}; {hint}") from error
    if providers[0][0] not in session.get_providers():
        raise ValueError(f"{providers[0][0]} did not start: its libraries are missing or of another version")
    return session


def require_onnxruntime() -> Any:
    """Import the package onnxruntime, with its telemetry off (Linux builds send it by default, seen in 1.32).

    Raises:
        ValueError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError("the package onnxruntime is not installed: pip install 'tessella[onnx]'") from error
    return onnxruntime


def _tensorrt_options(index: int, path: Path, signature: Signature, max_batch_size: int) -> dict[str, str]:
    """TensorRT options: engines for every batch up to the maximum, cached per file, GPU and TensorRT version."""
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


def _signature(session: onnxruntime.InferenceSession, path: Path) -> Signature:
    return read_signature(_tensor_specs(session.get_inputs()), _tensor_specs(session.get_outputs()), path)


def _tensor_specs(nodes: Sequence[Any]) -> list[TensorSpec]:
    types = {"tensor(float)": "float32", "tensor(double)": "float64"}
    return [
        TensorSpec(
            node.name,
            types.get(node.type, node.type.removeprefix("tensor(").removesuffix(")")),
            tuple(side if isinstance(side, int) else None for side in node.shape or ()),
        )
        for node in nodes
    ]
