"""JSON schemas of requests and responses, as pydantic models that /docs shows."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ModelName = Annotated[str | None, Field(description="name of a served model; default: the service's default model")]
TopK = Annotated[int, Field(ge=1, le=100_000, description="number of classes to return, most likely first")]


class ClassifyParameters(BaseModel):
    """Parameters of a request, in the query string or as `parameters` of a JSON body, which takes precedence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelName = None
    top_k: TopK = 5
    timeout_ms: Annotated[
        float | None, Field(gt=0, le=3_600_000, description="request timeout in ms, after which the status is 504")
    ] = None
    explain: Annotated[
        Literal["attention", "rollout"] | None,
        Field(description="also return attention maps: of the class token in each layer, or attention rollout"),
    ] = None
    priority: Annotated[
        int, Field(ge=0, le=100, description="1 is the highest priority, 100 the lowest; 0: the default, 50")
    ] = 0


class ClassifyRequest(BaseModel):
    """JSON request: images as base64 or data URIs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: str | list[str]
    parameters: ClassifyParameters = ClassifyParameters()


class ClassScore(BaseModel):
    label: str
    index: int
    score: Annotated[float, Field(description="softmax probability, 0 to 1")]


class ExplanationResponse(BaseModel):
    """Attention maps, computed in a separate call by the network as published."""

    method: Literal["attention", "rollout"]
    layers: Annotated[int, Field(description="number of layers; the overlay shows the last one")]
    grid: Annotated[list[int], Field(description="rows and columns of the patch grid", examples=[[14, 14]])]
    values: Annotated[
        list[list[list[float]]],
        Field(description="attention to each patch, without the class token: (layers, rows, columns)"),
    ]
    overlay_png: Annotated[
        str, Field(description="attention map of the last layer over the preprocessed image, as base64")
    ]


class Predictions(BaseModel):
    predictions: list[ClassScore]
    explain: Annotated[ExplanationResponse | None, Field(description="present if requested")] = None


class ErrorResponse(BaseModel):
    """Error of a request, or of one image among several."""

    error: Annotated[str, Field(description="message for people")]
    error_type: Annotated[str, Field(description="machine-readable error code", examples=["invalid_image"])]


class OpenAIError(BaseModel):
    message: Annotated[str, Field(description="message for people")]
    type: Annotated[str, Field(description="machine-readable error code", examples=["invalid_image"])]
    param: None = None
    code: str


class OpenAIErrorResponse(BaseModel):
    """Error in the shape that OpenAI's clients read."""

    error: OpenAIError


class Timings(BaseModel):
    """Timings of a request in milliseconds; of several images, the maximum of each."""

    decode: float
    queue: float
    inference: float
    total: float


class ClassifyResponse(BaseModel):
    id: Annotated[str, Field(description="request id, also in the header x-request-id")]
    model: str
    results: Annotated[list[Predictions | ErrorResponse], Field(description="one per image, in the order sent")]
    batch_sizes: Annotated[
        list[int], Field(description="size of the batch in which each image was computed; 0 for an error")
    ]
    timings_ms: Timings


class LoadRequest(BaseModel):
    """Model to load under a name."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"source": "./checkpoint.safetensors"}]}
    )

    source: Annotated[
        str | None,
        Field(
            min_length=1,
            description="model source, as for --model; default: the source of the loaded model, or else its name",
        ),
    ] = None
    version: Annotated[
        int | None,
        Field(ge=1, lt=10**9, description="version to load beside others; default: replace the current version"),
    ] = None


class AliasRequest(BaseModel):
    """Target of an alias."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"model": "cats:2"}]})

    model: Annotated[str, Field(min_length=1, description="name of a loaded model, or name:version")]


class ModelResponse(BaseModel):
    """Description of a served model. The fields from `family` on are null until the model is loaded."""

    name: str
    version: int
    versions: Annotated[list[int], Field(description="loaded versions of this name; select one as name:version")]
    state: Literal["loading", "ready", "failed", "unloaded"]
    family: Annotated[str | None, Field(examples=["vit", "tnt"])] = None
    parameters: int | None = None
    config: dict[str, Any] | None = None
    labels: list[str] | None = None
    preprocessing: dict[str, Any] | None = None
    backend: str | None = None
    device: str | None = None
    dtype: str | None = None
    choice: Annotated[str | None, Field(description="how backend and dtype were chosen")] = None
    max_batch_size: int | None = None
    batch_buckets: Annotated[
        list[int] | None, Field(description="batch sizes for which the model is compiled; empty: any size")
    ] = None


class ModelsResponse(BaseModel):
    default: str
    aliases: Annotated[dict[str, str], Field(description="alias -> name, or name:version, of a model")]
    models: list[ModelResponse]


class HealthResponse(BaseModel):
    status: Annotated[str, Field(examples=["alive", "ready", "loading", "draining", "failed"])]
