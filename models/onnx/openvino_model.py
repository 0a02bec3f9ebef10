"""An .onnx file in OpenVINO, on the CPU. No torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import cpu
from ..errors import CheckpointError, OperatorError
from .metadata import ModelMetadata, read_metadata
from .model import OnnxModel, error_summary, file_bytes
from .signature import PIXELS, Signature, TensorSpec, read_signature

MIN_PARALLEL_BYTES = 8 * 2**20
"""Size of an .onnx file from which the images of a batch run in parallel; dispatch costs more than it gains below."""
MAX_STREAMS = 8
"""Images in parallel: every stream reads all weights, and memory bandwidth limits more of them."""
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""OpenVINO's precision hint by dtype."""
_DTYPE_PREFIXES = {"u": "uint", "i": "int", "f": "float", "bf": "bfloat"}

Images = NDArray[np.generic]
Settings = dict[str, Any]


class OpenVINOModel(OnnxModel):
    """A file compiled for this CPU.

    Args:
        path: of the .onnx file; external data lies beside it.
        dtype: of the arithmetic, regardless of the file's; `auto` is bfloat16 on CPUs with such instructions, else
            float32.

    Raises:
        CheckpointError: the file cannot be loaded, or is not an image classifier.
        ValueError: an unknown or unsupported dtype, or OpenVINO is not installed.
    """

    backend = "openvino"
    device = "cpu"

    def __init__(self, path: Path, *, dtype: str = "auto") -> None:
        openvino = require_openvino()
        core = openvino.Core()
        self.path = path
        self.dtype = _choose_dtype(dtype, core)
        model = self._read(openvino, core)
        if self.metadata.dtype == "int8":
            if dtype != "auto":
                raise ValueError(f"{path} computes in int8, not in {dtype}: export it without --quantize")
            self.dtype = "int8"
        output = [spec.name for spec in _tensor_specs(model.outputs)].index(self.signature.output.name)
        self._batches = compile_batches(core, model, output, settings(PRECISIONS.get(self.dtype, "f32")), path)
        self.choice = f"OpenVINO {_release(openvino)} on {cpu.usable_cores()} cores, {self.dtype}"
        self.check()

    def call(self, images: NDArray[np.generic]) -> NDArray[np.generic]:
        return self._batches(images)

    def _read(self, openvino: Any, core: Any) -> Any:
        """Read model, signature and metadata of the file; preprocessing in the graph is cut off."""
        try:
            model = core.read_model(self.path)
        except Exception as error:  # OpenVINO raises RuntimeError and its own
            release = _release(openvino)
            raise CheckpointError(f"OpenVINO {release} cannot load {self.path}: {error_summary(error)}") from error
        self.signature = _signature(model, self.path)
        self.metadata = read_metadata(_metadata_props(model), self.signature, self.path)
        _check_operators(self.metadata, self.path)
        if self.metadata.preprocesses:
            model = _without_preprocessing(openvino, model, self.metadata.preprocessing.size, self.path)
            self.signature = _signature(model, self.path)
            self.metadata = replace(self.metadata, preprocesses=False)
        return model


class CompiledBatches(Protocol):
    """A compiled file: images as its input takes them -> its output, (B, classes)."""

    def __call__(self, images: Images) -> Images: ...


class DynamicBatch:
    """One compiled model for every batch size."""

    def __init__(self, core: Any, model: Any, output: int, settings: Settings) -> None:
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        self._output = output

    def __call__(self, images: Images) -> Images:
        result = self._request.infer([images], share_inputs=True, share_outputs=False)
        return np.asarray(result[self._output])


class ParallelStreams:
    """Batch-1 models, whose static shapes run faster: one on all cores, and one stream per core.

    Streams do not synchronise with each other, as cores do after each layer of a whole batch.
    """

    def __init__(self, core: Any, model: Any, output: int, settings: Settings) -> None:
        import openvino

        single = model.clone()
        single.reshape([1, *list(model.inputs[0].get_partial_shape())[1:]])
        self._single = DynamicBatch(core, single, output, settings)
        self._streams = min(settings["INFERENCE_NUM_THREADS"], MAX_STREAMS)
        compiled = core.compile_model(single, "CPU", _stream_settings(settings, self._streams))
        self._queue = openvino.AsyncInferQueue(compiled, self._streams)
        self._queue.set_callback(self._store_result)
        self._output = output
        self._results: dict[int, Images] = {}

    def __call__(self, images: Images) -> Images:
        parts = [images[index : index + 1] for index in range(len(images))]
        if 2 * len(parts) <= self._streams or len(parts) == 1:
            return np.concatenate([self._single(part) for part in parts])
        for index, part in enumerate(parts):
            self._queue.start_async([part], index, share_inputs=True)
        self._queue.wait_all()
        return np.concatenate([self._results.pop(index) for index in range(len(parts))])

    def _store_result(self, request: Any, index: int) -> None:
        self._results[index] = np.array(request.get_output_tensor(self._output).data)


