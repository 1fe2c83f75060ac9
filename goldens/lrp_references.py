"""What Zennit says of small VGG- and ResNet-shaped networks: `lrp.json`, `lrp.NAME.npz` and `lrp.NAME.*.onnx`.

    pip install -r requirements.txt
    python lrp_references.py

Every parameter and buffer is drawn at random. Zennit runs in float64 on the network that its canonizers make
(BatchNorm merged into the layer before it, residual sums as a module of their own); relevance starts as the target's
logit. A draw is taken only if no row of a reference is zero or constant, and if Zennit's own float32 agrees with its
float64 within 1e-5 of each row's maximum.

Differences, checked below in numbers small enough to do by hand:

- A residual sum written as `x + f(x)` is no module, so Zennit's hooks do not see it: both branches get all of its
  relevance, and it doubles (its issue 236). A sum written as a module (`zennit.layer.Sum`) gets the norm rule. A graph
  has no such difference: `doubled` below stores what the module form says, for the file that is written with `+`.
- A mean over positions written as a function (`x.mean((2, 3))`) is not seen either, and gets the derivative, 1/n of the
  relevance to each position; as a pooling module, or in a graph, relevance is shared in proportion.
- Zennit's canonizer folds a BatchNorm into the layer before it and leaves a normalisation by 1 and 0 behind, which still
  divides by √(1 + eps): every folded BatchNorm scales its result by 1 − eps/2. Here its eps is set to 0 (`Merged`).
- Zennit's excitation backpropagation gives activations that are no rectifiers their derivative. The paper has none such;
  here they pass relevance as in all other methods, and it is compared on networks of rectifiers only.
- Zennit calls the first layer the module that is defined first; a graph has all layers that take the input.
"""

import copy
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from zennit import composites as zc
from zennit import rules as zr
from zennit.attribution import Gradient
from zennit.canonizers import CompositeCanonizer, SequentialMergeBatchNorm
from zennit.composites import LayerMapComposite, layer_map_base
from zennit.layer import Sum
from zennit.torchvision import ResNetBasicBlockCanonizer, ResNetBottleneckCanonizer
from zennit.types import Linear

import exporting
import generate
from networks import randomised

HERE = Path(__file__).resolve().parent
ROWS = 3
SEED = 5000
IMAGE = (3, 12, 10)


def vgg(norm):
    """Convolutions of 3 by 3, rectifiers and max-pooling, then fully connected layers."""
    layers, channels = [], IMAGE[0]
    for width, pool in [(6, True), (8, False), (8, True)]:
        layers.append(nn.Conv2d(channels, width, 3, padding=1))
        if norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU())
        if pool:
            layers.append(nn.MaxPool2d(2))
        channels = width
    features = nn.Sequential(*layers)
    classifier = nn.Sequential(nn.Linear(8 * 3 * 2, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 5))
    return nn.Sequential(features, nn.Flatten(), classifier)


