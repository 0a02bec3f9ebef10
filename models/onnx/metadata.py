"""What an .onnx file says of its model, or the files beside it do: labels, preprocessing, origin. Knows no runtime."""

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
"""Of what lies under FACTS."""
_CHOICES = {"mode": get_args(ResizeMode), "interpolation": get_args(Interpolation), "crop": get_args(CropRounding)}
"""Of what lies under PREPROCESSING."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """`preprocesses`: the graph resizes and crops by itself.

    `facts`: how and of what the file was made; empty in a file of other makers.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    family: str = "onnx"
    config: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    dtype: str = "float32"
    preprocesses: bool = False
    facts: Document = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        rest = {name: getattr(self, name) for name in _TYPES}
        return {
            LABELS: json.dumps(self.labels, ensure_ascii=False),
            PREPROCESSING: json.dumps(asdict(self.preprocessing)),
            FACTS: json.dumps(rest),
        }


def read_card(metadata: Mapping[str, str], signature: Signature, path: Path) -> Card:
    """The card of a file whose signature is known. What the file lacks is looked for beside it: in `<name>.json` (keys
    `labels` and `preprocessing`), or in a `config.json` and `preprocessor_config.json` of timm or Hugging Face.

    Raises:
        CheckpointError: labels or preprocessing are nowhere, or do not fit the file.
    """
    try:
        facts = json.loads(metadata.get(FACTS, "{}"))
        found = {key: json.loads(metadata[key]) for key in (LABELS, PREPROCESSING) if key in metadata}
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata is not JSON: {error}") from error
    if not isinstance(facts, dict) or any(not isinstance(value, _TYPES.get(key, ())) for key, value in facts.items()):
        raise CheckpointError(f"{path}: its {FACTS!r} metadata is not what this version writes")
    beside = _beside(path, found.keys())
    if facts.get("preprocesses"):
        beside.pop(PREPROCESSING, None)  # it is in the graph, and no file beside changes that
    preprocessing = _preprocessing(found, beside, signature, path)
    labels = _labels(found, beside, signature, path)
    if preprocessing.size != (signature.size or preprocessing.size):
        raise CheckpointError(f"{path} takes {signature.size} pixels, its preprocessing makes {preprocessing.size}")
    return Card(labels=labels, preprocessing=preprocessing, **facts)


def _beside(path: Path, known: Set[str]) -> dict[str, Any]:
    """Our own sidecar's keys, and the others' documents under their files' names. Exports often lie in a subfolder.

    Args:
        known: keys that the file itself has.
    """
    sidecar = path.with_suffix(".json")
    own = read_json(sidecar) if sidecar.is_file() else {}
    if own.keys() | known >= {LABELS, PREPROCESSING}:
        return own
    folder = path.absolute().parent
    places = [place / name for name in CONFIG_FILES for place in (folder, folder.parent)]
    return {place.name: read_json(place) for place in reversed(places) if place.is_file()} | own


def _labels(found: Document, beside: Document, signature: Signature, path: Path) -> tuple[str, ...]:
    named = beside.get(LABELS) or found.get(LABELS)
    if named is None and (document := beside.get("config.json")):
        names, doubt = read_labels(document, signature.classes or len(document.get("id2label", ())))
        named = None if doubt else names
    if named is None and signature.classes == 1000:
        return imagenet_1k()
    if not isinstance(named, list | tuple) or not all(isinstance(name, str) for name in named):
        raise CheckpointError(f"{path} names no classes: {_remedy(path)}")
    if signature.classes not in (None, len(named)):
        raise CheckpointError(f"{path} has {signature.classes} classes ({signature.output}), {len(named)} are named")
    return tuple(named)


def _preprocessing(found: Document, beside: Document, signature: Signature, path: Path) -> Preprocessing:
    stated = beside.get(PREPROCESSING) or found.get(PREPROCESSING)
    if stated is not None:
        return _own(stated, signature, path)
    if document := beside.get("preprocessor_config.json"):
        return preprocessor_configs.from_hugging_face(document, signature.size)
    if (document := beside.get("config.json")) and "architecture" in document:
        return preprocessor_configs.from_timm(document, signature.size)
    if signature.raw and signature.size:  # its normalisation is inside
        return replace(
            preprocessor_configs.default_preprocessing("", signature.size), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
        )
    raise CheckpointError(f"{path} does not say how images are normalised: {_remedy(path)}")


def _own(stated: Any, signature: Signature, path: Path) -> Preprocessing:
    try:
        _check_values(stated, signature)
        size = stated.get("size", signature.size)
        fields = {"size": size, "resize": size} | stated
        recipe = Preprocessing(**fields | {key: tuple(stated[key]) for key in ("mean", "std") if key in stated})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its preprocessing cannot be read: {error}") from error
    if min(recipe.std) <= 0:
        raise CheckpointError(f"{path}: its preprocessing divides by {min(recipe.std)}; std must be positive")
    return recipe


def _check_values(stated: Any, signature: Signature) -> None:
    """Raises ValueError where they are of no use, or lack what nobody can guess."""
    if not isinstance(stated, dict):
        raise ValueError(f"expected a JSON object, not {stated!r}")
    needed = [] if signature.raw else ["mean", "std"]
    if absent := [key for key in (*needed, *([] if signature.size else ["size"])) if key not in stated]:
        raise ValueError(f"it does not state {' and '.join(absent)}")
    for key, value in stated.items():
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
    return f"write {path.with_suffix('.json').name} beside it, such as {example}"
