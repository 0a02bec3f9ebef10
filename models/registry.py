"""Model loading: a source resolved to a description, a plain network or a classifier. No torch at import."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoints.config_json import CheckpointConfig, read_checkpoint_config
from .checkpoints.description import Description, read_description
from .checkpoints.files import is_safetensors, read_shapes
from .checkpoints.infer_config import infer_config
from .checkpoints.labels import read_labels
from .checkpoints.sources import Source, locate, read_source
from .config import Config
from .errors import CheckpointError
from .preprocessing import preprocessor_configs
from .preprocessing.preprocess import Preprocessing
from .types import Document

if TYPE_CHECKING:  # installations without torch read descriptions through this module
    import torch

    from .execution.classifier import Classifier, Network

BACKENDS = ("torch", "triton")
_PREPROCESSING_REMEDY = (
    "state another in preprocessor_config.json (Hugging Face's keys) or config.json (timm's pretrained_cfg) beside them"
)


def load_model(
    source: str,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    backend: str = "auto",
    architecture: str | None = None,
    image_size: int | None = None,
    batch_invariant: bool = False,
) -> Classifier:
    """Classifier on its device, ready to run.

    Args:
        source: a shipped checkpoint's name, a file, a folder, a hub id (`owner/name`, `owner/name@revision`), or
            `name=` and one of them, to serve it under that name.
        device: `cpu`, `cuda`, `cuda:0`, …, or `auto`: the first GPU if there is one, else the CPU.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        backend: `auto`, `torch` or `triton`; `auto` is `triton` on an NVIDIA GPU, except for float32, else `torch`.
        architecture: timm name, for a checkpoint without a config; overrides its config.
        image_size: side of the square input in pixels; the checkpoint's own by default.
        batch_invariant: logits of an image are bit-identical whatever else is in its batch; `triton` only.

    Raises:
        ModelNotFoundError: the source does not exist.
        CheckpointError: the checkpoint is not supported.
        CacheError: the cache of compiled kernels cannot be written.
        ValueError: batch invariance with another backend than `triton`; a network or dtype that the requested backend
            cannot run; an unknown device, dtype, backend or architecture, or an image size that patches do not divide.
    """
    from ..kernels.device import gpu_of, interpreter_enabled, unavailable_reason
    from ..kernels.options import Options
    from ..kernels.tuning import tables
    from .cache import make_kernel_cache
    from .execution.classifier import Classifier
    from .execution.dtype import DTYPES, choose_dtype
    from .execution.executor import choose_backend, make_executor

    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend {backend!r} is not one of auto, {', '.join(BACKENDS)}")
    target = _torch_device(device, needs_gpu=(backend == "triton" or batch_invariant) and not interpreter_enabled())
    requested = DTYPES.get(dtype)
    chosen, why = choose_backend(backend, target, requested)
    if batch_invariant and chosen != "triton":
        raise ValueError(
            "batch invariance needs backend 'triton': "
            f"{unavailable_reason(target, requested) or f'{backend!r} was asked for'}"
        )
    if chosen == "triton" and target.type == "cuda":
        make_kernel_cache()  # fails here once, instead of in every kernel launch
    network, description = _load(locate(source), architecture, image_size)
    if inferred := description.notes.get("inferred"):
        warnings.warn(f"{description.name} lacks settings, which were inferred: {'; '.join(inferred)}", stacklevel=2)
    torch_dtype, reason = choose_dtype(dtype, description.config, target)
    preprocessing = description.preprocessing
    mixed = backend == "auto" and chosen == "triton" and not batch_invariant
    options = Options("auto" if mixed else chosen, batch_invariant=batch_invariant)
    folded = make_executor(
        network, preprocessing.mean, preprocessing.std, dtype=torch_dtype, device=target, options=options
    )
    if folded is None and chosen == "triton":
        if backend == "triton" or batch_invariant:
            raise ValueError(
                f"{description.name} pools in a way that the Triton kernels do not support; use backend 'torch'"
            )
        chosen, why = "torch", "backend torch, as the Triton kernels do not support its pooling"
    if chosen == "triton":
        why = f"{why}, {tables.describe_tuning(gpu_of(target))}"
    choice = f"{'the folded network' if folded else 'plain PyTorch'} on {target}; {why}; {reason}."
    return Classifier(
        network, description, device=target, dtype=torch_dtype, backend=chosen, executor=folded, choice=choice
    )


def _torch_device(device: str, *, needs_gpu: bool) -> torch.device:
    """PyTorch device of a name; `auto` is the first GPU if there is one or one is required, so that errors name it."""
    import torch

    if device == "auto":
        device = "cuda" if needs_gpu or torch.cuda.is_available() else "cpu"
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is not one of auto, cpu, cuda, cuda:0, …") from error


def load_network(source: str, architecture: str | None = None, image_size: int | None = None) -> Network:
    """Plain network: evaluation mode, float32, on the CPU. Arguments and errors as `load_model`.

    `forward`: normalised float images (B, 3, H, W) -> logits (B, classes).
    """
    return _load(locate(source), architecture, image_size)[0]


def describe(source: str, *, architecture: str | None = None, image_size: int | None = None) -> Description:
    """Description of the model that `load_model` would serve: configuration, preprocessing, labels.

    Arguments and errors as `load_model`. Reads headers only, and needs torch only for PyTorch's own file format.
    `notes["inferred"]` has a sentence for each setting that the checkpoint lacks.
    """
    return _describe(locate(source), architecture, image_size)


def describe_path(path: Path) -> Description:
    """Description of a file or folder, as `describe`, without looking among shipped names or on the hub."""
    return _describe(read_source(path.name, path), None, None)


def _describe(source: Source, architecture: str | None, image_size: int | None) -> Description:
    description = _own_description(source)
    if description is not None:
        size = image_size or description.config.image_size
        return replace(
            description,
            name=source.name,
            config=replace(description.config, image_size=size),
            preprocessing=preprocessor_configs.at_size(description.preprocessing, size),
        )
    given = read_checkpoint_config(source.config, architecture)
    inferred = infer_config(read_shapes(source.weights), given)
    preprocessing, assumption = _preprocessing(source, architecture, image_size, given, inferred.config)
    labels, labels_note = read_labels(source.config, inferred.config.num_classes)
    config = replace(inferred.config, image_size=preprocessing.size)
    notes = {"inferred": [*inferred.notes, *assumption], "labels": labels_note}
    if config.image_size != inferred.config.image_size:
        notes["positions"] = f"resampled from {inferred.config.image_size} to {config.image_size} pixels"
    return Description(name=source.name, config=config, preprocessing=preprocessing, labels=labels, notes=notes)


def _own_description(source: Source) -> Description | None:
    if len(source.weights) > 1 or not is_safetensors(source.weights[0]):
        return None
    try:
        return read_description(source.weights[0])
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def _preprocessing(
    source: Source, architecture: str | None, image_size: int | None, given: CheckpointConfig, config: Config
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Preprocessing from the config beside the weights, or an assumed one; with notes on what was inferred."""
    if source.preprocessor is not None:
        return preprocessor_configs.from_hugging_face(source.preprocessor, image_size), ()
    if source.config is not None and preprocessor_configs.is_timm(source.config):
        return _timm_preprocessing(source.config, image_size, given, config)
    native_size = given.image_size or config.image_size
    assumed = _assumed_preprocessing(source.config or {}, architecture, image_size, config, native_size)
    return assumed, (f"preprocessing is not given beside the weights; assumed: {assumed}; {_PREPROCESSING_REMEDY}",)


