"""Child process entry point: `python -m tessella.server.processes.child_main engine|frontend FD`.

The supervisor starts it; settings come over the control channel on file descriptor FD.
"""

import signal
import socket
import sys
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..lifecycle import exit_if_loading, run
from ..model_names import NumberedSpec
from ..observability.logs import configure_logging
from ..settings import Settings
from .control_channel import Message, receive_first


class ReceivedSettings(Settings):
    """Settings as the supervisor read them: neither the environment nor the configuration file is read again."""

    model_config = SettingsConfigDict(toml_file=None)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *others: Any, **more: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


async def _run_engine(control: socket.socket, settings: Settings, start: Message) -> None:
    from .engine_process import EngineProcess

    await EngineProcess(control, settings, _models(start)).run()


async def _run_front_end(control: socket.socket, settings: Settings, start: Message) -> None:
    from .frontend_process import FrontEndProcess

    listener = socket.socket(fileno=start["listener"])
    await FrontEndProcess(control, listener, settings, _models(start), start["aliases"], start["rate_limit_file"]).run()


def _models(start: Message) -> list[NumberedSpec]:
    return [NumberedSpec(*row) for row in start["models"]]


def main() -> None:
    kind, descriptor = sys.argv[1:]
    control = socket.socket(fileno=int(descriptor))
    for signum in (signal.SIGINT, signal.SIGTERM):  # the supervisor stops children; systemd signals every process
        signal.signal(signum, signal.SIG_IGN)
    start = receive_first(control)
    settings = ReceivedSettings(**start["settings"])
    configure_logging(settings.log_format)
    run_child = {"engine": _run_engine, "frontend": _run_front_end}[kind]
    run(run_child(control, settings, start))
    exit_if_loading(0)


if __name__ == "__main__":
    main()
