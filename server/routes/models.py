"""Model routes below `/models`: list, load and unload models, and change aliases, while the service runs."""

from dataclasses import asdict

from fastapi import APIRouter, Depends, Request

from ..engine.tasks import Task
from ..errors import NotReady
from ..http.auth import require_admin
from ..http.error_responses import ERROR_RESPONSES
from ..http.schemas import AliasRequest, LoadRequest, ModelResponse, ModelsResponse
from ..http.service import service_of
from ..repository import ModelRepository
from ..served_model import ServedModel

router = APIRouter()
_LOAD_ERRORS = ERROR_RESPONSES.only(400, 401, 403, 422, 503)
_LOAD_ERRORS[422] = {**ERROR_RESPONSES[422], "description": "Loading failed; the models served before are unchanged"}


@router.get("/models", summary="List the served models")
async def models(request: Request) -> ModelsResponse:
    repository = service_of(request).repository
    descriptions = [_describe(model, repository) for model in repository.models.values()]
    return ModelsResponse(default=repository.default, aliases=repository.aliases, models=descriptions)


@router.get("/models/{name:path}", summary="Describe a model", responses=ERROR_RESPONSES.only(404))
async def model(request: Request, name: str) -> ModelResponse:
    """Model by its name, an alias, or `name:version`."""
    repository = service_of(request).repository
    return _describe(repository.find(name), repository)


@router.post(
    "/models/{name:path}/load",
    summary="Load or reload a model",
    dependencies=[Depends(require_admin)],
    responses=_LOAD_ERRORS,
)
async def load(request: Request, name: str, body: LoadRequest | None = None) -> ModelResponse:
    """Return once the model is warm and serves all new requests. The replaced model completes its accepted requests."""
    service, options = service_of(request), body or LoadRequest()
    if service.draining:
        raise NotReady("the service is shutting down")
    loaded = await service.repository.load(name, options.source, options.version)
    return _describe(loaded, service.repository)


@router.post(
    "/models/{name:path}/unload",
    summary="Unload a model",
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(401, 403, 404, 503),
)
async def unload(request: Request, name: str) -> list[ModelResponse]:
    """Unload all versions of `name`, or only `name:version`. Accepted requests complete."""
    repository = service_of(request).repository
    return [_describe(model, repository) for model in await repository.unload(name)]


@router.put(
    "/models/aliases/{alias:path}",
    summary="Set an alias",
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(400, 401, 403, 404, 503),
)
async def set_alias(request: Request, alias: str, body: AliasRequest) -> dict[str, str]:
    """Return all aliases once new requests use the new target. The alias `default` serves requests without a model."""
    return await service_of(request).repository.set_alias(alias, body.model)


@router.delete(
    "/models/aliases/{alias:path}",
    summary="Delete an alias",
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(401, 403, 404, 503),
)
async def delete_alias(request: Request, alias: str) -> dict[str, str]:
    """Return the remaining aliases."""
    return await service_of(request).repository.set_alias(alias, None)


def _describe(model: ServedModel, repository: ModelRepository) -> ModelResponse:
    description = ModelResponse(
        name=model.name,
        version=model.version,
        versions=[other.version for other in repository.versions if other.name == model.name and other.engine],
        state=model.state,
    )
    if model.engine is None:
        return description
    info = model.engine.info
    return description.model_copy(
        update={
            "family": info.family,
            "parameters": info.parameters,
            "config": info.config,
            "labels": list(info.labels),
            "preprocessing": asdict(info.preprocessing),
            "backend": info.backend,
            "device": info.device,
            "dtype": info.dtype,
            "choice": info.choice,
            "max_batch_size": model.engine.max_batch_size,
            "batch_buckets": list(info.buckets.get(Task.LOGITS, ())),
        }
    )
