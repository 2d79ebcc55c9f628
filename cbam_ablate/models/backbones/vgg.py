"""VGG with batch norm (Simonyan and Zisserman, 2014, arXiv 1409.1556), convolutions with biases.

Attention in a block stands after each stage's last convolution, norm and ReLU, before the pooling.
"""

from torch import nn

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import Network, conv, depth_and_width

COUNTS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
HIDDEN = 4096


def vgg(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Five stages of widths 1, 2, 4, 8 and 8 times `model.width`, each followed by a 2x2 max pooling.

    `model.classifier`: linear is one layer on the pooled map, mlp has two of 4096 before it.
    """
    depth, width = depth_and_width(model)
    gates = Gates(model.attention)
    widths = [width * factor for factor in (1, 2, 4, 8, 8)]
    stages: list[list[nn.Module]] = []
    for outputs, count in zip(widths, COUNTS[depth], strict=True):
        stage: list[nn.Module] = [nn.MaxPool2d(2)] if stages else []
        for _ in range(count):
            stage += [conv(channels, outputs, 3, bias=True), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            channels = outputs
        stage[-2], attention = gates.around(stage[-2], outputs)
        stages.append([*stage, attention])
    classifier = _classifier(model, widths[-1], classes)
    # ceil_mode, because of a 28x28 image a single pixel is left here.
    last_pool = nn.MaxPool2d(2, ceil_mode=True)
    return Network(nn.Identity(), stages, widths, gates, classifier, last_pool)


def _classifier(model: ModelConfig, inputs: int, classes: int) -> nn.Module:
    if model.classifier == "linear":
        return nn.Sequential(nn.Dropout(model.dropout), nn.Linear(inputs, classes))
    hidden: list[nn.Module] = []
    for width in (inputs, HIDDEN):
        hidden += [nn.Linear(width, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(model.dropout)]
    return nn.Sequential(*hidden, nn.Linear(HIDDEN, classes))
