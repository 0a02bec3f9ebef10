"""`tessella classify`: the engine of the service on files, without the service."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .engine import AsyncEngine
from .errors import ServiceError
from .predictions import Classification


def classify_files(
    paths: Sequence[Path], source: str, top_k: int, *, device: str, backend: str, dtype: str
) -> list[dict[str, Any]]:
    """One document per file, in order: `file` and either `predictions` or `error` and `error_type`.

    Raises:
        LookupError, ValueError: the model cannot be found or loaded.
        OSError: a file cannot be read.
    """
    return asyncio.run(_classify(paths, source, top_k, device, backend, dtype))


async def _classify(
    paths: Sequence[Path], source: str, top_k: int, device: str, backend: str, dtype: str
) -> list[dict[str, Any]]:
    images = [path.read_bytes() for path in paths]
    engine = await AsyncEngine.load(source, device=device, backend=backend, dtype=dtype, max_queue=len(images))
    try:
        results = await engine.classify_many(images, top_k=top_k)
    finally:
        await engine.close()
    return [{"file": str(path), **_document(result)} for path, result in zip(paths, results, strict=True)]


def _document(result: Classification | ServiceError) -> dict[str, Any]:
    if isinstance(result, ServiceError):
        return {"error": str(result), "error_type": result.error_type}
    return {"predictions": [asdict(prediction) for prediction in result.predictions]}