def resnet(norm=True):
    """A stem, basic blocks with and without a projection, a bottleneck, average pooling."""
    down = nn.Sequential(nn.Conv2d(6, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8))
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        BasicBlock(6, 6), BasicBlock(6, 8, stride=2, downsample=down), Bottleneck(8, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


def mlp():
    """Fully connected layers with BatchNorm1d, on features."""
    return nn.Sequential(
        nn.Linear(7, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 4)
    )


def smooth():
    """SiLU, GELU and HardSwish between convolutions of which one is transposed, average pooling, one group a channel."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.SiLU(),
        nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6), nn.Hardswish(),
        nn.ConvTranspose2d(6, 5, 2, stride=2), nn.BatchNorm2d(5), nn.GELU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(5 * 3 * 2 * 5, 4),
    )  # fmt: skip


def smooth_sized():
    network = smooth()
    network[-1] = nn.Linear(network[:-1](torch.zeros(1, *IMAGE)).shape[1], 4)
    return network


class Doubled(nn.Module):
    """A residual sum, as a module for Zennit or written as `x + f(x)`."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3, padding=1, bias=False)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(5, 5, 3, padding=1, bias=False)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(5, 4, bias=False)
        self.sum = Sum()
        self.as_module = True

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        y = self.relu2(self.conv2(x))
        x = self.sum(torch.stack([x, y], dim=-1)) if self.as_module else x + y
        return self.last(torch.flatten(self.pool(x), 1))


class Merged(SequentialMergeBatchNorm):
    """Zennit's canonizer, whose leftover normalisation is the identity that it is meant to be."""

    def register(self, linears, batch_norm):
        super().register(linears, batch_norm)
        self.eps, batch_norm.eps = batch_norm.eps, 0.0

    def remove(self):
        super().remove()
        self.batch_norm.eps = self.eps


class MergedResNet(CompositeCanonizer):
    """Zennit's ResNetCanonizer with `Merged`."""

    def __init__(self):
        super().__init__((Merged(), ResNetBottleneckCanonizer(), ResNetBasicBlockCanonizer()))


def uniform(rule):
    """A rule at every layer, and Zennit's choices for everything else."""
    return lambda canonizers: LayerMapComposite(layer_map_base() + [(Linear, rule())], canonizers=canonizers)


LOW, HIGH = -4.0, 4.0
CHANNELS = ([-4.0, -3.5, -4.5], [3.5, 4.0, 4.5])
PER_CHANNEL = tuple(torch.tensor(bound).reshape(1, 3, 1, 1) for bound in CHANNELS)


def listed(bound):
    return ",".join(map(str, bound))


CASES = [
    ("lrp-epsilon", {}, uniform(zr.Epsilon)),
    ("lrp-epsilon", {"epsilon": 0.25}, uniform(lambda: zr.Epsilon(0.25))),
    ("lrp-gamma", {}, uniform(zr.Gamma)),
    ("lrp-gamma", {"gamma": 1.5}, uniform(lambda: zr.Gamma(1.5))),
    ("lrp-z-plus", {}, uniform(zr.ZPlus)),
    ("lrp-alpha-beta", {}, uniform(lambda: zr.AlphaBeta(2, 1))),
    ("lrp-alpha-beta", {"alpha": 1.5}, uniform(lambda: zr.AlphaBeta(1.5, 0.5))),
    ("lrp-epsilon-plus", {}, lambda c: zc.EpsilonPlus(canonizers=c)),
    ("lrp-epsilon-plus", {"epsilon": 0.1}, lambda c: zc.EpsilonPlus(epsilon=0.1, canonizers=c)),
    ("lrp-epsilon-plus-flat", {}, lambda c: zc.EpsilonPlusFlat(canonizers=c)),
    ("lrp-epsilon-gamma-box", {"low": str(LOW), "high": str(HIGH)}, lambda c: zc.EpsilonGammaBox(LOW, HIGH, canonizers=c)),
    ("lrp-epsilon-alpha2-beta1", {}, lambda c: zc.EpsilonAlpha2Beta1(canonizers=c)),
    ("lrp-epsilon-alpha2-beta1-flat", {}, lambda c: zc.EpsilonAlpha2Beta1Flat(canonizers=c)),
    ("excitation-backprop", {}, lambda c: zc.ExcitationBackprop(canonizers=c)),
]  # fmt: skip
BOXED = (
    "lrp-epsilon-gamma-box",
    {"low": listed(CHANNELS[0]), "high": listed(CHANNELS[1])},
    lambda c: zc.EpsilonGammaBox(*PER_CHANNEL, canonizers=c),
)

NETWORKS = [
    ("vgg", "VGG-shaped: convolutions, max-pooling, fully connected layers", lambda: vgg(False), IMAGE, Merged),
    ("vgg_bn", "VGG-shaped with BatchNorm", lambda: vgg(True), IMAGE, Merged),
    ("resnet", "ResNet-shaped: basic blocks, a projection, a bottleneck", resnet, IMAGE, MergedResNet),
    ("features", "fully connected layers and BatchNorm1d", mlp, (7,), Merged),
    ("smooth", "SiLU, GELU, HardSwish, one group a channel, a transposed convolution", smooth_sized, IMAGE, Merged),
    ("doubled", "a residual sum written as x + f(x), without biases", Doubled, IMAGE, Merged),
]  # fmt: skip


def key(method, settings):
    return ":".join([method, *(f"{name}={value}" for name, value in settings.items())])


def explained(network, x, target, composite, canonizer):
    x = x.clone().requires_grad_()
    onehot = nn.functional.one_hot(target, network(x).shape[1]).to(x)
    with Gradient(network, composite([canonizer()])) as attributor:
        return attributor(x, lambda output: output * onehot)[1].detach()


def cases_of(shape, name):
    cases = list(CASES)
    if len(shape) == 3:
        cases.append(BOXED)
    if name == "features":
        # The flat rule gives the features of a fully connected layer all the same.
        cases = [case for case in cases if not case[0].endswith("flat")]
    if name in ("features", "smooth"):
        cases = [case for case in cases if case[0] != "excitation-backprop"]
    return cases


def drawn(name, build, shape, canonizer, number):
    wanted = cases_of(shape, name)
    for retry in range(400):
        generator = torch.Generator().manual_seed(SEED + 1000 * number + retry)
        network = randomised(build().eval(), generator)
        x = torch.randn(ROWS, *shape, generator=generator)
        target = torch.arange(ROWS) % network(x).shape[1]
        kept, left = {}, []
        for method, settings, composite in wanted:
            wide = explained(copy.deepcopy(network).double(), x.double(), target, composite, canonizer)
            narrow = explained(copy.deepcopy(network), x, target, composite, canonizer)
            alive = all(np.abs(r).max() > 1e-5 and np.ptp(r) > 1e-2 * np.abs(r).max() for r in generate.rows(wide.numpy()))
            if alive and generate.deviation(narrow.numpy(), wide.numpy()) < generate.ROUNDING:
                kept[key(method, settings)] = wide.numpy()
            else:
                left.append(key(method, settings))
        if not left:
            print(f"{name}: draw {retry}, {len(kept)} cases", flush=True)
            return network, x, target, kept
        if retry > 30 and retry % 20 == 0:
            print(f"{name}: draw {retry} leaves out {', '.join(left)}", flush=True)
    sys.exit(f"{name}: no draw would do")


def written(name, covers, build, shape, canonizer, number):
    network, x, target, kept = drawn(name, build, shape, canonizer, number)
    wide = copy.deepcopy(network).double()
    arrays = {"input": x.double().numpy(), "target": target.numpy(), "output": wide(x.double()).detach().numpy()}
    arrays |= kept
    np.savez_compressed(HERE / f"lrp.{name}.npz", **arrays)
    if name == "doubled":
        network.as_module = False
    variants = []
    for exporter, folded in exporting.VARIANTS:
        model = exporting.export(network, x, exporter, folded)
        file = f"lrp.{name}.{exporter}{'' if folded else '.unfolded'}.onnx"
        (HERE / file).write_bytes(model.SerializeToString(deterministic=True))
        in_float64 = exporting.output_in_float64(model, arrays["input"])
        deviation = None if in_float64 is None else generate.deviation(in_float64, arrays["output"])
        variant = dict(file=file, exporter=exporter, folded=folded, logits="output", layers={}, weights={})
        variants.append(variant | {"float64_deviation": deviation})
    cases = [
        {"key": key(method, settings), "method": method, "settings": settings}
        for method, settings, _ in cases_of(shape, name)
    ]
    return {
        "name": name,
        "covers": covers,
        "arrays": f"lrp.{name}.npz",
        "smooth": False,
        "variants": variants,
        "cases": cases,
    }


def w_square():
    """`lrp.w_square.onnx` and `.npz`: the w² rule, which no composite has, at every layer and at the first one before
    LRP-ε."""
    first = lambda c: zc.SpecialFirstLayerMapComposite(
        layer_map_base() + [(Linear, zr.Epsilon())], [(Linear, zr.WSquare())], canonizers=c
    )
    for retry in range(400):
        generator = torch.Generator().manual_seed(SEED + 50_000 + retry)
        network = randomised(vgg(True).eval(), generator)
        x, target = torch.randn(ROWS, *IMAGE, generator=generator), torch.arange(ROWS)
        found, rounding = {}, 0.0
        for name, composite in [("everywhere", uniform(zr.WSquare)), ("first", first)]:
            wide = explained(copy.deepcopy(network).double(), x.double(), target, composite, Merged).numpy()
            narrow = explained(copy.deepcopy(network), x, target, composite, Merged).numpy()
            found[name], rounding = wide, max(rounding, generate.deviation(narrow, wide))
        alive = all(np.abs(row).max() > 1e-5 and np.ptp(row) > 1e-2 * np.abs(row).max() for r in found.values() for row in generate.rows(r))
        if alive and rounding < generate.ROUNDING:
            break
    else:
        sys.exit("w_square: no draw would do")
    np.savez_compressed(HERE / "lrp.w_square.npz", input=x.double().numpy(), **found)
    model = exporting.export(network, x, "torchscript", False)
    (HERE / "lrp.w_square.onnx").write_bytes(model.SerializeToString(deterministic=True))
    print(f"w_square: draw {retry}, {len(found)} cases")


def differences():
    """What the module's text says of Zennit, in numbers to check by hand; fails when Zennit no longer does it."""
    # f(x) = 2x at x = 1: y = x + 2x = 3, and R_y = 3. In proportion x gets 1 and f gets 2, so the input gets 3.
    block = Doubled().double()
    block.conv1, block.relu1, block.relu2 = nn.Identity(), nn.Identity(), nn.Identity()
    block.conv2 = nn.Conv2d(1, 1, 1, bias=False).double()
    block.last = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        block.conv2.weight.fill_(2.0)
        block.last.weight.fill_(1.0)
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    found = {}
    for block.as_module in (True, False):
        found[block.as_module] = explained(block, x, torch.zeros(1, dtype=torch.int64), CASES[0][2], SequentialMergeBatchNorm).item()
    assert abs(found[True] - 3) < 1e-4, found
    assert abs(found[False] - 6) < 1e-4, found
    # y = (2x − 0) / √(3 + 1) = x, so R = 1 at x = 1. Folded by Zennit: w = 2/√4 = 1, then x / √(1 + 1).
    normed = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=1.0), nn.Flatten()).double().eval()
    with torch.no_grad():
        normed[0].weight.fill_(2.0)
        normed[1].running_var.fill_(3.0)
    found = {}
    for canonizer in (SequentialMergeBatchNorm, Merged):
        with Gradient(normed, CASES[0][2]([canonizer()])) as attributor:
            found[canonizer] = attributor(x, torch.ones_like)[0].item()
    assert abs(found[Merged] - 1) < 1e-9, found
    assert abs(found[SequentialMergeBatchNorm] - 2**-0.5) < 1e-9, found


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    differences()
    packages = ("torch", "torchvision", "zennit", "numpy", "onnx")
    versions = {package: importlib.metadata.version(package) for package in packages}
    w_square()
    entries = [written(*network, number) for number, network in enumerate(NETWORKS)]
    index = {"seed": SEED, "versions": versions, "networks": entries}
    (HERE / "lrp.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
