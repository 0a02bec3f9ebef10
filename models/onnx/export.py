"""A checkpoint becomes an .onnx file that any runtime serves; it is verified against PyTorch before it is there."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import costs
from ..checkpoints.description import Description
from ..checkpoints.sources import Source, locate, onnx_file
from ..errors import CheckpointError
from ..execution.dtype import DTYPES
from ..networks.tnt import TNT
from ..networks.vit import ViT
from ..packages import version
from ..registry import describe, load_network
from .metadata import Card
from .onnxruntime_model import require_onnxruntime
from .trace import ATTENTION_OPSET, Answers, Form, graph_of, trace
from .verify import ExportError, PreprocessVerdict, Verdict, verify, verify_preprocessing

OPSETS = (20, ATTENTION_OPSET)
"""20 is read widely; 23 has attention as one operator, which onnxruntime runs on a GPU from version 1.25 on."""
INLINE_LIMIT = 2**31 - 2**20
"""Bytes of weights in one file; protobuf's limit is 2 GiB. Beyond it they lie in `<name>.onnx.data`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How to export.

    `form`: `folded`, or `plain` as published. `dtype`: of weights and arithmetic; LayerNorms stay float32. `quantise`:
    `int8` makes weights int8 (lossy). `softmax`, `top_k`: further outputs beside the logits. `fusions`: onnxruntime's
    own operators, which no other runtime reads. `preprocess`: images of any size enter; the graph resizes and
    crops them.
    """

    opset: int = 20
    form: Form = "folded"
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
            raise ValueError(f"int8 is made from float32, not from {self.dtype}: leave --dtype out")
        if self.preprocess and self.dtype == "bfloat16":
            raise ValueError("--preprocess is verified in onnxruntime, which has no bfloat16: leave one of them out")
        if self.fusions and self.dtype == "bfloat16":
            raise ValueError("--ort-fusions are for onnxruntime, which has no bfloat16 here: leave one of them out")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k ({self.top_k}) must be at least 1")


@dataclass(frozen=True, slots=True)
class Exported:
    """`files`: the .onnx file first, then its external data where it has any."""

    files: tuple[Path, ...]
    bytes: int
    verdict: Verdict
    preprocessing: PreprocessVerdict | None


def export(
    source: str,
    output: Path,
    wishes: Wishes | None = None,
    *,
    architecture: str | None = None,
    image_size: int | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> Exported:
    """Writes a checkpoint as ONNX; nothing is left behind where the checks fail.

    Args:
        source, architecture, image_size: as `load_model`.
        output: ends in `.onnx`; its folder exists.
        progress: is told what comes next.

    Raises:
        ExportError: the file does not do what the network does.
        OSError: it cannot be written; with its name.
        CheckpointError, ModelNotFoundError, ValueError: as `load_model`, or a wish that cannot be met.
    """
    wishes = wishes or Wishes()
    _check_output(output)
    require_onnx()
    if onnx_file(source):
        raise ValueError(f"{source} is an ONNX file already; export takes a checkpoint")
    files = locate(source)
    description = describe(source, architecture=architecture, image_size=image_size)
    network = load_network(source, architecture, image_size)
    _check_classes(description, wishes)
    if wishes.preprocess:
        from .preprocess_graph import check_preprocessing

        check_preprocessing(description.preprocessing)
    with _drafts_for(output) as folder:
        draft = folder / output.name
        progress("tracing the network")
        write(draft, network, description, wishes, _facts(files, wishes))
        progress("verifying the file")
        dtype = wishes.quantise or wishes.dtype
        _check_format(draft)
        verdict = verify(draft, network, description.preprocessing, dtype)
        whole = verify_preprocessing(draft, network, description.preprocessing, dtype) if wishes.preprocess else None
        made = sorted(folder.iterdir(), key=lambda file: file.name == output.name)  # data first: whole once there
        written = tuple(file.replace(output.parent / file.name) for file in made)[::-1]
    return Exported(written, sum(file.stat().st_size for file in written), verdict, whole)


@contextmanager
def _drafts_for(output: Path) -> Iterator[Path]:
    """A folder beside the output, gone afterwards. What cannot be written has the output's name, not the draft's."""
    try:
        with tempfile.TemporaryDirectory(prefix=".tessella-export-", dir=output.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(output)) from error


def require_onnx() -> None:
    """Raises ValueError where the packages that write ONNX are not installed."""
    require_onnxruntime()
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"exporting needs {error.name}: pip install 'tessella[onnx]'") from error


def write(path: Path, network: ViT | TNT, description: Description, wishes: Wishes, facts: dict[str, Any]) -> None:
    """The file, not yet verified, with its card; external data beside it where it is large."""
    import onnx_ir as ir

    from . import rewrite
    from .preprocess_graph import prepend_preprocessing

    recipe = description.preprocessing
    module = graph_of(network, recipe.mean, recipe.std, form=wishes.form, dtype=DTYPES[wishes.dtype])
    names = ["logits"]
    if wishes.softmax or wishes.top_k:
        answers = Answers(module, softmax=wishes.softmax, top_k=wishes.top_k)
        module, names = answers.eval(), answers.names
    model = trace(module, names, description.config.image_size, wishes.opset).model
    if wishes.fusions:
        rewrite.fuse_for_onnxruntime(model)
    if wishes.preprocess:
        prepend_preprocessing(model, recipe)
    rewrite.finish(model, _card(description, wishes, facts).to_metadata())
    size = rewrite.weight_bytes(model)
    if wishes.quantise:
        rewrite.quantise(model, path, wide_external=size > INLINE_LIMIT, external=size / 2 > INLINE_LIMIT)
    else:
        ir.save(model, path, external_data=f"{path.name}.data" if size > INLINE_LIMIT else None)


def _card(description: Description, wishes: Wishes, facts: dict[str, Any]) -> Card:
    return Card(
        labels=description.labels,
        preprocessing=description.preprocessing,
        family=type(description.config).__name__.removesuffix("Config").lower(),
        config=asdict(description.config),
        parameters=costs.parameters(description.config),
        dtype=wishes.quantise or wishes.dtype,
        preprocesses=wishes.preprocess,
        facts=facts,
    )


def _facts(source: Source, wishes: Wishes) -> dict[str, Any]:
    digest = hashlib.sha256()
    for file in source.weights:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return {
        "source": source.name,
        "source_sha256": digest.hexdigest(),
        "export": asdict(wishes),
        "versions": {name: version(name) for name in ("tessella", "torch", "onnx", "onnxscript")},
    }


def _check_output(output: Path) -> None:
    if output.suffix != ".onnx":
        raise ValueError(f"{output} must end in .onnx")
    if output.is_dir():
        raise ValueError(f"{output} is a folder")
    if not output.parent.is_dir():
        raise ValueError(f"{output}: there is no folder {output.parent}")


def _check_classes(description: Description, wishes: Wishes) -> None:
    if not description.labels:
        raise CheckpointError(f"{description.name} has no head: there are no classes to export")
    if wishes.top_k and wishes.top_k > len(description.labels):
        raise ValueError(f"top_k ({wishes.top_k}) is more than the {len(description.labels)} classes")


def _check_format(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:  # onnx's own and protobuf's
        raise ExportError(f"the exported file is not a valid model, and was removed: {error}") from error
