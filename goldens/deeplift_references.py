"""DeepLIFT and Deep SHAP: `NAME.deeplift.npz` and `deeplift.json`.

    pip install -r requirements.txt
    python deeplift_references.py

More cases for some networks of the index, in float64, by Captum's DeepLift and DeepLiftShap. A case is kept where
Captum's own values add up to the difference of the scores within 1e-9 of Σ|values|: there its rules and the rescale
rule's definition agree. Where they do not add up (functions that are no modules, modules that are used twice, windows of
a maximum that overlap, softmax, activations that are not in Captum's list), the case is left out, the script says by how
much Captum misses, and the tests of the rule hold ours to additivity instead.
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

import generate
from networks import SPECS

HERE = Path(__file__).resolve().parent
BACKGROUND = 4
ADDITIVE = 1e-9
NETWORKS = ("mlp", "cnn", "convolutions", "residual", "dense", "conv1d", "conv3d", "smooth_activations", "depthwise", "shared", "pooling")


def score(network, x, target):
    return network(x).gather(1, target[:, None])[:, 0].detach()


def attribution(network, case, arrays, x, target):
    """Captum's values, and what they lack of the difference of the scores, as a part of Σ|values|, the worst row's."""
    network = copy.deepcopy(network)
    if case["method"] == "deeplift":
        baseline = arrays["baseline"] if case["baseline"] == "baseline" else torch.zeros_like(x[:1])
        baseline = baseline.expand_as(x).contiguous()
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


def cases():
    return [
        {"key": "deeplift:zero", "method": "deeplift", "settings": {}, "baseline": "zero"},
        {"key": "deeplift:given", "method": "deeplift", "settings": {}, "baseline": "baseline"},
        {"key": "deep-shap", "method": "deep-shap", "settings": {}, "background": "deeplift-background"},
    ]


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
    for case in cases():
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
    case = {"method": "deep-shap"}
    arrays = {"deeplift-background": background.double()}
    _, lacking = attribution(copy.deepcopy(network).double(), case, arrays, x.double(), target)
    if lacking < 1e-3:
        sys.exit("Captum's values add up on the network of functions, which proves nothing")
    print(f"mnist: Captum's sum lacks {lacking:.3f} of its values")
    np.savez_compressed(HERE / "mnist.deeplift.npz", input=x.double().numpy(), background=background.double().numpy())
    for made in (file, HERE / "mnist.deeplift.npz"):
        if made.stat().st_size > generate.FILE_LIMIT:
            sys.exit(f"{made.name} is larger than {generate.FILE_LIMIT} bytes")


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    index = {e["name"]: e for e in json.loads((HERE / "index.json").read_text())["networks"]}
    specs = {spec.name: spec for spec in SPECS}
    mnist()
    entries = [entry for name in NETWORKS if (entry := written(specs[name], index[name]))]
    if len(entries) < 4:
        sys.exit("hardly any network has a reference")
    versions = {p: importlib.metadata.version(p) for p in ("torch", "captum", "numpy")}
    (HERE / "deeplift.json").write_text(json.dumps({"versions": versions, "networks": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
