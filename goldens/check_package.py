"""Packages models with the command line and feeds them raw bytes, decoded in Python, in Python's onnxruntime.

    python check_package.py --pellucid ../target/release/pellucid

What the packaged file says of a picture must be what `pellucid predict` says of the same file: within 3e-3 of a row's
largest number, since sums of a resize that lie on a half may be rounded to the next byte (how many are, is printed by
`pellucid package`). Small networks made here cover every way in which a picture is prepared; the embedded
EfficientNet-Lite0 is asked about the embedded photographs, with Grad-CAM, and its attribution is held against `pellucid
explain`. The files hold `ai.onnx` operators only and pass `onnx.checker`; the Python example that is written beside a file
is run. A picture whose colours are swapped must fail. Needs numpy, onnx, onnxruntime and pillow.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parent / "crates" / "assets"
TOLERANCE = 3e-3  # of a row's largest number: where one byte in a hundred is rounded otherwise, outputs move by 1e-3
# A class activation map of a network of many rectifiers.
ATTRIBUTION = 2e-2
PREPARATIONS = {
    "nothing": {"color": "RGB", "range": [0, 1]},
    "gray": {"color": "gray", "range": [0, 1], "mean": [0.3], "std": [0.4]},
    "nearest": {"resize": {"size": [20, 31], "interpolation": "nearest", "antialias": False}, "mean": 127.0},
    "bilinear": {"resize": {"size": [23, 19], "interpolation": "bilinear", "antialias": False}, "scale": 0.01},
    "bicubic": {"color": "BGR", "resize": {"size": [40, 50], "interpolation": "bicubic", "antialias": False}},
    "shorter": {
        "resize": {"shorter_side": 33, "interpolation": "bilinear", "antialias": True},
        "crop": [28, 31],
        "range": [0, 1],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    "last": {
        "layout": "NHWC",
        "color": "gray",
        "resize": {"shorter_side": 24, "interpolation": "bicubic", "antialias": True},
        "crop": [24, 24],
    },
    "crop": {"color": "BGR", "crop": [15, 16], "range": [-1, 1]},
}
FIXED = {"nothing": (30, 26), "gray": (30, 26)}  # height and width where nothing makes them


def network(folder, name, how):
    """A convolution, a rectifier, a mean over places and a matrix, with the preparation as metadata."""
    random = np.random.default_rng(sum(map(ord, name)))
    channels = 1 if how.get("color") == "gray" else 3
    resize = how.get("resize", {})
    size = how.get("crop") or resize.get("size") or FIXED[name]
    shape = ["n", channels, *size]
    nodes, entry = [], "pixels"
    if how.get("layout") == "NHWC":
        shape = ["n", *size, channels]
        nodes.append(helper.make_node("Transpose", ["pixels"], ["first"], perm=[0, 3, 1, 2]))
        entry = "first"
    # Such that colours matter more than the bias, whether bytes are scaled or not.
    scale = 1.0 if {"range", "std", "scale"} & set(how) else 0.01
    weights = {
        "kernel": scale * random.normal(size=(8, channels, 3, 3)),
        "bias": random.normal(size=8),
        "matrix": random.normal(size=(8, 5)),
    }
    nodes += [
        helper.make_node("Conv", [entry, "kernel", "bias"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["rectified"]),
        helper.make_node("GlobalAveragePool", ["rectified"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(
        model,
        {
            "pellucid.preprocessing": json.dumps({"pixels": how}),
            "pellucid.labels": json.dumps(["ant", "bee", "cat", "dog", "eel"]),
        },
    )
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def pictures(folder, name):
    """Smooth and rough pictures of odd sizes, as PNG files."""
    random = np.random.default_rng(3)
    sizes = [FIXED[name]] if name in FIXED else [(61, 47), (34, 90), (200, 151), (24, 33)]
    for at, (height, width) in enumerate(sizes):
        rough = random.integers(0, 256, (height, width, 3))
        y, x = np.mgrid[:height, :width]
        smooth = 127 + 120 * np.sin(np.stack([y / 7, x / 9, (x + y) / 11], axis=2))
        picture = rough if at % 2 else smooth
        path = folder / f"{name}-{at}.png"
        Image.fromarray(picture.astype(np.uint8)).save(path)
        yield path


def call(pellucid, *arguments):
    finished = subprocess.run([pellucid, *map(str, arguments)], capture_output=True, text=True)
    if finished.returncode:
        sys.exit(f"pellucid {' '.join(map(str, arguments))}: {finished.stderr}")
    return finished.stdout


def session_of(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert all(opset.domain in ("", "ai.onnx") for opset in model.opset_import), "an operator is not ONNX's own"
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def outputs_of(session, picture):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": np.ascontiguousarray(picture[None])})))


def far(found, wanted):
    return float(abs(found - wanted).max() / max(abs(wanted).max(), 1e-30))


def check(pellucid, work, model, paths, logits, explain=None):
    packaged = work / f"{model.stem}.packaged.onnx"
    more = ["--explain", explain] if explain else []
    told = json.loads(call(pellucid, "package", model, *paths, "-o", packaged, "--json", *more, "--examples", work / model.stem))
    session = session_of(packaged)
    worst, worst_attribution = 0.0, 0.0
    for path in paths:
        call(pellucid, "predict", model, path, "-o", work / "predicted.npz")
        wanted = np.load(work / "predicted.npz")[logits].reshape(-1)
        picture = np.asarray(Image.open(path).convert("RGB"))
        found = outputs_of(session, picture)
        worst = max(worst, far(found[logits].reshape(-1), wanted))
        exponentials = np.exp(wanted.astype(np.float64) - wanted.max())
        probabilities = exponentials / exponentials.sum()
        if far(found["probabilities"][0], probabilities) > 5 * TOLERANCE or found["class"][0] != wanted.argmax():
            sys.exit(f"{model.stem}, {path.name}: probabilities or class are not those of the logits")
        if abs(found["probability"][0] - found["probabilities"].max()) > 1e-7:
            sys.exit(f"{model.stem}, {path.name}: the best class has another probability")
        if explain:
            call(pellucid, "explain", model, path, "--method", explain, "-o", work / "explained.npz")
            wanted = np.load(work / "explained.npz")["attribution"]
            worst_attribution = max(worst_attribution, far(found["attribution"], wanted))
    if worst > TOLERANCE or worst_attribution > ATTRIBUTION:
        sys.exit(f"{model.stem}: {worst:.1e}, attribution {worst_attribution:.1e} from the model on its own preparation")
    # A checker that cannot fail checks nothing.
    if model.stem not in ("gray", "last"):
        swapped = outputs_of(session, picture[..., ::-1])[logits].reshape(-1)
        if far(swapped, np.load(work / "predicted.npz")[logits].reshape(-1)) < TOLERANCE:
            sys.exit(f"{model.stem}: swapped colours go unnoticed")
    off = max((entry["off"] for entry in told["checks"]), default=0)
    more = f", attribution {worst_attribution:.1e}" if explain else ""
    print(f"{model.stem:20} {len(paths)} pictures  within {worst:.1e}{more}  {100 * off:.4f} % of bytes rounded otherwise")
    return packaged


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pellucid", required=True)
    pellucid = str(Path(parser.parse_args().pellucid).resolve())
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, how in PREPARATIONS.items():
            (work / name).mkdir()
            check(pellucid, work, network(work, name, how), list(pictures(work, name)), "logits")
        photographs = sorted((ASSETS / "photographs").glob("*.png"))
        embedded = ASSETS / "efficientnet-lite0.onnx"
        logits = onnx.load(embedded, load_external_data=False).graph.output[0].name
        check(pellucid, work, embedded, photographs, logits, "grad-cam")
        example = subprocess.run(
            [sys.executable, work / embedded.stem / "classify.py", photographs[0]],
            capture_output=True,
            text=True,
            cwd=work,
        )
        if example.returncode or len(example.stdout.splitlines()) < 6:
            sys.exit(f"the Python example does not run: {example.stderr}")
        print(example.stdout.splitlines()[0].strip(), "by the Python example")


if __name__ == "__main__":
    main()
