"""Network costs: parameters and multiply-accumulates, counted from the configuration. No torch."""

from .config import Config, TNTConfig, ViTConfig

CHANNELS = 3
CONVOLUTION_SIZE = 7
"""Side of TNT's sub-patch convolution, in pixels."""


def parameters(config: Config) -> int:
    """Number of parameters, equal to the sum over `network.parameters()`."""
    return _vit_parameters(config) if isinstance(config, ViTConfig) else _tnt_parameters(config)


def macs(config: Config) -> int:
    """Multiply-accumulates of the matrix products in one image's forward pass, including the two of attention."""
    return _vit_macs(config) if isinstance(config, ViTConfig) else _tnt_macs(config)


def gmacs(config: Config) -> float:
    """GMACs as in timm's tables: fvcore's count in 10⁹, which adds five operations per normalised number."""
    normalised = _vit_normalised(config) if isinstance(config, ViTConfig) else _tnt_normalised(config)
    return (macs(config) + 5 * normalised) / 1e9


def _vit_parameters(config: ViTConfig) -> int:
    dim, heads = config.dim, 1 + config.distillation_token
    embedding = config.patch_size**2 * CHANNELS * dim + config.patch_bias * dim + config.prefix_tokens * dim
    block = _block_parameters(dim, config.mlp_dim, bias=config.qkv_bias, gated=config.feedforward == "swiglu")
    block += config.layer_scale * 2 * dim + config.qk_norm * 4 * (dim // config.heads)
    norms = (1 + config.pre_norm) * 2 * dim
    return embedding + _position_parameters(config) + config.depth * block + norms + heads * _head(config)


def _position_parameters(config: ViTConfig) -> int:
    covered = config.position_prefix * config.prefix_tokens
    match config.position:
        case "learned":
            return (covered + config.grid**2) * config.dim
        case "factorised":
            return covered * config.dim + config.grid * config.dim
        case _:
            return 0


def _block_parameters(dim: int, mlp_dim: int, *, bias: bool, gated: bool = False) -> int:
    attention = 3 * dim * dim + bias * 3 * dim + dim * dim + dim
    hidden = mlp_dim // 2 if gated else mlp_dim
    return attention + dim * mlp_dim + mlp_dim + hidden * dim + dim + 4 * dim


def _head(config: Config) -> int:
    return (config.feature_dim + 1) * config.num_classes


def _tnt_parameters(config: TNTConfig) -> int:
    dim, width = config.dim, config.words * config.inner_dim
    taps = config.sub_patch_size**2 if config.sub_patch_embedding == "linear" else CONVOLUTION_SIZE**2
    embedding = (taps * CHANNELS + 1) * config.inner_dim + 2 * width + (width + 1) * dim + 2 * dim + dim
    tables = config.inner_position * width + config.outer_position * config.tokens * dim
    inner = _block_parameters(config.inner_dim, config.inner_mlp_dim, bias=config.qkv_bias)
    to_outer = width * dim + (2 * width + 2 * dim if config.normalise_projection else 2 * config.inner_dim + dim)
    outer = _block_parameters(dim, config.mlp_dim, bias=config.qkv_bias)
    return embedding + tables + config.depth * (inner + to_outer + outer) + 2 * dim + _head(config)


def _vit_macs(config: ViTConfig) -> int:
    embedding = config.grid**2 * config.patch_size**2 * CHANNELS * config.dim
    block = _block_macs(config.tokens, config.dim, config.mlp_dim, gated=config.feedforward == "swiglu")
    return embedding + config.depth * block + (1 + config.distillation_token) * config.feature_dim * config.num_classes


def _block_macs(tokens: int, dim: int, mlp_dim: int, *, gated: bool = False) -> int:
    hidden = mlp_dim // 2 if gated else mlp_dim
    return tokens * dim * (4 * dim + mlp_dim + hidden) + 2 * tokens**2 * dim


def _tnt_macs(config: TNTConfig) -> int:
    patches, width = config.grid**2, config.words * config.inner_dim
    taps = config.sub_patch_size**2 if config.sub_patch_embedding == "linear" else CONVOLUTION_SIZE**2
    embedding = patches * width * (taps * CHANNELS + config.dim)
    inner = patches * _block_macs(config.words, config.inner_dim, config.inner_mlp_dim)
    outer = patches * width * config.dim + _block_macs(config.tokens, config.dim, config.mlp_dim)
    return embedding + config.depth * (inner + outer) + config.dim * config.num_classes


def _vit_normalised(config: ViTConfig) -> int:
    block = config.tokens * config.dim * (2 + 2 * config.qk_norm)
    last = 1 if config.norm_after_pooling else config.tokens
    return config.depth * block + (last + config.pre_norm * config.tokens) * config.dim


def _tnt_normalised(config: TNTConfig) -> int:
    words, patches = config.grid**2 * config.words * config.inner_dim, config.grid**2 * config.dim
    outer = config.tokens * config.dim
    to_outer = words + config.normalise_projection * patches
    return words + patches + config.depth * (2 * words + to_outer + 2 * outer) + outer
