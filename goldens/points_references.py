"""Methods that draw their points, methods wrapped in points, and models of several inputs or of plain numbers.

    pip install -r requirements.txt
    python points_references.py

It writes `points.json` and `NAME.points.npz`: more cases for some networks of the index; and `inputs.json` with
`inputs.NAME.npz` and `inputs.NAME.onnx`: networks of two and three inputs, one of them of whole numbers, and regression
with one and with several outputs a row.

Captum draws from NumPy's and PyTorch's generators. Here both are fed from stored arrays while it works, so that it
computes what it always does, of the very numbers that the files hold: `noise`, [samples, n, …]; `pick`, whole numbers that
choose a row of `background`, [k, …], modulo k; `position`, on the way from it to the input. The same backgrounds and
positions are drawn for every row.

Captum has no RISE, and wraps guided backpropagation in no path: those references are written out here in float64.
RISE's masks are drawn, enlarged by `torch.nn.functional.interpolate` and cut here, and stored.
"""

import contextlib
import copy
import importlib.metadata
import io
import json
import sys
import warnings
from pathlib import Path
from unittest import mock

import captum.attr
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

import generate
import references
from networks import SPECS, randomised

HERE = Path(__file__).resolve().parent
NETWORKS = ("mlp", "cnn", "conv1d", "softmax_head", "layer_norm")
ROWS, SAMPLES, BACKGROUNDS, MASKS, GRID, KEEP = 3, 5, 4, 12, 3, 0.5


# ---------------------------------------------------------------- Captum, fed


@contextlib.contextmanager
def fed(noises, pick, position, count, rows):
    """Captum's generators give what is stored; `count` is the number of backgrounds."""
    noises = iter(noises)
    by_row = lambda noise: noise.transpose(0, 1).reshape(-1, *noise.shape[2:])
    chosen = np.tile(np.asarray(pick) % count, rows)
    with (
        mock.patch("torch.normal", lambda mean, std: by_row(next(noises)).to(std.dtype)),
        mock.patch("numpy.random.choice", lambda many, size: chosen),
        mock.patch("numpy.random.uniform", lambda low, high, size: np.tile(np.asarray(position), rows)),
    ):
        yield


def tunnel(method, kind, xs, drawn, **arguments):
    """Captum's NoiseTunnel over the stored noise."""
    with fed(drawn["noise"], drawn["pick"], drawn["position"], BACKGROUNDS, len(xs[0])):
        found = captum.attr.NoiseTunnel(method).attribute(
            xs, nt_type=kind, nt_samples=SAMPLES, stdevs=1.0, **arguments
        )
    return tuple(f.detach() for f in found)


def gradient_shap(forward, xs, drawn, noisy, **arguments):
    """Captum's, whose noise is the stored one, or none."""
    noises = drawn["noise"] if noisy else tuple(torch.zeros_like(n) for n in drawn["noise"])
    with fed(noises, drawn["pick"], drawn["position"], BACKGROUNDS, len(xs[0])):
        found = captum.attr.GradientShap(forward).attribute(
            xs, baselines=drawn["background"], n_samples=SAMPLES, stdevs=1.0, **arguments
        )
    return tuple(f.detach() for f in found)


class Signed(captum.attr.Saliency):
    """The gradient with its sign, under Captum's NoiseTunnel."""

    def attribute(self, inputs, target=None, additional_forward_args=None):
        return super().attribute(inputs, target=target, abs=False, additional_forward_args=additional_forward_args)

    attribute.__wrapped__ = attribute  # the tunnel calls what a decorator would have wrapped


class Contrast(nn.Module):
    """One score of `network` less another: [n]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *inputs):
        *inputs, of, minus = inputs
        out = self.network(*inputs)
        return out.gather(1, of[:, None])[:, 0] - out.gather(1, minus[:, None])[:, 0]


# ---------------------------------------------------------------- written out


def gradients(forward, xs, extra, target):
    """The derivative of each row's score by that row of every input."""
    xs = tuple(x.clone().requires_grad_() for x in xs)
    out = forward(*xs, *extra)
    score = out if target is None else out.gather(1, target[:, None])[:, 0]
    return torch.autograd.grad(score.sum(), xs)


