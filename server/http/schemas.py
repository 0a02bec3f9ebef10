"""The JSON that goes over the wire: requests and answers, as pydantic models that /docs shows."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TopK = Annotated[int, Field(ge=1, le=100_000, description="how many classes to return, most likely first")]


class ClassifyParameters(BaseModel):
    """What a request may choose. In the query, or as `parameters` of a JSON body, which then win."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str | None, Field(description="a served model's name; default: the first one served")] = None
    top_k: TopK = 5
    timeout_ms: Annotated[
        float | None, Field(gt=0, le=3_600_000, description="milliseconds after which the answer is a 504")
    ] = None
    explain: Annotated[
        Literal["attention", "rollout"] | None,
        Field(description="also what the model attended to: of the class token by layer, or rolled out through layers"),
    ] = None
    priority: Annotated[int, Field(ge=0, le=100, description="1 is most urgent, 0 the default (50)")] = 0


class ClassifyBody(BaseModel):
    """The JSON form of a request: images as base64 text or data URIs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: str | list[str]
    parameters: ClassifyParameters = ClassifyParameters()


class PredictionAnswer(BaseModel):
    label: str
    index: int
    score: Annotated[float, Field(description="softmax probability, 0 to 1")]


class ExplanationAnswer(BaseModel):
    """What the model attended to, computed by the plain network in a call of its own."""

    method: Literal["attention", "rollout"]
    layers: Annotated[int, Field(description="how many; the last one is drawn")]
    grid: Annotated[list[int], Field(description="rows and columns of patches", examples=[[14, 14]])]
    values: Annotated[
        list[list[list[float]]],
        Field(description="(layers, rows, columns): shares of attention; what goes to the class token is left out"),
    ]
    overlay_png: Annotated[str, Field(description="the last layer over the image that the model saw, as base64")]


class Predictions(BaseModel):
    predictions: list[PredictionAnswer]
    explain: Annotated[ExplanationAnswer | None, Field(description="only where it was asked for")] = None


class Failure(BaseModel):
    """The shape of every error, for a whole request and for one image of several."""

    error: Annotated[str, Field(description="what was wrong, for people")]
    error_type: Annotated[str, Field(description="what was wrong, for programs", examples=["invalid_image"])]


class OpenAIError(BaseModel):
    message: Annotated[str, Field(description="what was wrong, for people")]
    type: Annotated[str, Field(description="what was wrong, for programs", examples=["invalid_image"])]
    param: None = None
    code: str


class OpenAIFailure(BaseModel):
    """The shape of an error where OpenAI's clients ask."""

    error: OpenAIError


class Timings(BaseModel):
    """Milliseconds. For several images, the largest of each."""

    decode: float
    queue: float
    inference: float
    total: float


class ClassifyAnswer(BaseModel):
    id: Annotated[str, Field(description="the request's id, also in the header x-request-id")]
    model: str
    results: Annotated[list[Predictions | Failure], Field(description="one per image, in the order sent")]
    batch_sizes: Annotated[list[int], Field(description="images in the model call of each result; 0 for an error")]
    timings_ms: Timings


class LoadBody(BaseModel):
    """What to load under a name."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"source": "./checkpoint.safetensors"}]}
    )

    source: Annotated[
        str | None, Field(min_length=1, description="as of --model; default: where the model came from, or its name")
    ] = None
    version: Annotated[
        int | None, Field(ge=1, lt=10**9, description="to serve it beside another version; default: in its place")
    ] = None


class AliasBody(BaseModel):
    """What an alias is to mean."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"model": "cats:2"}]})

    model: Annotated[str, Field(min_length=1, description="a loaded model's name, or name:version")]


class ModelAnswer(BaseModel):
    """What is served under a name. From `family` on it is null until the model is loaded."""

    name: str
    version: int
    versions: Annotated[
        list[int], Field(description="of this name, those that are loaded; ask for one as name:version")
    ]
    state: Literal["loading", "ready", "failed", "unloaded"]
    family: Annotated[str | None, Field(examples=["vit", "tnt"])] = None
    parameters: int | None = None
    config: dict[str, Any] | None = None
    labels: list[str] | None = None
    preprocessing: dict[str, Any] | None = None
    backend: str | None = None
    device: str | None = None
    dtype: str | None = None
    choice: Annotated[str | None, Field(description="how backend and dtype were chosen, for people")] = None
    max_batch_size: int | None = None
    batch_buckets: Annotated[
        list[int] | None, Field(description="sizes of batch it is compiled for; empty: any size as it comes")
    ] = None


class ModelsAnswer(BaseModel):
    default: str
    aliases: Annotated[dict[str, str], Field(description="further name -> the name that it stands for")]
    models: list[ModelAnswer]


class HealthAnswer(BaseModel):
    status: Annotated[str, Field(examples=["alive", "ready", "loading", "draining", "failed"])]
