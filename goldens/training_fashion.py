"""A network trained on Fashion-MNIST by `pellucid train` and by PyTorch, on the same batches, from the same numbers.

    python training_fashion.py --pellucid ../target/release/pellucid --batches ../target/release/examples/batches
        [--data FOLDER] [--seeds 3] [--epochs 8] [--widths 32,64,128] [--threads 2] [--only pellucid|pytorch] WORK

For each seed `pellucid new resnet-small` draws a network; `train` and PyTorch start from its file and go the same way: SGD
with Nesterov's momentum, decay without biases and normalisations, one cycle of the learning rate, pictures mirrored by
chance and shifted by at most two places. `batches` (`cargo build --release -p pellucid-data --examples`) gives PyTorch the very
rows of each step, bit for bit. What one knows of a run is kept in WORK, so that an interrupted script goes on. Runs follow each
other, so that each has the machine's processors for itself; with `--only` one side's runs are made and nothing is written, so
that both sides can run at once with a thread each.

Writes docs/training_fashion.md, and fails where the means of the test accuracies differ by more than 0.3 points, or where
`train` is below 92.5 %.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

import fashion_mnist

ROOT = Path(__file__).resolve().parent.parent
BATCH, RATE, DECAY, MOMENTUM, SHIFT = 128, 0.1, 5e-4, 0.9, 2
ROWS, TEST, SIDE, CLASSES = 60_000, 10_000, 28, 10
SIDES = ("pellucid", "pytorch")


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Network(nn.Module):
    """`resnet-small`, its names too."""

    def __init__(self, widths):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        self.stages = len(widths)
        for stage, (inputs, outputs) in enumerate(zip([widths[0], *widths], widths)):
            self.add_module(f"layer{stage + 1}", nn.Sequential(Block(inputs, outputs, 1 if stage == 0 else 2)))
        self.fc = nn.Linear(widths[-1], CLASSES)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def start(path, widths):
    """The network with the numbers of a file; every name must be there."""
    state = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in onnx.load(path).graph.initializer}
    network = Network(widths)
    expected = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    state = {name: value for name, value in state.items() if name in expected}
    if set(state) != expected:
        sys.exit(f"{path}: {sorted(expected - set(state))} are not in it")
    network.load_state_dict(state, strict=False)
    return network


def read(pipe, rows):
    def numbers(count, kind):
        found = pipe.read(count * np.dtype(kind).itemsize)
        if len(found) < count * np.dtype(kind).itemsize:
            sys.exit("batches ended early")
        return torch.from_numpy(np.frombuffer(found, kind).copy())

    return numbers(rows * SIDE * SIDE, "<f4").view(rows, 1, SIDE, SIDE), numbers(rows, "<i8")


def by_pytorch(network, arguments, seed):
    """Test accuracy in percent."""
    words = [arguments.batches, arguments.data, arguments.epochs, BATCH, seed, SHIFT]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE)
    weights = [value for value in network.parameters() if value.dim() > 1]
    others = [value for value in network.parameters() if value.dim() <= 1]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM, nesterov=True)
    steps = arguments.epochs * (ROWS // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, cycle_momentum=False)
    network.train()
    for _ in range(steps):
        x, targets = read(process.stdout, BATCH)
        optimizer.zero_grad()
        F.cross_entropy(network(x), targets).backward()
        optimizer.step()
        schedule.step()
    network.eval()
    right = 0
    with torch.no_grad():
        for first in range(0, TEST, BATCH):
            x, targets = read(process.stdout, min(BATCH, TEST - first))
            right += int((network(x).argmax(1) == targets).sum())
    if process.stdout.read(1) or process.wait() != 0:
        sys.exit("batches are not those that were expected")
    return 100 * right / TEST


def by_pellucid(net, arguments, seed, folder):
    settings = {
        "seed": seed,
        "batch": BATCH,
        "data.validation": 0,
        "optimizer.name": "sgd",
        "optimizer.momentum": MOMENTUM,
        "optimizer.weight_decay": DECAY,
        "schedule.shape": "one-cycle",
        "augment.flip": "true",
        "augment.shift": SHIFT,
    }
    words = [arguments.pellucid, "train", net, "--data", arguments.data, "--epochs", arguments.epochs]
    words += ["--learning-rate", RATE, "--threads", arguments.threads, "-o", folder]
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
    words = [arguments.pellucid, "evaluate", folder / "model.onnx", "--data", arguments.data, "--json"]
    found = json.loads(subprocess.run([str(word) for word in words], check=True, capture_output=True).stdout)
    return 100 * accuracy(found)


def accuracy(found):
    """The test accuracy in what `evaluate --json` says."""
    [model] = found["reports"]
    return next(measure["value"] for measure in model["measures"] if measure["name"] == "accuracy")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pellucid", type=Path, required=True)
    parser.add_argument("--batches", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=fashion_mnist.FOLDER)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--widths", default="32,64,128")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=SIDES)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    widths = [int(width) for width in arguments.widths.split(",")]
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(arguments.seeds):
        row = {}
        net = arguments.work / f"net.{seed}.{arguments.widths}.onnx"
        size = ["--widths", arguments.widths, "--seed", str(seed)]
        if not net.exists():
            new = [arguments.pellucid, "new", "resnet-small", "--input", f"1x{SIDE}x{SIDE}", "--outputs", str(CLASSES), *size]
            subprocess.run([*new, "-o", net], check=True, stdout=subprocess.DEVNULL)
        for name in [arguments.only] if arguments.only else SIDES:
            record = arguments.work / f"{name}.{seed}.{arguments.epochs}.{arguments.widths}.json"
            if not record.exists():
                began = time.monotonic()
                if name == "pellucid":
                    found = by_pellucid(net, arguments, seed, arguments.work / record.stem)
                else:
                    found = by_pytorch(start(net, widths), arguments, seed)
                record.write_text(json.dumps({"accuracy": found, "minutes": (time.monotonic() - began) / 60}))
            row[name] = json.loads(record.read_text())
            print(seed, name, row[name], flush=True)
        rows.append(row)
    if not arguments.only:
        write(arguments, rows)


def write(arguments, rows):
    mean = {name: float(np.mean([row[name]["accuracy"] for row in rows])) for name in ("pellucid", "pytorch")}
    table = ["| seed | `train` | minutes | PyTorch | minutes |", "|--:|--:|--:|--:|--:|"]
    for seed, row in enumerate(rows):
        cells = [f"{row[name]['accuracy']:.2f} % | {row[name]['minutes']:.1f}" for name in ("pellucid", "pytorch")]
        table.append(f"| {seed} | {' | '.join(cells)} |")
    table.append(f"| mean | {mean['pellucid']:.2f} % | | {mean['pytorch']:.2f} % | |")
    text = f"""# The same training in PyTorch

Written by `goldens/training_fashion.py` (torch {torch.__version__}). `pellucid new resnet-small --input 1x28x28 --outputs 10
--widths {arguments.widths}`, {arguments.epochs} epochs of Fashion-MNIST's 60,000 pictures, accuracy on its 10,000 test pictures. Both start from the same
file and see the same rows at each step, bit for bit: batches of {BATCH}, mirrored by chance, shifted by at most {SHIFT} places. SGD, rate
{RATE}, one cycle, Nesterov's momentum {MOMENTUM}, decay {DECAY} of what is neither bias nor normalisation; {arguments.threads} threads.

{chr(10).join(table)}
"""
    (ROOT / "docs" / "training_fashion.md").write_text(text)
    print(text)
    apart = abs(mean["pellucid"] - mean["pytorch"])
    if apart > 0.3 or min(row["pellucid"]["accuracy"] for row in rows) < 92.5:
        sys.exit(f"{apart:.2f} points apart, or below 92.5 %")


if __name__ == "__main__":
    main()
