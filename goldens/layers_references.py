"""Attribution to hidden layers and of hidden units: `NAME.layers.npz` and `layers.json`.

    pip install -r requirements.txt
    python layers_references.py

More cases for some networks of the index, in float64: what a layer gets (the gradient, layer × gradient, integrated
gradients along the layer's own values, conductance, internal influence) and what a hidden unit is made of (the
gradient, integrated gradients, guided backpropagation, occlusion), and both together. Everything but conductance is
Captum's and is held against a definition written out here.

Where we and Captum part:

- LayerConductance takes the layer's values at neighbouring points of the path, h(k+1) − h(k), times the derivative at
  the earlier point, and leaves out the path before its first and after its last point. The paper's integral has the
  layer's derivative along the path, which `conductance` below computes exactly, by forward mode (`form=derivative`);
  `changes` takes the mean of both derivatives, and the ends of the path (`form=changes`). All tend to the same number;
  `convergence` prints how fast, and fails where one of them does not.
- A slice as a neuron selector is a sum in Captum; a unit named with fewer numbers than its layer has axes is the mean
  here, so the derivative of Captum's is divided by the number of units before it is compared.
- NeuronConductance splits a unit's conductance by input. The split is not offered here; what it sums to is the unit's
  conductance (`form=derivative`), and is held against it at the same points.
- LayerIntegratedGradients leaves what bypasses the layer at the input, as here.
"""

import copy
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import captum.attr
import numpy as np
import onnx
import torch

import exporting
import generate
import references
from networks import SPECS

HERE = Path(__file__).resolve().parent
STEPS = 32
# Layers by network: what several paths reach (`0.relu2`, read by a shortcut too), what is passed by (`0.relu1`).
LAYERS = {
    "mlp": ("1", "3", "4", "5"),
    "cnn": ("conv1", "relu1", "relu2"),
    "residual": ("0.relu1", "0.relu2", "1.relu2"),
    "smooth_activations": ("1", "6"),
}


class To(torch.nn.Module):
    """A unit of a layer as a model of one number a row: the mean where the place has fewer numbers than axes."""

    def __init__(self, network, layer, index):
        super().__init__()
        self.network, self.layer, self.index = network, layer, index

    def forward(self, x):
        units = values(self.network, x, self.layer)[(slice(None), *self.index)]
        return units.reshape(len(x), -1).mean(1)


def values(network, x, layer):
    seen = {}
    hook = network.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.update(a=o))
    network(x)
    hook.remove()
    return seen["a"]


def scored(network, x, target):
    out = network(x)
    return out if target is None else out.gather(1, target[:, None])[:, 0]


def at_layer(network, x, target, layer):
    """What the layer is, and the derivative of each row's score by it."""
    seen = {}
    module = dict(network.named_modules()).get(layer) or network.network.get_submodule(layer)
    hook = module.register_forward_hook(lambda m, i, o: seen.update(a=o))
    score = scored(network, x, target)
    hook.remove()
    return seen["a"].detach(), torch.autograd.grad(score.sum(), seen["a"])[0]


def inner(network):
    return network.network if isinstance(network, To) else network


def legendre(steps):
    at, weights = np.polynomial.legendre.leggauss(steps)
    return (at + 1) / 2, weights / 2


def conductance(network, x, target, layer, baseline, steps=STEPS):
    """The paper's: Σ weight · ∂f/∂h · (∂h/∂x · (x − b)), the directional derivative by forward mode."""
    total = 0
    for at, weight in zip(*legendre(steps)):
        point = baseline + at * (x - baseline)
        of_layer = lambda point: values(inner(network), point, layer)
        tangent = torch.autograd.functional.jvp(of_layer, point, (x - baseline).expand_as(point))[1]
        total = total + weight * at_layer(network, point, target, layer)[1] * tangent
    return total.detach()


def module_of(network, layer):
    return inner(network).get_submodule(layer)


