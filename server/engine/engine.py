"""Images in, answers out: admission, decoding in threads, one batched model. Knows no HTTP; embed it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
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
    """One model behind a batching queue, for use from one event loop.

    Args:
        instance: where pixels are handed in; `start`ed.
        name: what clients call the model; `version` tells it from others of that name.
        max_queue: most images in the engine at once; more are refused with Overloaded before any work is done.
        decode_threads: threads that decode and preprocess; default: one per core this process may use.
        max_pixels: largest image, in pixels, that is decoded.
        scaled_decode: large JPEGs are decoded at a fraction of their size: quicker, and pixels differ a little.
        max_gpu_resize_pixels: largest image, in pixels, that the model resizes itself, if it can; 0: none.
        metrics: where requests are counted; default: nowhere that anybody sees.
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
        self._instance = instance
        self._recorder = RequestRecorder(metrics or Metrics(), name, version)
        left = max_gpu_resize_pixels if instance.info.resizes else 0
        self._decoders = DecodePool(
            instance.info.preprocessing, name, decode_threads, max_pixels, scaled=scaled_decode, left=left
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
        max_batch_size: int | None = None,
        max_delay: float = 0.0,
        **limits: Unpack[EngineLimits],
    ) -> Self:
        """Loads a checkpoint without blocking the event loop and starts: `await AsyncEngine.load("digits-vit")`.

        Cancelled, it goes on in a thread of its own, and what it has loaded in the end is closed.

        Raises:
            LookupError, ValueError: the model cannot be found or loaded.
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
            max_delay=max_delay,
            metrics=limits.get("metrics"),
        )
        worker = await run_in_thread(load, Worker.close)
        return cls(worker, name=name, version=version, **limits)

    async def close(self) -> None:
        """Refuses new images, answers those it has, ends its threads."""
        await self.admission.close()
        await asyncio.to_thread(self._instance.close)
        self._decoders.close()

    @property
    def available(self) -> bool:
        """False while the process that runs the model is being restarted."""
        return self._instance.available

    @property
    def instance(self) -> ModelInstance:
        """Where it hands in pixels."""
        return self._instance

    @property
    def waiting(self) -> int:
        """Images that are decoded and wait for the model."""
        return self._instance.waiting

    async def classify(
        self, image: bytes, *, top_k: int = 5, timeout: float | None = None, priority: int = 0
    ) -> Classification:
        """The most likely classes of one encoded image.

        Args:
            image: the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file.
            top_k: how many classes, most likely first; never more than the model has.
            timeout: seconds after which the answer is no longer wanted.
            priority: 1 is most urgent, 0 the default.

        Raises:
            ServiceError: as the class that names the reason (`server/errors.py`).
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
        """As `classify` for several images; results in their order. An image that fails takes no other with it.

        Args:
            function: makes scores of logits.
            explain: ATTENTION or ROLLOUT, in a model call of its own after each answer.

        Raises:
            NotReady, Overloaded, DeadlineExceeded: for the request as a whole.
            TaskNotSupported: the model has no classes, or does not tell what it attends to.
        """
        deadline = _deadline(timeout)

        async def one(image: bytes) -> Classification | ServiceError:
            output = await self._run_one(image, Task.LOGITS, priority, deadline, explain)
            if isinstance(output, ServiceError):
                return output
            return self._recorded(Classification.of(output, self.info.labels, top_k, function))

        for task in (Task.LOGITS, *([explain] if explain else [])):
            self.require(task)
        return await self._answer(images, one, timeout)

    async def run_many(
        self, images: Sequence[bytes], task: Task, *, timeout: float | None = None, priority: int = 0
    ) -> list[Output | ServiceError]:
        """What the model gives for each image, as it is; otherwise as `classify_many`.

        Args:
            task: one of `info.results`, which also has the shape of each result.

        Raises:
            NotReady, Overloaded, DeadlineExceeded: for the request as a whole.
            TaskNotSupported: the model does not do this.
        """
        self.require(task)
        return await self._answer(images, partial(self._output_of, task, priority, _deadline(timeout)), timeout)

    async def run_all(
        self, images: Sequence[bytes | Pixels], task: Task, *, timeout: float | None = None, priority: int = 0
    ) -> list[Output]:
        """As `run_many`, but an image that fails takes the request with it. Pixels: (H, W, 3), what the network sees.

        Raises:
            ServiceError: of the first image that failed, or as `run_many`.
        """
        self.require(task)
        results = await self._answer(
            images, partial(self._output_of, task, priority, _deadline(timeout)), timeout, whole=True
        )
        return [result for result in results if not isinstance(result, ServiceError)]

    def require(self, task: Task) -> None:
        """Raises TaskNotSupported where the model does not do this."""
        if task in self.info.results:
            return
        error = TaskNotSupported(
            f"model {self.name!r} does not support {task}: with backend {self.info.backend} it supports "
            f"{', '.join(map(str, self.info.results))}"
        )
        self._recorder.failed(error)
        raise error

    async def _answer(
        self,
        images: Sequence[E],
        one: Callable[[E], Awaitable[A | ServiceError]],
        timeout: float | None,
        *,
        whole: bool = False,
    ) -> list[A | ServiceError]:
        started = time.perf_counter()
        try:
            with self.admission.reserve(len(images)):
                async with asyncio.timeout(timeout):
                    results = await asyncio.gather(*map(one, images))
                if any(isinstance(result, DeadlineExceeded) for result in results):
                    raise TimeoutError
            if whole or all(isinstance(result, NotReady) for result in results):  # its engine has died: ask again
                raise_first_error(results)
        except TimeoutError as error:
            late = DeadlineExceeded(f"the request timed out after {timeout} s")
            self._recorder.failed(late, time.perf_counter() - started)
            raise late from error
        except ServiceError as error:
            self._recorder.failed(error, time.perf_counter() - started)
            raise
        self._recorder.answered(results, time.perf_counter() - started)
        return results

    async def _run_one(
        self, image: bytes | Pixels, task: Task, priority: int, deadline: float | None, explain: Task | None = None
    ) -> Output | ServiceError:
        explanation: Explanation | None = None
        try:
            decoded = await self._decoders.frame(image, ready=explain is not None)
            inference = await self._infer(decoded.frame, task, priority, deadline)
            if explain is not None:  # after the answer: an image takes one place at a time
                attended = await self._infer(decoded.frame, explain, priority, deadline)
                explanation = await self._decoders.draw(explain, decoded.frame.pixels, attended.values)
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

    async def _infer(self, frame: InputImage, task: Task, priority: int, deadline: float | None) -> Inference:
        return await asyncio.wrap_future(self._instance.submit(frame, priority=priority, task=task, deadline=deadline))

    async def _output_of(
        self, task: Task, priority: int, deadline: float | None, image: bytes | Pixels
    ) -> Output | ServiceError:
        output = await self._run_one(image, task, priority, deadline)
        return output if isinstance(output, ServiceError) else self._recorded(output)

    def _recorded(self, answer: A) -> A:
        record_stages(answer.stages, model=self.name, batch_size=answer.batch_size)
        return answer


def _deadline(timeout: float | None) -> float | None:
    """Of `time.monotonic`."""
    return None if timeout is None else time.monotonic() + timeout
