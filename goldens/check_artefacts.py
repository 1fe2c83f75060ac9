"""Compiles explanations with the command line, and checks the files with ONNX's own tools.

    python check_artefacts.py --pellucid ../target/release/pellucid   # everything below
    python check_artefacts.py --pellucid PATH --only resnet18         # models whose name begins so
    python check_artefacts.py FOLDER                                  # what is already there

For each model and method it runs `pellucid compile` and `pellucid explain`, and then
checks the compiled file: `onnx.checker` in full; nodes of `ai.onnx` only; onnxruntime,
and for small networks `onnx.reference`, give the prediction of `explain` within 1e-5
and its attribution and score within 1e-4 of each row's maximum. An attribution that is
zero or constant fails.

In a large network some unit always stands so near a kink that rounding decides its side,
and then no two float32 engines agree to 1e-4. What rounding alone does is measured: the
compiled file is run again on inputs moved by their last bit, and without onnxruntime's
rewriting. Where that moves an attribution by more than a quarter of the tolerance, four
times as much is allowed, at most 2e-2, and the line says so. The command line's own
rounding is measured the same way, by explaining such inputs. FOLDER is a kept work folder (`--work`), checked without the
command line: one folder for each check, with `compiled.onnx`, `input.npz`,
`explained.npz`.

Models: a ResNet-18 with random weights, made here; the embedded EfficientNet-Lite0 on a
photograph; some of the golden networks. Needs numpy, onnx and onnxruntime only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parent / "crates" / "assets"
PREDICTION, ATTRIBUTION = 1e-5, 1e-4  # of each row's maximum
ROUNDED = 2e-2  # the most that rounding may excuse
SMALL = 200_000  # bytes of a model that `onnx.reference` can run in a moment
STEPS = 8
METHODS = {
    "gradient": [],
    "input-x-gradient": [],
    "guided-backprop": [],
    "grad-cam": [],
    "grad-cam-plus-plus": [],
    "hires-cam": [],
    "xgrad-cam": [],
    "layer-cam": [],
    "guided-grad-cam": [],
    "full-grad": [],
    "deeplift": ["--baseline", "zero"],
    "integrated-gradients": ["--baseline", "zero", "--set", "quadrature=gauss-legendre", "--set", f"steps={STEPS}"],
}
PATH = ["--baseline", "zero", "--set", "points=path", "--set", "quadrature=gauss-legendre", "--set", f"steps={STEPS}"]
# What is checked on a few networks: points wrapped around a method, drawn baselines, several targets, contrasts.
WRAPPED = {
    "guided-backprop:path": PATH,
    "grad-cam:path": PATH,
    "expected-gradients": ["--set", "samples=6", "--seed", "3"],
    "deep-shap": [],
    "gradient:targets": ["--target", "2,0-1,top1"],
    "integrated-gradients:targets": [*METHODS["integrated-gradients"], "--target", "1,2-0"],
}
PLAIN = list(METHODS)
RELEVANCE = {
    "lrp-epsilon-plus-flat": [],
    "lrp-epsilon-gamma-box": ["--set", "low=-4", "--set", "high=4"],
}
METHODS |= RELEVANCE
METHODS |= WRAPPED
BIG = ["deeplift", "grad-cam", "hires-cam", "guided-grad-cam", "full-grad", "input-x-gradient", "integrated-gradients"]
GOLDENS = {
    "cnn.torchscript": [*PLAIN, *WRAPPED],
    "residual.dynamo": PLAIN,
    "convolutions.torchscript.unfolded": PLAIN,
    "squeeze_excite.dynamo": ["deeplift", "input-x-gradient", "full-grad", "integrated-gradients"],
    "dense.torchscript": ["input-x-gradient", "grad-cam", "layer-cam", "full-grad"],
    "activations.dynamo": ["deeplift", "gradient", "integrated-gradients"],
    "attention.torchscript": ["deeplift", "gradient", "integrated-gradients"],
    "conv1d.dynamo": ["input-x-gradient", "guided-backprop", "hires-cam", "full-grad"],
    "softmax_head.torchscript": ["input-x-gradient", "integrated-gradients"],
    "lrp.vgg_bn.torchscript.unfolded": list(RELEVANCE),
    "lrp.resnet.dynamo.unfolded": list(RELEVANCE),
}


class Failed(Exception):
    """A check that did not hold, in words."""


@dataclass
class Job:
    """A model, its input, and the methods to compile."""

    name: str
    model: Path
    inputs: dict
    methods: list
    targets: dict = field(default_factory=dict)  # method to the rows and the class it is asked for


# ---------------------------------------------------------------- checks


def rows(array):
    """The array as [n, …], flat after the first axis, in float64."""
    return np.asarray(array, dtype=np.float64).reshape(len(array), -1)


def require_close(what, found, wanted, tolerance):
    """Fails where a row differs by more than `tolerance` of its largest |wanted|; the difference otherwise."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape:
        raise Failed(f"{what} has shape {found.shape}, the command line's {wanted.shape}")
    found, wanted = rows(found), rows(wanted)
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        raise Failed(f"{what} is not finite")
    far = np.abs(found - wanted).max(1) / np.maximum(np.abs(wanted).max(1), 1e-30)
    if far.max() > tolerance:
        raise Failed(f"{what} differs by {far.max():.1e} of the maximum of row {far.argmax()}, allowed {tolerance:.0e}")
    return float(far.max())


