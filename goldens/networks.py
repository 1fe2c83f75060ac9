"""The networks of the golden vectors: small, and each with its own part of the operators.

A network is described by a `Spec`. Rectifiers are modules of their own, because
Captum's guided backpropagation sees `nn.ReLU` modules only. Where a rectifier and a
max-pooling meet, pooling comes first: an all-zero window after a rectifier would be
a tie, and a tie has no one right derivative.
"""

from dataclasses import dataclass, field
from typing import Callable

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Spec:
    """A network and what is computed of it."""

    name: str
    covers: str
    build: Callable[[], nn.Module]
    shape: tuple  # of one row
    occlusion: tuple = ()  # ((window, stride), …), without the batch axis
    layers: tuple = ()  # modules whose output Grad-CAM is taken at
    last_spatial: str = ""  # the one of them a layer method picks by itself
    weights: bool = False  # derivatives of all weights
    training: bool = False  # two steps of SGD
    smooth: bool = False  # no kink in sight of the input: derivatives may be checked by differences
    positive: bool = False  # inputs are drawn from the positive numbers


class Sum(nn.Module):
    """Runs branches on the same input and adds what they give."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return total


class Concat(nn.Module):
    """Runs branches on the same input and joins them along the channels."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def mlp():
    return nn.Sequential(
        nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 4)
    )


class Cnn(nn.Module):
    """Two convolutions without BatchNorm, for training too."""

    def __init__(self, softmax=False):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.head = nn.Linear(6 * 4 * 3, 5)
        self.softmax = softmax

    def forward(self, x):
        x = self.relu1(self.pool(self.conv1(x)))
        x = self.relu2(self.conv2(x))
        x = self.head(torch.flatten(x, 1))
        return F.softmax(x, dim=1) if self.softmax else x


