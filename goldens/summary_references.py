"""Parameters, multiply-adds and peak memory of `pellucid summary` beside torchinfo's and PyTorch's own.

    python goldens/summary_references.py --pellucid target/release/pellucid [NAME …]

Every convolutional classifier of torchvision is exported unfolded by the older exporter, counted by hooks on its
modules, by torchinfo, and from the file. Fails where parameters, running statistics or the hooks' multiply-adds differ
by one, or where what torchinfo counts differently is not what `explained` says. Writes docs/summary_counts.md.

Peak memory is that of the tensors that are alive in a forward pass of PyTorch, seen after every operator, for the
module as it is, traced, and with its normalisations folded. Needs the packages of requirements.txt.
"""

import argparse
import json
import subprocess
import tempfile
import warnings
import weakref
from pathlib import Path

import torch
import torch.fx
import torchinfo
import torchvision
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parent.parent

# Peaks are compared for these.
PEAKS = ["resnet50", "vgg16", "densenet121"]

CONVOLUTIONS = (nn.Conv2d,)
NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def networks():
    """Names of torchvision's classifiers that are built of convolutions."""
    # Without those of attention, and without one whose weights take 2.6 GB.
    left_out = ("vit_", "swin", "maxvit", "regnet_y_128gf")
    return [
        name
        for name in torchvision.models.list_models(module=torchvision.models)
        if not name.startswith(left_out)
    ]


def build(name):
    more = {}
    if name in ("googlenet", "inception_v3"):
        # Auxiliary heads are for training: no exporter writes them.
        more = dict(aux_logits=False, init_weights=False)
        more |= dict(transform_input=False)
    network = torchvision.models.get_model(name, weights=None, **more).eval()
    # Exporters merge parameters that are equal, such as biases that are all zero.
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.dtype.is_floating_point:
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return network, 299 if name == "inception_v3" else 224


def by_hooks(network, x):
    """Multiply-adds by their definition, and what torchinfo counts besides or leaves out, by module."""
    adds, bias, norm, positions = [0], [0], [0], [0]

    def convolution(module, _, y):
        adds[0] += y.numel() * module.weight[0].numel()
        if module.bias is not None:
            bias[0] += y.numel()

    def linear(module, inputs, y):
        rows = y.numel() // module.out_features
        adds[0] += rows * module.weight.numel()
        # torchinfo multiplies a Linear's parameters by the first axis alone.
        positions[0] += (rows - y.shape[0]) * module.weight.numel()
        if module.bias is not None:
            bias[0] += y.shape[0] * module.bias.numel()

    def normalisation(module, _, y):
        norm[0] += y.shape[0] * sum(p.numel() for p in module.parameters())

    hooks = {**dict.fromkeys(CONVOLUTIONS, convolution), nn.Linear: linear, **dict.fromkeys(NORMS, normalisation)}
    handles = []
    for module in network.modules():
        for kind, hook in hooks.items():
            if isinstance(module, kind):
                handles.append(module.register_forward_hook(hook))
                break
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return adds[0], bias[0], norm[0], positions[0]


class Alive(TorchDispatchMode):
    """The most bytes of tensors that were made under it and are alive at once, with `x`; weights are not."""

    def __init__(self, network, x):
        super().__init__()
        own = [*network.parameters(), *network.buffers()]
        self.known = {t.untyped_storage().data_ptr() for t in own}
        self.alive = {0: weakref.ref(x)}
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                self.alive[id(tensor)] = weakref.ref(tensor)
        storages = {}
        for key, reference in list(self.alive.items()):
            tensor = reference()
            if tensor is None:
                del self.alive[key]
            elif tensor.untyped_storage().data_ptr() not in self.known:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        self.peak = max(self.peak, sum(storages.values()))
        return found


def peak(network, x):
    with torch.no_grad(), Alive(network, x) as alive:
        network(x)
    return alive.peak


