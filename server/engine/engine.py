"""Async engine: admission, decoding in threads and dynamic batching of one model. No HTTP, so it can be embedded."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self, TypeVar, Unpack

from ...models.preprocessing.decode import DEFAULT_MAX_PIXELS
from ...models.preprocessing.images import DEFAULT_MAX_GPU_RESIZE_PIXELS, InputImage, Pixels
from ..errors import DeadlineExceeded, NotReady, ServiceError, TaskNotSupported, raise_first_error
from ..lifecycle import run_in_thread
from ..observability.metrics import Metrics
from ..observability.tracing import record_stages
from .admission import Admission
from .decode_pool import DecodePool
from .model_loader import EngineLimits, start_worker
from .request_metrics import RequestRecorder
from .results import Classification, Explanation, ImageResult, Output, ScoreFunction
from .tasks import Task
from .worker import Inference, ModelInstance, Worker

A = TypeVar("A", bound=ImageResult)
E = TypeVar("E")


class AsyncEngine:
    """Engine of one model with a batching queue, for use from one event loop.

    Args:
        instance: model instance that runs the images, already started.
        name, version: of the model, for messages, metrics and traces.
        max_queue: maximum images in the engine at once; more are rejected with Overloaded before any work is done.
        decode_threads: threads that decode and preprocess; default: one per core this process may use.
        max_pixels: maximum size of an image, in pixels.
        scaled_decode: decode large JPEGs at a fraction of their size: faster, changes pixel values slightly.
        max_gpu_resize_pixels: maximum size of an image, in pixels, that the model resizes itself, if it can; 0: none.
        metrics: destination of request metrics; default: discarded.
    """

    def __init__(
        self,
        instance: ModelInstance,
        *,
        name: str,
        version: int = 1,
        max_queue: int = 1024,
        decode_threads: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        scaled_decode: bool = False,
        max_gpu_resize_pixels: int = DEFAULT_MAX_GPU_RESIZE_PIXELS,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.info = instance.info
        self.max_batch_size = instance.max_batch_size
        self.max_queue = max_queue
        self.instance = instance
        self._recorder = RequestRecorder(metrics or Metrics(), name, version)
        self._decode_pool = DecodePool(
            instance.info.preprocessing,
            name,
            decode_threads,
            max_pixels,
            scaled_decode=scaled_decode,
            max_device_resize_pixels=max_gpu_resize_pixels if instance.info.resizes else 0,
        )
        self.admission = Admission(name, max_queue, self._recorder)

    @classmethod
    async def load(
        cls,
        source: str,
        *,
        name: str | None = None,
        version: int = 1,
        device: str = "auto",
        dtype: str = "auto",
        backend: str = "auto",
        batch_invariant: bool = False,
        architecture: str | None = None,
        image_size: int | None = None,
        backend_timings: Path | None = None,
        max_batch_size: int | None = None,
        max_delay: float = 0.0,
        **limits: Unpack[EngineLimits],
    ) -> Self:
        """Load a model in a dedicated thread and start its engine: `await AsyncEngine.load("digits-vit")`.

        If it is cancelled, the load continues in its thread, and the loaded model is closed.

        Args:
            source: shipped name, file, folder or hub id.
            device, dtype, backend, batch_invariant, architecture, image_size, backend_timings, max_batch_size: as in
                `Settings`.
            max_delay: maximum time to wait for a fuller batch, in seconds; 0 disables waiting.
            limits: as in the constructor.

        Raises:
            LookupError, ValueError: the model was not found or cannot be loaded.
        """
        name = name or source
        load = partial(
            start_worker,
            source,
            name,
            max_batch_size,
            version=version,
            device=device,
            dtype=dtype,
            backend=backend,
            batch_invariant=batch_invariant,
            architecture=architecture,
            image_size=image_size,
            backend_timings=backend_timings,
            max_delay=max_delay,
            metrics=limits.get("metrics"),
        )
        worker = await run_in_thread(load, Worker.close)
        return cls(worker, name=name, version=version, **limits)

    async def close(self) -> None:
        """Reject new images, finish those in flight, and end all threads."""
        await self.admission.close()
        await asyncio.to_thread(self.instance.close)
        self._decode_pool.close()

    @property
    def available(self) -> bool:
        """False while the process that runs the model is being restarted."""
        return self.instance.available

    @property
    def waiting(self) -> int:
        """Number of images that wait for the model."""
        return self.instance.waiting

    async def classify(
        self, image: bytes, *, top_k: int = 5, timeout: float | None = None, priority: int = 0
    ) -> Classification:
        """Classify one encoded image.

        Args:
            image: content of a JPEG, PNG, WebP, GIF, BMP or TIFF file.
            top_k: number of classes, most likely first; at most as many as the model has.
            timeout: of the request, in seconds; None: no limit.
            priority: 1 is most urgent; 0: the default, 50.

        Raises:
            ServiceError: a subclass that names the reason (`server/errors.py`).
        """
        (result,) = await self.classify_many([image], top_k=top_k, timeout=timeout, priority=priority)
        if isinstance(result, ServiceError):
            raise result
        return result

    async def classify_many(
        self,
        images: Sequence[bytes],
        *,
        top_k: int = 5,
        timeout: float | None = None,
        priority: int = 0,
        function: ScoreFunction = "softmax",
        explain: Task | None = None,
    ) -> list[Classification | ServiceError]:
        """Classify several images; one result or error per image, in order. A failed image does not affect the others.

        Args:
            function: turns logits into scores.
            explain: ATTENTION or ROLLOUT, to run a second model call for each image.

        Raises:
            NotReady, Overloaded, DeadlineExceeded: for the request as a whole.
            TaskNotSupported: the model has no classes, or does not support `explain`.
        """
        deadline = _deadline(timeout)

        async def classify_image(image: bytes) -> Classification | ServiceError:
            output = await self._run_one(image, Task.LOGITS, priority, deadline, explain)
            if isinstance(output, ServiceError):
                return output
            return self._traced(Classification.from_output(output, self.info.labels, top_k, function))

        for task in (Task.LOGITS, *([explain] if explain else [])):
            self.require(task)
        return await self._run_request(images, classify_image, timeout)

    async def run_many(
        self, images: Sequence[bytes], task: Task, *, timeout: float | None = None, priority: int = 0
    ) -> list[Output | ServiceError]:
        """Raw outputs of a task for several images; one output or error per image, as in `classify_many`.

        Args:
            task: one of `info.results`, which has the shape of its outputs.

        Raises:
            NotReady, Overloaded, DeadlineExceeded: for the request as a whole.
            TaskNotSupported: the model does not support the task.
        """
        self.require(task)
        return await self._run_request(images, partial(self._run_task, task, priority, _deadline(timeout)), timeout)

    async def run_all(
        self, images: Sequence[bytes | Pixels], task: Task, *, timeout: float | None = None, priority: int = 0
    ) -> list[Output]:
        """Raw outputs as `run_many`, but all or none.

        Args:
            images: encoded, or preprocessed pixels, uint8 (H, W, 3).

        Raises:
            ServiceError: of the first failed image, or as `run_many`.
        """
        self.require(task)
        results = await self._run_request(
            images, partial(self._run_task, task, priority, _deadline(timeout)), timeout, all_or_none=True
        )
        return [result for result in results if not isinstance(result, ServiceError)]

    def require(self, task: Task) -> None:
        """Raise TaskNotSupported if the model does not support the task."""
        if task in self.info.results:
            return
        error = TaskNotSupported(
            f"model {self.name!r} does not support {task}: with backend {self.info.backend} it supports "
            f"{', '.join(map(str, self.info.results))}"
        )
        self._recorder.record_failure(error)
        raise error

    async def _run_request(
        self,
        images: Sequence[E],
        run_image: Callable[[E], Awaitable[A | ServiceError]],
        timeout: float | None,
        *,
        all_or_none: bool = False,
    ) -> list[A | ServiceError]:
        """Admit a request, run its images concurrently, and record its metrics."""
        started = time.perf_counter()
        try:
            with self.admission.reserve(len(images)):
                async with asyncio.timeout(timeout):
                    results = await asyncio.gather(*map(run_image, images))
                if any(isinstance(result, DeadlineExceeded) for result in results):
                    raise TimeoutError
            if all_or_none or all(isinstance(result, NotReady) for result in results):  # a retry may succeed
                raise_first_error(results)
        except TimeoutError as error:
            late = DeadlineExceeded(f"the request timed out after {timeout} s")
            self._recorder.record_failure(late, time.perf_counter() - started)
            raise late from error
        except ServiceError as error:
            self._recorder.record_failure(error, time.perf_counter() - started)
            raise
        self._recorder.record_results(results, time.perf_counter() - started)
        return results

    async def _run_one(
        self, image: bytes | Pixels, task: Task, priority: int, deadline: float | None, explain: Task | None = None
    ) -> Output | ServiceError:
        explanation: Explanation | None = None
        try:
            decoded = await self._decode_pool.decode(image, preprocess=explain is not None)
            inference = await self._infer(decoded.image, task, priority, deadline)
            if explain is not None:  # not concurrently: an image takes one slot at a time
                attention = await self._infer(decoded.image, explain, priority, deadline)
                explanation = await self._decode_pool.render(explain, decoded.image.pixels, attention.values)
        except ServiceError as error:
            return error
        return Output(
            values=inference.values,
            batch_size=inference.batch_size,
            decode_seconds=decoded.decode_seconds,
            input_seconds=decoded.input_seconds,
            queue_seconds=inference.queue_seconds,
            inference_seconds=inference.inference_seconds,
            explanation=explanation,
        )

    async def _infer(self, image: InputImage, task: Task, priority: int, deadline: float | None) -> Inference:
        return await asyncio.wrap_future(self.instance.submit(image, priority=priority, task=task, deadline=deadline))

    async def _run_task(
        self, task: Task, priority: int, deadline: float | None, image: bytes | Pixels
    ) -> Output | ServiceError:
        output = await self._run_one(image, task, priority, deadline)
        return output if isinstance(output, ServiceError) else self._traced(output)

    def _traced(self, result: A) -> A:
        record_stages(result.stages, model=self.name, batch_size=result.batch_size)
        return result


def _deadline(timeout: float | None) -> float | None:
    """Deadline on the clock of `time.monotonic`."""
    return None if timeout is None else time.monotonic() + timeout