def require_alive(what, array):
    """Fails where a row is zero or constant."""
    for number, row in enumerate(rows(array)):
        if not np.isfinite(row).all() or np.abs(row).max() == 0:
            raise Failed(f"{what}: row {number} is zero or not finite")
        if row.size > 1 and np.ptp(row) <= 1e-6 * np.abs(row).max():
            raise Failed(f"{what}: row {number} is constant")


def all_nodes(graph):
    """The nodes of a graph and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
                yield from all_nodes(inner)


def require_standard(model):
    """Fails unless the model holds operators of ai.onnx only."""
    foreign = sorted({f"{n.domain}::{n.op_type}" for n in all_nodes(model.graph) if n.domain not in ("", "ai.onnx")})
    if foreign:
        raise Failed(f"operators from outside ai.onnx: {', '.join(foreign)}")
    if model.functions:
        raise Failed(f"holds local functions: {', '.join(f.name for f in model.functions)}")
    domains = [o.domain for o in model.opset_import if o.domain not in ("", "ai.onnx")]
    if domains:
        raise Failed(f"imports the operator sets {', '.join(domains)}")


def feeds(model, inputs, explained):
    """What the compiled model takes: the model's inputs, the target explained, and a zero baseline."""
    found = {}
    for value in model.graph.input:
        name = value.name.removeprefix("pellucid.")
        if value.name in inputs:
            found[value.name] = inputs[value.name]
        elif name == "target":
            found[value.name] = explained["target"].astype(np.int64)
        elif name == "background":
            found[value.name] = np.zeros_like(next(iter(inputs.values()))[:1])
        elif name.split(":")[0] == "baseline":
            of = inputs[name.split(":", 1)[1]] if ":" in name else next(iter(inputs.values()))
            found[value.name] = np.zeros_like(of)
        else:
            raise Failed(f"takes an input this script does not know: {value.name}")
    return found


def compare(engine, outputs, explained, tolerance=ATTRIBUTION):
    """Fails unless an engine's outputs, by name, are what `explain` wrote."""
    if "prediction" not in explained:
        raise Failed("the command line's file has no `prediction`")
    first = next(iter(outputs))
    far = [require_close(f"{engine}: {first}", outputs[first], explained["prediction"], PREDICTION)]
    for key in explained:
        if key.split(":")[0] not in ("attribution", "score", "baseline_score"):
            continue
        found = outputs.get(f"pellucid.{key}", outputs.get(key))
        if found is None and key == "baseline_score":
            continue  # a file evaluates its baseline only where values ought to sum to the difference
        if found is None:
            raise Failed(f"{engine}: the compiled model has no output `{key}`, but {', '.join(outputs)}")
        if key.startswith("attribution"):
            require_alive(f"{engine}: {key}", found)
            require_alive(f"command line: {key}", explained[key])
        allowed = tolerance if key.startswith("attribution") else ATTRIBUTION
        far.append(require_close(f"{engine}: {key}", found, explained[key], allowed))
    if not any(key.startswith("attribution") for key in explained):
        raise Failed("the command line's file has no `attribution`")
    return max(far)


def session(model, plain=False):
    """The model in onnxruntime; `plain` runs it as written."""
    options = onnxruntime.SessionOptions()
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def nudged(inputs, generator):
    """The inputs, each number moved by its last bit, up, down or not at all."""
    moved = dict(inputs)
    for name, array in inputs.items():
        if array.dtype == np.float32:
            bits = generator.integers(-1, 2, size=array.shape).astype(np.float32)
            moved[name] = array + bits * np.spacing(array)
    return moved