def to_layer(network, method, x, target, layer, baseline):
    """What a method gives to a layer, by Captum, held against its definition."""
    module = module_of(network, layer)
    forward = network
    if method == "conductance":
        ours = conductance(network, x, target, layer, baseline)
        unit = None if isinstance(network, To) else alive_unit(network, x, layer)
        if unit is not None:
            theirs = captum.attr.NeuronConductance(network, module).attribute(
                x, unit, baselines=baseline.expand_as(x), target=target, n_steps=STEPS, method="gausslegendre"
            )
            hold(f"conductance of {layer}{list(unit)}", ours[(slice(None), *unit)][:, None], theirs.detach().flatten(1).sum(1, keepdim=True))
        return ours
    if method == "changes":
        return changes(network, x, target, layer, baseline, [0, *legendre(STEPS)[0], 1])
    a, g = at_layer(network, x, target, layer)
    if method in ("gradient", "input-x-gradient"):
        ours = g if method == "gradient" else a * g
        theirs = captum.attr.LayerGradientXActivation(forward, module, multiply_by_inputs=method != "gradient")
        theirs = theirs.attribute(x, target=target)
    elif method == "internal-influence":
        ours = sum(
            w * at_layer(network, baseline + at * (x - baseline), target, layer)[1] for at, w in zip(*legendre(STEPS))
        )
        theirs = captum.attr.InternalInfluence(forward, module).attribute(
            x, baselines=baseline, target=target, n_steps=STEPS, method="gausslegendre"
        )
    else:
        start = values(inner(network), baseline.expand_as(x), layer).detach()
        ours = 0
        for at, w in zip(*legendre(STEPS)):
            point = (start + at * (a - start)).requires_grad_()
            hook = module.register_forward_hook(lambda m, i, o: point)
            ours = ours + w * torch.autograd.grad(scored(network, x, target).sum(), point)[0]
            hook.remove()
        ours = ours * (a - start)
        theirs = captum.attr.LayerIntegratedGradients(forward, module).attribute(
            x, baselines=baseline.expand_as(x), target=target, n_steps=STEPS, method="gausslegendre"
        )
    hold(f"{method} at {layer}", ours.detach(), theirs.detach())
    return ours.detach()


def hold(what, ours, theirs):
    far = generate.deviation(theirs.double().numpy(), ours.double().numpy())
    # float32 is only computed to see how far it is from float64.
    if far > (1e-7 if ours.dtype == torch.float64 else 1e-2):
        sys.exit(f"{what}: Captum differs by {far:.1e}")


def of_unit(network, method, x, layer, index, baseline):
    """What a method says of a hidden unit, by Captum's neuron methods where there is one."""
    module = network.get_submodule(layer)
    unit = To(network, layer, index)
    shape = values(network, x, layer).shape
    units = int(np.prod(shape[1 + len(index) :]))
    whole = (*index, *[slice(None)] * (len(shape) - 1 - len(index)))
    if method == "gradient":
        ours = references.gradient(Column(unit), x, torch.zeros(len(x), dtype=torch.int64))
        theirs = captum.attr.NeuronGradient(network, module).attribute(x, whole) / units
    elif method == "integrated-gradients":
        ours = references.integrated_gradients(
            Column(unit), x, torch.zeros(len(x), dtype=torch.int64), baseline, "gauss-legendre"
        )
        theirs = captum.attr.NeuronIntegratedGradients(network, module).attribute(
            x, whole, baselines=baseline.expand_as(x), n_steps=STEPS, method="gausslegendre"
        ) / units
    elif method == "guided-backprop":
        guided = To(references.with_rule(network, "guided-backprop"), layer, index)
        return references.gradient(Column(guided), x, torch.zeros(len(x), dtype=torch.int64))
    else:
        size = (1,) if x.dim() == 2 else (x.shape[1], 3, 3)
        ours = references.occlusion(Column(unit), x, torch.zeros(len(x), dtype=torch.int64), size, size, baseline)
        theirs = ours
    hold(f"{method} of {layer}{list(index)}", ours.detach(), theirs.detach())
    return ours.detach()