def summarised(pellucid, network, x, folder, folded=False):
    path = folder / "model.onnx"
    more = {} if folded else dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    torch.onnx.export(network, (x,), path, dynamo=False, opset_version=18, **more)
    found = subprocess.run([pellucid, "summary", path, "--json"], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def row(name, pellucid):
    network, size = build(name)
    x = torch.randn(1, 3, size, size)
    adds, bias, norm, positions = by_hooks(network, x)
    theirs = torchinfo.summary(build(name)[0], (1, 3, size, size), verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        ours = summarised(pellucid, network, x, Path(folder))
    trainable = sum(p.numel() for p in network.parameters())
    statistics = sum(b.numel() for n, b in network.named_buffers() if "running" in n)
    explained = bias + norm - positions
    problems = []
    for what, a, b in [
        ("parameters", ours["parameters"]["trainable"], trainable),
        ("parameters of torchinfo", ours["parameters"]["trainable"], theirs.trainable_params),
        ("running statistics", ours["parameters"]["statistics"], statistics),
        ("multiply-adds", ours["multiply_adds"], adds),
        ("what torchinfo counts besides", theirs.total_mult_adds - adds, explained),
    ]:
        if a != b:
            problems.append(f"{name}: {what}: {a}, expected {b}")
    cells = [name, trainable, statistics, adds, theirs.total_mult_adds, bias, norm, -positions]
    return [f"{cell:,}" if isinstance(cell, int) else cell for cell in cells], problems


def peaks(pellucid):
    rows, problems = [], []
    for name in PEAKS:
        network, size = build(name)
        x = torch.randn(1, 3, size, size)
        modules = {"as written": network, "traced": torch.fx.symbolic_trace(network), "folded": fuse(network)}
        for how, module in modules.items():
            with tempfile.TemporaryDirectory() as folder:
                ours = summarised(pellucid, network, x, Path(folder), how == "folded")["memory"]["peak_activations"]
            alive = peak(module, x)
            share = ours / alive - 1
            rows.append([name, how, f"{ours:,}", f"{alive:,}", f"{100 * share:+.1f} %"])
            if abs(share) > 0.15 and how != "as written":
                problems.append(f"{name}: peak {ours}, expected {alive}")
    return rows, problems


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


TEXT = """# What `summary` counts, beside torchinfo

Written by `goldens/summary_references.py` (torch {torch}, torchvision {torchvision}, torchinfo {torchinfo}). Every
convolutional classifier of torchvision but regnet_y_128gf, exported unfolded, one picture of 224² (299² for Inception v3). Parameters,
running statistics and multiply-adds are those of the file; all equal PyTorch's modules', counted by hooks (output
elements × weights that each adds up), and parameters equal torchinfo's, to the last one.

torchinfo's multiply-adds differ by what the last three columns say, and by nothing else:

- it counts a **bias** as a multiply-add, at every position of a convolution;
- it counts the factors and shifts of **normalisations** once each whatever the size of the picture;
- it multiplies the weights of a **Linear** layer by the first axis alone. ConvNeXt applies Linear at every place of a map.
  By hand, the first of ConvNeXt-Tiny: the map is 56 × 56, the layer 96 → 384, so 56 · 56 · 96 · 384 = 115,605,504
  multiply-adds. torchinfo says 96 · 384 + 384 = 37,248, as if there were one place.

{counts}
## Memory at the peak

Bytes of activations at the peak of a forward pass of one picture: what `summary` says of the file, and what PyTorch's
tensors take that are alive at once, seen after every operator: the module as it is written, the same traced by torch.fx,
which lets go of every value after its last use as engines do, and traced with its normalisations folded. As it is written,
variables of Python hold some tensors past their last use, in DenseNet the concatenations.

{peaks}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pellucid", required=True, type=Path)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    rows, problems = [], []
    for name in arguments.names or networks():
        cells, found = row(name, arguments.pellucid.resolve())
        print(" ".join(cells), flush=True)
        rows.append(cells)
        problems += found
    peak_rows, found = peaks(arguments.pellucid.resolve())
    problems += found
    heads = ["network", "parameters", "statistics", "multiply-adds", "torchinfo", "biases", "norms", "Linear"]
    text = TEXT.format(
        torch=torch.__version__.split("+")[0],
        torchvision=torchvision.__version__.split("+")[0],
        torchinfo=torchinfo.__version__,
        counts=table(heads, rows),
        peaks=table(["network", "module", "summary", "PyTorch", "apart"], peak_rows),
    )
    print(text if arguments.names else "", flush=True)
    if problems:
        raise SystemExit("\n".join(problems))
    if not arguments.names:
        (ROOT / "docs" / "summary_counts.md").write_text(text)


if __name__ == "__main__":
    main()
