"""Attention modules, one file each, and what is known of each without torch. One row makes one known."""

from cbam_ablate.registry import Attention

TIMM_ATTENTIONS = (
    "se", "ese", "eca", "ecam", "ceca", "gc", "gca", "cbam", "lcbam", "coord", "scoord", "ela", "strip", "sk",
    "splat", "nl", "lambda", "halo",
)  # fmt: skip
"""Names of `timm.layers.create_attn` that give a drop-in module; its others change the map or don't run."""

ATTENTIONS = {
    "cbam": Attention(
        "cbam_ablate.models.attention.cbam:cbam",
        frozenset(
            {"reduction", "kernel", "pool", "order", "mlp_bias", "conv_bias", "spatial_norm", "descriptor"}
        ),
    ),
    "se": Attention("cbam_ablate.models.attention.se:se", frozenset({"reduction"})),
    "bam": Attention("cbam_ablate.models.attention.bam:bam", frozenset({"reduction"})),
    "eca": Attention("cbam_ablate.models.attention.eca:eca"),
    "simam": Attention("cbam_ablate.models.attention.simam:simam"),
    "coordinate": Attention("cbam_ablate.models.attention.coordinate:coordinate", frozenset({"reduction"})),
    "gc": Attention("cbam_ablate.models.attention.gc:gc", frozenset({"reduction"})),
    "timm": Attention(
        "cbam_ablate.models.attention.timm:timm_attention",
        frozenset({"timm"}),
        needs=frozenset({"timm"}),
        choices={"timm": TIMM_ATTENTIONS},
    ),
}