def legendre(steps):
    at, weights = np.polynomial.legendre.leggauss(steps)
    return (at + 1) / 2, weights / 2


def along_path(read, xs, baselines, compared):
    """Σ weight · read(point), times the difference where `compared`, with 32 Gauss-Legendre points."""
    total = None
    for at, weight in zip(*legendre(references.STEPS)):
        found = read(tuple(b + at * (x - b) for x, b in zip(xs, baselines)))
        found = tuple(weight * f for f in found)
        total = found if total is None else tuple(t + f for t, f in zip(total, found))
    return tuple(t * (x - b) for t, x, b in zip(total, xs, baselines)) if compared else total


def smooth(read, xs, noises):
    """mean of read(x + noise)."""
    found = [read(tuple(x + n[s] for x, n in zip(xs, noises))) for s in range(SAMPLES)]
    return tuple(torch.stack(f).mean(0) for f in zip(*found))


def cam(network, x, target, layer):
    """Grad-CAM of one input, as `references.grad_cam`."""
    return references.grad_cam(network, x, target, layer)


def masks(shape, generator):
    """[MASKS, …space]: grids of cells kept with probability KEEP, enlarged between the centres of cells, shifted."""
    space = shape[1:]
    if not space:
        return (torch.rand(MASKS, *shape, generator=generator) < KEEP).double()
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(space)]
    drawn = (torch.rand(MASKS, 1, *[GRID] * len(space), generator=generator) < KEEP).double()
    cells = [-(-size // GRID) for size in space]
    whole = F.interpolate(drawn, size=[(GRID + 1) * c for c in cells], mode=mode, align_corners=False)[:, 0]
    found = []
    for mask in whole:
        for axis, (cell, size) in enumerate(zip(cells, space)):
            shift = int(torch.randint(cell, (1,), generator=generator))
            mask = mask.narrow(axis, shift, size)
        found.append(mask)
    return torch.stack(found)


def rise(forward, xs, extra, target, baselines, drawn):
    """1/(keep · N) Σ f(b + M·(x − b)) · M: one map for all channels."""
    total = [0.0] * len(xs)
    for number in range(MASKS):
        shaped = [m[number] if x.dim() == 2 else m[number][None] for x, m in zip(xs, drawn)]
        points = tuple(b + m * (x - b) for x, b, m in zip(xs, baselines, shaped))
        out = forward(*points, *extra)
        score = out if target is None else out.gather(1, target[:, None])[:, 0]
        for index, m in enumerate(shaped):
            total[index] = total[index] + score.reshape(-1, *[1] * m.dim()) * m[None]
    return tuple(t.detach() / (KEEP * MASKS) for t in total)


# ---------------------------------------------------------------- cases


def single(array):
    """Every tensor in float32."""
    if isinstance(array, torch.Tensor):
        return array.float() if array.is_floating_point() else array
    return type(array)(single(a) for a in array) if isinstance(array, (tuple, list)) else array


def computed(network, xs, extra, target, drawn, wanted, layer=None, contrast=None):
    """By case key, a tuple of arrays, one an input."""
    torch.set_default_dtype(xs[0].dtype)
    forward = network
    if contrast is not None:
        # The classes travel with the rows, since Captum repeats them in its own order.
        forward, extra, target = Contrast(network), (*extra, target, contrast), None
    arguments = dict(target=target, additional_forward_args=extra or None)
    rule = lambda name: references.with_rule(network, name)
    plain = lambda at: gradients(forward, at, extra, target)
    ruled = lambda name: lambda at: gradients(rule(name), at, extra, target)
    zeros = tuple(torch.zeros_like(b) for b in drawn["baseline"])
    found = {}
    for key in wanted:
        if key == "gradient":
            f = plain(xs)
        elif key == "input-x-gradient":
            f = captum.attr.InputXGradient(forward).attribute(xs, **arguments)
        elif key == "integrated-gradients":
            f = captum.attr.IntegratedGradients(forward).attribute(
                xs, baselines=drawn["baseline"], n_steps=references.STEPS, method="gausslegendre", **arguments
            )
        elif key in ("guided-backprop", "deconvnet"):
            f = ruled(key)(xs)
        elif key == "smoothgrad":
            f = tunnel(Signed(forward), "smoothgrad", xs, drawn, **arguments)
        elif key == "squaregrad":
            f = tunnel(Signed(forward), "smoothgrad_sq", xs, drawn, **arguments)
        elif key == "vargrad":
            f = tunnel(Signed(forward), "vargrad", xs, drawn, **arguments)
        elif key == "expected-gradients":
            f = gradient_shap(forward, xs, drawn, False, **arguments)
        elif key == "gradient-shap":
            f = gradient_shap(forward, xs, drawn, True, **arguments)
        elif key == "input-x-gradient:smooth":
            f = tunnel(captum.attr.InputXGradient(forward), "smoothgrad", xs, drawn, **arguments)
        elif key == "guided-backprop:smooth":
            f = smooth(ruled("guided-backprop"), xs, drawn["noise"])
        elif key == "gradient:path":
            f = along_path(plain, xs, drawn["baseline"], True)
        elif key in ("guided-backprop:path", "deconvnet:path"):
            f = along_path(ruled(key.split(":")[0]), xs, drawn["baseline"], True)
        elif key == "grad-cam:path":
            f = along_path(lambda at: (cam(network, at[0], target, layer),), xs, drawn["baseline"], False)
        elif key == "grad-cam:smooth":
            f = smooth(lambda at: (cam(network, at[0], target, layer),), xs, drawn["noise"])
        elif key == "occlusion":
            sizes = tuple((2,) if x.dim() == 2 else (x.shape[1], *[2] * (x.dim() - 2)) for x in xs)
            f = captum.attr.Occlusion(forward).attribute(
                xs, sliding_window_shapes=sizes, strides=sizes, baselines=zeros, **arguments
            )
        elif key == "rise":
            f = rise(forward, xs, extra, target, drawn["baseline"], drawn["masks"])
        else:
            raise ValueError(key)
        found[key] = tuple(array.detach() for array in f)
    torch.set_default_dtype(torch.float32)
    return found


def described(key, layer):
    """What a case of this key asks for."""
    method, _, points = key.partition(":")
    case = {"key": key, "method": method, "settings": {}}
    if method in ("smoothgrad", "squaregrad", "vargrad", "gradient-shap", "expected-gradients"):
        case["settings"] = {"samples": SAMPLES}
    if points:
        case["settings"] = {"points": points}
        case["settings"] |= {"samples": SAMPLES} if points == "smooth" else {}
    if points == "path" or method == "integrated-gradients":
        case["settings"] |= {"quadrature": "gauss-legendre", "steps": references.STEPS}
    if method in ("smoothgrad", "squaregrad", "vargrad", "gradient-shap") or points == "smooth":
        case["noise"] = "noise"
    if method in ("gradient-shap", "expected-gradients"):
        case |= {"background": "background", "draws": True}
    if points == "path" or method in ("integrated-gradients", "rise"):
        case["baseline"] = "baseline"
    if method == "rise":
        case["settings"] = {"samples": MASKS, "keep": KEEP}
        case["masks"] = "masks"
    if method == "occlusion":
        case["settings"] = {"window": 2, "stride": 2}
        case["baseline"] = "zero"
    if method == "grad-cam":
        case["layer"] = layer
    return case


def settled(name, wide, narrow, wanted):
    """The references that are alive and that rounding does not move, by key."""
    kept, left = {}, []
    for key in wanted:
        try:
            for a, b in zip(wide[key], narrow[key]):
                for number, row in enumerate(generate.rows(a.numpy())):
                    if not np.abs(row).max() > 1e-5 or np.ptp(row) < 1e-2 * np.abs(row).max():
                        raise generate.Rejected(f"{key}: row {number} is zero or constant")
                if generate.deviation(b.numpy(), a.numpy()) > generate.ROUNDING:
                    raise generate.Rejected(f"{key}: float32 differs")
        except generate.Rejected as reason:
            left.append(str(reason))
            continue
        kept[key] = wide[key]
    print(f"{name}: {len(kept)} cases; left out: {', '.join(left) or 'none'}", flush=True)
    return kept


def draws(shapes, rows, generator, given=None):
    """What the methods draw, in float32: `given` may hold baseline and noise."""
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float32)
    drawn = given or {
        "baseline": tuple(0.3 * normal(1, *shape) for shape in shapes),
        "noise": tuple(0.5 * normal(SAMPLES, rows, *shape) for shape in shapes),
    }
    drawn["background"] = tuple(0.7 * normal(BACKGROUNDS, *shape) for shape in shapes)
    drawn["pick"] = torch.randint(1 << 31, (SAMPLES,), generator=generator).tolist()
    # 24 bits, so that float32 holds them.
    drawn["position"] = (torch.randint(1 << 24, (SAMPLES,), generator=generator) / (1 << 24)).tolist()
    drawn["masks"] = tuple(masks(shape, generator).float() for shape in shapes)
    return drawn


def widened(drawn):
    wide = lambda v: tuple(a.double() for a in v) if isinstance(v, tuple) else v
    return {key: wide(value) for key, value in drawn.items()}


def of_index(spec, entry, number):
    """More cases for a network of the index."""
    network, inputs = generate.draw(spec, entry["seed"])
    stored = np.load(HERE / entry["arrays"])
    if not np.array_equal(stored["input"].astype(np.float32), inputs["input"].numpy()):
        sys.exit(f"{spec.name}: the draw of its seed is not the stored one")
    network = generate.explained(network)
    generator = torch.Generator().manual_seed(7000 + number)
    given = {"baseline": (inputs["baseline"],), "noise": (inputs["noise"],)}
    drawn = draws([spec.shape], ROWS, generator, given)
    target = torch.tensor(stored["target"])
    wanted = ["squaregrad", "vargrad", "expected-gradients", "gradient-shap", "input-x-gradient:smooth"]
    wanted += ["gradient:path", "rise"]
    kinds = {type(m) for m in network.modules()}
    if kinds & set(references.RECTIFIERS):
        wanted += ["guided-backprop:smooth", "guided-backprop:path", "deconvnet:path"]
    layer = spec.layers[-1] if spec.layers else None
    if layer:
        wanted += ["grad-cam:path", "grad-cam:smooth"]
    double = copy.deepcopy(network).double()
    wide = computed(double, (inputs["input"].double(),), (), target, widened(drawn), wanted, layer)
    narrow = computed(network, (inputs["input"],), (), target, drawn, wanted, layer)
    kept = settled(spec.name, wide, narrow, wanted)
    arrays = {key: found[0].numpy() for key, found in kept.items()}
    arrays |= {key: drawn[key][0].double().numpy() for key in ("background", "masks")}
    arrays |= {"pick": np.array(drawn["pick"], np.float64), "position": np.array(drawn["position"])}
    file = f"{spec.name}.points.npz"
    np.savez_compressed(HERE / file, **arrays)
    return {"name": spec.name, "arrays": file, "cases": [described(key, layer) for key in kept]}


# ---------------------------------------------------------------- several inputs, and plain numbers


class PictureAndTable(nn.Module):
    """A picture, a row of a table and three words, to four classes."""

    def __init__(self):
        super().__init__()
        self.picture = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2), nn.Tanh())
        self.table = nn.Sequential(nn.Linear(5, 6), nn.ReLU())
        self.words = nn.Embedding(7, 4)
        self.head = nn.Sequential(nn.Linear(3 * 4 + 6 + 4, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, picture, table, words):
        parts = [self.picture(picture).flatten(1), self.table(table), self.words(words).mean(1)]
        return self.head(torch.cat(parts, 1))


def mlp(outputs):
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, outputs))


