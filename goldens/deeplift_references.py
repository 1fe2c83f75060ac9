"""DeepLIFT and Deep SHAP: `NAME.deeplift.npz` and `deeplift.json`.

    pip install -r requirements.txt
    python deeplift_references.py

More cases for some networks of the index, in float64, by Captum's DeepLift and DeepLiftShap. A case is kept where
Captum's own values add up to the difference of the scores within 1e-9 of Σ|values|: there its rules and the rescale
rule's definition agree. Where they do not add up (functions that are no modules, modules that are used twice,
softmax, activations that are not in Captum's list), the case is left out, the script says by how much Captum misses, and
the tests of the rule hold ours to additivity instead.

What Captum does otherwise is shown by `differences` in numbers small enough to do by hand:

- Of overlapping windows of a maximum it keeps one contribution an element, that of whichever window comes last, so that
  values do not add up. `Summed` adds them up, and nothing else; with it they do, and `lifted.overlapping` is compared.
- Where a function of its list directly follows another, the earlier one is told the derivative of the later in place of
  its rule: the hooks of both are on the value between them, and the earlier one's comes first. So a max-pooling behind a
  rectifier has its derivative, which adds up only where the baseline is one number in each window.
- Of several maxima of the baseline in a window it takes the first; here that which is greatest in the input.

RevealCancel, which Captum lacks, is that of `reveal_cancel.py`, on networks of linear modules and rectifiers.
"""

import copy
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import captum.attr
import numpy as np
import torch

from captum.attr._core import deep_lift
from torch import nn

import exporting
import generate
import reveal_cancel
from networks import SPECS, randomised

HERE = Path(__file__).resolve().parent
BACKGROUND = 4
ADDITIVE = 1e-9
NETWORKS = ("mlp", "cnn", "convolutions", "residual", "dense", "conv1d", "conv3d", "smooth_activations", "depthwise", "shared", "pooling")
# Networks of linear modules, sums and rectifiers.
REVEALED = ("convolutions", "residual", "depthwise", "transposed", "asymmetric_padding")


def score(network, x, target):
    return network(x).gather(1, target[:, None])[:, 0].detach()


def attribution(network, case, arrays, x, target):
    """Captum's values, and what they lack of the difference of the scores, as a part of Σ|values|, the worst row's."""
    network = copy.deepcopy(network)
    if case["method"] == "deeplift":
        baseline = arrays["baseline"] if case["baseline"] == "baseline" else torch.zeros_like(x[:1])
        baseline = baseline.expand_as(x).contiguous()
    if case["settings"]:
        rows = zip(x, baseline, target)
        found = torch.cat([reveal_cancel.attribution(network, row[None], start[None], int(of)) for row, start, of in rows])
        before = score(network, baseline, target)
    elif case["method"] == "deeplift":
        found = captum.attr.DeepLift(network).attribute(x.clone(), baselines=baseline, target=target)
        before = score(network, baseline, target)
    else:
        background = arrays["deeplift-background"]
        found = captum.attr.DeepLiftShap(network).attribute(x.clone(), baselines=background, target=target)
        rows = [score(network, background, row.expand(len(background))).mean() for row in target]
        before = torch.stack(rows)
    found = found.detach()
    lacking = score(network, x, target) - before - found.flatten(1).sum(1)
    return found, float((lacking.abs() / found.flatten(1).abs().sum(1)).max())


def cases(name):
    revealed = {"key": "deeplift:reveal-cancel", "method": "deeplift", "settings": {"rule": "reveal-cancel"}, "baseline": "baseline"}
    by_captum = [
        {"key": "deeplift:zero", "method": "deeplift", "settings": {}, "baseline": "zero"},
        {"key": "deeplift:given", "method": "deeplift", "settings": {}, "baseline": "baseline"},
        {"key": "deep-shap", "method": "deep-shap", "settings": {}, "background": "deeplift-background"},
    ]
    return (by_captum if name in NETWORKS else []) + ([revealed] if name in REVEALED else [])


