"""Compile events: a listener per thread for kernels compiled and CUDA graphs captured while the thread serves.

Every batch size is warmed up before a model is ready; a later event is a gap in the warm-up and delays a request.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[str], None]
_thread = threading.local()
_installed_hook: list[Any] = []


@contextmanager
def on_compile(listener: Listener) -> Iterator[None]:
    """Context manager: call `listener` with the name of everything that is compiled in this thread."""
    previous = getattr(_thread, "listener", None)
    _thread.listener = listener
    try:
        yield
    finally:
        _thread.listener = previous


def notify_compiled(name: str) -> None:
    """Report a compilation in this thread to its listener, if it has one."""
    listener: Listener | None = getattr(_thread, "listener", None)
    if listener is not None:
        listener(name)


def watch_triton() -> None:
    """Install a hook for kernels that Triton compiles or loads from its cache; hooks installed before still run."""
    from triton import knobs

    if _installed_hook and knobs.runtime.jit_post_compile_hook is _installed_hook[-1]:
        return
    previous = knobs.runtime.jit_post_compile_hook

    def hook(**compilation: Any) -> Any:
        notify_compiled(f"kernel {compilation['fn'].name}")
        return previous(**compilation) if previous is not None else None

    _installed_hook[:] = [hook]
    knobs.runtime.jit_post_compile_hook = hook