class OneNumber(nn.Module):
    """Regression whose output has no axis of outputs: [n]."""

    def __init__(self):
        super().__init__()
        self.inner = mlp(1)

    def forward(self, x):
        return self.inner(x)[:, 0]


ALL = [
    "gradient", "input-x-gradient", "integrated-gradients", "guided-backprop", "deconvnet", "smoothgrad", "squaregrad",
    "vargrad", "expected-gradients", "gradient-shap", "input-x-gradient:smooth", "guided-backprop:smooth",
    "gradient:path", "guided-backprop:path", "occlusion", "rise",
]  # fmt: skip
INPUTS = [
    ("two_and_words", PictureAndTable, {"picture": (2, 6, 6), "table": (5,)}, True, "classes"),
    ("regression_outputs", lambda: mlp(3), {"input": (6,)}, False, "outputs"),
    ("regression_one", lambda: mlp(1), {"input": (6,)}, False, "outputs"),
    ("regression_flat", OneNumber, {"input": (6,)}, False, "number"),
]


def of_inputs(name, build, shapes, words, kind, number):
    """A network of its own: file, arrays, entry."""
    for retry in range(200):
        generator = torch.Generator().manual_seed(8000 + 100 * number + retry)
        network = randomised(build().eval(), generator)
        xs = tuple(torch.randn(ROWS, *shape, generator=generator) for shape in shapes.values())
        extra = (torch.randint(7, (ROWS, 3), generator=generator),) if words else ()
        drawn = draws(list(shapes.values()), ROWS, generator)
        outputs = network(*xs, *extra)
        classes = None if kind == "number" else outputs.shape[1]
        target = None if kind == "number" else torch.arange(ROWS) % classes
        minus = (target + 1) % classes if classes and classes > 1 else None
        double = copy.deepcopy(network).double()
        wide_xs = tuple(x.double() for x in xs)
        wide = computed(double, wide_xs, extra, target, widened(drawn), ALL)
        narrow = computed(network, xs, extra, target, drawn, ALL)
        contrasts = {}
        if minus is not None:
            plain = ["gradient", "integrated-gradients", "smoothgrad", "expected-gradients", "occlusion", "rise"]
            contrasts = computed(double, wide_xs, extra, target, widened(drawn), plain, contrast=minus)
            both = computed(network, xs, extra, target, drawn, plain, contrast=minus)
            wide |= {f"{key}|contrast": found for key, found in contrasts.items()}
            narrow |= {f"{key}|contrast": found for key, found in both.items()}
        kept = settled(f"{name}, draw {retry}", wide, narrow, list(wide))
        if len(kept) == len(wide):
            break
    else:
        sys.exit(f"{name}: no draw would do")
    names = [*shapes, "words"] if words else list(shapes)
    file = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        axes = {key: {0: "batch"} for key in [*names, "output"]}
        torch.onnx.export(
            network, (*xs, *extra), file, dynamo=False, input_names=names, output_names=["output"],
            opset_version=18, dynamic_axes=axes,
        )  # fmt: skip
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model, full_check=True)
    (HERE / f"inputs.{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    arrays = {"output": double(*wide_xs, *extra).detach().numpy()}
    for index, key in enumerate(shapes):
        arrays[f"input:{key}"] = wide_xs[index].numpy()
        for what in ("baseline", "noise", "background", "masks"):
            arrays[f"{what}:{key}"] = drawn[what][index].double().numpy()
        arrays |= {f"{case}:{key}": found[index].numpy() for case, found in kept.items()}
    if words:
        arrays["input:words"] = extra[0].double().numpy()
    arrays |= {"pick": np.array(drawn["pick"], np.float64), "position": np.array(drawn["position"])}
    if target is not None:
        arrays["target"] = target.double().numpy()
    if minus is not None:
        arrays["minus"] = minus.double().numpy()
    np.savez_compressed(HERE / f"inputs.{name}.npz", **arrays)
    cases = []
    for key in kept:
        plain, _, contrast = key.partition("|")
        cases.append(described(plain, None) | {"key": key, "contrast": bool(contrast)})
    return {
        "name": name,
        "file": f"inputs.{name}.onnx",
        "arrays": f"inputs.{name}.npz",
        "inputs": list(shapes),
        "words": words,
        "cases": cases,
    }


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    versions = {p: importlib.metadata.version(p) for p in ("torch", "captum", "numpy", "onnx")}
    index = {e["name"]: e for e in json.loads((HERE / "index.json").read_text())["networks"]}
    specs = [spec for spec in SPECS if spec.name in NETWORKS]
    entries = [of_index(spec, index[spec.name], number) for number, spec in enumerate(specs)]
    (HERE / "points.json").write_text(json.dumps({"versions": versions, "networks": entries}, indent=1) + "\n")
    entries = [of_inputs(*described_network, number) for number, described_network in enumerate(INPUTS)]
    (HERE / "inputs.json").write_text(json.dumps({"versions": versions, "networks": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
