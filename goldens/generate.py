"""Makes the golden vectors of this folder.

    pip install -r requirements.txt
    python generate.py                # all networks
    python generate.py cnn residual   # these only; the others' entries are kept

README.md tells what is in the files. The script fails when a reference is zero or
constant, when a network's exported file disagrees with it, when a layer or a weight
is not found in a file, and when a file grows past its limit.
"""

import argparse
import copy
import importlib.metadata
import json
import platform
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

import exporting
import references
from networks import SPECS, randomised

HERE = Path(__file__).resolve().parent
SEED = 0
ROWS = 3
SAMPLES = 5
TRAINING = {"learning_rate": 0.1, "momentum": 0.9, "steps": 2}
# Of each row's maximum. The first for compiled graphs on an engine in float32, the
# second for derivatives in the float64 interpreter.
TOLERANCES = {"float32": 1e-4, "float64": 1e-6}
# A draw is taken only if PyTorch's own float32 differs from its float64 by less than
# this: then no unit stands so close to a kink that rounding alone decides its side.
ROUNDING = 1e-5
FILE_LIMIT = 64 * 1024
ATTEMPTS = 200


class Rejected(Exception):
    """A draw of weights and inputs that says too little."""


def rows(array):
    """The array with one row for each row of the batch, flat."""
    return np.asarray(array).reshape(len(array), -1)


def require_alive(key, array):
    """Rejects a reference in which a row is zero or constant, or far below order one."""
    for number, row in enumerate(rows(array)):
        if not np.isfinite(row).all():
            raise Rejected(f"{key}: row {number} is not finite")
        if np.abs(row).max() < 1e-3 or (row.size > 1 and np.ptp(row) < 1e-4):
            raise Rejected(f"{key}: row {number} is zero or constant")


def deviation(found, wanted):
    """The largest difference, as a part of its row's maximum."""
    found, wanted = rows(found), rows(wanted)
    return float((np.abs(found - wanted).max(1) / np.abs(wanted).max(1)).max())


def explained(network):
    """`network` up to its logits."""
    network = copy.deepcopy(network)
    if getattr(network, "softmax", False):
        network.softmax = False
    return network


def draw(spec, seed):
    """A float32 network in evaluation mode with logits of order one, and its inputs."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        array = torch.randn(*shape, generator=generator, dtype=torch.float32)
        return array.abs() if spec.positive else array

    inputs = {"input": normal(ROWS, *spec.shape), "baseline": 0.3 * normal(1, *spec.shape)}
    inputs["noise"] = 0.2 * torch.randn(SAMPLES, ROWS, *spec.shape, generator=generator, dtype=torch.float32)
    if spec.positive:
        inputs["noise"] = inputs["noise"].clamp(-0.05, 0.05)
    network = spec.build().eval()
    with torch.no_grad():
        network(inputs["input"])  # settles the sizes of lazy layers
        randomised(network, generator)
        logits = explained(network)(inputs["input"])
        list(network.modules())[-1].weight.div_(logits.std())
    return network, inputs


def chosen_targets(spec, network, inputs, cases):
    """For each row a class for which the signed and the rectified references are alive."""
    x = inputs["input"]
    classes = network(x).shape[1]
    fragile = [c for c in cases if c["method"] in ("grad-cam", "guided-backprop", "deconvnet", "gradient")]
    alive = np.ones((classes, ROWS), dtype=bool)
    for index in range(classes):
        target = torch.full((ROWS,), index)
        for case in fragile:
            found = rows(references.attribution(network, case, inputs, x, target))
            alive[index] &= (np.abs(found).max(1) > 1e-3) & (np.ptp(found, axis=1) > 1e-4)
    if not alive.any(0).all():
        raise Rejected("no class gives every reference")
    # Different classes where there is a choice, so that a mixed-up target shows.
    picked = [np.flatnonzero(alive[:, row])[row % alive[:, row].sum()] for row in range(ROWS)]
    if len(set(picked)) == 1:
        raise Rejected("all rows have the same class")
    return torch.tensor(picked)


def computed(spec, network, inputs, target, cases):
    """Key to array, all references of a network, in the network's own type."""
    network, x = explained(network), inputs["input"]
    torch.set_default_dtype(x.dtype)  # Captum makes its points in this type
    arrays = {"logits": network(x).detach()}
    for case in cases:
        arrays[case["key"]] = references.attribution(network, case, inputs, x, target)
    if spec.weights:
        for name, array in references.weight_derivatives(network, x, target).items():
            arrays[f"weight-gradient:{name}"] = array
    if spec.training:
        losses, weights = references.training(network, x, target, **TRAINING)
        arrays["training:loss"] = losses
        for step, after in enumerate(weights, 1):
                arrays |= {f"training:{step}:{name}": array for name, array in after.items()}
    torch.set_default_dtype(torch.float32)
    return {key: array.detach().numpy() for key, array in arrays.items()}


def whole(key):
    """Whether an array has no batch axis, so that it counts as one row."""
    return key.startswith(("weight-gradient:", "training:"))


