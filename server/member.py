"""`python -m tessella.server.member engine|frontend FD`: what the supervisor starts. Settings come over the line FD."""

import asyncio
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from .apart import settle
from .channel import Document, receive_first
from .logs import configure
from .settings import Settings

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def _engine(control: socket.socket, settings: Settings, start: Document) -> None:
    from .engine_process import EngineProcess

    await EngineProcess(control, settings, start["models"]).run()


async def _front_end(control: socket.socket, settings: Settings, start: Document) -> None:
    from .frontend import FrontEnd

    listener = socket.socket(fileno=start["listener"])
    await FrontEnd(control, listener, settings, start["models"], start["aliases"], start["accounts"]).run()


def main() -> None:
    kind, descriptor = sys.argv[1:]
    control = socket.socket(fileno=int(descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides when to end, also on Ctrl-C
    start = receive_first(control)
    settings = Settings(**start["settings"])
    configure(settings.log_format)
    member = {"engine": _engine, "frontend": _front_end}[kind]
    run(member(control, settings, start))
    settle()


if __name__ == "__main__":
    main()