def movement(runs, base):
    """The largest difference of runs from `base`, of its row's maximum."""
    far = [np.abs(rows(a) - rows(b)).max(1) / np.abs(rows(b)).max(1) for run in runs for a, b in zip(run, base)]
    return float(np.max(far)) if far else 0.0


def rounding(compiled, names, fed, inputs, outputs, explained, again):
    """How far an attribution moves by rounding alone, in onnxruntime and on the command line."""
    generator = np.random.default_rng(2)
    keys = [name for name in names if name.removeprefix("pellucid.").startswith("attribution")]
    runs = [session(compiled, plain=True).run(keys, fed)]
    ordinary = session(compiled)
    runs += [ordinary.run(keys, {**fed, **nudged(inputs, generator)}) for _ in range(3)]
    ours = [key for key in explained if key.startswith("attribution")]
    repeated = [[run[key] for key in ours] for run in again]
    return max(movement(runs, [outputs[key] for key in keys]), movement(repeated, [explained[key] for key in ours]))


def has_grouped_transpose(graph):
    """Whether there is a ConvTranspose in groups, bodies included, which onnx.reference cannot run."""
    for node in graph.node:
        groups = [a.i for a in node.attribute if a.name == "group"]
        if node.op_type == "ConvTranspose" and groups and groups[0] > 1:
            return True
        if any(has_grouped_transpose(a.g) for a in node.attribute if a.HasField("g")):
            return True
    return False


def check(compiled, inputs, explained, again):
    """All checks of one compiled file; a line that says how close it came."""
    onnx.checker.check_model(str(compiled), full_check=True)
    model = onnx.load(compiled)
    require_standard(model)
    fed = feeds(model, inputs, explained)
    names = [o.name for o in model.graph.output]
    outputs = dict(zip(names, session(compiled).run(names, fed)))
    far, tolerance, noted = {}, ATTRIBUTION, ""
    if compiled.stat().st_size > SMALL:
        moved = rounding(compiled, names, fed, inputs, outputs, explained, again)
        tolerance = min(max(ATTRIBUTION, 4 * moved), ROUNDED)
        noted = f"; rounding alone moves it by {moved:.1e}" if tolerance > ATTRIBUTION else ""
    far["onnxruntime"] = compare("onnxruntime", outputs, explained, tolerance)
    if compiled.stat().st_size <= SMALL and not has_grouped_transpose(model.graph):
        values = onnx.reference.ReferenceEvaluator(model).run(names, fed)
        far["onnx.reference"] = compare("onnx.reference", dict(zip(names, values)), explained)
    return ", ".join(f"{engine} within {value:.1e}" for engine, value in far.items()) + noted


def checks_can_fail():
    """Runs the checks on sabotaged material; an error when one of them lets it pass."""
    generator = np.random.default_rng(1)
    good = {
        "prediction": generator.normal(size=(2, 4)),
        "attribution": generator.normal(size=(2, 3, 5)),
        "score": np.array([0.7, -0.4]),
    }
    compare("control", dict(good), good)
    flat = np.ones((2, 3, 5))
    bad = [
        {**good, "attribution": good["attribution"] * 1.001},
        {**good, "attribution": good["attribution"][::-1]},
        {**good, "attribution": flat * 0},
        {**good, "attribution": flat},
        {**good, "attribution": good["attribution"][:, :2]},
        {**good, "attribution": np.where(flat.cumsum(1) > 2, np.nan, good["attribution"])},
        {**good, "prediction": good["prediction"] + 1e-3},
        {**good, "score": good["score"] + 1e-3},
        {k: v for k, v in good.items() if k != "attribution"},
    ]
    for number, outputs in enumerate(bad):
        for explained in (good, outputs) if number in (2, 3, 8) else (good,):
            try:
                compare("control", outputs, explained)
            except Failed:
                continue
            sys.exit(f"sabotage {number} was not noticed: the checks are broken")
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
    inner = helper.make_graph([node], "inner", [], [value("y")])
    branch = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    model = helper.make_model(helper.make_graph([branch], "outer", [value("x")], [value("z")]))
    try:
        require_standard(model)
    except Failed:
        return
    sys.exit("a foreign operator inside a branch was not noticed: the checks are broken")


# ---------------------------------------------------------------- models


