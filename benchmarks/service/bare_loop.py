"""The same work without a server: JPEG files decoded in threads, batches through the model, in one process."""

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
from ...models.onnx.export_cache import exported
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
    """What a server can at most reach: its decoding and its model, without HTTP, queues or processes.

    Args:
        logits: uint8 (B, H, W, 3) -> (B, classes).
        threads: that decode.
    """

    def __init__(
        self, preprocessing: Preprocessing, logits: Callable[[Pixels], Logits], threads: int, max_batch_size: int = 32
    ) -> None:
        self._preprocessing = preprocessing
        self._logits = logits
        self._max_batch_size = max_batch_size
        self._decoders = ThreadPoolExecutor(threads)

    def classify(self, photo: Photo) -> tuple[int, float]:
        """The most likely class and its score, 0 to 1."""
        logits = self._logits(self._decode(photo)[None])[0].astype(np.float64)
        index = int(logits.argmax())
        return index, float(1 / np.exp(logits - logits[index]).sum())

    def run(self, photos: Sequence[Photo], *, in_flight: int, seconds: float) -> Load:
        """As `closed_loop` with as many clients: a batch is what has been decoded when the model is free."""
        source = cycle(photos)
        samples: list[Sample] = []
        waiting: deque[tuple[float, Future[Pixels]]] = deque()
        started, processor_started = time.perf_counter(), time.process_time()

        def submit(count: int) -> None:
            for _ in range(count):
                waiting.append((now(), self._decoders.submit(self._decode, next(source))))

        def now() -> float:
            return time.perf_counter() - started

        submit(in_flight)
        while waiting:
            batch = self._next_batch(waiting)
            self._logits(np.stack([future.result() for _, future in batch])).argmax(-1).tolist()
            samples += [Sample(begun, begun, now() - begun, "accepted") for begun, _ in batch]
            submit(len(batch) if now() < seconds else 0)
        return Load(tuple(samples), now(), time.process_time() - processor_started)

    def _next_batch(self, waiting: deque[tuple[float, Future[Pixels]]]) -> list[tuple[float, Future[Pixels]]]:
        waiting[0][1].result()
        batch = [waiting.popleft()]
        while waiting and waiting[0][1].done() and len(batch) < self._max_batch_size:
            batch.append(waiting.popleft())
        return batch

    def _decode(self, photo: Photo) -> Pixels:
        picture = simplejpeg.decode_jpeg(photo.data, "RGB", fastdct=False, fastupsample=False)
        return self._preprocessing(Image.fromarray(picture))


def load_bare(settings: ServerSettings, backend: str) -> BareLoop:
    """The loop around a checkpoint, in the backend that the service has chosen for it.

    Raises:
        LookupError, ValueError: the model cannot be loaded, or not by this backend.
    """
    source, limits = f"bench={settings.model}", (settings.threads, settings.max_batch_size)
    if backend in RUNTIMES:
        file = exported(source, dtype="float32" if backend == "openvino" else settings.dtype)
        opened = _open_onnx(file, backend, settings.device, settings.dtype)
        return BareLoop(opened.card.preprocessing, opened.logits, *limits)
    limit_threads()
    classifier = load_model(source, device=settings.device, dtype=settings.dtype, backend=backend)

    def logits(pixels: Pixels) -> Logits:
        found: Logits = classifier.logits(pixels).numpy(force=True)
        return found

    return BareLoop(classifier.preprocessing, logits, *limits)


def _open_onnx(file: Path, backend: str, device: str, dtype: str) -> OnnxModel:
    if backend == "openvino":
        from ...models.onnx.openvino_model import OpenVINOModel

        return OpenVINOModel(file, dtype=dtype)
    from ...models.onnx.onnxruntime_model import OnnxSession

    return OnnxSession(file, device=device, tensorrt=backend == "tensorrt")
