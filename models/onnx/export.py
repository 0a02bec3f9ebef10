"""Export of a checkpoint to an .onnx file, verified against PyTorch before it appears."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import costs
from ..checkpoints.description import Description
from ..checkpoints.sources import Source, locate, onnx_file
from ..errors import CheckpointError
from ..execution.dtype import DTYPES
from ..execution.folded_tensors import state_arrays
from ..networks.tnt import TNT
from ..networks.vit import ViT
from ..packages import version
from ..registry import describe, load_network
from .metadata import ModelMetadata
from .onnxruntime_model import require_onnxruntime
from .verify import ExportError, ParityReport, PreprocessingParityReport, verify, verify_preprocessing

if TYPE_CHECKING:  # needs onnx_ir, which `require_onnx` reports if it is missing
    from .classifier_graph import Form

OPSETS = (20, 23)
"""Supported opsets: 20 is widely read; 23 has an Attention operator, which ONNX Runtime runs on GPUs from 1.25."""
INLINE_LIMIT = 2**31 - 2**20
"""Limit of weights inside the file, in bytes (protobuf's is 2 GiB); larger ones go to `<name>.onnx.data`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Options of an export.

    `form`: `folded`, or `plain` as published (the inner blocks of a TNT stay folded). `dtype`: of weights and
    arithmetic; LayerNorms stay float32. `quantise`: `int8` quantises weights and activations (lossy). `softmax`,
    `top_k`: further outputs beside the logits. `fusions`: ONNX Runtime's own attention operator, which other runtimes
    lack. `preprocess`: the graph takes images of any size, and resizes and crops them.

    Raises:
        ValueError: an unknown value, or options that exclude each other.
    """

    opset: int = 20
    form: "Form" = "folded"
    dtype: str = "float32"
    quantise: str | None = None
    softmax: bool = False
    top_k: int | None = None
    fusions: bool = False
    preprocess: bool = False

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise ValueError(f"opset {self.opset} is not one of {', '.join(map(str, OPSETS))}")
        if self.form not in ("folded", "plain"):
            raise ValueError(f"form {self.form!r} is not one of folded, plain")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if self.quantise not in (None, "int8"):
            raise ValueError(f"quantisation {self.quantise!r} is not one of int8")
        if self.quantise and self.dtype != "float32":
            raise ValueError(f"int8 is quantised from float32, not from {self.dtype}: leave --dtype out")
        if self.preprocess and self.dtype == "bfloat16":
            raise ValueError("--preprocess is verified in ONNX Runtime, which has no bfloat16: leave one of them out")
        if self.fusions and self.dtype == "bfloat16":
            raise ValueError("--ort-fusions are for ONNX Runtime, which has no bfloat16 here: leave one of them out")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k ({self.top_k}) must be at least 1")


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Files of an export, the .onnx file first, then its external data if any; their size; the parity reports.

    A report is None without the check.
    """

    files: tuple[Path, ...]
    bytes: int
    parity: ParityReport | None
    preprocessing_parity: PreprocessingParityReport | None


def export(
    source: str,
    output: Path,
    options: ExportOptions | None = None,
    *,
    architecture: str | None = None,
    image_size: int | None = None,
    check: bool = True,
    progress: Callable[[str], object] = lambda _: None,
) -> ExportResult:
    """Export a checkpoint to ONNX; if a check fails, no file is left behind.

    Args:
        source, architecture, image_size: as `load_model`.
        output: path ending in `.onnx`, in an existing folder.
        check: compare the file with PyTorch before it appears.
        progress: called with the name of each step when it begins.

    Raises:
        ExportError: the file does not reproduce the network's logits.
        OSError: the file cannot be written; with its name.
        CheckpointError, ModelNotFoundError, ValueError: as `load_model`, or options that do not apply to the network.
    """
    options = options or ExportOptions()
    _check_output(output)
    require_onnx()
    if onnx_file(source):
        raise ValueError(f"{source} is an ONNX file already; export takes a checkpoint")
    files = locate(source)
    description = describe(source, architecture=architecture, image_size=image_size)
    network = load_network(source, architecture, image_size)
    _check_classes(description, options)
    if options.preprocess:
        from .preprocess_graph import check_preprocessing

        check_preprocessing(description.preprocessing)
    with _draft_folder(output) as folder:
        draft = folder / output.name
        progress("writing the graph")
        write(draft, network, description, options, _facts(files, options))
        parity, preprocessing_parity = None, None
        if check:
            progress("verifying the file")
            _check_format(draft)
            checked = (draft, network, description.preprocessing, options.quantise or options.dtype)
            parity = verify(*checked)
            preprocessing_parity = verify_preprocessing(*checked) if options.preprocess else None
        written = _publish(folder, output)
    return ExportResult(written, sum(file.stat().st_size for file in written), parity, preprocessing_parity)


def require_onnx() -> None:
    """Raises ValueError if a package that writes ONNX is not installed."""
    require_onnxruntime()
    try:
        import onnx  # noqa: F401
        import onnx_ir  # noqa: F401
    except ImportError as error:
        raise ValueError(f"exporting needs {error.name}: pip install 'tessella[onnx]'") from error


def write(
    path: Path, network: ViT | TNT, description: Description, options: ExportOptions, facts: dict[str, Any]
) -> None:
    """Write the file with its metadata, not yet verified; large weights go to external data beside it."""
    import onnx_ir as ir

    from .classifier_graph import classifier_model
    from .preprocess_graph import prepend_preprocessing
    from .quantise import quantise, weight_bytes

    preprocessing = description.preprocessing
    model = classifier_model(
        network.config,
        state_arrays(network),
        preprocessing.mean,
        preprocessing.std,
        opset=options.opset,
        form=options.form,
        dtype=options.dtype,
        fusions=options.fusions,
        softmax=options.softmax,
        top_k=options.top_k,
    )
    if options.preprocess:
        prepend_preprocessing(model, preprocessing)
    model.metadata_props.update(_metadata(description, options, facts).to_props())
    size = weight_bytes(model)
    if options.quantise:
        quantise(model, path, wide_external=size > INLINE_LIMIT, external=size / 2 > INLINE_LIMIT)
    else:
        ir.save(model, path, external_data=f"{path.name}.data" if size > INLINE_LIMIT else None)


def _publish(folder: Path, output: Path) -> tuple[Path, ...]:
    """Move the files to the output's folder, external data first, so that the .onnx file is complete once it exists."""
    files = sorted(folder.iterdir(), key=lambda file: file.name == output.name)
    return tuple(file.replace(output.parent / file.name) for file in files)[::-1]


@contextmanager
def _draft_folder(output: Path) -> Iterator[Path]:
    """Context manager: temporary folder beside the output. Errors of writing name the output, not the draft."""
    try:
        with tempfile.TemporaryDirectory(prefix=".tessella-export-", dir=output.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(output)) from error


def _metadata(description: Description, options: ExportOptions, facts: dict[str, Any]) -> ModelMetadata:
    return ModelMetadata(
        labels=description.labels,
        preprocessing=description.preprocessing,
        family=type(description.config).__name__.removesuffix("Config").lower(),
        config=asdict(description.config),
        parameters=costs.parameters(description.config),
        dtype=options.quantise or options.dtype,
        preprocesses=options.preprocess,
        facts=facts,
    )


def _facts(source: Source, options: ExportOptions) -> dict[str, Any]:
    digest = hashlib.sha256()
    for file in source.weights:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return {
        "source": source.name,
        "source_sha256": digest.hexdigest(),
        "export": asdict(options),
        "versions": {name: version(name) for name in ("tessella", "torch", "onnx", "onnx_ir")},
    }


def _check_output(output: Path) -> None:
    if output.suffix != ".onnx":
        raise ValueError(f"{output} must end in .onnx")
    if output.is_dir():
        raise ValueError(f"{output} is a folder")
    if not output.parent.is_dir():
        raise ValueError(f"{output}: there is no folder {output.parent}")


def _check_classes(description: Description, options: ExportOptions) -> None:
    if not description.labels:
        raise CheckpointError(f"{description.name} has no head: only classifiers are exported")
    if options.top_k and options.top_k > len(description.labels):
        raise ValueError(f"top_k ({options.top_k}) is more than the {len(description.labels)} classes")


def _check_format(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:  # onnx raises its own and protobuf's
        raise ExportError(f"the exported file is not a valid ONNX model, and was removed: {error}") from error
