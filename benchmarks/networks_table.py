"""Where attention goes in networks of timm and torchvision: writes docs/networks.md.

python benchmarks/networks_table.py    # some minutes on one core; nothing is downloaded
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from cbam_ablate.errors import ConfigError
from cbam_ablate.models.final_map import before_classifier
from cbam_ablate.models.places import block_ends, stage_ends
from cbam_ablate.models.timm_import import import_timm
from cbam_ablate.models.trace import Trace, watch
from cbam_ablate.torchvision_shim import import_torchvision

NETWORKS = """
torchvision: resnet18 resnet50 resnext50_32x4d wide_resnet50_2 vgg16_bn alexnet mobilenet_v2
mobilenet_v3_large efficientnet_b0 efficientnet_v2_s regnet_y_400mf mnasnet1_0 convnext_tiny densenet121
googlenet inception_v3 squeezenet1_0 shufflenet_v2_x1_0 vit_b_16 swin_t
timm: resnet50 seresnet50 ecaresnet50d resnetv2_50 res2net50_26w_4s dpn68 dla34 hrnet_w18 hrnet_w18_small
inception_v4 inception_resnet_v2 legacy_xception cspresnet50 cspdarknet53 darknet53 mobilenetv1_100
mobilenetv3_large_100 efficientnet_b0 tf_efficientnetv2_b0 ghostnet_100 rexnet_100 regnety_004 repvgg_a0
nfnet_l0 convnext_tiny densenet121 ese_vovnet19b_dw nasnetalarge mobilevit_s
"""
PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
HEAD = """# Where attention goes, network by network

The number of attention modules that each placement puts into networks of timm and torchvision, at 224
pixels. A dash is a network that the placement refuses; the message says what to write in
`model.attention.at` instead, as in the last column. Made by `python benchmarks/networks_table.py`;
[where attention goes](attach.md) has the rules.

| network | `block` | `stage` | `class` | where `block` is refused |
|---|---:|---:|---:|---|
"""


def networks() -> list[tuple[str, str]]:
    """Library and name of each network of the table."""
    found, library = [], ""
    for word in NETWORKS.split():
        if word.endswith(":"):
            library = word[:-1]
        else:
            found.append((library, word))
    return found


def make(library: str, name: str) -> nn.Module:
    """The network on the meta device, for ten classes."""
    models, timm = import_torchvision().models, import_timm()
    create: Callable[..., nn.Module] = timm.create_model if library == "timm" else models.get_model
    extra = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    extra = extra if library == "torchvision" else {}
    try:
        with torch.device("meta"):
            return create(name, num_classes=10, **extra)
    except (NotImplementedError, RuntimeError):
        return create(name, num_classes=10, **extra).to("meta")


def count(model: nn.Module) -> dict[str, int | str]:
    """How many modules each placement adds, or why it is refused."""
    trace = watch(model, 224)
    ways: dict[str, Callable[[nn.Module, Trace], int]] = {
        "block": lambda model, trace: len(dict.fromkeys(block_ends(model, trace))),
        "stage": lambda model, trace: len(stage_ends(model, trace)) - 1,
        "class": lambda model, trace: len([before_classifier(model, trace)]),
    }
    found: dict[str, int | str] = {}
    for placement, way in ways.items():
        try:
            found[placement] = way(model, trace)
        except ConfigError as error:
            found[placement] = str(error)
    return found


def line(named: tuple[str, str], found: dict[str, int | str]) -> str:
    """The table's line of one network."""
    shown = [str(value) if isinstance(value, int) else "–" for value in found.values()]
    why = str(found["block"]) if isinstance(found["block"], str) else ""
    why = why.partition(": ")[2].replace("|", "/").replace("*", r"\*")
    return f"| {' '.join(named)} | {' | '.join(shown)} | {why} |"


def main() -> None:
    lines = []
    for named in networks():
        lines.append(line(named, count(make(*named))))
        print(lines[-1], file=sys.stderr, flush=True)
    PAGE.write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
