"""Child process entry point: `python -m tessella.server.processes.child_main engine|frontend FD`.

The supervisor starts it; settings come over the control channel on descriptor FD.
"""

import signal
import socket
import sys
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from ..lifecycle import run, settle
from ..model_names import NumberedSpec
from ..observability.logs import configure
from ..settings import Settings
from .control_channel import Document, receive_first


class _Given(Settings):
    """The settings that the service was started with: its environment and file may have changed since."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *others: Any, **more: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


async def _engine(control: socket.socket, settings: Settings, start: Document) -> None:
    from .engine_process import EngineProcess

    await EngineProcess(control, settings, _models(start)).run()


async def _front_end(control: socket.socket, settings: Settings, start: Document) -> None:
    from .frontend_process import FrontEnd

    listener = socket.socket(fileno=start["listener"])
    await FrontEnd(control, listener, settings, _models(start), start["aliases"], start["rate_limit_file"]).run()


def _models(start: Document) -> list[NumberedSpec]:
    return [NumberedSpec(*row) for row in start["models"]]


def main() -> None:
    kind, descriptor = sys.argv[1:]
    control = socket.socket(fileno=int(descriptor))
    for number in (signal.SIGINT, signal.SIGTERM):  # the supervisor decides when to end: systemd tells every process
        signal.signal(number, signal.SIG_IGN)
    start = receive_first(control)
    settings = _Given(**start["settings"])
    configure(settings.log_format)
    member = {"engine": _engine, "frontend": _front_end}[kind]
    run(member(control, settings, start))
    settle()


if __name__ == "__main__":
    main()
