"""The table of networks in the documentation, against the libraries' own blocks and stages."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "networks_table.py"
SPEC = importlib.util.spec_from_file_location("networks_table", BENCHMARK)
table = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(table)

BLOCKS = {  # the library's own classes of blocks, of which each module is one
    ("torchvision", "resnet18"): {"BasicBlock"},
    ("torchvision", "resnet50"): {"Bottleneck"},
    ("torchvision", "resnext50_32x4d"): {"Bottleneck"},
    ("torchvision", "wide_resnet50_2"): {"Bottleneck"},
    ("torchvision", "mobilenet_v2"): {"InvertedResidual"},
    ("torchvision", "mobilenet_v3_large"): {"InvertedResidual"},
    ("torchvision", "efficientnet_b0"): {"MBConv"},
    ("torchvision", "efficientnet_v2_s"): {"MBConv", "FusedMBConv"},
    ("torchvision", "regnet_y_400mf"): {"ResBottleneckBlock"},
    ("torchvision", "mnasnet1_0"): {"_InvertedResidual"},
    ("torchvision", "convnext_tiny"): {"CNBlock"},
    ("timm", "resnet50"): {"Bottleneck"},
    ("timm", "seresnet50"): {"Bottleneck"},
    ("timm", "ecaresnet50d"): {"Bottleneck"},
    ("timm", "resnetv2_50"): {"PreActBottleneck"},
    ("timm", "res2net50_26w_4s"): {"Bottle2neck"},
    ("timm", "dpn68"): {"DualPathBlock"},
    ("timm", "dla34"): {"DlaBasic"},
    ("timm", "hrnet_w18"): {"BasicBlock", "Bottleneck"},
    ("timm", "hrnet_w18_small"): {"BasicBlock", "Bottleneck"},
    ("timm", "inception_resnet_v2"): {"Block35", "Block17", "Block8"},
    ("timm", "legacy_xception"): {"Block"},
    ("timm", "cspresnet50"): {"BottleneckBlock"},
    ("timm", "cspdarknet53"): {"DarkBlock"},
    ("timm", "darknet53"): {"DarkBlock"},
    ("timm", "mobilenetv1_100"): {"DepthwiseSeparableConv"},
    ("timm", "mobilenetv3_large_100"): {"DepthwiseSeparableConv", "InvertedResidual"},
    ("timm", "efficientnet_b0"): {"DepthwiseSeparableConv", "InvertedResidual"},
    ("timm", "tf_efficientnetv2_b0"): {"ConvBnAct", "EdgeResidual", "InvertedResidual"},
    ("timm", "ghostnet_100"): {"GhostBottleneck"},
    ("timm", "rexnet_100"): {"LinearBottleneck"},
    ("timm", "regnety_004"): {"Bottleneck"},
    ("timm", "nfnet_l0"): {"NormFreeBlock"},
    ("timm", "mobilevit_s"): {"BottleneckBlock", "MobileVitBlock"},
}
POOLINGS = {("torchvision", "vgg16_bn"): 5, ("torchvision", "alexnet"): 3}
"""Of plain networks. What is in neither is refused."""
STAGES = {  # maps of different sizes that blocks give, less one; None is refused
    **dict.fromkeys(set(table.networks()), 3),
    ("torchvision", "vgg16_bn"): 4,
    ("torchvision", "alexnet"): 2,
    ("torchvision", "mobilenet_v2"): 4,
    ("torchvision", "mobilenet_v3_large"): 4,
    ("torchvision", "efficientnet_b0"): 4,
    ("torchvision", "efficientnet_v2_s"): 4,
    ("torchvision", "googlenet"): 2,
    ("torchvision", "inception_v3"): 2,
    ("torchvision", "squeezenet1_0"): 2,
    ("torchvision", "shufflenet_v2_x1_0"): 2,
    ("torchvision", "vit_b_16"): None,
    ("torchvision", "swin_t"): None,
    ("timm", "hrnet_w18"): None,
    ("timm", "hrnet_w18_small"): None,
    ("timm", "inception_v4"): 2,
    ("timm", "inception_resnet_v2"): 2,
    ("timm", "cspdarknet53"): 4,
    ("timm", "darknet53"): 4,
    ("timm", "mobilenetv1_100"): 4,
    ("timm", "mobilenetv3_large_100"): 4,
    ("timm", "efficientnet_b0"): 4,
    ("timm", "tf_efficientnetv2_b0"): 4,
    ("timm", "ghostnet_100"): 4,
    ("timm", "rexnet_100"): 4,
    ("timm", "nasnetalarge"): None,
    ("timm", "mobilevit_s"): 4,
}


def as_number(count):
    return count if isinstance(count, int) else None


@pytest.mark.slow
@pytest.mark.parametrize("named", table.networks(), ids="-".join)
def test_attention_goes_to_the_library_s_own_blocks_and_stages_as_the_table_says(named):
    model = table.make(*named)
    own = sum(type(module).__name__ in BLOCKS.get(named, ()) for module in model.modules())
    found = table.count(model)
    assert as_number(found["block"]) == (own or POOLINGS.get(named))
    assert as_number(found["stage"]) == STAGES[named]
    assert table.line(named, found) in table.PAGE.read_text().splitlines()