def written(spec, entry):
    network, inputs = generate.draw(spec, entry["seed"])
    stored = np.load(HERE / entry["arrays"])
    if not np.array_equal(stored["input"].astype(np.float32), inputs["input"].numpy()):
        sys.exit(f"{spec.name}: the draw of its seed is not the stored one")
    network = generate.explained(network)
    target = torch.tensor(stored["target"])
    generator = torch.Generator().manual_seed(entry["seed"] + 1)
    inputs["deeplift-background"] = 0.4 * torch.randn(BACKGROUND, *spec.shape, generator=generator)
    double = copy.deepcopy(network).double()
    doubles = {key: array.double() for key, array in inputs.items()}
    arrays, kept, left = {"deeplift-background": doubles["deeplift-background"].numpy()}, [], []
    for case in cases(spec.name):
        try:
            torch.set_default_dtype(torch.float64)
            found, lacking = attribution(double, case, doubles, doubles["input"], target)
            torch.set_default_dtype(torch.float32)
            single, _ = attribution(network, case, inputs, inputs["input"], target)
        except (AssertionError, AttributeError, RuntimeError) as error:
            left.append(f"{case['key']} ({str(error).splitlines()[0][:60]})")
            continue
        finally:
            torch.set_default_dtype(torch.float32)
        if lacking > ADDITIVE:
            left.append(f"{case['key']} (Captum's sum lacks {lacking:.0e})")
            continue
        generate.require_alive(case["key"], found.numpy())
        rounding = generate.deviation(single.double().numpy(), found.numpy())
        if rounding > generate.ROUNDING:
            left.append(f"{case['key']} (float32 differs by {rounding:.0e})")
            continue
        arrays[case["key"]] = found.numpy()
        kept.append(case)
    print(f"{spec.name}: {len(kept)} cases; left out: {', '.join(left) or 'none'}", flush=True)
    if not kept:
        return None
    file = f"{spec.name}.deeplift.npz"
    np.savez_compressed(HERE / file, **arrays)
    if (HERE / file).stat().st_size > generate.FILE_LIMIT:
        sys.exit(f"{file} is larger than {generate.FILE_LIMIT} bytes")
    return {"name": spec.name, "arrays": file, "cases": kept}


class Mnist(torch.nn.Module):
    """The plain network of shap#3938 in small: convolutions, and everything else called as functions."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 4, 5), torch.nn.Conv2d(4, 8, 5)
        self.fc1, self.fc2 = torch.nn.Linear(128, 16), torch.nn.Linear(16, 10)

    def forward(self, x):
        x = torch.nn.functional.relu(torch.nn.functional.max_pool2d(self.conv1(x), 2))
        x = torch.nn.functional.relu(torch.nn.functional.max_pool2d(self.conv2(x), 2))
        x = torch.nn.functional.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def mnist():
    """`mnist.deeplift.onnx` and `.npz`: three inputs and a background of eight, and how far Captum's values are from
    adding up."""
    generator = torch.Generator().manual_seed(3938)
    network = Mnist().eval()
    for parameter in network.parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 4
        parameter.data = torch.randn(parameter.shape, generator=generator) * fan**-0.5
    x = torch.rand(3, 1, 28, 28, generator=generator)
    background = torch.rand(8, 1, 28, 28, generator=generator) * 0.5
    target = torch.tensor([0, 3, 7])
    file = HERE / "mnist.deeplift.onnx"
    torch.onnx.export(
        network, (x,), file, dynamo=False, input_names=["input"], output_names=["output"],
        dynamic_axes={"input": {0: "n"}, "output": {0: "n"}},
    )  # fmt: skip
    case = {"method": "deep-shap", "settings": {}}
    arrays = {"deeplift-background": background.double()}
    _, lacking = attribution(copy.deepcopy(network).double(), case, arrays, x.double(), target)
    if lacking < 1e-3:
        sys.exit("Captum's values add up on the network of functions, which proves nothing")
    print(f"mnist: Captum's sum lacks {lacking:.3f} of its values")
    np.savez_compressed(HERE / "mnist.deeplift.npz", input=x.double().numpy(), background=background.double().numpy())
    for made in (file, HERE / "mnist.deeplift.npz"):
        if made.stat().st_size > generate.FILE_LIMIT:
            sys.exit(f"{made.name} is larger than {generate.FILE_LIMIT} bytes")


class Summed:
    """Captum's rule for max-pooling, contributions of overlapping windows added up, while the block runs."""

    def __enter__(self):
        self.published = deep_lift.SUPPORTED_NON_LINEAR[nn.MaxPool2d]
        deep_lift.SUPPORTED_NON_LINEAR[nn.MaxPool2d] = self.rule

    def __exit__(self, *_):
        deep_lift.SUPPORTED_NON_LINEAR[nn.MaxPool2d] = self.published

    @staticmethod
    def rule(module, inputs, outputs, grad_input, grad_output, eps=1e-10):
        def unpooled(values, indices, kernel_size, stride, padding, shape):
            flat = torch.zeros(*shape[:2], shape[2] * shape[3], dtype=values.dtype)
            return flat.scatter_add_(2, indices.flatten(2), values.flatten(2)).view(shape)

        pooled = torch.nn.functional.max_pool2d
        return deep_lift.maxpool(module, pooled, unpooled, inputs, outputs, grad_input, grad_output, eps=eps)


class Lifted(nn.Module):
    """Sigmoid and max-pooling, each between linear modules, where Captum's rules apply as they are written."""

    def __init__(self, *pool):
        super().__init__()
        self.conv1, self.act = nn.Conv2d(2, 4, 3, padding=1), nn.Sigmoid()
        self.conv2, self.pool = nn.Conv2d(4, 5, 3, padding=1), nn.MaxPool2d(*pool)
        self.conv3, self.relu = nn.Conv2d(5, 6, 3, padding=1), nn.ReLU()
        self.head = nn.Linear(6 * 4 * 3, 4)

    def forward(self, x):
        x = self.pool(self.conv2(self.act(self.conv1(x))))
        return self.head(torch.flatten(self.relu(self.conv3(x)), 1))


