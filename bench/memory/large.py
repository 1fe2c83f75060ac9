"""Writes regnet_y_128gf (645 M parameters, 2.6 GB) with its weights in files beside the model.

    python large.py FOLDER [torchscript|dynamo …]

`FOLDER/EXPORTER/model.onnx` takes `input` [1, 3, 224, 224]; `FOLDER/input.npy` is one row for it. Every parameter is
drawn from a seed, as the zoo's are (goldens/zoo/networks.py): needs what goldens/zoo/requirements.txt lists, and
about 9 GB of memory.
"""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import onnx
import torch

sys.path.append(str(Path(__file__).parents[2] / "goldens" / "zoo"))

import networks

NAME = "regnet_y_128gf"
SIZE = 224
# Rows that the statistics are those of.
networks.ROWS = 2


def export(network, x, folder, exporter):
    """Weights go to files beside the model, as they must above protobuf's 2 GiB."""
    folder.mkdir(parents=True, exist_ok=True)
    names = dict(input_names=["input"], output_names=["output"], opset_version=18, verbose=False)
    with contextlib.redirect_stdout(io.StringIO()):
        if exporter == "torchscript":
            # One file a weight.
            torch.onnx.export(network, (x,), str(folder / "model.onnx"), dynamo=False, **names)
        else:
            torch.onnx.export(network, (x,), str(folder / "model.onnx"), dynamo=True, external_data=True, **names)


def main():
    folder, *exporters = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    network = networks.Spec(NAME, size=SIZE).build()
    networks.randomise(network, NAME, SIZE)
    network.requires_grad_(False)
    x = networks.images(1, SIZE, NAME)
    np.save(folder / "input.npy", x.numpy())
    for exporter in exporters or ["torchscript", "dynamo"]:
        export(network, x, folder / exporter, exporter)
        model = onnx.load(folder / exporter / "model.onnx", load_external_data=False)
        parameters = sum(np.prod(weight.dims, dtype=np.int64) for weight in model.graph.initializer)
        print(f"{NAME}, {exporter}: {parameters / 1e6:.1f} M parameters, {len(model.graph.node)} nodes", flush=True)


if __name__ == "__main__":
    main()