class Column(torch.nn.Module):
    """One number a row as one class a row."""

    def __init__(self, unit):
        super().__init__()
        self.unit = unit

    def forward(self, x):
        return self.unit(x)[:, None]


def alive_unit(network, x, layer):
    """The first unit that the input moves in every row."""
    shape = values(network, x, layer).shape[1:]
    for flat in range(int(np.prod(shape))):
        index = tuple(int(i) for i in np.unravel_index((flat * 7) % int(np.prod(shape)), shape))
        unit = Column(To(network, layer, index))
        found = references.gradient(unit, x, torch.zeros(len(x), dtype=torch.int64))
        if (found.flatten(1).abs().amax(1) > 1e-3).all():
            return index
    return None


def cases(name, network, x, layers):
    found = []

    def case(key, method, layer=None, neuron=None, settings=None, baseline=None):
        entry = {"key": key, "method": method, "settings": settings or {}}
        more = {"layer": layer, "neuron": neuron, "baseline": baseline}
        found.append(entry | {key: value for key, value in more.items() if value is not None})

    path = {"quadrature": "gauss-legendre", "steps": STEPS}
    for layer in layers:
        # The residual network's first layer is large: what its other layers show is not stored of it.
        large = name == "residual" and layer == layers[0]
        for method in () if large else ("gradient", "input-x-gradient"):
            case(f"{method}:to:{layer}", method, layer)
        for method in ("integrated-gradients", "conductance", "internal-influence")[: 2 if large else 3]:
            settings = path | ({"form": "derivative"} if method == "conductance" else {})
            case(f"{method}:to:{layer}", method, layer, settings=settings, baseline="baseline")
        if not large:
            case(f"conductance:changes:to:{layer}", "conductance", layer, settings=path, baseline="baseline")
        place = alive_unit(network, x, layer)
        if place is None:
            continue  # rectified away in some row
        places = [place] if len(place) == 1 or name == "residual" else [place, place[:1]]
        for index in places:
            neuron = {"layer": layer, "index": list(index)}
            name_of = f"{layer}[{','.join(map(str, index))}]"
            case(f"gradient:of:{name_of}", "gradient", neuron=neuron)
            if len(index) == len(place):
                case(
                    f"integrated-gradients:of:{name_of}", "integrated-gradients", neuron=neuron, settings=path,
                    baseline="baseline",
                )  # fmt: skip
            if layer.split(".")[-1].startswith(("conv", "4")):
                case(f"guided-backprop:of:{name_of}", "guided-backprop", neuron=neuron)
            if name == "residual":
                continue  # its arrays are large
            size = [1] if x.dim() == 2 else [x.shape[1], 3, 3]
            settings = {"window": size, "stride": size}
            case(f"occlusion:of:{name_of}", "occlusion", neuron=neuron, settings=settings, baseline="baseline")
    # Of a unit of the last layer, to the first.
    last, index = next((l, i) for l in reversed(layers) if (i := alive_unit(network, x, l)))
    neuron = {"layer": last, "index": list(index[:1])}
    for method in ("gradient", "conductance"):
        more = {"settings": path | {"form": "derivative"}, "baseline": "baseline"} if method == "conductance" else {}
        case(f"{method}:of:{last}:to:{layers[0]}", method, layers[0], neuron, **more)
    return found


def attribution(network, case, x, target, baseline):
    neuron = case.get("neuron")
    if case["key"].startswith("conductance:changes"):
        return to_layer(network, "changes", x, target, case["layer"], baseline)
    if neuron and case.get("layer"):
        unit = To(network, neuron["layer"], tuple(neuron["index"]))
        return to_layer(unit, case["method"], x, None, case["layer"], baseline)
    if neuron:
        return of_unit(network, case["method"], x, neuron["layer"], tuple(neuron["index"]), baseline)
    return to_layer(network, case["method"], x, target, case["layer"], baseline)


