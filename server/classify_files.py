"""Classification of files for `tessella classify`, by the service's engine without the service."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .engine.engine import AsyncEngine
from .engine.model_loader import DEFAULT_MAX_BATCH_SIZE
from .engine.results import Classification
from .errors import ServiceError


def classify_files(
    paths: Sequence[Path],
    source: str,
    top_k: int,
    *,
    device: str,
    backend: str,
    dtype: str,
    batch_invariant: bool = False,
    architecture: str | None = None,
    image_size: int | None = None,
) -> list[dict[str, Any]]:
    """Classify image files: one JSON object per file, in order.

    Args:
        source: model to run, as for `--model`.
        top_k: number of classes, most likely first.
        device, backend, dtype, batch_invariant, architecture, image_size: as in `Settings`.

    Returns:
        `file`, and either `predictions` (label, index, score) or `error` and `error_type`.

    Raises:
        LookupError, ValueError: the model was not found or cannot be loaded.
        OSError: a file cannot be read.
    """
    images = [path.read_bytes() for path in paths]
    load = AsyncEngine.load(
        source,
        device=device,
        backend=backend,
        dtype=dtype,
        batch_invariant=batch_invariant,
        architecture=architecture,
        image_size=image_size,
        max_batch_size=DEFAULT_MAX_BATCH_SIZE,  # throughput counts here, not latency
        max_queue=len(images),
    )
    return asyncio.run(_classify(paths, images, top_k, load))


async def _classify(
    paths: Sequence[Path], images: Sequence[bytes], top_k: int, load: Coroutine[Any, Any, AsyncEngine]
) -> list[dict[str, Any]]:
    engine = await load
    try:
        results = await engine.classify_many(images, top_k=top_k)
    finally:
        await engine.close()
    return [{"file": str(path), **_document(result)} for path, result in zip(paths, results, strict=True)]


def _document(result: Classification | ServiceError) -> dict[str, Any]:
    if isinstance(result, ServiceError):
        return {"error": str(result), "error_type": result.error_type}
    return {"predictions": [asdict(prediction) for prediction in result.predictions]}
