"""As aot.py, of the launches that a TNT adds to a ViT's: `python tests/kernels/aot_tnt.py 90`, and `--write`.

The budget is aot_tnt_budget.json.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import aot
import torch

from tessella.kernels import add_words as add_words_module
from tessella.kernels import tnt_inner as tnt_inner_module
from tessella.kernels import tnt_ops
from tessella.kernels import word_embed as word_embed_module
from tessella.kernels import word_projection as word_projection_module
from tessella.kernels.devices import assume
from tessella.kernels.options import Options
from tessella.models.config import TNTConfig
from tessella.models.fold_tnt import fold_tnt
from tessella.models.folded_tnt import FoldedTNT
from tessella.models.tnt import TNT

OWN = (add_words_module, tnt_inner_module, word_embed_module, word_projection_module)
S = TNTConfig(depth=2)
B = TNTConfig(depth=2, dim=640, heads=10, mlp_dim=2560, inner_dim=40, inner_mlp_dim=160)
LEGACY = replace(S, sub_patch_embedding="image_convolution", normalise_projection=False)
DIGITS = TNTConfig(
    image_size=24,
    patch_size=8,
    sub_patch_size=2,
    dim=96,
    depth=2,
    heads=3,
    mlp_dim=192,
    inner_dim=16,
    inner_heads=2,
    inner_mlp_dim=32,
    num_classes=10,
    sub_patch_embedding="linear",
)
OPTIONS = Options(implementation="triton")


def run(config: TNTConfig, dtype: torch.dtype, batch: int) -> None:
    """The launches that a ViT does not have; the outer stack's are aot.py's."""
    graph: FoldedTNT = fold_tnt(TNT(config), (0.5,) * 3, (0.5,) * 3, dtype=dtype)
    pixels = torch.empty(batch, config.image_size, config.image_size, 3, dtype=torch.uint8)
    words = tnt_ops.word_embed(pixels, graph.words, options=OPTIONS)
    rows = tnt_ops.tnt_inner(words.flatten(0, 1), graph.inner, options=OPTIONS)
    additions = tnt_ops.project_words(rows, graph.sentences, options=OPTIONS).unflatten(1, words.shape[:2])
    x, _ = tnt_ops.add_words(graph.table, additions[0], graph.sentence_norms[0], options=OPTIONS)
    tnt_ops.add_words(x, additions[1], graph.sentence_norms[1], statistics=True, options=OPTIONS)


def run_everything(arch: int) -> None:
    """S and B at a large batch and a small one; on Hopper also the other forms, formats and the one-block launch."""
    for config in (S, B):
        run(config, torch.bfloat16, 128)
    run(S, torch.bfloat16, 1)
    run(DIGITS, torch.bfloat16, 8)
    if arch != 90:
        return
    run(LEGACY, torch.bfloat16, 8)
    run(DIGITS, torch.float16, 1)
    run(DIGITS, torch.float32, 8)
    graph = fold_tnt(TNT(S), (0.5,) * 3, (0.5,) * 3, dtype=torch.bfloat16)
    tnt_ops.tnt_inner_block(torch.empty(25088, 384, dtype=torch.bfloat16), graph.inner, 0, options=OPTIONS)


def compile_everything(arch: int) -> Iterator[dict[str, Any]]:
    aot.LAUNCHERS = (*aot.LAUNCHERS, *OWN)
    with assume(aot.GPUS[arch]), aot.recorded() as launches, torch.inference_mode():
        run_everything(arch)
    seen: set[str] = set()
    for launch in launches:
        name = repr((launch[0].__name__, launch[1], launch[3], [str(getattr(x, "dtype", type(x))) for x in launch[2]]))
        if name not in seen and launch[0].__module__ in [module.__name__ for module in OWN]:
            seen.add(name)
            yield aot.compile_launch(launch, arch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arch", type=int, choices=aot.GPUS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    aot.BUDGET = Path(__file__).with_name("aot_tnt_budget.json")
    rows = []
    for row in compile_everything(arguments.arch):
        print(json.dumps(row), flush=True)
        rows.append(row)
    if arguments.write:
        aot.merge_budget(arguments.arch, rows)


if __name__ == "__main__":
    main()
