"""Everything that can be set about the service: one frozen object, built once, from options, environment and file."""

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
    """Command-line options win over `TESSELLA_*` variables, which win over `tessella.toml` in the working directory."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, toml_file=FILE, frozen=True, extra="forbid")

    model: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("digits-vit", "digits-tnt"),
        description="shipped name, file, folder, hub id or name=source; repeat for several",
    )
    models: dict[str, Versions] = Field(
        default={}, description="served name -> source, or source and version, or several of these"
    )
    aliases: dict[str, str] = Field(
        default={},
        description="further name -> served name or name:version; 'default' is what answers where none is named",
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    grpc_port: int | None = Field(
        default=None, ge=0, le=65535, description="port for gRPC (extra grpc), by default none; 0 takes a free one"
    )
    device: str = Field(default="auto", description="auto, cpu or cuda:0")
    backend: Literal["auto", "triton", "torch", "onnxruntime", "tensorrt", "openvino"] = Field(
        default="auto", description="what runs the model"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="arithmetic of the model; auto takes what gains on this machine"
    )
    batch_invariant: bool = Field(
        default=False,
        description="an image's answer is the same, bit for bit, whatever else is in its batch (triton only)",
    )
    architecture: str | None = Field(default=None, description="timm's name, for checkpoints that do not say theirs")
    image_size: int | None = Field(default=None, ge=1, description="of the square, in pixels; by default each model's")
    max_batch_size: int | None = Field(
        default=None,
        ge=1,
        description="most images of one model call; by default 32, and on a CPU what was measured to gain",
    )
    max_queue_delay_ms: float = Field(
        default=0, ge=0, description="longest time an image may be held back so that a batch grows; 0: never"
    )
    max_queue: int = Field(default=1024, ge=1, description="most images accepted at once; more are answered 429")
    max_queue_bytes: int = Field(
        default=512 * 2**20,
        ge=1,
        description="most bytes of bodies held at once (at least one body); more: 429",
    )
    max_images: int = Field(default=64, ge=1, description="most images of one request")
    max_body_bytes: int = Field(default=64 * 2**20, ge=1, description="largest request body, in bytes")
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, description="largest image, in pixels")
    scaled_decode: bool = Field(
        default=False, description="decode large JPEGs at a half, a quarter or an eighth: quicker, other pixels"
    )
    max_gpu_resize_pixels: int = Field(
        default=DEFAULT_MAX_GPU_RESIZE_PIXELS,
        ge=0,
        description="largest image, in pixels, that backend triton resizes on its device; 0: none",
    )
    decode_threads: int | None = Field(default=None, ge=1, description="threads that decode; by default one per core")
    timeout_ms: float = Field(
        default=60_000,
        gt=0,
        description="a request's time, where it names none; its head and a pause in its body may last as long; in ms",
    )
    api_key: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="a key that requests must carry; repeat for several"
    )
    api_key_file: Path | None = Field(default=None, description="a file with further keys, one a line")
    rate_limit: float | None = Field(
        default=None, gt=0, description="requests/s of each API key, bursts of one second's worth; more: 429"
    )
    cors_origin: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="web origins whose pages may call the service, such as https://example.org; * for all"
    )
    image_url_host: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="host whose image URLs are fetched, such as images.example.org or *.example.org"
    )
    image_url_timeout: float = Field(default=5, gt=0, description="seconds for fetching one image")
    tls_certificate: Path | None = Field(default=None, description="PEM file; with tls_key, speaks HTTPS")
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's private key")
    log_format: LogFormat = Field(default="text", description="log lines for people, or json for machines")
    otlp_endpoint: str | None = Field(
        default=None, description="OTLP/HTTP collector that gets traces, such as http://localhost:4318 (extra otel)"
    )
    access_log: bool = Field(default=False, description="one log line per request, with its id and times")
    frontends: int | None = Field(
        default=None, ge=0, le=64, description="front-end processes; 0: one process does all, as it is on a CPU"
    )
    load_timeout: float = Field(
        default=600, gt=0, description="seconds after which a load is given up that was asked for at run time"
    )
    drain_delay: float = Field(default=0, ge=0, description="seconds it still serves, not ready, before it stops")
    hang_timeout: float = Field(default=60, gt=0, description="seconds after which a silent process is restarted")
    drain_timeout: float = Field(default=30, ge=0, description="seconds that accepted requests get on shutdown")

    @field_validator("model", "api_key", "cors_origin", "image_url_host", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """`TESSELLA_MODEL=a,b` names two models."""
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("api_key")
    @classmethod
    def _no_key_is_empty(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not all(keys):
            raise ValueError("an empty key would let in everybody; leave it out where none is wanted")
        return keys

    @model_validator(mode="after")
    def _rates_need_keys(self) -> Self:
        if self.rate_limit and not (self.api_key or self.api_key_file):
            raise ValueError("rate_limit holds for each API key, and none is set: add api_key or api_key_file")
        return self

    @model_validator(mode="before")
    @classmethod
    def _models_replace_the_shipped(cls, values: Any) -> Any:
        return {"model": ()} | values if isinstance(values, dict) and values.get("models") else values

    @model_validator(mode="after")
    def _something_is_served(self) -> Self:
        if not self.model and not self.models:
            raise ValueError("model: name at least one, here or under [models]")
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
    """`TESSELLA_*` variables that no setting reads: most likely misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def frontend_queue_size(settings: Settings) -> int:
    """Images that one front end accepts at once."""
    return -(-settings.max_queue // max(1, settings.frontends or 1))
