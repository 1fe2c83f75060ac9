"""Writes what the race runs on: both networks as ONNX files, and eight inputs for each.

    python prepare.py FOLDER

`NAME.onnx` takes `input` or `image` [batch, 3, 224, 224] and returns `logits` [batch, 1000]; `NAME.npy` holds the
inputs; `resnet50.pt` the parameters that heatmap.py loads.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

import networks

# What `pellucid explain` does to a photograph, as networks.prepared does.
PREPROCESSING = {
    "input": {
        "layout": "NCHW",
        "color": "RGB",
        "resize": {"shorter_side": networks.SIDE, "interpolation": "bicubic", "antialias": True},
        "crop": [networks.SIDE, networks.SIDE],
        "range": [0, 255],
        "mean": networks.SCALING["resnet50"][0].tolist(),
        "scale": (1 / networks.SCALING["resnet50"][1]).tolist(),
    }
}


def resnet50(network):
    """The network as an ONNX file."""
    model = torch.onnx.export(
        network,
        (torch.zeros(2, 3, networks.SIDE, networks.SIDE),),
        dynamo=True,
        opset_version=18,
        input_names=["input"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    ).model_proto
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, {"pellucid.preprocessing": json.dumps(PREPROCESSING)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def efficientnet_lite0():
    """The embedded network with its kernels in float32."""
    converter = networks.assets_converter()
    return converter.rewritten(converter.export(), np.float32)


def main():
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    network = networks.resnet50()
    torch.save(network.state_dict(), folder / "resnet50.pt")
    for name, data in {"resnet50": resnet50(network), "efficientnet-lite0": efficientnet_lite0()}.items():
        (folder / f"{name}.onnx").write_bytes(data)
        np.save(folder / f"{name}.npy", networks.inputs(name))


if __name__ == "__main__":
    main()