def resnet18(side):
    """A ResNet-18 with random weights, BatchNorm folded, and logits of order one; 46 MB."""
    generator = np.random.default_rng(18)
    nodes, weights = [], []

    def constant(name, array):
        weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(kind, inputs, name, **attributes):
        nodes.append(helper.make_node(kind, inputs, [name], name=f"node.{name}", **attributes))
        return name

    def conv(x, name, inputs, outputs, kernel, stride, gain):
        scale = gain * (2 / (inputs * kernel * kernel)) ** 0.5
        w = generator.normal(size=(outputs, inputs, kernel, kernel)).astype(np.float32) * np.float32(scale)
        b = generator.normal(size=outputs).astype(np.float32) * np.float32(0.1)
        pad = kernel // 2
        shape = dict(kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[pad] * 4)
        return node("Conv", [x, constant(f"{name}.weight", w), constant(f"{name}.bias", b)], name, **shape)

    x = node("Relu", [conv("image", "conv1", 3, 64, 7, 2, 1.0)], "relu1")
    x = node("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for stage, outputs in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = node("Relu", [conv(x, f"{name}.conv1", width, outputs, 3, stride, 1.0)], f"{name}.relu1")
            y = conv(y, f"{name}.conv2", outputs, outputs, 3, 1, 0.5)
            if stride != 1 or width != outputs:
                x = conv(x, f"{name}.downsample", width, outputs, 1, stride, 0.7)
            x = node("Relu", [node("Add", [y, x], f"{name}.add")], f"{name}.relu2")
            width = outputs
    x = node("Flatten", [node("GlobalAveragePool", [x], "pool")], "flatten", axis=1)
    head = generator.normal(size=(1000, 512)).astype(np.float32)
    bias = generator.normal(size=1000).astype(np.float32) * np.float32(0.1)
    node("Gemm", [x, constant("fc.weight", head), constant("fc.bias", bias)], "logits", transB=1)
    graph = helper.make_graph(
        nodes,
        "resnet18",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000])],
        weights,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    inputs = {"image": generator.normal(size=(2, 3, side, side)).astype(np.float32)}
    drawn = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    spread = drawn.run(["logits"], inputs)[0].std()
    # A power of two leaves the mantissas as drawn, so that the file is the same everywhere.
    head *= np.float32(2.0 ** -round(np.log2(spread)))
    next(w for w in weights if w.name == "fc.weight").CopyFrom(numpy_helper.from_array(head, "fc.weight"))
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    onnx.checker.check_model(model, full_check=True)
    return model, inputs


