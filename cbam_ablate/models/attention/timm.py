"""Any attention module that timm has a name for."""

from torch import nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.models.attention import TIMM_ATTENTIONS
from cbam_ablate.models.timm_import import import_timm


def timm_attention(channels: int, cfg: AttentionConfig) -> nn.Module:
    """`timm.layers.create_attn(cfg.timm, channels)` with timm's own defaults.

    Raises `ConfigError` for a name that isn't listed, and where timm doesn't make it for so many channels.
    """
    if cfg.timm not in TIMM_ATTENTIONS:
        raise ConfigError(
            f"model.attention.timm={cfg.timm}: attention=timm takes one of {', '.join(TIMM_ATTENTIONS)}"
        )
    import_timm()
    from timm.layers import create_attn

    try:
        module: nn.Module = create_attn(cfg.timm, channels)
    except Exception as error:  # timm's modules raise errors of many kinds
        others = ", ".join(name for name in TIMM_ATTENTIONS if name != cfg.timm)
        why = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise ConfigError(
            f"model.attention.timm={cfg.timm}: timm doesn't make it for {channels} channels{why}; "
            f"use another model.width or placement, or one of {others}"
        ) from error
    return module