class Convolutions(nn.Module):
    """Strides, dilation and groups, all unequal between axes, with and without bias."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, (3, 2), stride=(2, 1), padding=(1, 0), bias=False)
        self.norm1 = nn.BatchNorm2d(6)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(6, 6, 3, padding=2, dilation=(1, 2), groups=3)
        self.norm2 = nn.BatchNorm2d(6)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(6, 8, 2, stride=2, groups=2, dilation=1)
        self.relu3 = nn.ReLU()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.relu1(self.norm1(self.conv1(x)))
        x = self.relu2(self.norm2(self.conv2(x)))
        x = self.relu3(self.conv3(x))
        return self.head(x.mean((2, 3)))


class AsymmetricPadding(nn.Module):
    """Padding that differs between the sides: F.pad before a convolution, and 'same'."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, stride=2)
        self.act1 = nn.ReLU6()
        self.conv2 = nn.Conv2d(4, 6, (2, 4), padding="same")
        self.act2 = nn.ReLU6()
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.act1(self.conv1(F.pad(x, (0, 1, 2, 1))))
        x = self.act2(self.conv2(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Depthwise(nn.Module):
    """An inverted residual block: 1×1, depthwise 3×3, 1×1, BatchNorm after each."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(3, 9, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(9, eps=1e-3)
        self.act1 = nn.ReLU6()
        self.depth = nn.Conv2d(9, 9, 3, padding=1, groups=9, bias=False)
        self.norm2 = nn.BatchNorm2d(9)
        self.act2 = nn.ReLU6()
        self.project = nn.Conv2d(9, 3, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(3)
        self.tail = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.act3 = nn.LeakyReLU(0.1)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        y = self.act1(self.norm1(self.expand(x)))
        y = self.act2(self.norm2(self.depth(y)))
        x = x + self.norm3(self.project(y))
        x = self.act3(self.tail(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class SqueezeExcite(nn.Module):
    """Channels gated by what a global average says, by Sigmoid and by HardSigmoid."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(6)
        self.act1 = nn.SiLU()
        self.squeeze1 = nn.Conv2d(6, 2, 1)
        self.excite1 = nn.Conv2d(2, 6, 1)
        self.conv2 = nn.Conv2d(6, 4, 3)
        self.act2 = nn.Hardswish()
        self.squeeze2 = nn.Linear(4, 3)
        self.relu = nn.ReLU()
        self.excite2 = nn.Linear(3, 4)
        self.gate2 = nn.Hardsigmoid()
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.act1(self.norm1(self.conv1(x)))
        gate = F.silu(self.squeeze1(F.adaptive_avg_pool2d(x, 1)))
        x = x * torch.sigmoid(self.excite1(gate))
        x = self.act2(self.conv2(x))
        gate = self.excite2(self.relu(self.squeeze2(x.mean((2, 3)))))
        x = x * self.gate2(gate)[:, :, None, None]
        return self.head(x.mean((2, 3)))


class Block(nn.Module):
    """A basic residual block."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return self.relu2(y + self.shortcut(x))


def residual():
    return nn.Sequential(
        Block(2, 4, 1), Block(4, 6, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 5)
    )


class Dense(nn.Module):
    """Dense connections; BatchNorm comes before the convolution and stays unfolded."""

    def __init__(self):
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(2), nn.ReLU()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(6), nn.ReLU()
        self.conv2 = nn.Conv2d(6, 3, 3, padding=1, bias=False)
        self.norm3, self.relu3 = nn.BatchNorm2d(9), nn.ReLU()
        self.conv3 = nn.Conv2d(9, 5, 1, bias=False)
        self.pool = nn.AvgPool2d(2)
        self.norm4, self.relu4 = nn.BatchNorm2d(5), nn.ReLU()
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = torch.cat([x, self.conv1(self.relu1(self.norm1(x)))], 1)
        x = torch.cat([x, self.conv2(self.relu2(self.norm2(x)))], 1)
        x = self.pool(self.conv3(self.relu3(self.norm3(x))))
        x = self.relu4(self.norm4(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def activations():
    """Every smooth activation, and those with kinks, each behind its own convolution."""
    acts = [
        nn.LeakyReLU(0.2), nn.PReLU(), nn.PReLU(3), nn.ELU(0.7), nn.SELU(), nn.ReLU6(), nn.Hardtanh(-0.8, 1.2),
        nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh(), nn.Softplus(), nn.Hardswish(), nn.SiLU(),
        nn.GELU(), nn.GELU("tanh"),
    ]  # fmt: skip
    branches = [nn.Sequential(nn.Conv2d(2, 3, 2), act) for act in acts]
    return nn.Sequential(Sum(*branches), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4))


def smooth_activations():
    """The activations without a kink, one after the other, on vectors."""
    layers = []
    acts = [nn.Sigmoid, nn.Tanh, nn.Softplus, nn.SiLU, nn.GELU, lambda: nn.GELU("tanh"), nn.Mish]
    for act in acts:
        layers += [nn.Linear(7, 7), act()]
    return nn.Sequential(*layers, nn.Linear(7, 4))


class Transposed(nn.Module):
    """Down by a convolution and up by transposed ones: stride, output padding, groups, dilation."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.up1 = nn.ConvTranspose2d(4, 6, 3, stride=(2, 3), padding=1, output_padding=(1, 0), groups=2, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.relu2 = nn.ReLU()
        self.up2 = nn.ConvTranspose2d(6, 3, (2, 3), dilation=(2, 1))
        self.relu3 = nn.ReLU()
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = self.relu1(self.down(x))
        x = self.relu2(self.norm(self.up1(x)))
        x = self.relu3(self.up2(x))
        return self.head(x.mean((2, 3)))


def pooling():
    """Max- and average-pooling with ceil mode, padding counted or not, dilation."""
    pools = [
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.MaxPool2d(2, stride=2, dilation=(2, 1), padding=1),
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=True),
        nn.AvgPool2d((2, 3), stride=2, padding=(0, 1), count_include_pad=True),
    ]
    branches = [nn.Sequential(nn.Conv2d(2, 2, 2, padding=1), pool, nn.Flatten()) for pool in pools]
    return nn.Sequential(Concat(*branches), nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, 4))


class GlobalPooling(nn.Module):
    """Global maximum and global average of the same values, joined."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.act = nn.ELU()
        self.head = nn.Linear(18, 4)

    def forward(self, x):
        x = self.act(self.conv(x))
        parts = [F.adaptive_max_pool2d(x, 1).flatten(1), F.adaptive_avg_pool2d(x, 1).flatten(1), x.amax((2, 3))]
        return self.head(torch.cat(parts, 1))


class LayerNorms(nn.Module):
    """LayerNorm over the last axis and over the last two, GELU between."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(6)
        self.up = nn.Linear(6, 8)
        self.act = nn.GELU()
        self.down = nn.Linear(8, 6)
        self.norm2 = nn.LayerNorm((4, 6), eps=1e-3)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = x + self.down(self.act(self.up(self.norm1(x))))
        return self.head(self.norm2(x).mean(1))