def attempt(spec, seed):
    """Network, arrays and cases of one draw, or Rejected."""
    network, inputs = draw(spec, seed)
    double = copy.deepcopy(network).double()
    wide = {key: array.double() for key, array in inputs.items()}
    cases = references.cases(spec, network)
    target = chosen_targets(spec, explained(double), wide, cases)
    found = computed(spec, double, wide, target, cases)
    single = computed(spec, network, inputs, target, cases)
    for key, array in found.items():
        lifted = (array[None], single[key][None]) if whole(key) else (array, single[key])
        require_alive(key, lifted[0])
        if deviation(lifted[1], lifted[0]) > ROUNDING:
            raise Rejected(f"{key}: float32 differs by {deviation(lifted[1], lifted[0]):.1e}")
    found["output"] = double(wide["input"]).detach().numpy()
    arrays = {key: array.numpy() for key, array in wide.items()} | {"target": target.numpy()} | found
    return network, arrays, cases


def hooked(network, x, layers):
    """Module name to what the module gives."""
    seen = {}
    hooks = [
        network.get_submodule(layer).register_forward_hook(lambda m, i, o, layer=layer: seen.update({layer: o}))
        for layer in layers
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return {layer: value.detach().numpy() for layer, value in seen.items()}


def write_variant(spec, network, arrays, exporter, folded):
    """One exported file, and its entry for the index."""
    x = torch.tensor(arrays["input"], dtype=torch.float32)
    model = exporting.export(network, x, exporter, folded)
    file = f"{spec.name}.{exporter}{'' if folded else '.unfolded'}.onnx"
    values = exporting.interior(model, x.numpy())
    where = f"{file}: "
    if deviation(values["output"], arrays["output"]) > 1e-5:
        sys.exit(f"{where}its output differs from the network's by {deviation(values['output'], arrays['output']):.1e}")
    entry = {"file": file, "exporter": exporter, "folded": folded}
    entry["logits"] = exporting.value_named(dict(reversed(values.items())), arrays["logits"])
    entry["layers"] = {
        layer: exporting.value_named(values, activation)
        for layer, activation in hooked(network, x, spec.layers).items()
    }
    missing = [layer for layer, value in {"logits": entry["logits"], **entry["layers"]}.items() if value is None]
    if missing:
        sys.exit(f"{where}no value equals {', '.join(missing)}")
    entry["weights"] = exporting.weights_named(model, network) if spec.weights else {}
    lost = [n for n, _ in network.named_parameters() if spec.weights and n not in entry["weights"]]
    if lost and not folded:
        sys.exit(f"{where}no initializer holds {', '.join(lost)}")
    wide = exporting.output_in_float64(model, arrays["input"])
    entry["float64_deviation"] = None if wide is None else deviation(wide, arrays["output"])
    (HERE / file).write_bytes(model.SerializeToString(deterministic=True))
    return entry


def generate(spec, number):
    """Writes a network's files; its entry for the index."""
    reasons = []
    for retry in range(ATTEMPTS):
        try:
            network, arrays, cases = attempt(spec, SEED * 10**6 + number * 1000 + retry)
            break
        except Rejected as reason:
            reasons.append(str(reason))
    else:
        sys.exit(f"{spec.name}: no draw in {ATTEMPTS} would do; the last five: {'; '.join(reasons[-5:])}")
    file = f"{spec.name}.npz"
    np.savez_compressed(HERE / file, **arrays)
    entry = {
        "name": spec.name,
        "covers": spec.covers,
        "arrays": file,
        "seed": SEED * 10**6 + number * 1000 + retry,
        "smooth": spec.smooth,
        "last_spatial": spec.last_spatial or None,
        "training": TRAINING if spec.training else None,
        "variants": [write_variant(spec, network, arrays, *variant) for variant in exporting.VARIANTS],
        "cases": cases,
    }
    for path in [file, *(v["file"] for v in entry["variants"])]:
        if (HERE / path).stat().st_size > FILE_LIMIT:
            sys.exit(f"{path}: {(HERE / path).stat().st_size} bytes, the limit is {FILE_LIMIT}")
    worst = [v["float64_deviation"] for v in entry["variants"]]
    print(f"{spec.name}: {len(cases)} cases, draw {retry}, float64 deviations {worst}", flush=True)
    return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="names of networks; all when left out")
    wanted = parser.parse_args().networks
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    unknown = set(wanted) - {spec.name for spec in SPECS}
    if unknown:
        sys.exit(f"no such network: {', '.join(sorted(unknown))}")
    index_file = HERE / "index.json"
    old = {e["name"]: e for e in json.loads(index_file.read_text())["networks"]} if index_file.exists() else {}
    entries = []
    for number, spec in enumerate(SPECS):
        if not wanted or spec.name in wanted:
            entries.append(generate(spec, number))
        elif spec.name in old:
            entries.append(old[spec.name])
    packages = ["torch", "captum", "onnx", "onnxscript", "onnxruntime", "numpy"]
    index = {
        "seed": SEED,
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "tolerances": TOLERANCES,
        "networks": entries,
    }
    index_file.write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
