"""Executors: the folded network on each backend, and the errors where the kernels cannot run."""

from typing import Any

import pytest
import torch

from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.options import Options
from tessella.kernels.reference import normalise
from tessella.kernels.tuning import tables
from tessella.models.config import ViTConfig
from tessella.models.execution import executor
from tessella.models.execution.cuda_graphs import BUCKETS
from tessella.models.execution.executor import choose_backend, make_executor
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_vit import FusedViT
from tessella.models.folding.fold_vit import ALL_STEPS, CPU_STEPS
from tessella.models.networks.vit import ViT
from tessella.models.registry import load_model

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 8,
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 32,
    "num_classes": 5,
}


@pytest.fixture
def no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.usefixtures("no_interpreter")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_triton_without_a_gpu_names_reason_and_alternative() -> None:
    with pytest.raises(
        ValueError, match=r"backend 'triton' cannot run here: Triton kernels need an NVIDIA GPU.*'torch'"
    ):
        load_model("digits-vit", backend="triton")
    missing = "is built without CUDA|PyTorch finds no NVIDIA GPU"
    with pytest.raises(ValueError, match=missing):
        choose_backend("triton", torch.device("cuda"))
    with pytest.raises(ValueError, match=missing):
        load_model("digits-vit", device="auto", backend="triton")


@pytest.mark.usefixtures("no_interpreter")
def test_a_cpu_runs_torch() -> None:
    assert choose_backend("auto", CPU)[0] == "torch"
    assert load_model("digits-vit", backend="auto").backend == "torch"


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Stand-in for a GPU that runs the kernels."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    return torch.device("cuda")


def test_float32_on_a_gpu_runs_in_pytorch(hopper: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "the kernels take bfloat16 and float16, and float32 runs in PyTorch"
    assert choose_backend("auto", hopper, torch.bfloat16)[0] == "triton"
    assert choose_backend("auto", hopper)[0] == "triton"
    assert choose_backend("auto", hopper, torch.float32) == ("torch", f"backend torch, as {reason}")
    monkeypatch.setattr(executor, "_fold", lambda *_, **__: None)
    network = ViT(ViTConfig(**SMALL))
    folded = executor.make_factory(network, (0.5,) * 3, (0.5,) * 3, dtype=torch.float32, device=hopper)
    assert folded is not None
    assert folded[1].implementation == "torch"


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"backend": "triton"},
            "backend 'triton' cannot run here: the kernels take bfloat16 and float16.*Use backend 'torch'",
        ),
        ({"batch_invariant": True}, "batch invariance needs backend 'triton': the kernels take bfloat16"),
    ],
)
def test_our_kernels_on_a_gpu_refuse_float32(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_model("digits-vit", device="cuda", dtype="float32", **arguments)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_the_folded_network_classifies_as_the_published_one(backend: Any) -> None:
    torch.manual_seed(0)
    network = ViT(ViTConfig(**SMALL)).eval()
    pixels = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    run = make_executor(network, mean, std, dtype=torch.float32, device=CPU, options=Options(backend))
    assert run is not None
    images = normalise(pixels, torch.tensor(mean), torch.tensor(std), torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(run(pixels), network(images), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(run.features(pixels), network.features(images), atol=1e-5, rtol=1e-4)


def test_layer_norms_are_not_folded_on_a_cpu() -> None:
    run = make_executor(
        ViT(ViTConfig(**SMALL)), (0.5,) * 3, (0.5,) * 3, dtype=torch.float32, device=CPU, options=Options("torch")
    )
    assert isinstance(run, FusedViT)
    assert not run.graph.layer_norm_folded
    assert run.graph.last is not None


def test_a_pooling_without_folded_graph_runs_as_published() -> None:
    network = ViT(ViTConfig(**SMALL | {"pooling": "token_mean"}))
    assert make_executor(network, (0.5,) * 3, (0.5,) * 3, dtype=torch.float32, device=CPU) is None


def test_sub_blocks_run_where_they_were_measured_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ViT(ViTConfig(**SMALL | {"depth": 3})).eval()
    graph, plain = (fold_network(network, (0.5,) * 3, (0.5,) * 3, steps) for steps in (ALL_STEPS, CPU_STEPS))
    pixels = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    expected = FusedViT(graph, Options("torch"))(pixels)
    for torch_runs in (("fused_qkv_attention",), ("layernorm_mlp",), ("fused_qkv_attention", "layernorm_mlp")):
        monkeypatch.setattr(
            tables, "measured_choice", lambda gpu, name, *_, names=torch_runs: "torch" if name in names else None
        )
        torch.testing.assert_close(FusedViT(graph, Options("triton"), plain)(pixels), expected, atol=1e-5, rtol=1e-4)


def test_the_kernels_refuse_an_unsupported_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "make_executor", lambda *_, **__: None)
    with pytest.raises(ValueError, match="digits-vit pools in a way that the Triton kernels do not support"):
        load_model("digits-vit", backend="triton", dtype="float32")


def test_the_choice_names_the_heuristic() -> None:
    model = load_model("digits-vit", backend="triton", dtype="float32")
    assert "launch configurations by a heuristic, as none were measured on" in model.choice


@pytest.mark.usefixtures("no_interpreter")
@pytest.mark.parametrize(
    ("backend", "reason"), [("auto", "Triton kernels need an NVIDIA GPU"), ("torch", "Triton kernels need")]
)
def test_batch_invariance_is_not_promised_by_pytorch(backend: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"batch invariance needs backend 'triton': {reason}"):
        load_model("digits-vit", backend=backend, batch_invariant=True)


def test_buckets_come_from_the_gpus_table(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu("NVIDIA H200", 90, 132)
    table = tables.new_table(gpu)
    monkeypatch.setattr(tables, "_tables", {gpu: table})

    def run(options: Options) -> FusedViT:
        raise AssertionError("captured before the first batch")

    with assume_gpu(gpu):
        assert executor.CudaGraphExecutor(run, Options(), 16, CPU).buckets == BUCKETS
        table.buckets = [1, 3, 24]
        assert executor.CudaGraphExecutor(run, Options(), 16, CPU).buckets == (1, 3, 24)
