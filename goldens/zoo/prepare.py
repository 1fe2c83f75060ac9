"""Draws networks, writes their ONNX files, and what PyTorch says of them in float64 and in float32.

    python prepare.py WORK [NAME…]
    python prepare.py --subjects WORK [NAME…]
    python prepare.py --list

`WORK/NAME/reference.npz`: `input` [8, 3, h, w] float32, `target` [8] int64 (the class of the
highest logit), `logits` [8, classes] and `gradient` [8, 3, h, w] of the target's logit, float64.
`WORK/NAME/reference.json`: scales, a hash of the weights, errors of PyTorch's float32 for each row, those with other
roundings of the parameters, versions.
`WORK/NAME/EXPORTER[.dynamic][.unfolded].onnx`. What is there already is kept.

With `--subjects` one file of a network, its normalisations left where the exporter can, and `WORK/NAME/subject.npz`:
`input` [1, 3, h, w] float32 and `target` [1] int64, the class of its highest logit. Takes seconds a network.
"""

import copy
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import torch
import torchvision
from onnx.reference.op_run import OpRun

sys.path.append(str(Path(__file__).parent.parent))
sys.path.append(str(Path(__file__).parent))

import doubt
import light
from exporting import export, in_float64
from networks import SPECS, Refused, generator, images, randomise, require_order_one


def explained(network, x, target=None):
    """Logits, targets and gradients of the targets' logits, one row at a time."""
    logits, targets, gradients = [], [], []
    for row in range(len(x)):
        one = x[row : row + 1].clone().requires_grad_()
        result = network(one)
        index = int(result.argmax()) if target is None else int(target[row])
        (gradient,) = torch.autograd.grad(result[0, index], one)
        logits.append(result.detach())
        targets.append(index)
        gradients.append(gradient)
    return torch.cat(logits), torch.tensor(targets), torch.cat(gradients)


def relative(found, wanted):
    """‖found − wanted‖₂ / ‖wanted‖₂ of each row."""
    difference = (found.double() - wanted).flatten(1).norm(dim=1)
    return (difference / wanted.flatten(1).norm(dim=1)).tolist()


# How often PyTorch's float32 is asked again with other roundings of the parameters.
ROUNDINGS = 4


def rounded(network, *words):
    """The network with every parameter and statistic off by about a rounding, as the exporters' folding leaves them."""
    network = copy.deepcopy(network)
    draw = generator("rounded", *words)
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            factor = 1 + 2.0**-24 * torch.randn(tensor.shape, generator=draw, dtype=torch.float64)
            tensor.copy_(tensor.double() * factor)
    return network


def errors(network, x, logits, target, gradient):
    """Those of a float32 network, of each row."""
    logits32, _, gradient32 = explained(network, x, target)
    return {"logits": relative(logits32, logits), "gradient": relative(gradient32, gradient)}


def fingerprint(network):
    """Of every parameter and buffer: what is drawn again may differ in last bits, by the number of threads alone."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def is_referenced(folder, network):
    """Whether there is a reference, and of these very weights."""
    path = folder / "reference.json"
    return path.exists() and json.loads(path.read_text()).get("weights") == fingerprint(network)


def reference(name, network, size):
    """Arrays and figures of a network whose weights are float32 numbers."""
    wide = copy.deepcopy(network).double()
    x, units = doubt.inputs(network, wide, size, name)
    logits, target, gradient = explained(wide, x.double())
    exact = (x, logits, target, gradient)
    figures = {
        "network": name,
        "weights": fingerprint(network),
        "parameters": sum(tensor.numel() for tensor in [*network.parameters(), *network.buffers()] if tensor.dim()),
        "scales": require_order_one(name, logits, gradient),
        "float32": errors(network, *exact),
        "rounded": [errors(rounded(network, name, seed), *exact) for seed in range(ROUNDINGS)],
        "units_in_doubt": units,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "onnx": onnx.__version__},
    }
    arrays = {"input": x, "target": target, "logits": logits, "gradient": gradient}
    return {key: tensor.numpy() for key, tensor in arrays.items()}, figures


def write_reference(folder, arrays, figures):
    np.savez(folder / "reference.npz", **arrays)
    (folder / "reference.json").write_text(json.dumps(figures, indent=1) + "\n")
    scales, errors = figures["scales"], figures["float32"]
    print(
        f"{figures['network']}: logits {scales['logits']:.2g}, gradient {scales['gradient_norm']:.2g},"
        f" float32 errors {np.median(errors['logits']):.1e} {np.median(errors['gradient']):.1e},"
        f" units in doubt {np.median(figures['units_in_doubt']):.2g}",
        flush=True,
    )


def drawn(folder, spec):
    network = spec.build()
    weights = folder / "weights.pt"
    if weights.exists():
        network.load_state_dict(torch.load(weights))
    else:
        randomise(network, spec.name, spec.size)
        torch.save(network.state_dict(), weights)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def write_variants(folder, spec, network, variants):
    x = images(2, spec.size, spec.name, "example")
    for exporter, folded, dynamic in variants:
        variant = exporter + ".dynamic" * dynamic + ".unfolded" * (not folded)
        file = folder / f"{variant}.onnx"
        if not file.exists() and not (folder / f"{variant}.json").exists():
            onnx.save(export(network, x if dynamic else x[:1], exporter, folded, dynamic), file)
            print(f"{spec.name}: {variant}", flush=True)


def prepare_torchvision(folder, spec):
    network = drawn(folder, spec)
    write_variants(folder, spec, network, spec.variants())
    if not is_referenced(folder, network):
        write_reference(folder, *reference(spec.name, network, spec.size))


def prepare_light(folder, name):
    model, network = light.load(name)
    onnx.save(model, folder / "file.onnx")
    if not is_referenced(folder, network):
        arrays, figures = reference(name, network, light.SIZE)
        require_same(name, model, network, arrays)
        write_reference(folder, arrays, figures)


def write_subject(folder, spec, name):
    """One file of a network, and a row to explain."""
    if spec is None:
        model, network = light.load(name)
        onnx.save(model, folder / "file.onnx")
        size = light.SIZE
    else:
        network, size = drawn(folder, spec), spec.size
        variants = [variant for variant in spec.variants() if variant[0] == "torchscript"]
        write_variants(folder, spec, network, [min(variants, key=lambda variant: variant[1:])])  # unfolded first
    x = images(1, size, name, "subject")
    target = network(x).argmax(dim=1)
    np.savez(folder / "subject.npz", input=x.numpy(), target=target.detach().numpy())


class LRN(OpRun):
    """The operator as it is specified: that of onnx.reference 1.23 loops over rows where it means channels."""

    def _run(self, x, alpha=None, beta=None, bias=None, size=None):
        before, after = (size - 1) // 2, size // 2
        squares = np.pad(x**2, [(0, 0), (before, after), (0, 0), (0, 0)])
        total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
        return (x / (bias + alpha / size * total) ** beta,)


class BatchNormalization(OpRun):
    """The operator in inference: that of onnx.reference 1.23 mixes the rows' own statistics in for opset 9."""

    def _run(self, x, scale, bias, mean, variance, epsilon=1e-5, momentum=None, training_mode=0):
        scale, bias, mean, variance = (v.reshape(-1, 1, 1) for v in (scale, bias, mean, variance))
        return ((x - mean) / np.sqrt(variance + epsilon) * scale + bias,)


