"""What the handlers of one service share."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from .repository import ModelRepository
from .settings import Settings


@dataclass(slots=True)
class Service:
    """One running service. `draining`: it is shutting down and takes nothing new."""

    settings: Settings
    repository: ModelRepository
    draining: bool = False


def service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)
