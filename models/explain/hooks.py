"""A forward pass of a published network that keeps what its layers did. The network's own answer is untouched."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

from torch import Tensor, nn

from ..networks.layers import Attention
from ..networks.tnt import TNT, TNTBlock
from ..networks.vit import ViT
from .attention_maps import attention_weights

See = Callable[[Tensor], None]


@contextmanager
def watching(
    network: ViT | TNT,
    *,
    attention: See | None = None,
    inner_attention: See | None = None,
    tokens: See | None = None,
    words: See | None = None,
) -> Iterator[None]:
    """While it lasts, a forward pass of the network hands over, layer after layer:

    Args:
        attention: (B, heads, N, N), weights between tokens, the prefix first; of a TNT, its outer ones.
        inner_attention: (B·patches, inner heads, words, words); of a TNT alone.
        tokens: (B, N, D) after each block.
        words: (B·patches, words, d) after each block; of a TNT alone.
    """
    with ExitStack() as hooks:
        for block in network.blocks:
            if isinstance(block, TNTBlock):
                _listen(hooks, block, words, lambda output: output[0])
                _listen(hooks, block, tokens, lambda output: output[1])
                _intercept(hooks, block.inner.attention, inner_attention)
                _intercept(hooks, block.outer.attention, attention)
            else:
                _listen(hooks, block, tokens, lambda output: output)
                _intercept(hooks, cast(Attention, block.attention), attention)
        yield


def _listen(hooks: ExitStack, block: nn.Module, see: See | None, part: Callable[..., Tensor]) -> None:
    if see is not None:
        handle = block.register_forward_hook(lambda module, inputs, output: see(part(output)))
        hooks.callback(handle.remove)


def _intercept(hooks: ExitStack, attention: Attention, see: See | None) -> None:
    if see is not None:
        handle = attention.register_forward_hook(lambda module, inputs, output: see(attention_weights(module, *inputs)))
        hooks.callback(handle.remove)
