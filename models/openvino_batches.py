"""How a batch runs in OpenVINO on a CPU: one image on all cores, several side by side, or one graph for any batch."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError
from .onnx_model import bytes_of, reason

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
