"""Backend tuner (`tessella tune --device cpu`): measures networks in every backend of this CPU."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ...models import cpu
from ...models.backend_rule import Machine, batch_size
from ...models.backend_timings import FILE, Entry, default_path, plain, save_table, subject_of_file
from ...models.cache import make_cache_folder
from ...models.checkpoints.description import HEADER_KEY, Description
from ...models.checkpoints.sources import onnx_file, served_name
from ...models.errors import CheckpointError
from ...models.execution.dtype import limit_threads
from ...models.networks.build import build
from ...models.onnx.export import ExportOptions, export
from ...models.onnx.model import OnnxModel, file_bytes
from ...models.onnx.onnxruntime_model import OnnxRuntimeModel
from ...models.onnx.openvino_model import OpenVINOModel
from ...models.packages import installed
from ...models.preprocessing.images import Pixels
from ...models.preprocessing.preprocess import Preprocessing
from ...models.registry import describe, load_model
from ...models.variants import VARIANTS
from .backend_timer import RunBatch, choose_fastest
from .measure import DEFAULT_ARCHITECTURES

ARCHITECTURES = DEFAULT_ARCHITECTURES
Progress = Callable[[str, float], object]


def tune_cpu(
    models: Sequence[str], architectures: Sequence[str] | None, output: Path | None, progress: Progress
) -> list[str]:
    """Measure models and architectures and write the table; lines on what was measured and where it stands.

    Args:
        architectures: by default ARCHITECTURES, unless there are models.
        output: file to write; by default the table in the cache folder.

    Raises:
        LookupError, OSError, ValueError: as `tune`, or the table cannot be written.
    """
    path = output or make_cache_folder(default_path().parent) / FILE
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {str(path.parent)!r} for the table")
    entries = tune(models, architectures or (() if models else ARCHITECTURES), progress)
    save_table(path, entries)
    lines = [f"{entry.network} {entry.dtype}: {entry.choice.reason}" for entry in entries]
    return [*lines, f"{path}: {len(entries)} entries"]


def tune(models: Sequence[str], architectures: Sequence[str], progress: Progress = lambda *_: None) -> list[Entry]:
    """Measure models and architectures in every backend and dtype of this CPU: one entry for each and dtype.

    Args:
        models: sources of checkpoints and .onnx files, as for `--model`.
        architectures: names in timm, measured with random weights.
        progress: called before each step with its description and the completed fraction of the run, 0 to 1.

    Raises:
        LookupError, ValueError: a model cannot be loaded, or an architecture is unknown.
    """
    if unknown := set(architectures) - VARIANTS.keys():
        raise ValueError(f"unknown architecture {min(unknown)!r}; `tessella models` lists them")
    limit_threads()
    entries: list[Entry] = []
    names = [*models, *architectures]
    for index, name in enumerate(names):
        done, share = index / len(names), 1 / len(names)

        def report(text: str, part: float, name: str = name, done: float = done, share: float = share) -> None:
            progress(f"{served_name(name)}: {text}", done + part * share)

        with tempfile.TemporaryDirectory(prefix="tessella-tune-") as folder:
            source = name if index < len(models) else str(write_random_checkpoint(name, Path(folder)))
            entries += _measure_file(source, report) if onnx_file(source) else _measure(source, Path(folder), report)
    return entries


def write_random_checkpoint(architecture: str, folder: Path) -> Path:
    """Write a checkpoint of an architecture with random weights; no bias is 0 and no norm 1."""
    config = VARIANTS[architecture]
    torch.manual_seed(0)
    network = build(config)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    preprocessing = Preprocessing(size=config.image_size, resize=config.image_size)
    labels = tuple(map(str, range(config.num_classes)))
    description = Description(name=architecture, config=config, preprocessing=preprocessing, labels=labels)
    file = folder / f"{architecture}.safetensors"
    save_file(network.state_dict(), file, metadata={HEADER_KEY: description.to_json()})
    return file


def _measure(source: str, folder: Path, report: Progress) -> list[Entry]:
    """Entries of a checkpoint: float32, and bfloat16 where the CPU has its instructions."""
    description = describe(source)
    report("exporting", 0)
    file = _export(source, folder, report) if description.config.num_classes else None
    dtypes = ("float32", "bfloat16") if cpu.has_bfloat16() else ("float32",)
    entries = []
    for index, dtype in enumerate(dtypes):
        report(f"measuring {dtype}", (1 + index) / (1 + len(dtypes)))
        model = load_model(source, device="cpu", dtype=dtype, backend="torch")
        runs = {"torch": _run(model.logits, model.preprocessing.size)}
        runs |= {onnx.backend: _run(onnx.logits, model.preprocessing.size) for onnx in _open(file, dtype)}
        subject = plain({"config": asdict(description.config)})
        entries.append(Entry(description.name, subject, dtype, choose_fastest(runs)))
    return entries


def _measure_file(source: str, report: Progress) -> list[Entry]:
    """Entry of an .onnx file, in the dtype that each runtime takes by default."""
    file = onnx_file(source)
    assert file is not None
    report("measuring", 0)
    models = _open(file, "auto")
    if not models:
        raise ValueError(f"no installed runtime loads {file}")
    runs = {model.backend: _run(model.logits, model.metadata.preprocessing.size) for model in models}
    subject = subject_of_file(file, file_bytes(file))
    return [Entry(served_name(source), subject, "auto", choose_fastest(runs))]


def _export(source: str, folder: Path, report: Progress) -> Path | None:
    """Export a checkpoint; None if it cannot be exported here, so that PyTorch alone is measured."""
    if not Machine.current().exports:
        return None
    try:
        return export(source, folder / "model.onnx", ExportOptions(), check=False).files[0]
    except (CheckpointError, RuntimeError) as error:
        report(f"measuring PyTorch only: {error}", 0)
        return None


def _open(file: Path | None, dtype: str) -> list[OnnxModel]:
    """Models of an .onnx file in the installed runtimes that support its operators and the dtype."""
    models: list[OnnxModel] = []
    loaders: dict[str, Callable[[Path], OnnxModel]] = {
        "onnxruntime": lambda path: OnnxRuntimeModel(path, device="cpu"),
        "openvino": lambda path: OpenVINOModel(path, dtype=dtype),
    }
    for name, load in loaders.items():
        if file is None or not installed(name):
            continue
        try:
            models.append(load(file))
        except ValueError:  # an operator that this runtime lacks
            continue
    return [model for model in models if dtype in ("auto", model.dtype)]


def _run(run: Callable[[Pixels], object], size: int) -> RunBatch:
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size(cpu.usable_cores()), size, size, 3), dtype=np.uint8)
    return lambda count: run(pixels[:count])
