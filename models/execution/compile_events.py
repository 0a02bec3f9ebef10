"""What is compiled, or captured as a CUDA graph, while a thread serves: a request waits for it, so somebody is told.

Every size of batch is warmed before a model is ready; what is compiled after that is a gap in the warm-up.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[str], None]
_here = threading.local()
_watching: list[Any] = []


@contextmanager
def told(listener: Listener) -> Iterator[None]:
    """Calls `listener` with the name of all that is compiled inside, in this thread."""
    before = getattr(_here, "listener", None)
    _here.listener = listener
    try:
        yield
    finally:
        _here.listener = before


def compiled(what: str) -> None:
    """Something was compiled in this thread."""
    listener: Listener | None = getattr(_here, "listener", None)
    if listener is not None:
        listener(what)


def watch_triton() -> None:
    """From now on kernels that Triton compiles, or loads from its cache, are told as well. Whoever listened before
    still does.
    """
    from triton import knobs

    if _watching and knobs.runtime.jit_post_compile_hook is _watching[-1]:
        return
    before = knobs.runtime.jit_post_compile_hook

    def hook(**compilation: Any) -> Any:
        compiled(f"kernel {compilation['fn'].name}")
        return before(**compilation) if before is not None else None

    _watching[:] = [hook]
    knobs.runtime.jit_post_compile_hook = hook
