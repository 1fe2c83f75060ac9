"""Activations and errors of every layer: `NAME.inspect.npz` and `inspect.json`.

    pip install -r requirements.txt
    python inspect_references.py

For some networks of the index, in float64, by hooks and autograd: what every module gives (`activation:MODULE`), the
derivative of each row's target logit by it (`error:target:MODULE`), the derivative of each row's cross-entropy by it
(`error:loss:MODULE`, the classes of `target` being the right ones), and the derivative of the mean cross-entropy by
every parameter (`gradient:PARAMETER`). What a module gives before an activation function is its pre-activation, and
the derivative by it the δ of the textbooks.

A reference is refused where it is zero or constant in a row, but for rectified away units, which may be.
"""

import copy
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F

import exporting
import generate
from networks import SPECS

HERE = Path(__file__).resolve().parent
NETWORKS = ("mlp", "cnn", "conv1d", "transformer")


def leaves(network):
    """Modules without modules of their own that are used once."""
    return [name for name, module in network.named_modules() if name and not list(module.children())]


def seen(network, x, names):
    """The output, and what every module gives, with its derivative kept."""
    values, counts = {}, {}

    def keep(name):
        def hook(module, inputs, output):
            counts[name] = counts.get(name, 0) + 1
            output.retain_grad()
            values[name] = output

        return hook

    hooks = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    output = network(x)
    for hook in hooks:
        hook.remove()
    twice = [name for name, count in counts.items() if count != 1]
    if twice:
        sys.exit(f"used more than once: {twice}")
    return output, values


def references(network, x, target, names):
    arrays = {}
    for judged in ("target", "loss"):
        network.zero_grad()
        output, values = seen(network, x, names)
        if judged == "target":
            objective = output.gather(1, target[:, None]).sum()
        else:
            # Of each row's own loss; parameters get the mean's below.
            objective = F.cross_entropy(output, target, reduction="sum")
            arrays["loss"] = F.cross_entropy(output, target, reduction="none")
        objective.backward()
        for name, value in values.items():
            arrays[f"activation:{name}"] = value
            arrays[f"error:{judged}:{name}"] = value.grad
        if judged == "loss":
            for name, parameter in network.named_parameters():
                arrays[f"gradient:{name}"] = parameter.grad / len(x)
    return {name: array.detach().numpy() for name, array in arrays.items()}


def deviation(name, found, wanted):
    """The largest difference, as a part of the row's maximum, or of a gradient's, which has no rows."""
    if name.startswith("gradient:"):
        found, wanted = found[None], wanted[None]
    return generate.deviation(found, wanted)


def alive(name, array):
    rows = array.reshape(len(array), -1)
    if name.startswith("gradient:"):
        return bool(np.abs(array).max() > 1e-7)
    return bool((np.abs(rows).max(1) > 1e-7).all() and (rows.shape[1] == 1 or (rows.std(1) > 0).all()))


def written(spec, entry):
    network, inputs = generate.draw(spec, entry["seed"])
    stored = np.load(HERE / entry["arrays"])
    if not np.array_equal(stored["input"].astype(np.float32), inputs["input"].numpy()):
        sys.exit(f"{spec.name}: the draw of its seed is not the stored one")
    network = generate.explained(network)
    names = leaves(network)
    target = torch.tensor(stored["target"])
    found = references(copy.deepcopy(network).double(), inputs["input"].double(), target, names)
    single = references(copy.deepcopy(network), inputs["input"], target, names)
    dead = [name for name, array in found.items() if not alive(name, array)]
    if dead:
        sys.exit(f"{spec.name}: zero or constant in a row: {dead}")
    rounding = {name: deviation(name, single[name].astype(np.float64), found[name]) for name in found}
    far = {name: far for name, far in rounding.items() if far > generate.ROUNDING}
    if far:
        sys.exit(f"{spec.name}: float32 differs: {far}")
    file = f"{spec.name}.inspect.npz"
    np.savez_compressed(HERE / file, **found)
    if (HERE / file).stat().st_size > generate.FILE_LIMIT:
        sys.exit(f"{file} is larger than {generate.FILE_LIMIT} bytes")
    layers = {}
    for variant in entry["variants"]:
        model = onnx.load(HERE / variant["file"])
        inside = exporting.interior(model, inputs["input"].numpy())
        known = {name: exporting.value_named(inside, single[f"activation:{name}"]) for name in names}
        layers[variant["file"]] = {name: value for name, value in known.items() if value is not None}
        print(f"{variant['file']}: {len(layers[variant['file']])} of {len(names)} modules", flush=True)
    return {"name": spec.name, "arrays": file, "layers": layers}


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    index = {e["name"]: e for e in json.loads((HERE / "index.json").read_text())["networks"]}
    specs = {spec.name: spec for spec in SPECS}
    entries = [written(specs[name], index[name]) for name in NETWORKS]
    versions = {p: importlib.metadata.version(p) for p in ("torch", "numpy", "onnx")}
    (HERE / "inspect.json").write_text(json.dumps({"versions": versions, "networks": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
