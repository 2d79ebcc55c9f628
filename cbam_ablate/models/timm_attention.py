"""Any attention module that timm has a name for."""

from torch import nn

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.facts import TIMM_ATTENTIONS
from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.models.timm_import import import_timm


def timm_attention(channels: int, cfg: AttentionConfig) -> nn.Module:
    """`timm.layers.create_attn(cfg.timm, channels)` with timm's own defaults."""
    if cfg.timm not in TIMM_ATTENTIONS:
        raise ConfigError(
            f"model.attention.timm={cfg.timm}: attention=timm takes one of {', '.join(TIMM_ATTENTIONS)}"
        )
    import_timm()
    from timm.layers import create_attn

    module: nn.Module = create_attn(cfg.timm, channels)
    return module
