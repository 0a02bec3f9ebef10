"""Bare-loop baseline without a server: JPEG files decoded in threads, batches run by the model, in one process."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from ...models.execution.dtype import limit_threads
from ...models.onnx.export_cache import cached_export
from ...models.onnx.model import OnnxModel
from ...models.preprocessing.images import Pixels
from ...models.preprocessing.preprocess import Preprocessing
from ...models.registry import load_model
from ..photos import Photo
from .load_generator import Load, Sample
from .servers import ServerSettings

Logits = NDArray[np.float32]
RUNTIMES = ("onnxruntime", "tensorrt", "openvino")


class BareLoop:
    """Upper bound of a server's throughput: decoding and the model, without HTTP, queues or processes.

    Args:
        logits: uint8 (B, H, W, 3) -> float32 (B, classes).
        threads: number of decoding threads.
    """

    def __init__(
        self, preprocessing: Preprocessing, logits: Callable[[Pixels], Logits], threads: int, max_batch_size: int = 32
    ) -> None:
        self._preprocessing = preprocessing
        self._logits = logits
        self._max_batch_size = max_batch_size
        self._decoders = ThreadPoolExecutor(threads)

    def classify(self, photo: Photo) -> tuple[int, float]:
        """Top class of a photograph and its score, 0 to 1."""
        logits = self._logits(self._decode(photo)[None])[0].astype(np.float64)
        index = int(logits.argmax())
        return index, float(1 / np.exp(logits - logits[index]).sum())

    def run(self, photos: Sequence[Photo], *, in_flight: int, seconds: float) -> Load:
        """Run a load like that of `closed_loop` with `in_flight` clients; a batch is all images decoded in time."""
        source = cycle(photos)
        samples: list[Sample] = []
        pending: deque[tuple[float, Future[Pixels]]] = deque()
        started, cpu_started = time.perf_counter(), time.process_time()

        def submit(count: int) -> None:
            for _ in range(count):
                pending.append((now(), self._decoders.submit(self._decode, next(source))))

        def now() -> float:
            return time.perf_counter() - started

        submit(in_flight)
        while pending:
            batch = self._next_batch(pending)
            self._logits(np.stack([future.result() for _, future in batch])).argmax(-1).tolist()
            samples += [Sample(submitted, submitted, now() - submitted, "accepted") for submitted, _ in batch]
            submit(len(batch) if now() < seconds else 0)
        return Load(tuple(samples), now(), time.process_time() - cpu_started)

    def _next_batch(self, pending: deque[tuple[float, Future[Pixels]]]) -> list[tuple[float, Future[Pixels]]]:
        """Take the oldest image, when it is decoded, and all that are decoded by then."""
        pending[0][1].result()
        batch = [pending.popleft()]
        while pending and pending[0][1].done() and len(batch) < self._max_batch_size:
            batch.append(pending.popleft())
        return batch

    def _decode(self, photo: Photo) -> Pixels:
        picture = simplejpeg.decode_jpeg(photo.data, "RGB", fastdct=False, fastupsample=False)
        return self._preprocessing(Image.fromarray(picture))


def load_bare(settings: ServerSettings, backend: str) -> BareLoop:
    """Load the checkpoint into a bare loop, in the backend that the service chose for it.

    Raises:
        LookupError, ValueError: the model cannot be loaded, or not by this backend.
    """
    source, limits = f"bench={settings.model}", (settings.threads, settings.max_batch_size)
    if backend in RUNTIMES:
        file = cached_export(source, dtype="float32" if backend == "openvino" else settings.dtype)
        model = _open_onnx(file, backend, settings.device, settings.dtype)
        return BareLoop(model.metadata.preprocessing, model.logits, *limits)
    limit_threads()
    classifier = load_model(source, device=settings.device, dtype=settings.dtype, backend=backend)

    def logits(pixels: Pixels) -> Logits:
        result: Logits = classifier.logits(pixels).numpy(force=True)
        return result

    return BareLoop(classifier.preprocessing, logits, *limits)


def _open_onnx(file: Path, backend: str, device: str, dtype: str) -> OnnxModel:
    if backend == "openvino":
        from ...models.onnx.openvino_model import OpenVINOModel

        return OpenVINOModel(file, dtype=dtype)
    from ...models.onnx.onnxruntime_model import OnnxRuntimeModel

    return OnnxRuntimeModel(file, device=device, tensorrt=backend == "tensorrt")