class Attention(nn.Module):
    """Self-attention with two heads by MatMul and Softmax, pre-normalised, first token read off."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.qkv = nn.Linear(6, 18)
        self.out = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        n, tokens, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = torch.softmax(q @ k.transpose(-2, -1) / (width // 2) ** 0.5, dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, tokens, width))
        return self.head(x[:, 0])


class Transformer(nn.Module):
    """A vision transformer in small: patches, class token, positions, PyTorch's own attention."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(2, 6, 3, stride=3)
        self.token = nn.Parameter(torch.zeros(1, 1, 6))
        self.positions = nn.Parameter(torch.zeros(1, 5, 6))
        self.norm1 = nn.LayerNorm(6)
        self.qkv = nn.Linear(6, 18, bias=False)
        self.out = nn.Linear(6, 6)
        self.norm2 = nn.LayerNorm(6)
        self.up, self.act, self.down = nn.Linear(6, 8), nn.GELU("tanh"), nn.Linear(8, 6)
        self.norm3 = nn.LayerNorm(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        q, k, v = (t.unflatten(2, (2, 3)).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        x = x + self.down(self.act(self.up(self.norm2(x))))
        return self.head(self.norm3(x)[:, 0])


class Conv1d(nn.Module):
    """One spatial axis: dilated convolution, BatchNorm, both poolings."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(2, 5, 5, stride=1, padding=2, dilation=1)
        self.norm1 = nn.BatchNorm1d(5)
        self.pool1 = nn.MaxPool1d(3, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv1d(5, 6, 3, dilation=2, padding=1)
        self.norm2 = nn.BatchNorm1d(6)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.AvgPool1d(2)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.relu1(self.pool1(self.norm1(self.conv1(x))))
        x = self.relu2(self.norm2(self.conv2(x)))
        return self.head(F.adaptive_avg_pool1d(self.pool2(x), 1).flatten(1))


class Conv3d(nn.Module):
    """Three spatial axes: strided convolution, BatchNorm, both poolings, transposed convolution."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv3d(1, 3, (2, 3, 3), padding=(0, 1, 1))
        self.norm1 = nn.BatchNorm3d(3)
        self.pool1 = nn.MaxPool3d((1, 2, 2))
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv3d(3, 4, 2, stride=(1, 2, 1), padding=(1, 1, 0))
        self.norm2 = nn.BatchNorm3d(4)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.AvgPool3d((2, 2, 1), stride=1)
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        x = self.relu1(self.pool1(self.norm1(self.conv1(x))))
        x = self.relu2(self.norm2(self.conv2(x)))
        return self.head(F.adaptive_avg_pool3d(self.pool2(x), 1).flatten(1))


def resize():
    """Resize up and down: nearest, linear with both grids, cubic."""
    ways = [
        dict(scale_factor=2, mode="nearest"),
        dict(size=(7, 9), mode="nearest"),
        dict(scale_factor=2, mode="bilinear", align_corners=False),
        dict(size=(7, 8), mode="bilinear", align_corners=True),
        dict(scale_factor=2, mode="bicubic", align_corners=False),
        dict(size=(3, 3), mode="bilinear", align_corners=False),
        dict(size=(9, 7), mode="bicubic", align_corners=True),
    ]
    branches = [
        nn.Sequential(nn.Conv2d(2, 2, 2), nn.Upsample(**way), nn.Conv2d(2, 2, 2, stride=2), nn.Tanh(), nn.Flatten())
        for way in ways
    ]
    return nn.Sequential(Concat(*branches), nn.LazyLinear(4))


def padding():
    """Every mode of Pad, unequal on the sides, cropping too, each before its own convolution."""
    pads = [
        Function(lambda x: F.pad(x, (1, 2, 0, 1), value=0.7)),
        Function(lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect")),
        Function(lambda x: F.pad(x, (2, 1, 1, 0), mode="replicate")),
        Function(lambda x: F.pad(x, (1, 1, 2, 1), mode="circular")),
        Function(lambda x: F.pad(x, (-1, 1, 0, -1))),
    ]
    branches = [
        nn.Sequential(nn.Conv2d(2, 2, 2), nn.Tanh(), pad, nn.Conv2d(2, 2, 2, stride=2), nn.Flatten()) for pad in pads
    ]
    return nn.Sequential(Concat(*branches), nn.SiLU(), nn.LazyLinear(4))


class Indexing(nn.Module):
    """Data moved about: split, slices with steps, gather, transpose, expand, squeeze, concat."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 6)
        self.register_buffer("order", torch.tensor([2, 0, 3, 2]))
        self.mix = nn.Linear(4, 3)
        self.head = nn.Linear(43, 4)

    def forward(self, x):  # [n, 5, 6]
        x = torch.tanh(self.embed(x))
        a, b, c = x.split([1, 3, 2], dim=2)
        picked = x.index_select(1, self.order)  # [n, 4, 6]
        every_other = x[:, ::2, 1:6:2]  # [n, 3, 3]
        last = x[:, -2:, :].permute(0, 2, 1)  # [n, 6, 2]
        grown = a.expand(-1, -1, 3) * b  # [n, 5, 3]
        line = c.sum(1).unsqueeze(1).repeat(1, 2, 1)  # [n, 2, 2]
        mixed = self.mix(picked.transpose(1, 2))  # [n, 6, 3]
        parts = [mixed.flatten(1), every_other.reshape(-1, 9), last[:, :, 0] * last[:, :, 1], grown.mean(1) * 2]
        parts += [torch.stack([line[:, 0, 0], line[:, 1, 1]], 1), b[:, 0:1].squeeze(1), c[:, 3]]
        return self.head(torch.cat(parts, 1))


class Expression(nn.Module):
    """Arithmetic with broadcasting, reductions, selection, log-softmax."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(5, 1))
        self.shift = nn.Parameter(torch.zeros(6))
        self.head = nn.Linear(6, 4)

    def forward(self, x):  # [n, 5, 6], positive
        y = x * self.scale + self.shift
        root = torch.sqrt(x + 0.5) - torch.log(x + 0.2) / (1.5 + x.mean(1, keepdim=True))
        power = (x + 0.3) ** 2.5 - x**2 / 4 + (x + 0.1) ** -0.5 + torch.reciprocal(x + 1)
        bounded = torch.min(torch.max(y, -0.5 * x), root + 0.5)
        chosen = torch.where(y > x.amax(2, keepdim=True) / 2, torch.exp(-y), torch.erf(y) + torch.abs(y))
        stretched = torch.pow(x + 0.5, torch.sigmoid(self.shift))
        total = bounded + chosen * 0.7 - (-power) * 0.2 + stretched + F.log_softmax(y, dim=2) * 0.3
        return self.head(total.sum(1) - total.amin(1))


class Shared(nn.Module):
    """One convolution and one activation used twice: derivatives add up over uses."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.act = nn.LeakyReLU(0.3)
        self.head = nn.Linear(2 * 6 * 5, 4)

    def forward(self, x):
        x = self.act(self.conv(x))
        x = x + self.act(self.conv(x))
        return self.head(x.flatten(1))


IMAGE = (2, 8, 6)
WINDOWS = (((2, 3, 3), (2, 2, 2)), ((1, 4, 2), (1, 3, 2)))
SPECS = [
    Spec("mlp", "Gemm, Relu, Tanh; training", mlp, (6,), (((2,), (1,)), ((3,), (2,))), weights=True, training=True),
    Spec("cnn", "Conv, MaxPool, Relu, Flatten; training", Cnn, IMAGE, WINDOWS, ("conv2", "relu2"), "relu2", weights=True, training=True),
    Spec("softmax_head", "a final Softmax, which explanations step over", lambda: Cnn(softmax=True), IMAGE, WINDOWS, ("relu2",), "relu2"),
    Spec("convolutions", "strides, dilation, groups, unequal kernels, BatchNorm", Convolutions, IMAGE, WINDOWS, ("relu2", "conv3", "relu3"), "relu3", weights=True),
    Spec("asymmetric_padding", "padding that differs between sides, Clip(0, 6)", AsymmetricPadding, IMAGE, WINDOWS, ("act1", "act2"), "act2"),
    Spec("depthwise", "depthwise Conv, BatchNorm, Clip(0, 6), LeakyRelu, residual", Depthwise, (3, 6, 5), (((3, 2, 2), (3, 2, 1)),), ("tail", "act3"), "act3", weights=True),
    Spec("squeeze_excite", "channel gates by Sigmoid and HardSigmoid, SiLU, HardSwish", SqueezeExcite, IMAGE, WINDOWS, ("act1", "conv2", "act2"), weights=True),
    Spec("residual", "residual blocks, BatchNorm, Dropout", residual, IMAGE, WINDOWS, ("0.relu2", "1.relu2"), "1.relu2", weights=True),
    Spec("dense", "Concat of all earlier values, BatchNorm before Conv, AveragePool", Dense, IMAGE, WINDOWS, ("conv2", "relu4"), "relu4"),
    Spec("activations", "every activation, each behind its own Conv", activations, (2, 5, 6), (((2, 2, 2), (1, 1, 2)),), ("0",), weights=True),
    Spec("smooth_activations", "activations without a kink, in a row", smooth_activations, (7,), (((3,), (2,)),), smooth=True),
    Spec("transposed", "ConvTranspose: stride, output padding, groups, dilation, BatchNorm", Transposed, (2, 6, 5), WINDOWS, ("relu1", "up2", "relu3"), "relu3", weights=True),
    Spec("pooling", "MaxPool and AveragePool: ceil mode, padding counted or not, dilation", pooling, IMAGE, WINDOWS),
    Spec("global_pooling", "GlobalMaxPool, GlobalAveragePool, ReduceMax, Elu", GlobalPooling, IMAGE, WINDOWS, ("conv", "act"), "act"),
    Spec("layer_norm", "LayerNormalization over one and two axes, GELU", LayerNorms, (4, 6), (((2, 3), (1, 2)),), weights=True, smooth=True),
    Spec("attention", "MatMul and Softmax attention, LayerNormalization, Split by index", Attention, (4, 6), (((2, 3), (1, 2)),), weights=True, smooth=True),
    Spec("transformer", "patches, class token, scaled dot product attention, GELU by tanh", Transformer, (2, 6, 6), (((2, 3, 3), (2, 3, 3)),), smooth=True),
    Spec("conv1d", "one spatial axis", Conv1d, (2, 14), (((2, 3), (2, 2)), ((1, 4), (1, 3))), ("relu1", "relu2"), weights=True),
    Spec("conv3d", "three spatial axes", Conv3d, (1, 4, 6, 5), (((1, 2, 3, 3), (1, 1, 2, 2)),), ("relu1", "relu2")),
    Spec("resize", "Resize: nearest, linear, cubic; half-pixel and aligned corners", resize, (2, 5, 6), (((2, 3, 3), (2, 2, 2)),), smooth=True),
    Spec("padding", "Pad: constant, reflect, edge, wrap, negative", padding, (2, 6, 5), (((2, 3, 3), (2, 2, 2)),), smooth=True),
    Spec("indexing", "Split, Slice, Gather, Transpose, Expand, Squeeze, Concat, ReduceSum, ReduceMean", Indexing, (5, 6), (((2, 3), (1, 2)),), smooth=True),
    Spec("expression", "arithmetic with broadcasting, Where, Min, Max, Pow, reductions, LogSoftmax", Expression, (5, 6), (((2, 3), (1, 2)),), weights=True, positive=True),
    Spec("shared", "one convolution and one activation used twice", Shared, (2, 6, 5), (((2, 3, 3), (2, 2, 2)),), weights=True),
]  # fmt: skip


def randomised(module, generator):
    """Every parameter and buffer of `module` drawn anew, so that none stays at 0 or 1."""

    def normal(tensor, scale):
        tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float32) * scale)

    def uniform(tensor, low, high):
        tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float32) * (high - low) + low)

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                normal(part.running_mean, 0.5)
                uniform(part.running_var, 0.4, 2.0)
            for name, parameter in part.named_parameters(recurse=False):
                if isinstance(part, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)) and name == "weight":
                    uniform(parameter, 0.5, 1.5)
                elif isinstance(part, nn.PReLU):
                    uniform(parameter, 0.1, 0.4)
                elif parameter.dim() >= 2 and name == "weight":
                    normal(parameter, 1.3 * parameter[0].numel() ** -0.5)
                else:
                    normal(parameter, 0.5)
    return module
