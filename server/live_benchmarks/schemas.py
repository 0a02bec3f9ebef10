"""Benchmark schemas: the request, and the state and results of a run."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

BatchSize = Annotated[int, Field(ge=1, le=4096)]
State = Literal["queued", "running", "done", "cancelled", "failed"]
ENDED: tuple[State, ...] = ("done", "cancelled", "failed")


class BenchmarkRequest(BaseModel):
    """Benchmark request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str | None, Field(description="name of a served model; default: the default model")] = None
    batch_sizes: Annotated[
        list[BatchSize],
        Field(
            min_length=1,
            max_length=16,
            description="batch sizes to measure, each at most the model's maximum; the default leaves out larger ones",
        ),
    ] = [1, 2, 4, 8]
    iterations: Annotated[int, Field(ge=1, le=10_000, description="timed model calls per batch size")] = 50
    warmup: Annotated[int, Field(ge=1, le=1000, description="untimed model calls before them")] = 5
    against: Annotated[
        Literal["eager"] | None,
        Field(description="baseline to compare with: eager runs the published network in eager PyTorch, interleaved"),
    ] = None
    dtype: Annotated[str | None, Field(description="reject the request unless the model is served in this dtype")] = (
        None
    )
    force: Annotated[bool, Field(strict=True, description="start even if the service is processing requests")] = False


class BenchmarkRow(BaseModel):
    """Results of one batch size. Times are whole model calls, from host pixels to host logits, in milliseconds."""

    batch_size: int
    iterations: int
    first_ms: Annotated[float, Field(description="first call with this batch size, with compilation and graph capture")]
    p50_ms: float
    p95_ms: float
    p99_ms: float
    spread: Annotated[float, Field(description="half the interquartile range divided by the median")]
    images_per_second: Annotated[float, Field(description="throughput at the median")]
    roofline_percent: Annotated[
        float | None,
        Field(description="operations of the published network per second at the median, in percent of matrix_rate"),
    ] = None
    eager_p50_ms: float | None = None
    eager_images_per_second: float | None = None
    speedup: Annotated[
        float | None, Field(description="median time of eager PyTorch divided by the served model's")
    ] = None


class Run(BaseModel):
    """Benchmark run: its request, state and results so far."""

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
    seconds: Annotated[float, Field(description="duration so far, in seconds")] = 0.0
    stage: Annotated[str, Field(description="current step, as text")] = "queued"
    done: Annotated[int, Field(description="completed model calls")] = 0
    total: Annotated[int, Field(description="total model calls")] = 0
    matrix_rate: Annotated[
        float | None, Field(description="operations per second of a large matrix multiplication, measured in this run")
    ] = None
    difference: Annotated[
        float | None, Field(description="relative RMS difference of the logits from those of eager PyTorch")
    ] = None
    rows: list[BenchmarkRow] = []
    error: Annotated[str | None, Field(description="reason of the failure")] = None

    @property
    def served(self) -> str:
        """Model as `name:version`."""
        return f"{self.model}:{self.version}"

    @property
    def ended(self) -> bool:
        """True if the run is done, cancelled or failed."""
        return self.state in ENDED


class BenchmarksResponse(BaseModel):
    """List of benchmark runs."""

    benchmarks: Annotated[list[Run], Field(description="newest first; only the last runs are kept")]
