"""An .onnx file in OpenVINO, on the CPU. Knows no torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import cpu
from ..errors import CheckpointError, OperatorError
from .metadata import read_card
from .model import OnnxModel, bytes_of, reason
from .signature import PIXELS, Port, read_signature

SMALL_BYTES = 8 * 2**20
"""Of an .onnx file: below, an image takes less than handing it to a core, and batches run as one."""
MOST_STREAMS = 8
"""Images side by side: each reads all weights for itself, which more would have to wait for."""

Images = NDArray[np.generic]
Settings = dict[str, Any]


class Batches(Protocol):
    """A compiled file."""

    def __call__(self, images: Images) -> Images: ...


class FreeBatch:
    """One graph for every size of batch."""

    def __init__(self, core: Any, model: Any, output: int, settings: Settings) -> None:
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        self._output = output

    def __call__(self, images: Images) -> Images:
        result = self._request.infer([images], share_inputs=True, share_outputs=False)
        return np.asarray(result[self._output])


class SideBySide:
    """Graphs of one image, whose fixed shapes run faster: one that takes all cores, and one copy for each core.

    Cores that work on images of their own never wait for each other, as they do within the layers of one batch.
    """

    def __init__(self, core: Any, model: Any, output: int, settings: Settings) -> None:
        import openvino

        single = model.clone()
        single.reshape([1, *list(model.inputs[0].get_partial_shape())[1:]])
        self._alone = FreeBatch(core, single, output, settings)
        self._streams = min(settings["INFERENCE_NUM_THREADS"], MOST_STREAMS)
        compiled = core.compile_model(single, "CPU", _streaming(settings, self._streams))
        self._queue = openvino.AsyncInferQueue(compiled, self._streams)
        self._queue.set_callback(self._keep)
        self._output = output
        self._results: dict[int, Images] = {}

    def __call__(self, images: Images) -> Images:
        parts = [images[index : index + 1] for index in range(len(images))]
        if 2 * len(parts) <= self._streams or len(parts) == 1:
            return np.concatenate([self._alone(part) for part in parts])
        for index, part in enumerate(parts):
            self._queue.start_async([part], index, share_inputs=True)
        self._queue.wait_all()
        return np.concatenate([self._results.pop(index) for index in range(len(parts))])

    def _keep(self, request: Any, index: int) -> None:
        self._results[index] = np.array(request.get_output_tensor(self._output).data)


def compile_batches(core: Any, model: Any, output: int, settings: Settings, path: Path) -> Batches:
    """A file as it runs fastest: small ones and those of a fixed batch whole, the others image by image.

    Args:
        output: the index of the logits.
        settings: OpenVINO's, for one request at a time.

    Raises:
        CheckpointError: OpenVINO cannot compile the file.
    """
    free = model.inputs[0].get_partial_shape()[0].is_dynamic
    several = free and settings["INFERENCE_NUM_THREADS"] > 1 and bytes_of(path) >= SMALL_BYTES
    try:
        return (SideBySide if several else FreeBatch)(core, model, output, settings)
    except Exception as error:  # OpenVINO raises RuntimeError and its own
        raise CheckpointError(f"OpenVINO cannot compile {path}: {reason(error)}") from error


def _streaming(settings: Settings, streams: int) -> Settings:
    return {name: value for name, value in settings.items() if name != "PERFORMANCE_HINT"} | {"NUM_STREAMS": streams}


PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_KINDS = {"u": "uint", "i": "int", "f": "float", "bf": "bfloat"}


class OpenVINOModel(OnnxModel):
    """A file, compiled for this CPU.

    Args:
        path: of the .onnx file; external data lies beside it.
        dtype: of the arithmetic, whatever the file's; `auto` is bfloat16 where the CPU multiplies it, else float32.

    Raises:
        CheckpointError: the file cannot be loaded, or is no image classifier.
        ValueError: an unknown dtype, one this CPU does not multiply, or OpenVINO is not installed.
    """

    backend = "openvino"
    device = "cpu"

    def __init__(self, path: Path, *, dtype: str = "auto") -> None:
        openvino = require_openvino()
        self.path = path
        core = openvino.Core()
        self.dtype = _choose_dtype(dtype, core)
        try:
            model = core.read_model(path)
        except Exception as error:  # OpenVINO raises RuntimeError and its own
            raise CheckpointError(f"OpenVINO {_release(openvino)} cannot load {path}: {reason(error)}") from error
        self.signature = read_signature(_ports(model.inputs), _ports(model.outputs), str(path))
        self.card = read_card(_metadata(model), self.signature, path)
        if self.card.facts.get("export", {}).get("fusions"):
            raise OperatorError(
                f"{path} holds onnxruntime's own operators (--ort-fusions), which OpenVINO knows in part only: "
                "choose --backend onnxruntime"
            )
        if self.card.preprocesses:
            model = _after_preprocessing(openvino, model, self.card.preprocessing.size, path)
            self.signature = read_signature(_ports(model.inputs), _ports(model.outputs), str(path))
            self.card = replace(self.card, preprocesses=False)
        if self.card.dtype == "int8":
            if dtype != "auto":
                raise ValueError(f"{path} computes in int8, not in {dtype}: export it without --quantize")
            self.dtype = "int8"
        names = [port.name for port in _ports(model.outputs)]
        output = names.index(self.signature.output.name)
        self._batches = compile_batches(core, model, output, settings(PRECISIONS.get(self.dtype, "f32")), path)
        self.choice = f"OpenVINO {_release(openvino)} on {cpu.usable_cores()} cores, {self.dtype}"
        self.check()

    def call(self, images: NDArray[np.generic]) -> NDArray[np.generic]:
        return self._batches(images)


def require_openvino() -> Any:
    """The package.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise ValueError("the package openvino is not installed: pip install 'tessella[openvino]'") from error
    return openvino