def lifted():
    """`lifted.*.deeplift.onnx` and `.npz`: by Captum as it is, and with overlapping windows added up."""
    for number, (name, pool) in enumerate([("apart", (2,)), ("overlapping", (3, 2, 1))]):
        generator = torch.Generator().manual_seed(7000 + number)
        network = randomised(Lifted(*pool).eval(), generator)
        x, baseline = torch.randn(3, 2, 8, 6, generator=generator), 0.5 * torch.randn(1, 2, 8, 6, generator=generator)
        target = torch.tensor([0, 3, 1])
        case = {"method": "deeplift", "baseline": "baseline", "settings": {}}
        double, arrays = copy.deepcopy(network).double(), {"baseline": baseline.double()}
        torch.set_default_dtype(torch.float64)
        found, lacking = attribution(double, case, arrays, x.double(), target)
        if name == "overlapping":
            print(f"lifted, overlapping windows: Captum's sum lacks {lacking:.3f} of its values")
            assert lacking > 1e-3, "Captum's values add up where windows overlap, which proves nothing"
            with Summed():
                found, lacking = attribution(double, case, arrays, x.double(), target)
        torch.set_default_dtype(torch.float32)
        assert lacking < ADDITIVE, f"{name}: the sum lacks {lacking:.1e}"
        generate.require_alive(name, found.numpy())
        model = exporting.export(network, x, "torchscript", True)
        (HERE / f"lifted.{name}.deeplift.onnx").write_bytes(model.SerializeToString(deterministic=True))
        stored = {"input": x.double(), "baseline": baseline.double(), "deeplift": found}
        np.savez_compressed(HERE / f"lifted.{name}.deeplift.npz", **{k: v.numpy() for k, v in stored.items()})


def differences():
    """What the module's text says of Captum, in numbers to check by hand; fails when Captum no longer does it."""

    def total(inputs):
        layer = nn.Linear(inputs, 1, bias=False).double()
        nn.init.ones_(layer.weight)
        return layer

    def lift(network, x, baseline, expected, score):
        x, baseline = (torch.tensor(values, dtype=torch.float64) for values in (x, baseline))
        found = captum.attr.DeepLift(network).attribute(x, baselines=baseline, target=0).detach()
        assert torch.allclose(found.flatten(), torch.tensor(expected, dtype=torch.float64), atol=1e-4), found
        assert abs((network(x) - network(baseline)).item() - score) < 1e-4

    # max(x₁, x₂) + max(x₂, x₃): both windows rise from 0 to 2 by x₂, which gets 4; Captum gives it one of them.
    windows = nn.Sequential(nn.MaxPool1d(2, 1), nn.Flatten(), total(2))
    lift(windows, [[[0.0, 2.0, 1.0]]], [[[0.0, 0.0, 0.0]]], [0, 2, 0], 4)
    # max(x₁, x₂) falls from 3 to 1, since x₂ falls from 3 to 0. Behind a rectifier Captum has the derivative by x₁.
    pool = nn.Sequential(nn.MaxPool1d(2), nn.Flatten(), total(1))
    lift(pool, [[[1.0, 0.0]]], [[[0.0, 3.0]]], [0, -2], -2)
    lift(nn.Sequential(nn.ReLU(), *pool), [[[1.0, 0.0]]], [[[0.0, 3.0]]], [1, 0], -2)
    # So σ(max(0, x)) at 1 from 0: the rectifier gets σ'(1) = 0.1966 in place of σ(1) − σ(0) = 0.2311.
    chain = nn.Sequential(nn.ReLU(), nn.Sigmoid(), total(1))
    lift(chain, [[1.0]], [[0.0]], [0.1966], 0.2311)
    # max(x₁, x₂) falls from 3 to 2: x₂ falls by as much; Captum takes the first of both, of whose fall half is effective.
    lift(pool, [[[1.0, 2.0]]], [[[3.0, 3.0]]], [-1, 0], -1)


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    index = {e["name"]: e for e in json.loads((HERE / "index.json").read_text())["networks"]}
    specs = {spec.name: spec for spec in SPECS}
    mnist()
    reveal_cancel.by_hand()
    differences()
    lifted()
    names = [name for name in specs if name in NETWORKS + REVEALED]
    entries = [entry for name in names if (entry := written(specs[name], index[name]))]
    if len(entries) < 4:
        sys.exit("hardly any network has a reference")
    versions = {p: importlib.metadata.version(p) for p in ("torch", "captum", "numpy")}
    (HERE / "deeplift.json").write_text(json.dumps({"versions": versions, "networks": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
