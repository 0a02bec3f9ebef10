"""Model list route `GET /v1/models`, in the shape of OpenAI's API."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ..http.service import service_of

router = APIRouter(tags=["OpenAI"])


class ModelEntry(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="start of the service's process, in seconds since 1970")]
    owned_by: str = "tessella"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelEntry]


@router.get("/v1/models", summary="List the served models, in the shape of OpenAI's API")
async def model_list(request: Request) -> ModelList:
    """Names that `model` of a request may have; `GET /models` describes the models."""
    service = service_of(request)
    return ModelList(data=[ModelEntry(id=name, created=service.started_at) for name in service.repository.models])
