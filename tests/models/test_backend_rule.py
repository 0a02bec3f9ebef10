"""Backend rule: every case by table, and its agreement with the committed measurements."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from tessella.models import backend_rule, cpu
from tessella.models.backend_rule import (
    BATCHED_DTYPES,
    LARGE_NETWORK,
    RUNTIMES,
    SMALL_BYTES,
    SMALL_MACS,
    Machine,
    NetworkSize,
    batch_size,
    choose,
    describe_choice,
    file_backends,
    file_batch,
)
from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.costs import macs
from tessella.models.variants import VARIANTS

ALL = frozenset(RUNTIMES)
NO_OPENVINO = frozenset({"torch", "onnxruntime"})
ONLY_TORCH = frozenset({"torch"})
ONLY_RUNTIMES = frozenset({"openvino", "onnxruntime"})
LARGE, SMALL, TNT, HEADLESS = (
    NetworkSize("vit", 10**9, 1000),
    NetworkSize("vit", 10**7, 10),
    NetworkSize("tnt", 5 * 10**9, 1000),
    NetworkSize("vit", 10**9, 0),
)
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def machine(runtimes: frozenset[str], *, bfloat16: bool, exports: bool = True, cores: int = 2) -> Machine:
    return Machine(bfloat16=bfloat16, cores=cores, runtimes=runtimes, exports=exports)


@pytest.mark.parametrize(
    ("network", "runtimes", "bfloat16", "dtype", "expected"),
    [
        # large: the dtype by the CPU, then the fastest installed backend that multiplies it
        (LARGE, ALL, True, "auto", ("openvino", "bfloat16", 8)),
        (LARGE, ALL, False, "auto", ("openvino", "float32", 8)),
        (LARGE, NO_OPENVINO, True, "auto", ("torch", "bfloat16", 8)),
        (LARGE, NO_OPENVINO, False, "auto", ("onnxruntime", "float32", 8)),
        (LARGE, ONLY_TORCH, True, "auto", ("torch", "bfloat16", 8)),
        (LARGE, ONLY_TORCH, False, "auto", ("torch", "float32", 8)),
        (LARGE, frozenset({"onnxruntime"}), True, "auto", ("onnxruntime", "float32", 8)),
        # a requested dtype excludes backends
        (LARGE, ALL, True, "float32", ("openvino", "float32", 8)),
        (LARGE, NO_OPENVINO, True, "float32", ("onnxruntime", "float32", 8)),
        (LARGE, ALL, False, "bfloat16", ("torch", "bfloat16", 8)),
        (LARGE, NO_OPENVINO, True, "bfloat16", ("torch", "bfloat16", 8)),
        (LARGE, ALL, True, "float16", ("torch", "float16", 8)),
        # batches of TNT gain in bfloat16 only
        (TNT, ALL, True, "auto", ("openvino", "bfloat16", 8)),
        (TNT, ALL, False, "auto", ("openvino", "float32", 1)),
        (TNT, ONLY_TORCH, True, "float32", ("torch", "float32", 1)),
        # small: no conversion, and float32
        (SMALL, ALL, True, "auto", ("torch", "float32", None)),
        (SMALL, ALL, False, "auto", ("torch", "float32", None)),
        (SMALL, ALL, True, "bfloat16", ("torch", "bfloat16", None)),
        (SMALL, ONLY_RUNTIMES, True, "auto", ("openvino", "float32", None)),
        # without classes: embeddings, in float32 unless requested otherwise
        (HEADLESS, ALL, True, "auto", ("torch", "float32", 8)),
        (HEADLESS, ALL, True, "bfloat16", ("torch", "bfloat16", 8)),
    ],
)
def test_the_rule(
    network: NetworkSize, runtimes: frozenset[str], bfloat16: bool, dtype: str, expected: tuple[str, str, int | None]
) -> None:
    choice = choose(network, machine(runtimes, bfloat16=bfloat16), dtype=dtype)
    assert (choice.backend, choice.dtype, choice.preferred_batch) == expected


@pytest.mark.parametrize(
    ("backend", "bfloat16", "expected"),
    [
        ("openvino", True, ("openvino", "bfloat16")),
        ("openvino", False, ("openvino", "float32")),
        ("onnxruntime", True, ("onnxruntime", "float32")),
        ("torch", True, ("torch", "bfloat16")),
        ("torch", False, ("torch", "float32")),
    ],
)
def test_a_requested_backend_gets_the_dtype_that_it_multiplies(
    backend: str, bfloat16: bool, expected: tuple[str, str]
) -> None:
    choice = choose(LARGE, machine(ALL, bfloat16=bfloat16), backend=backend)
    assert (choice.backend, choice.dtype) == expected
    assert choice.reason == f"the rule for CPUs chose {expected[1]} and batches of up to 8"


def test_a_checkpoint_that_cannot_be_exported_runs_in_torch() -> None:
    assert choose(LARGE, machine(ALL, bfloat16=True, exports=False)).backend == "torch"
    assert choose(LARGE, machine(ALL, bfloat16=False, exports=False)).backend == "torch"


def test_a_request_that_no_backend_fulfils_is_left_to_the_loader() -> None:
    choice = choose(LARGE, machine(ONLY_TORCH, bfloat16=False), backend="openvino", dtype="bfloat16")
    assert (choice.backend, choice.dtype) == ("openvino", "bfloat16")


def test_an_unknown_dtype_is_an_error() -> None:
    with pytest.raises(ValueError, match="'int3' is not one of auto, float32, bfloat16, float16"):
        choose(LARGE, machine(ALL, bfloat16=True), dtype="int3")


def test_reasons() -> None:
    here = machine(ALL, bfloat16=True)
    assert choose(LARGE, here).reason == "the rule for CPUs chose openvino, bfloat16 and batches of up to 8"
    assert choose(SMALL, here).reason == "the rule for CPUs chose torch and float32 for a small network"
    assert choose(SMALL, here, backend="torch", dtype="float32").reason == ""
    assert describe_choice("the table t", ["torch"], 1) == "the table t chose torch and single images"


def test_network_sizes_are_those_of_the_configuration() -> None:
    vit, tnt = VARIANTS["vit_base_patch16_224"], VARIANTS["tnt_s_patch16_224"]
    assert isinstance(vit, ViTConfig)
    assert isinstance(tnt, TNTConfig)
    assert NetworkSize.of(vit) == NetworkSize("vit", macs(vit), 1000)
    assert NetworkSize.of(tnt).family == "tnt"
    assert NetworkSize("vit", SMALL_MACS - 1, 1).small
    assert not NetworkSize("vit", SMALL_MACS, 1).small


def test_files_by_size() -> None:
    small, large = SMALL_BYTES - 1, SMALL_BYTES
    here = machine(ALL, bfloat16=True)
    assert file_backends(small, here) == ["onnxruntime", "openvino"]
    assert file_backends(large, here) == ["openvino", "onnxruntime"]
    assert file_backends(large, machine(NO_OPENVINO, bfloat16=True)) == ["onnxruntime"]
    assert file_batch(small, "vit", "float32", here) is None
    assert (file_batch(large, "onnx", "float32", here), file_batch(large, "tnt", "int8", here)) == (8, 1)


@pytest.mark.parametrize(("cores", "size"), [(1, 8), (8, 8), (12, 12), (64, 32)])
def test_a_batch_has_an_image_per_core(cores: int, size: int) -> None:
    assert batch_size(cores) == size
    assert choose(LARGE, machine(ALL, bfloat16=True, cores=cores)).preferred_batch == size


def test_the_current_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: True)
    monkeypatch.setattr(cpu, "usable_cores", lambda: 5)
    monkeypatch.setattr(backend_rule, "installed", lambda package: package != "onnx_ir")
    assert Machine.current() == Machine(bfloat16=True, cores=5, runtimes=ALL, exports=False)


def measurements() -> list[tuple[str, str, str, float, float]]:
    """Rows (architecture, backend, dtype, images/s at batch 1, at batch 8) of our candidates on CPUs."""
    rows: dict[tuple[str, ...], dict[int, float]] = {}
    for file in RESULTS.glob("*/models.json"):
        document: dict[str, Any] = json.loads(file.read_text())
        for row in document["rows"] if document["on"] == "cpu" else ():
            owner, engine, dtype = row["candidate"].split()
            if owner == "tessella":
                backend = {"folded": "torch"}.get(engine, engine)
                key = (file.parent.name, row["architecture"], backend, dtype)
                rows.setdefault(key, {})[row["batch_size"]] = row["images_per_second"]
    return [(key[1], key[2], key[3], rates[1], rates[8]) for key, rates in rows.items()]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_order_of_backends_is_the_measured_one(dtype: str) -> None:
    """For every network; the product weighs one image and full batches equally."""
    rows = measurements()
    for architecture in {row[0] for row in rows}:
        scores = {
            backend: one * eight for name, backend, kind, one, eight in rows if (name, kind) == (architecture, dtype)
        }
        assert tuple(sorted(scores, key=lambda name: -scores[name])) == LARGE_NETWORK[dtype], architecture


def test_where_the_cpu_has_bfloat16_torch_is_faster_in_it_than_onnxruntime_is_in_float32() -> None:
    rows = {(name, backend, dtype): one * eight for name, backend, dtype, one, eight in measurements()}
    for name in {key[0] for key in rows}:
        assert rows[name, "torch", "bfloat16"] > rows[name, "onnxruntime", "float32"]


def test_batches_are_used_where_they_were_measured_to_gain() -> None:
    gains: dict[tuple[str, str, str], list[float]] = {}
    for name, backend, dtype, one, eight in measurements():
        gains.setdefault(("tnt" if "tnt" in name else "vit", backend, dtype), []).append(eight / one)
    assert len(gains) == 10
    for (family, backend, dtype), values in gains.items():
        batched = dtype in BATCHED_DTYPES.get(family, (dtype,))
        assert (statistics.median(values) > 1.05) == batched, (family, backend, dtype)