def png(path):
    """An 8-bit RGB PNG without interlacing as [h, w, 3]: enough for the photograph used here."""
    data = path.read_bytes()
    at, packed = 8, b""
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            if tuple(body[8:]) != (8, 2, 0, 0, 0):
                sys.exit(f"{path}: not an 8-bit RGB PNG")
        packed += body if kind == b"IDAT" else b""
        at += length + 12
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 3 * width)
    above, image = [0] * (3 * width + 3), np.empty((height, width, 3), np.uint8)
    for y, line in enumerate(lines.tolist()):
        kind, now = line[0], [0, 0, 0]
        for i, value in enumerate(line[1:], 3):
            a, b, c = now[i - 3], above[i], above[i - 3]  # left, above, above left
            if kind == 4:
                p, q, r = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                guess = a if p <= q and p <= r else b if q <= r else c
            else:
                guess = (0, a, b, (a + b) // 2)[kind]
            now.append((value + guess) & 255)
        above, image[y] = now, np.reshape(now[3:], (width, 3))
    return image


def map_targets(network):
    """For each class activation map, the first row and a class that leaves the network's last spatial layer alive."""
    index = json.loads((HERE / "index.json").read_text())["networks"]
    layer = next((entry["last_spatial"] for entry in index if entry["name"] == network), None)
    found = {}
    for entry in json.loads((HERE / "cam.json").read_text())["networks"]:
        if entry["name"] == network:
            classes = np.load(HERE / entry["arrays"])
            own = np.load(HERE / f"{network}.npz")["target"]
            for case in entry["cases"]:
                if "layer" in case and case["layer"] == layer:
                    picked = classes[case["target"]] if "target" in case else own
                    found.setdefault(case["method"], (slice(0, 1), int(picked[0])))
    return found


def jobs(work, only):
    """The models to compile, with their inputs."""
    wanted = lambda name: any(name.startswith(prefix) for prefix in only) if only else True
    if wanted("resnet18"):
        model, inputs = resnet18(64)
        path = work / "resnet18.onnx"
        onnx.save(model, path)
        yield Job("resnet18", path, inputs, BIG)
    if wanted("efficientnet-lite0"):
        pixels = png(ASSETS / "photographs" / "chelsea.png")[38:262, 100:324].astype(np.float32)
        image = ((pixels - 127) / 128).transpose(2, 0, 1)
        inputs = {"image": np.stack([image, image[:, :, ::-1]])}
        yield Job("efficientnet-lite0", ASSETS / "efficientnet-lite0.onnx", inputs, BIG)
    for name, methods in GOLDENS.items():
        if wanted(name):
            network = ".".join(name.split(".")[: 2 if name.startswith("lrp.") else 1])
            arrays = np.load(HERE / f"{network}.npz")
            inputs = {"input": arrays["input"].astype(np.float32)}
            # Maps that cut negative parts off are asked for a class known to leave some.
            targets = {"grad-cam": (slice(0, 1), int(arrays["target"][0]))} | map_targets(network)
            yield Job(name, HERE / f"{name}.onnx", inputs, methods, targets)


# ---------------------------------------------------------------- running


def call(pellucid, *arguments):
    """Runs the command line; fails with what it says."""
    command = [str(pellucid), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"`{' '.join(command)}` exits {done.returncode}: {done.stderr.strip()}")


def run(pellucid, job, method, folder):
    """Compiles, explains and checks one method of one model."""
    folder.mkdir(parents=True, exist_ok=True)
    selected, target = job.targets.get(method.split(":")[0], (slice(None), None))
    inputs = {name: np.ascontiguousarray(array[selected]) for name, array in job.inputs.items()}
    np.savez(folder / "input.npz", **inputs)
    settings = ["--method", method.split(":")[0], *METHODS[method]]
    call(pellucid, "compile", job.model, "-o", folder / "compiled.onnx", *settings)
    aimed = ["--target", target] if target is not None else []
    files = {"input.npz": "explained.npz"}
    if (folder / "compiled.onnx").stat().st_size > SMALL:
        generator = np.random.default_rng(3)
        for number in range(2):
            np.savez(folder / f"moved{number}.npz", **nudged(inputs, generator))
            files[f"moved{number}.npz"] = f"again{number}.npz"
    for given, written in files.items():
        call(pellucid, "explain", job.model, folder / given, "-o", folder / written, *settings, *aimed)
    return check_folder(folder)


def check_folder(folder):
    """Checks what a folder holds: compiled.onnx, input.npz, explained.npz; again*.npz of inputs moved by a bit."""
    inputs, explained = (dict(np.load(folder / name)) for name in ("input.npz", "explained.npz"))
    again = [dict(np.load(file)) for file in sorted(folder.glob("again*.npz"))]
    return check(folder / "compiled.onnx", inputs, explained, again)


def report(name, action):
    """Prints how `action` went; whether it went well."""
    start = time.monotonic()
    try:
        print(f"ok      {name}: {action()} ({time.monotonic() - start:.1f} s)", flush=True)
        return True
    except Failed as failure:
        print(f"FAILED  {name}: {failure}", flush=True)
    except Exception as error:
        print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="a work folder to check as it is")
    parser.add_argument("--pellucid", type=Path, help="the command line to compile and explain with")
    parser.add_argument("--only", action="append", default=[], help="models whose name begins so; may repeat")
    parser.add_argument("--work", type=Path, help="keep the files here")
    arguments = parser.parse_args()
    checks_can_fail()
    results = []
    if arguments.folder:
        for file in sorted(arguments.folder.glob("**/compiled.onnx")):
            folder = file.parent
            results.append(report(folder.relative_to(arguments.folder), lambda: check_folder(folder)))
    elif arguments.pellucid:
        with tempfile.TemporaryDirectory() as temporary:
            work = arguments.work or Path(temporary)
            work.mkdir(parents=True, exist_ok=True)
            for job in jobs(work, arguments.only):
                for method in job.methods:
                    folder = work / job.name / method
                    results.append(report(f"{job.name} {method}", lambda: run(arguments.pellucid, job, method, folder)))
    else:
        parser.error("give a folder, or --pellucid PATH")
    if not results:
        sys.exit("nothing to check")
    print(f"{sum(results)} of {len(results)} hold")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
