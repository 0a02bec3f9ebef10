"""What is served: `GET /models`; and its change while the service runs: `POST /models/{name}/load` and `/unload`."""

from dataclasses import asdict

from fastapi import APIRouter, Depends, Request

from ..engine.tasks import Task
from ..errors import NotReady
from ..http.auth import require_admin
from ..http.error_responses import ERRORS
from ..http.schemas import AliasBody, LoadBody, ModelAnswer, ModelsAnswer
from ..http.service import service_of
from ..repository import ModelRepository
from ..served_model import ServedModel

router = APIRouter()
_LOAD_ERRORS = ERRORS.only(400, 401, 403, 422, 503)
_LOAD_ERRORS[422] = {**ERRORS[422], "description": "It could not be loaded; what was served before still is"}


@router.get("/models", summary="What is served")
async def models(request: Request) -> ModelsAnswer:
    repository = service_of(request).repository
    described = [_describe(model, repository) for model in repository.models.values()]
    return ModelsAnswer(default=repository.default, aliases=repository.aliases, models=described)


@router.get("/models/{name:path}", summary="One served model", responses=ERRORS.only(404))
async def model(request: Request, name: str) -> ModelAnswer:
    """By its name, an alias, or `name:version`."""
    repository = service_of(request).repository
    return _describe(repository.find(name), repository)


@router.post(
    "/models/{name:path}/load",
    summary="Load a model, or load it again",
    dependencies=[Depends(require_admin)],
    responses=_LOAD_ERRORS,
)
async def load(request: Request, name: str, body: LoadBody | None = None) -> ModelAnswer:
    """Answers once the model is warm and every new request gets it. What it replaces finishes what it has accepted."""
    service, wanted = service_of(request), body or LoadBody()
    if service.draining:
        raise NotReady("the service is shutting down")
    loaded = await service.repository.load(name, wanted.source, wanted.version)
    return _describe(loaded, service.repository)


@router.post(
    "/models/{name:path}/unload",
    summary="Unload a model",
    dependencies=[Depends(require_admin)],
    responses=ERRORS.only(401, 403, 404, 503),
)
async def unload(request: Request, name: str) -> list[ModelAnswer]:
    """All versions of `name`, or the one that `name:version` names. What they have accepted they finish."""
    repository = service_of(request).repository
    return [_describe(model, repository) for model in await repository.unload(name)]


@router.put(
    "/models/aliases/{alias:path}",
    summary="Change what an alias means",
    dependencies=[Depends(require_admin)],
    responses=ERRORS.only(400, 401, 403, 404, 503),
)
async def set_alias(request: Request, alias: str, body: AliasBody) -> dict[str, str]:
    """Answers with all aliases once every new request gets the new meaning. `default` is what answers where none is
    named."""
    return await service_of(request).repository.name(alias, body.model)


@router.delete(
    "/models/aliases/{alias:path}",
    summary="Take an alias away",
    dependencies=[Depends(require_admin)],
    responses=ERRORS.only(401, 403, 404, 503),
)
async def delete_alias(request: Request, alias: str) -> dict[str, str]:
    """Answers with the aliases that are left."""
    return await service_of(request).repository.name(alias, None)


def _describe(model: ServedModel, repository: ModelRepository) -> ModelAnswer:
    answer = ModelAnswer(
        name=model.name,
        version=model.version,
        versions=[other.version for other in repository.versions if other.name == model.name and other.engine],
        state=model.state,
    )
    if model.engine is None:
        return answer
    info = model.engine.info
    return answer.model_copy(
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