def changes(network, x, target, layer, baseline, positions):
    """Σ between neighbouring points of the layer's change times the mean of the derivatives at both."""
    total, before = 0, None
    for at in positions:
        here = at_layer(network, baseline + at * (x - baseline), target, layer)
        if before:
            total = total + (here[0] - before[0]) * (here[1] + before[1]) / 2
        before = here
    return total


def convergence(name, network, x, target, layer, baseline):
    """How far conductances are from the integral, as a part of each row's maximum."""
    exact = changes(network, x, target, layer, baseline, np.linspace(0, 1, 8001))
    found = {}
    for steps in (16, 50, 256):
        method = captum.attr.LayerConductance(network, network.get_submodule(layer))
        theirs = method.attribute(x, baselines=baseline.expand_as(x), target=target, n_steps=steps).detach()
        ours = conductance(network, x, target, layer, baseline, steps)
        form = changes(network, x, target, layer, baseline, [0, *legendre(steps)[0], 1])
        far = [generate.deviation(found.numpy(), exact.numpy()) for found in (theirs, ours, form)]
        found[steps] = far
        print(
            f"conductance of {name} at {layer}, {steps} points: Captum {far[0]:.1e}, form=derivative {far[1]:.1e}, "
            f"form=changes {far[2]:.1e}"
        )
    if any(far > 0.05 for far in found[256]):
        sys.exit("a conductance does not converge to the integral")


def written(spec, entry, layers):
    network, inputs = generate.draw(spec, entry["seed"])
    stored = np.load(HERE / entry["arrays"])
    if not np.array_equal(stored["input"].astype(np.float32), inputs["input"].numpy()):
        sys.exit(f"{spec.name}: the draw of its seed is not the stored one")
    network = generate.explained(network)
    double = copy.deepcopy(network).double()
    x, baseline = inputs["input"].double(), inputs["baseline"].double()
    target = torch.tensor(stored["target"])
    arrays, kept, left = {}, [], []
    for case in cases(spec.name, double, x, layers):
        found = attribution(double, case, x, target, baseline)
        single = attribution(network, case, inputs["input"], target, inputs["baseline"])
        rows = found.flatten(1)
        if not ((rows.abs().amax(1) > 1e-6).all() and (rows.shape[1] == 1 or (rows.std(1) > 0).all())):
            left.append(f"{case['key']} (zero or constant in a row)")
            continue
        rounding = generate.deviation(single.double().numpy(), found.numpy())
        if rounding > generate.ROUNDING:
            left.append(f"{case['key']} (float32 differs by {rounding:.0e})")
            continue
        arrays[case["key"]] = found.double().numpy()
        kept.append(case)
    for layer in (layers[0], layers[-1]):
        convergence(spec.name, double, x, target, layer, baseline)
    file = f"{spec.name}.layers.npz"
    np.savez_compressed(HERE / file, **arrays)
    if (HERE / file).stat().st_size > generate.FILE_LIMIT:
        sys.exit(f"{file} is larger than {generate.FILE_LIMIT} bytes")
    named = {}
    for variant in entry["variants"]:
        model = onnx.load(HERE / variant["file"])
        inside = exporting.interior(model, inputs["input"].numpy())
        activations = generate.hooked(network, inputs["input"], layers)
        known = {layer: exporting.value_named(inside, value) for layer, value in activations.items()}
        named[variant["file"]] = {layer: value for layer, value in known.items() if value is not None}
    print(f"{spec.name}: {len(kept)} cases; left out: {', '.join(left) or 'none'}", flush=True)
    return {"name": spec.name, "arrays": file, "layers": named, "cases": kept}


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    index = {e["name"]: e for e in json.loads((HERE / "index.json").read_text())["networks"]}
    specs = {spec.name: spec for spec in SPECS}
    entries = [written(specs[name], index[name], layers) for name, layers in LAYERS.items()]
    versions = {p: importlib.metadata.version(p) for p in ("torch", "captum", "numpy", "onnx")}
    (HERE / "layers.json").write_text(json.dumps({"versions": versions, "networks": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
