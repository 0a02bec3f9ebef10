"""Forward hooks that record attention weights and tokens of every layer of a published network."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

from torch import Tensor, nn

from ..networks.layers import Attention
from ..networks.tnt import TNT, TNTBlock
from ..networks.vit import ViT
from .attention_maps import attention_weights

Callback = Callable[[Tensor], None]


@contextmanager
def layer_hooks(
    network: ViT | TNT,
    *,
    attention: Callback | None = None,
    inner_attention: Callback | None = None,
    tokens: Callback | None = None,
    inner_tokens: Callback | None = None,
) -> Iterator[None]:
    """Context manager: call back during each forward pass, layer by layer.

    Args:
        attention: attention weights (B, heads, N, N), prefix tokens first; of a TNT, those of the outer blocks.
        inner_attention: attention weights (B·P, inner heads, W, W) of a TNT's inner blocks.
        tokens: tokens (B, N, D) after each block.
        inner_tokens: inner tokens (B·P, W, d) after each block of a TNT.
    """
    with ExitStack() as hooks:
        for block in network.blocks:
            if isinstance(block, TNTBlock):
                _hook_output(hooks, block, inner_tokens, lambda output: output[0])
                _hook_output(hooks, block, tokens, lambda output: output[1])
                _hook_attention(hooks, block.inner.attention, inner_attention)
                _hook_attention(hooks, block.outer.attention, attention)
            else:
                _hook_output(hooks, block, tokens, lambda output: output)
                _hook_attention(hooks, cast(Attention, block.attention), attention)
        yield


def _hook_output(hooks: ExitStack, block: nn.Module, callback: Callback | None, part: Callable[..., Tensor]) -> None:
    if callback is not None:
        handle = block.register_forward_hook(lambda module, inputs, output: callback(part(output)))
        hooks.callback(handle.remove)


def _hook_attention(hooks: ExitStack, attention: Attention, callback: Callback | None) -> None:
    if callback is not None:
        handle = attention.register_forward_hook(
            lambda module, inputs, output: callback(attention_weights(module, *inputs))
        )
        hooks.callback(handle.remove)
