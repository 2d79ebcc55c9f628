"""Public networks by their keys and shapes, small, each defined here on its own."""

import torch
from torch import nn
from torch.nn import functional as F


def conv(inputs, outputs, kernel=3, stride=1, bias=False, **more):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias, **more)


class Pooled(nn.Module):
    def __init__(self, **inner):
        super().__init__()
        for name, module in inner.items():
            setattr(self, name, module)


class OfficialCBAM(nn.Module):
    """Keys ChannelGate.mlp.{1,3} and SpatialGate.spatial.{conv,bn}; reduction 4 here, kernel 7."""

    def __init__(self, channels):
        super().__init__()
        hidden = channels // 4
        mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.ChannelGate = Pooled(mlp=mlp)
        self.SpatialGate = Pooled(spatial=Pooled(conv=conv(2, 1, 7), bn=nn.BatchNorm2d(1)))

    def forward(self, x):
        both = self.ChannelGate.mlp(x.mean((2, 3))) + self.ChannelGate.mlp(x.amax((2, 3)))
        x = x * both.sigmoid()[:, :, None, None]
        gate = self.SpatialGate.spatial
        seen = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * gate.bn(gate.conv(seen)).sigmoid()


class OfficialBAM(nn.Module):
    """Keys channel_att.gate_c.* and spatial_att.gate_s.*; the two maps are multiplied."""

    def __init__(self, channels):
        super().__init__()
        h = channels // 4
        names = ("gate_c_fc_0", "gate_c_bn_1", "gate_c_relu_1", "gate_c_fc_final")
        layers = (nn.Linear(channels, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, channels))
        self.channel_att = Pooled(gate_c=nn.Sequential())
        for name, layer in zip(names, layers, strict=True):
            self.channel_att.gate_c.add_module(name, layer)
        gate = nn.Sequential()
        self.spatial_att = Pooled(gate_s=gate)
        gate.add_module("gate_s_conv_reduce0", conv(channels, h, 1, bias=True))
        gate.add_module("gate_s_bn_reduce0", nn.BatchNorm2d(h))
        gate.add_module("gate_s_relu_reduce0", nn.ReLU())
        for i in range(2):
            gate.add_module(f"gate_s_conv_di_{i}", nn.Conv2d(h, h, 3, padding=4, dilation=4))
            gate.add_module(f"gate_s_bn_di_{i}", nn.BatchNorm2d(h))
            gate.add_module(f"gate_s_relu_di_{i}", nn.ReLU())
        gate.add_module("gate_s_conv_final", conv(h, 1, 1, bias=True))

    def forward(self, x):
        channel = self.channel_att.gate_c(x.mean((2, 3)))[:, :, None, None]
        return (1 + (channel * self.spatial_att.gate_s(x)).sigmoid()) * x


