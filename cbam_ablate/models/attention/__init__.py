"""Attention modules, one file each, and what is known of each without torch. One row makes one known."""

from typing import Any

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.registry import Attention, find

TIMM_ATTENTIONS = (
    "se", "ese", "eca", "ecam", "ceca", "gc", "gca", "cbam", "lcbam", "coord", "scoord", "ela", "strip", "sk",
    "splat", "nl", "lambda", "halo",
)  # fmt: skip
"""Names of `timm.layers.create_attn` that give a drop-in module; its others change the map or don't run."""

ATTENTIONS = {
    "cbam": Attention(
        "cbam_ablate.models.attention.cbam:cbam",
        uses=frozenset(
            {
                "reduction",
                "kernel",
                "pool",
                "order",
                "mlp_bias",
                "conv_bias",
                "spatial_norm",
                "descriptor",
                "norm_momentum",
            }
        ),
    ),
    "se": Attention("cbam_ablate.models.attention.se:se", uses=frozenset({"reduction"})),
    "bam": Attention(
        "cbam_ablate.models.attention.bam:bam", uses=frozenset({"reduction", "combine", "norm_momentum"})
    ),
    "eca": Attention("cbam_ablate.models.attention.eca:eca", uses=frozenset({"kernels"})),
    "simam": Attention("cbam_ablate.models.attention.simam:simam"),
    "coordinate": Attention(
        "cbam_ablate.models.attention.coordinate:coordinate",
        uses=frozenset({"reduction", "norm_momentum"}),
        reduction=32,
        narrowest=8,
    ),
    "gc": Attention("cbam_ablate.models.attention.gc:gc", uses=frozenset({"reduction"})),
    "timm": Attention(
        "cbam_ablate.models.attention.timm:timm_attention",
        uses=frozenset({"timm", "norm_momentum"}),
        needs=frozenset({"timm"}),
        choices={"timm": TIMM_ATTENTIONS},
    ),
}


def own(channels: int, cfg: AttentionConfig) -> Any:
    """An attention module of one's own for a feature map of so many channels."""
    from cbam_ablate.models.made import own_made

    row = find(Attention, cfg.kind)
    given = {"reduction": cfg.reduction, "kernel": cfg.kernel}
    return own_made(
        f"model.attention.kind={cfg.kind}", lambda: row.call(channels, options=cfg.options, **given)
    )
