"""A benchmark as it goes over the wire: what is asked for, and what is known of one run."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

BatchSize = Annotated[int, Field(ge=1, le=4096)]
State = Literal["queued", "running", "done", "cancelled", "failed"]
ENDED: tuple[State, ...] = ("done", "cancelled", "failed")


class BenchmarkRequest(BaseModel):
    """What to measure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str | None, Field(description="a served model's name; default: the first one served")] = None
    batch_sizes: Annotated[
        list[BatchSize],
        Field(
            min_length=1,
            max_length=16,
            description="images of one model call; each, or by default those, at most the model's largest",
        ),
    ] = [1, 2, 4, 8]
    iterations: Annotated[int, Field(ge=1, le=10_000, description="timed model calls for each batch size")] = 50
    warmup: Annotated[int, Field(ge=1, le=1000, description="calls before them that are not timed")] = 5
    against: Annotated[
        Literal["eager"] | None, Field(description="also time the network as published, in eager PyTorch, in turns")
    ] = None
    dtype: Annotated[str | None, Field(description="refuse unless the model is served in this dtype")] = None
    force: Annotated[bool, Field(strict=True, description="start although the service is answering requests")] = False


class BenchmarkRow(BaseModel):
    """One batch size. Times are of whole model calls, from pixels in memory to logits in memory, in milliseconds."""

    batch_size: int
    iterations: int
    first_ms: Annotated[float, Field(description="the first call with this batch size: compiling and capturing too")]
    p50_ms: float
    p95_ms: float
    p99_ms: float
    spread: Annotated[float, Field(description="half the distance between the quartiles, as a part of the median")]
    images_per_second: Annotated[float, Field(description="at the median")]
    roofline_percent: Annotated[
        float | None,
        Field(description="operations of the published network per second, in percent of matrix_rate, at the median"),
    ] = None
    eager_p50_ms: float | None = None
    eager_images_per_second: float | None = None
    speedup: Annotated[float | None, Field(description="median of eager PyTorch over the served model's")] = None


class Run(BaseModel):
    """One benchmark, as far as it has come."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: State = "queued"
    request: BenchmarkRequest
    model: str
    version: int = 1
    backend: str
    device: str
    dtype: str
    created_at: Annotated[str, Field(description="ISO 8601, UTC")]
    seconds: Annotated[float, Field(description="since it began")] = 0.0
    stage: Annotated[str, Field(description="what it is doing, for people")] = "waiting for its turn"
    done: Annotated[int, Field(description="model calls so far")] = 0
    total: Annotated[int, Field(description="model calls in all")] = 0
    matrix_rate: Annotated[
        float | None, Field(description="operations per second of one large matrix product, measured in this run")
    ] = None
    difference: Annotated[
        float | None, Field(description="from eager PyTorch's logits: rms of the differences over their rms")
    ] = None
    rows: list[BenchmarkRow] = []
    error: Annotated[str | None, Field(description="why it failed")] = None

    @property
    def served(self) -> str:
        """The model as `name:version`."""
        return f"{self.model}:{self.version}"

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class BenchmarksResponse(BaseModel):
    benchmarks: Annotated[list[Run], Field(description="newest first; the oldest are forgotten")]