def compile_batches(core: Any, model: Any, output: int, settings: Settings, path: Path) -> CompiledBatches:
    """Compile a file as it runs fastest: large ones image by image in parallel, small or fixed-batch ones as a whole.

    Args:
        output: index of the logits.
        settings: OpenVINO's, for one request at a time.

    Raises:
        CheckpointError: OpenVINO cannot compile the file.
    """
    dynamic = model.inputs[0].get_partial_shape()[0].is_dynamic
    parallel = dynamic and settings["INFERENCE_NUM_THREADS"] > 1 and file_bytes(path) >= MIN_PARALLEL_BYTES
    try:
        return (ParallelStreams if parallel else DynamicBatch)(core, model, output, settings)
    except Exception as error:  # OpenVINO raises RuntimeError and its own
        raise CheckpointError(f"OpenVINO cannot compile {path}: {error_summary(error)}") from error


def settings(precision: str) -> Settings:
    """OpenVINO settings for one request at a time on all cores of this process."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": cpu.usable_cores(),
        "PERFORMANCE_HINT": "LATENCY",
    }


def require_openvino() -> Any:
    """Import the package openvino.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise ValueError("the package openvino is not installed: pip install 'tessella[openvino]'") from error
    return openvino


def _choose_dtype(dtype: str, core: Any) -> str:
    if dtype == "auto":
        return "bfloat16" if cpu.has_bfloat16() else "float32"
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype {dtype!r} is not one of auto, {', '.join(PRECISIONS)}")
    if dtype == "bfloat16" and not cpu.has_bfloat16():
        raise ValueError("this CPU has no bfloat16 instructions: choose --dtype float32")
    if dtype == "float16" and "FP16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ValueError("OpenVINO does not support float16 on this CPU: choose --dtype auto")
    return dtype


def _check_operators(metadata: ModelMetadata, path: Path) -> None:
    if metadata.facts.get("export", {}).get("fusions"):
        raise OperatorError(
            f"{path} contains ONNX Runtime's own operators (--ort-fusions), not all of which OpenVINO supports: "
            "choose --backend onnxruntime"
        )


def _without_preprocessing(openvino: Any, model: Any, size: int, path: Path) -> Any:
    """Subgraph from the network's pixels on: images are preprocessed before they reach a model.

    OpenVINO's cubic resize has no antialiasing, so its pixels would differ.
    """
    ports = [port for node in model.get_ordered_ops() for port in node.outputs() if PIXELS in port.get_names()]
    if not ports:
        raise CheckpointError(f"{path} declares preprocessing in its graph, but has no value {PIXELS!r} at its end")
    entry = openvino.opset13.parameter([-1, size, size, 3], np.uint8, name=PIXELS)
    entry.output(0).set_names({PIXELS})
    for user in ports[0].get_target_inputs():
        user.replace_source_output(entry.output(0))
    return openvino.Model(model.get_results(), [entry], model.get_friendly_name())


def _stream_settings(settings: Settings, streams: int) -> Settings:
    return {name: value for name, value in settings.items() if name != "PERFORMANCE_HINT"} | {"NUM_STREAMS": streams}


def _metadata_props(model: Any) -> dict[str, str]:
    """`metadata_props` of the file, which OpenVINO keeps under `framework`."""
    if "framework" not in model.get_rt_info():
        return {}
    framework = model.get_rt_info("framework")
    return {key: str(model.get_rt_info(["framework", key]).value) for key in framework.value}


def _signature(model: Any, path: Path) -> Signature:
    return read_signature(_tensor_specs(model.inputs), _tensor_specs(model.outputs), path)


def _tensor_specs(ports: Any) -> list[TensorSpec]:
    return [
        TensorSpec(
            port.get_any_name(),
            _numpy_dtype(port.get_element_type().get_type_name()),
            tuple(None if side.is_dynamic else side.get_length() for side in port.get_partial_shape())
            if port.get_partial_shape().rank.is_static
            else (),
        )
        for port in ports
    ]


def _numpy_dtype(name: str) -> str:
    """numpy's name of an OpenVINO dtype: `u8` -> `uint8`."""
    letters = name.rstrip("0123456789")
    return _DTYPE_PREFIXES.get(letters, letters) + name.removeprefix(letters)


def _release(openvino: Any) -> str:
    return str(openvino.__version__).partition("-")[0]
