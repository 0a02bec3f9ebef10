"""Metadata of an .onnx file or of the files beside it: labels, preprocessing, origin. No torch."""

import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from ..checkpoints.files import CONFIG_FILES, read_json
from ..checkpoints.labels import imagenet_1k, read_labels
from ..errors import CheckpointError
from ..preprocessing import preprocessor_configs
from ..preprocessing.preprocess import CropRounding, Interpolation, Preprocessing, ResizeMode
from ..types import Document
from .signature import Signature

LABELS, PREPROCESSING, FACTS = "labels", "preprocessing", "tessella"
"""Keys of `metadata_props`; each value is JSON."""
_TYPES = {"family": str, "config": dict, "parameters": int, "dtype": str, "preprocesses": bool, "facts": dict}
"""Types of the keys below FACTS."""
_CHOICES = {"mode": get_args(ResizeMode), "interpolation": get_args(Interpolation), "crop": get_args(CropRounding)}
"""Allowed values of the keys below PREPROCESSING."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """Metadata of a model.

    `preprocesses`: the graph resizes and crops its input. `facts`: source, options and versions of our export; empty in
    other files.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    family: str = "onnx"
    config: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    dtype: str = "float32"
    preprocesses: bool = False
    facts: Document = field(default_factory=dict)

    def to_props(self) -> dict[str, str]:
        """`metadata_props` of the .onnx file."""
        rest = {name: getattr(self, name) for name in _TYPES}
        return {
            LABELS: json.dumps(self.labels, ensure_ascii=False),
            PREPROCESSING: json.dumps(asdict(self.preprocessing)),
            FACTS: json.dumps(rest),
        }


def read_metadata(metadata: Mapping[str, str], signature: Signature, path: Path) -> ModelMetadata:
    """Metadata of a file; keys that it lacks are read from files beside it.

    Those are `<name>.json` (keys `labels` and `preprocessing`), or timm's or Hugging Face's `config.json` and
    `preprocessor_config.json`.

    Args:
        metadata: `metadata_props` of the file.

    Raises:
        CheckpointError: labels or preprocessing are missing, or do not match the signature.
    """
    try:
        facts = json.loads(metadata.get(FACTS, "{}"))
        own = {PREPROCESSING: json.loads(metadata[PREPROCESSING])} if PREPROCESSING in metadata else {}
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata is not JSON: {error}") from error
    if LABELS in metadata:
        own[LABELS] = _parse_labels(metadata[LABELS])
    if not isinstance(facts, dict) or any(not isinstance(value, _TYPES.get(key, ())) for key, value in facts.items()):
        raise CheckpointError(f"{path}: its {FACTS!r} metadata is not in the format of this version")
    sidecars = _read_sidecars(path, own.keys())
    if facts.get("preprocesses"):
        sidecars.pop(PREPROCESSING, None)  # it is fixed in the graph
    preprocessing = _preprocessing(own, sidecars, signature, path)
    labels = _labels(own, sidecars, signature, path)
    if preprocessing.size != (signature.size or preprocessing.size):
        raise CheckpointError(
            f"{path} takes images of {signature.size} pixels, but its preprocessing gives {preprocessing.size}"
        )
    return ModelMetadata(labels=labels, preprocessing=preprocessing, **facts)


def _parse_labels(text: str) -> Any:
    """Labels in JSON, or as other exporters write them: plain names on lines of their own, else between commas."""
    try:
        return json.loads(text)
    except ValueError:
        separator = "\n" if "\n" in text.strip() else ","
        return [name.strip() for name in text.strip().split(separator)]


def _read_sidecars(path: Path, known: Set[str]) -> dict[str, Any]:
    """Keys of `<name>.json`, and the other documents under their file names, also from the folder above.

    Args:
        known: keys in the file's own metadata.
    """
    sidecar = path.with_suffix(".json")
    keys = read_json(sidecar) if sidecar.is_file() else {}
    if keys.keys() | known >= {LABELS, PREPROCESSING}:
        return keys
    folder = path.absolute().parent
    files = [directory / name for name in CONFIG_FILES for directory in (folder, folder.parent)]
    return {file.name: read_json(file) for file in reversed(files) if file.is_file()} | keys


def _labels(own: Document, sidecars: Document, signature: Signature, path: Path) -> tuple[str, ...]:
    names = sidecars.get(LABELS) or own.get(LABELS)
    if names is None and (document := sidecars.get("config.json")):
        labels, doubt = read_labels(document, signature.classes or len(document.get("id2label", ())))
        names = None if doubt else labels
    if names is None and signature.classes == 1000:
        return imagenet_1k()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path} has no class labels: {_remedy(path)}")
    if signature.classes not in (None, len(names)):
        raise CheckpointError(f"{path} has {signature.classes} classes ({signature.output}), but {len(names)} labels")
    return tuple(names)


def _preprocessing(own: Document, sidecars: Document, signature: Signature, path: Path) -> Preprocessing:
    config = sidecars.get(PREPROCESSING) or own.get(PREPROCESSING)
    if config is not None:
        return _parse_preprocessing(config, signature, path)
    if document := sidecars.get("preprocessor_config.json"):
        return preprocessor_configs.from_hugging_face(document, signature.size)
    if (document := sidecars.get("config.json")) and "architecture" in document:
        return preprocessor_configs.from_timm(document, signature.size)
    if signature.raw and signature.size:  # the graph normalises
        default = preprocessor_configs.default_preprocessing("", signature.size)
        return replace(default, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    raise CheckpointError(f"{path} does not state how images are normalised: {_remedy(path)}")


def _parse_preprocessing(config: Any, signature: Signature, path: Path) -> Preprocessing:
    try:
        _check_values(config, signature)
        size = config.get("size", signature.size)
        fields = {"size": size, "resize": size} | config
        colours = {key: tuple(config[key]) for key in ("mean", "std") if key in config}
        preprocessing = Preprocessing(**fields | colours)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its preprocessing cannot be read: {error}") from error
    if min(preprocessing.std) <= 0:
        raise CheckpointError(f"{path}: its preprocessing divides by {min(preprocessing.std)}; std must be positive")
    return preprocessing


def _check_values(config: Any, signature: Signature) -> None:
    """Raises ValueError for values of a wrong type or range, and for missing keys without a default."""
    if not isinstance(config, dict):
        raise ValueError(f"expected a JSON object, not {config!r}")
    needed = [] if signature.raw else ["mean", "std"]
    if missing := [key for key in (*needed, *([] if signature.size else ["size"])) if key not in config]:
        raise ValueError(f"it does not state {' and '.join(missing)}")
    for key, value in config.items():
        if key in ("size", "resize") and type(value) is not int:
            raise ValueError(f"{key} is {value!r}, not a whole number of pixels")
        if key in ("mean", "std") and not _are_three_numbers(value):
            raise ValueError(f"{key} is {value!r}, not three numbers")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise ValueError(f"{key} {value!r} is not one of {', '.join(_CHOICES[key])}")


def _are_three_numbers(values: Any) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(type(value) in (int, float) for value in values)


def _remedy(path: Path) -> str:
    half = "[0.5, 0.5, 0.5]"
    example = f'{{"labels": ["cat", "dog"], "preprocessing": {{"resize": 256, "mean": {half}, "std": {half}}}}}'
    return f"write {path.with_suffix('.json').name} beside it, for example {example}"