class SE(nn.Module):
    """Keys fc.{0,2}, without biases."""

    def __init__(self, channels):
        super().__init__()
        h = channels // 4
        self.fc = nn.Sequential(
            nn.Linear(channels, h, bias=False), nn.ReLU(), nn.Linear(h, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class SEModule(nn.Module):
    """Keys fc1 and fc2, 1x1 convolutions with biases."""

    def __init__(self, channels):
        super().__init__()
        self.fc1, self.fc2 = (
            conv(channels, channels // 4, 1, bias=True),
            conv(channels // 4, channels, 1, bias=True),
        )

    def forward(self, x):
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class ECA(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        return x * self.conv(x.mean((2, 3))[:, None]).sigmoid().squeeze(1)[:, :, None, None]


class Block(nn.Module):
    """conv1, bn1, ... , a gate by its name before the addition, and the other branch by its name."""

    def __init__(self, inputs, outputs, stride, branch="downsample", gate=None, deep=False):
        super().__init__()
        inner = outputs // 4
        shapes = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        if deep:
            shapes = [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1)]
        self.count = len(shapes)
        for i, shape in enumerate(shapes, 1):
            setattr(self, f"conv{i}", conv(*shape))
            setattr(self, f"bn{i}", nn.BatchNorm2d(shape[1]))
        self.branch = branch
        changes = stride > 1 or inputs != outputs
        setattr(
            self,
            branch,
            nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
            if changes
            else nn.Sequential(),
        )
        self.gate = None
        if gate is not None:
            self.gate, make = gate
            setattr(self, self.gate, make(outputs))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = y.relu() if i < self.count else y
        y = getattr(self, self.gate)(y) if self.gate else y
        return (y + getattr(self, self.branch)(x)).relu()


class ResNet(nn.Module):
    """conv1, bn1, layer1.., and a last layer by its name; `after` are gates after each stage but the last."""

    def __init__(self, blocks, width=8, stem=64, large=True, last="fc", after=None, deep=False, **block):
        super().__init__()
        self.large, self.last, self.stages = large, last, len(blocks)
        self.conv1 = conv(3, stem, 7 if large else 3, 2 if large else 1)
        self.bn1 = nn.BatchNorm2d(stem)
        self.after, inputs = after, stem
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage * (4 if deep else 1)
            layers = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                layers.append(Block(inputs, outputs, stride, deep=deep, **block))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
            if after and stage < len(blocks) - 1:
                setattr(self, f"{after[0]}{stage + 1}", after[1](outputs))
        setattr(self, last, nn.Linear(inputs, 10))

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = F.max_pool2d(x, 3, 2, 1) if self.large else x
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
            x = getattr(self, f"{self.after[0]}{stage}")(x) if self.after and stage < self.stages else x
        return getattr(self, self.last)(x.mean((2, 3)))


class Weiaicunzai(nn.Module):
    """conv1 is a sequence, stages are conv2_x to conv5_x, a block's branch is one sequence by `inner`."""

    def __init__(self, stages, inner, names):
        super().__init__()
        self.conv1 = nn.Sequential(conv(3, 64), nn.BatchNorm2d(64), nn.ReLU())
        self.names, inputs = names, 64
        for stage, (name, count) in enumerate(zip(names, (2, 2, 2, 2), strict=True)):
            outputs, blocks = stages[stage], []
            for number in range(count):
                stride = 2 if stage and not number else 1
                branch = nn.Sequential()
                if stride > 1 or inputs != outputs:
                    branch = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
                path = nn.Sequential(
                    conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU(),
                    conv(outputs, outputs), nn.BatchNorm2d(outputs),
                )  # fmt: skip
                blocks.append(Pooled(**{inner: path, "shortcut": branch}))
                inputs = outputs
            setattr(self, name, nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, 10)
        self.inner = inner

    def forward(self, x):
        x = self.conv1(x)
        for name in self.names:
            for block in getattr(self, name):
                x = (getattr(block, self.inner)(x) + block.shortcut(x)).relu()
        return self.fc(x.mean((2, 3)))


class ResNeXtOfCIFAR(nn.Module):
    """conv1 is a sequence, stages are conv2 to conv5, a branch is `split_transforms`; depth 50, 32x4d."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(conv(3, 64), nn.BatchNorm2d(64), nn.ReLU())
        inputs = 64
        for stage, count in enumerate((3, 4, 6, 3)):
            inner, outputs, blocks = 128 * 2**stage, 256 * 2**stage, []
            for number in range(count):
                stride = 2 if stage and not number else 1
                branch = nn.Sequential()
                if not number:
                    branch = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
                path = nn.Sequential(
                    conv(inputs, inner, 1), nn.BatchNorm2d(inner), nn.ReLU(),
                    conv(inner, inner, 3, stride, groups=32), nn.BatchNorm2d(inner), nn.ReLU(),
                    conv(inner, outputs, 1), nn.BatchNorm2d(outputs),
                )  # fmt: skip
                blocks.append(Pooled(split_transforms=path, shortcut=branch))
                inputs = outputs
            setattr(self, f"conv{stage + 2}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, 10)

    def forward(self, x):
        x = self.conv1(x)
        for stage in range(2, 6):
            for block in getattr(self, f"conv{stage}"):
                x = (block.split_transforms(x) + block.shortcut(x)).relu()
        return self.fc(x.mean((2, 3)))


def vgg_features(width):
    layers, inputs = [], 3
    for stage, (factor, count) in enumerate(zip((1, 2, 4, 8, 8), (1, 1, 2, 2, 2), strict=True)):
        layers += [nn.MaxPool2d(2)] if stage else []
        for _ in range(count):
            layers += [conv(inputs, factor * width, bias=True), nn.BatchNorm2d(factor * width), nn.ReLU()]
            inputs = factor * width
    return nn.Sequential(*layers, nn.MaxPool2d(2))


class VGG(nn.Module):
    def __init__(self, classifier):
        super().__init__()
        self.features, self.classifier = vgg_features(8), classifier

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def three_layers():
    return nn.Sequential(
        nn.Linear(64, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
        nn.Linear(4096, 10),
    )  # fmt: skip
