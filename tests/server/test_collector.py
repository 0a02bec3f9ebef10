"""The garbage collector passes over what a process has for good, and unloaded models are freed without it."""

import asyncio
import gc
import re
import time
import weakref
from pathlib import Path

import pytest

from tessella.server.engine import AsyncEngine

from .live import Process

_TELL_AT_THE_END = """
import atexit, gc, sys
atexit.register(lambda: print("spared", gc.get_freeze_count(), file=sys.stderr, flush=True))
"""
MANY = 10_000


@pytest.mark.parametrize(("frontends", "processes"), [(0, 1), (1, 2)])
def test_every_process_that_answers_spares_what_it_has_loaded(tmp_path: Path, frontends: int, processes: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(_TELL_AT_THE_END)
    options = ("--frontends", str(frontends), "--device", "cpu", "--backend", "torch", "--model", "digits-vit")
    process = Process(*options, PYTHONPATH=str(tmp_path))
    try:
        process.ready()
    finally:
        process.stop()
    end = time.monotonic() + 10
    while (spared := _spared(process)).count(True) < processes and time.monotonic() < end:
        time.sleep(0.05)
    assert spared.count(True) == processes, "".join(process.said)


def _spared(process: Process) -> list[bool]:
    return [int(found[1]) > MANY for line in list(process.said) if (found := re.search(r"^spared (\d+)", line))]


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_a_closed_engine_is_freed_without_the_collector(backend: str) -> None:
    pytest.importorskip(backend)

    async def load_and_close() -> list[weakref.ref[object]]:
        engine = await AsyncEngine.load("digits-vit", device="cpu", dtype="float32", backend=backend)
        gc.disable()
        runner = engine.port._unwrapped  # type: ignore[attr-defined]
        references = [weakref.ref(one) for one in (engine, engine.port, runner, runner._model)]
        await engine.close()
        return references

    try:
        assert [reference() for reference in asyncio.run(load_and_close())] == [None] * 4
    finally:
        gc.enable()