def _release(openvino: Any) -> str:
    return str(openvino.__version__).partition("-")[0]


def _choose_dtype(dtype: str, core: Any) -> str:
    if dtype == "auto":
        return "bfloat16" if cpu.has_bfloat16() else "float32"
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype {dtype!r} is not one of auto, {', '.join(PRECISIONS)}")
    if dtype == "bfloat16" and not cpu.has_bfloat16():
        raise ValueError("this CPU has no bfloat16 instructions: choose --dtype float32")
    if dtype == "float16" and "FP16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ValueError("OpenVINO has no float16 on this CPU, and would take another dtype: choose --dtype auto")
    return dtype


def settings(precision: str) -> dict[str, Any]:
    """OpenVINO's, for one request at a time on all cores of this process."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": cpu.usable_cores(),
        "PERFORMANCE_HINT": "LATENCY",
    }


def _after_preprocessing(openvino: Any, model: Any, size: int, path: Path) -> Any:
    """The graph from the network's pixels on. OpenVINO widens no cubic filter when it makes an image smaller, so its
    resize would give other pixels; and here images are resized before they come to a model.
    """
    ports = [port for node in model.get_ordered_ops() for port in node.outputs() if PIXELS in port.get_names()]
    if not ports:
        raise CheckpointError(f"{path} says that it preprocesses, and has no value {PIXELS!r} where that ends")
    entry = openvino.opset13.parameter([-1, size, size, 3], np.uint8, name=PIXELS)
    entry.output(0).set_names({PIXELS})
    for user in ports[0].get_target_inputs():
        user.replace_source_output(entry.output(0))
    return openvino.Model(model.get_results(), [entry], model.get_friendly_name())


def _metadata(model: Any) -> dict[str, str]:
    """The file's `metadata_props`, which OpenVINO keeps under `framework`."""
    if "framework" not in model.get_rt_info():
        return {}
    framework = model.get_rt_info("framework")
    return {key: str(model.get_rt_info(["framework", key]).value) for key in framework.value}


def _ports(nodes: Any) -> list[Port]:
    return [
        Port(
            node.get_any_name(),
            _dtype_name(node.get_element_type().get_type_name()),
            tuple(None if side.is_dynamic else side.get_length() for side in node.get_partial_shape())
            if node.get_partial_shape().rank.is_static
            else (),
        )
        for node in nodes
    ]


def _dtype_name(name: str) -> str:
    """numpy's name for OpenVINO's: `u8` -> `uint8`."""
    letters = name.rstrip("0123456789")
    return _KINDS.get(letters, letters) + name.removeprefix(letters)