def require_same(name, model, network, arrays):
    """The module is the file: its output is onnxruntime's, and its gradient that of `onnx.reference` in float64."""

    def softened(logits):
        return torch.from_numpy(logits).softmax(-1).numpy() if network.softmax else logits

    def require(what, found, wanted, most):
        error = np.abs(found.ravel() - wanted.ravel()).max() / np.abs(wanted).max()
        print(f"{name}: {what} differs by {error:.1e}", flush=True)
        if not error < most:
            raise Refused(f"{name}: {what} differs by {error:.1e}, expected at most {most}")

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x, logits = arrays["input"][:1], arrays["logits"][:1]
    require("onnxruntime's output", session.run(None, {network.input: x})[0], softened(logits), 1e-4)
    # The file's output is a softmax: d log p = Σ (δ − p) d logits, so differences of log p are not the logit's. The
    # evaluator gives the value before it as well.
    wide = in_float64(model)
    if network.softmax:
        name_of_logits = wide.graph.node[-1].input[0]
        del wide.graph.node[-1]
        wide.graph.output[0].name = name_of_logits
    evaluator = onnx.reference.ReferenceEvaluator(wide, new_ops=[LRN, BatchNormalization])
    direction = torch.randn(x.shape, generator=generator(name, "direction"), dtype=torch.float64).numpy()
    # Small enough that next to no unit passes its kink; one that does, does so on one side.
    step = 1e-9
    run = lambda at: evaluator.run(None, {network.input: at})[0].ravel()
    high, here, low = (run(x + sign * step * direction) for sign in (1, 0, -1))
    require("onnx.reference's output", here, logits, 1e-8)
    target = arrays["target"][0]
    slopes = [(a[target] - b[target]) / width for a, b, width in ((high, low, 2 * step), (high, here, step), (here, low, step))]
    wanted = (arrays["gradient"][0] * direction).sum()
    nearest = min(slopes, key=lambda slope: abs(slope - wanted))
    require("onnx.reference's slope", np.array([nearest]), np.array([wanted]), 1e-5)


def main():
    subjects = sys.argv[1] == "--subjects"
    work, *names = sys.argv[1 + subjects :]
    specs = {spec.name: spec for spec in SPECS}
    if work == "--list":
        print("\n".join([*specs, *light.NAMES]))
        return
    for name in names or [*specs, *light.NAMES]:
        folder = Path(work) / name
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / ("subject.npz" if subjects else "ready")).exists():
            continue
        if subjects and (name in specs or name in light.NAMES):
            write_subject(folder, specs.get(name), name)
            continue
        if name in specs:
            prepare_torchvision(folder, specs[name])
        elif name in light.NAMES:
            prepare_light(folder, name)
        else:
            sys.exit(f"{name}: no such network, expected one of {', '.join([*specs, *light.NAMES])}")
        (folder / "ready").touch()


if __name__ == "__main__":
    main()
