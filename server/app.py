"""ASGI application: routes, middleware, pages and lifespan of the service. No tensors."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.responses import Response
from starlette.types import Scope

from .. import __version__
from .http.auth import ApiKeyMiddleware, ApiKeys, read_api_keys
from .http.error_responses import install_error_handlers
from .http.openapi import extend_openapi
from .http.rate_limit import RateLimiter
from .http.request_context import RESPONSE_HEADERS, RequestContextMiddleware
from .http.schemas import HealthResponse
from .http.service import Service, service_of
from .observability.gauges import update_gauges
from .observability.metrics import CONTENT_TYPE, render
from .observability.tracing import Tracing, TracingMiddleware
from .routes import benchmarks, classify, huggingface, models, nvidia_retrieval, openai_embeddings, openai_models
from .routes.open_inference import rest as open_inference

PAGES_FOLDER = Path(__file__).parent / "pages"


class Pages(StaticFiles):
    """Static files of the folder `pages`, revalidated by the browser on every load."""

    def __init__(self) -> None:
        super().__init__(directory=PAGES_FOLDER)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """File of a path, with `.html` appended if the path has no suffix and no such file exists."""
        result = super().lookup_path(path)
        return result if result[1] or "." in path else super().lookup_path(f"{path}.html")

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


PAGES = Pages()
router = APIRouter()


def create_app(service: Service, on_loaded: Callable[[], None] = lambda: None) -> FastAPI:
    """Create the ASGI application of a service, which loads the models in the background once it listens.

    Args:
        on_loaded: called when every model is loaded or has failed.
    """
    repository = service.repository
    keys = _api_keys(service)
    tracing = Tracing(service.settings.otlp_endpoint) if service.settings.otlp_endpoint else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(repository.start())
        loading.add_done_callback(lambda task: None if task.cancelled() else on_loaded())
        async with _grpc_server(service, keys):
            yield
            service.draining = True
        loading.cancel()
        if service.benchmarks:
            await service.benchmarks.close()
        await repository.close()
        service.url_fetcher.close()
        if tracing:
            await asyncio.to_thread(tracing.close)

    app = FastAPIOffline(
        title="tessella",
        version=__version__,
        summary="Vision Transformers, served",
        lifespan=lifespan,
        redoc_url=None,
        favicon_url="/ui/favicon.svg",
        static_url="/docs-assets",
    )
    app.state.service = service
    _add_middleware(app, service, keys, tracing)
    install_error_handlers(app)
    app.include_router(router)
    app.include_router(models.router)
    app.include_router(classify.router)
    app.include_router(benchmarks.router)
    # after models.router, since /models/{name} matches any path below it
    for route in (openai_embeddings, openai_models, huggingface, open_inference, nvidia_retrieval):
        app.include_router(route.router)
    app.mount("/ui", PAGES, name="pages")
    extend_openapi(app)
    return app


def _api_keys(service: Service) -> ApiKeys:
    settings = service.settings
    keys = read_api_keys(settings.api_key, settings.api_key_file)
    return ApiKeys(
        keys, RateLimiter(settings.rate_limit, len(keys), service.rate_limit_file) if settings.rate_limit else None
    )


def _add_middleware(app: FastAPI, service: Service, keys: ApiKeys, tracing: Tracing | None) -> None:
    """Add middleware, from the innermost to the outermost."""
    settings = service.settings
    app.add_middleware(ApiKeyMiddleware, keys=keys)
    if settings.cors_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origin,
            allow_headers=["*"],
            allow_methods=["*"],
            expose_headers=["retry-after", *RESPONSE_HEADERS],
        )
    if tracing:
        app.add_middleware(TracingMiddleware, tracing=tracing)
    app.add_middleware(RequestContextMiddleware)


@asynccontextmanager
async def _grpc_server(service: Service, keys: ApiKeys) -> AsyncIterator[None]:
    """Context manager: serve gRPC beside HTTP if `grpc_port` is set (extra `grpc`)."""
    if service.settings.grpc_port is None:
        yield
        return
    from .routes.open_inference.grpc_server import grpc_server

    async with grpc_server(service, keys):
        yield


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    return await PAGES.get_response("index.html", request.scope)


@router.get("/healthz", summary="Liveness of the process")
async def healthz() -> HealthResponse:
    return HealthResponse(status="alive")


@router.get(
    "/ping",
    summary="Readiness, on the path of SageMaker and TorchServe",
    response_model=HealthResponse,
    responses={503: {"model": HealthResponse}},
)
@router.get(
    "/health",
    summary="Readiness, on the path of vLLM and LitServe",
    response_model=HealthResponse,
    responses={503: {"model": HealthResponse}},
)
@router.get(
    "/readyz",
    summary="Readiness of all models",
    response_model=HealthResponse,
    responses={503: {"model": HealthResponse}},
)
async def readyz(request: Request) -> JSONResponse:
    """Status 200 if every model is loaded and warmed up; 503 while loading, after a failed load and while draining."""
    status = service_of(request).status
    return JSONResponse({"status": status}, 200 if status == "ready" else 503)


@router.get("/metrics", summary="Prometheus metrics of all processes", response_class=PlainTextResponse)
async def metrics(request: Request) -> PlainTextResponse:
    service = service_of(request)
    engines = (model.engine for model in service.repository.models.values())
    update_gauges(
        service.metrics, () if service.gather_metrics else [engine.info.device for engine in engines if engine]
    )
    return PlainTextResponse(render(await service.collect_metrics()), media_type=CONTENT_TYPE)
