"""Service settings: one frozen object from command-line options, environment variables and `tessella.toml`."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ..models.preprocessing.decode import DEFAULT_MAX_PIXELS
from ..models.preprocessing.images import DEFAULT_MAX_GPU_RESIZE_PIXELS
from .model_names import Versions
from .observability.logs import LogFormat

PREFIX = "TESSELLA_"
FILE = "tessella.toml"


class Settings(BaseSettings):
    """Service settings: options override `TESSELLA_*` variables, which override the file `tessella.toml`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, toml_file=FILE, frozen=True, extra="forbid")

    model: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("digits-vit", "digits-tnt"),
        description="model to serve: shipped name, file, folder, hub id or name=source; repeat for several",
    )
    models: dict[str, Versions] = Field(
        default={}, description="served name -> source, table of source and version, or list of these"
    )
    aliases: dict[str, str] = Field(
        default={},
        description="alias -> served name or name:version; 'default' is the model of requests that name none",
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    grpc_port: int | None = Field(
        default=None, ge=0, le=65535, description="port for gRPC (extra grpc); 0 picks a free one; unset: no gRPC"
    )
    device: str = Field(
        default="auto", description="device: auto, cpu or cuda:0; comma-separated for several, such as cuda:0,cuda:1"
    )
    backend: Literal["auto", "triton", "torch", "onnxruntime", "tensorrt", "openvino"] = Field(
        default="auto", description="inference backend; auto: on a CPU by rule or table, see docs/onnx.md"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="data type of the computation; auto: by device and network size, see docs/onnx.md",
    )
    backend_timings: Path | None = Field(
        default=None,
        description="file of `tessella tune --device cpu` with measured backends; unset: the one in the cache folder",
    )
    batch_invariant: bool = Field(
        default=False,
        description="results are bit-for-bit independent of the rest of the batch (backend triton only)",
    )
    architecture: str | None = Field(
        default=None, description="timm architecture name, for checkpoints that do not contain one"
    )
    image_size: int | None = Field(
        default=None, ge=1, description="side of the square input image, in pixels; unset: the model's own"
    )
    max_batch_size: int | None = Field(
        default=None,
        ge=1,
        description="maximum images per model call; unset: 32, for large networks on a CPU by rule or table",
    )
    max_queue_delay_ms: float = Field(
        default=0, ge=0, description="maximum time to wait for a fuller batch, in ms; 0 disables waiting"
    )
    max_queue: int = Field(
        default=1024, ge=1, description="maximum images in the service at once; more are rejected with 429"
    )
    max_queue_bytes: int = Field(
        default=512 * 2**20,
        ge=1,
        description="maximum bytes of request bodies held at once, at least one body; more are rejected with 429",
    )
    max_images: int = Field(default=64, ge=1, description="maximum images per request")
    max_body_bytes: int = Field(default=64 * 2**20, ge=1, description="maximum size of a request body, in bytes")
    max_pixels: int = Field(
        default=DEFAULT_MAX_PIXELS, ge=1, description="maximum size of an image, in pixels (width x height)"
    )
    scaled_decode: bool = Field(
        default=False,
        description="decode large JPEGs at 1/2, 1/4 or 1/8 of their size: faster, changes pixel values slightly",
    )
    max_gpu_resize_pixels: int = Field(
        default=DEFAULT_MAX_GPU_RESIZE_PIXELS,
        ge=0,
        description="maximum size of an image that backend triton resizes on the GPU, in pixels; 0 disables it",
    )
    decode_threads: int | None = Field(
        default=None, ge=1, description="decoding threads per model; unset: one per CPU core"
    )
    timeout_ms: float = Field(
        default=60_000,
        gt=0,
        description="default request timeout in ms; also limits reading headers and gaps in the body",
    )
    api_key: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="API key that requests must carry; repeat for several; unset: no authentication"
    )
    api_key_file: Path | None = Field(default=None, description="file with further API keys, one per line")
    rate_limit: float | None = Field(
        default=None,
        gt=0,
        description="maximum requests per second per API key, in bursts of at most one second's worth; unset: no limit",
    )
    cors_origin: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="allowed CORS origin, such as https://example.org; * for all; repeat for several; unset: none",
    )
    image_url_host: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="host from which image URLs are fetched, such as images.example.org or *.example.org; unset: none",
    )
    image_url_timeout: float = Field(default=5, gt=0, description="timeout for fetching one image URL, in seconds")
    tls_certificate: Path | None = Field(
        default=None, description="PEM file with the TLS certificate; with tls_key, enables HTTPS"
    )
    tls_key: Path | None = Field(default=None, description="PEM file with the certificate's private key")
    log_format: LogFormat = Field(
        default="text", description="log format: human-readable text or one JSON object per line"
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="OTLP/HTTP endpoint for traces, such as http://localhost:4318 (extra otel); unset: no tracing",
    )
    access_log: bool = Field(default=False, description="log one line per request, with its id and timings")
    frontends: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="front-end processes; 0: one process serves all; unset: 0 on a CPU, else one per four cores",
    )
    load_timeout: float = Field(default=600, gt=0, description="timeout for loading a model at run time, in seconds")
    drain_delay: float = Field(
        default=0, ge=0, description="delay between SIGTERM, when readiness fails, and the end of serving, in seconds"
    )
    hang_timeout: float = Field(
        default=60, gt=0, description="time without a heartbeat after which a process is restarted, in seconds"
    )
    drain_timeout: float = Field(default=30, ge=0, description="timeout for requests in flight on shutdown, in seconds")

    @field_validator("model", "api_key", "cors_origin", "image_url_host", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Split a comma-separated string: `TESSELLA_MODEL=a,b` names two models."""
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("api_key")
    @classmethod
    def _reject_empty_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not all(keys):
            raise ValueError("an empty API key would admit everyone; to disable authentication, set none")
        return keys

    @model_validator(mode="after")
    def _require_keys_for_rate_limit(self) -> Self:
        if self.rate_limit and not (self.api_key or self.api_key_file):
            raise ValueError("rate_limit applies to each API key, and none is set: add api_key or api_key_file")
        return self

    @model_validator(mode="before")
    @classmethod
    def _drop_default_model(cls, values: Any) -> Any:
        return {"model": ()} | values if isinstance(values, dict) and values.get("models") else values

    @model_validator(mode="after")
    def _require_a_model(self) -> Self:
        if not self.model and not self.models:
            raise ValueError("no model is set: name at least one with model or under [models]")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        try:
            file_settings = TomlConfigSettingsSource(settings_cls)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{FILE} is not valid TOML: {error}") from error
        return init_settings, env_settings, file_settings


def unknown_variables() -> list[str]:
    """Environment variables `TESSELLA_*` that match no setting: most likely misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def frontend_queue_size(settings: Settings) -> int:
    """Maximum images that one front end accepts at once: its share of `max_queue`."""
    return -(-settings.max_queue // max(1, settings.frontends or 1))