def _assumed_preprocessing(
    document: Document, architecture: str | None, image_size: int | None, config: Config, native_size: int
) -> Preprocessing:
    """Preprocessing that the family is published with: by architecture, Hugging Face's `model_type`, or tokens."""
    named = architecture or document.get("architecture")
    if named is None and (model_type := document.get("model_type")) in preprocessor_configs.FAMILY_PROCESSORS:
        return preprocessor_configs.family_preprocessing(str(model_type), image_size, native_size)
    if named is None and getattr(config, "distillation_token", False):
        named = "deit"
    return preprocessor_configs.default_preprocessing(named or "", image_size or native_size)


def _timm_preprocessing(
    document: Document, image_size: int | None, given: CheckpointConfig, config: Config
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Preprocessing of a timm config, at the size of the network: `img_size`, else that of its position table."""
    if image_size:
        return preprocessor_configs.from_timm(document, image_size), ()
    stated = preprocessor_configs.from_timm(document)
    fixed = not given.any_image_size and getattr(config, "position", "learned") != "none"
    size = given.image_size or (config.image_size if fixed else stated.size)
    if size == stated.size:
        return stated, ()
    shown = "img_size in model_args states" if given.image_size else "the position table shows"
    note = f"image size {size}, as {shown}; input_size in config.json is {stated.size}"
    return preprocessor_configs.from_timm(document, size), (note,)


def _load(source: Source, architecture: str | None, image_size: int | None) -> tuple[Network, Description]:
    from .checkpoints.convert import adapt, translate
    from .checkpoints.files import read_tensors, warn_if_not_finite
    from .networks.build import build_with_weights

    own = _own_description(source) is not None
    description = _describe(source, architecture, image_size)
    tensors = read_tensors(source.weights)
    warn_if_not_finite(tensors, source.location)
    try:
        state = (adapt if own else translate)(tensors, description.config)
    except CheckpointError as error:
        raise CheckpointError(f"{source.location}: {error}") from error
    return build_with_weights(description.config, {name: tensor.float() for name, tensor in state.items()}), description
