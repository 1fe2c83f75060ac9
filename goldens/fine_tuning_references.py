"""Fine-tuning as PyTorch does it: ResNet-50 with a new last layer on Fashion-MNIST, step by step.

    python fine_tuning_references.py --pellucid ../target/release/pellucid --data FOLDER WORK    # minutes

`FOLDER` holds Fashion-MNIST as IDX files. Every parameter and statistic of torchvision's ResNet-50 is drawn anew, so that
logits are of order one (`zoo/networks.py` says how), and saved by PyTorch. From there both programs go the same way, on 28 × 28
gray bytes that become 3 × 64 × 64:

1. `pellucid new resnet50 --weights`, and `train --head 10` with everything frozen but that layer, statistics too;
2. `train` of what came out, nothing frozen, statistics of the batch, on other rows.

The last layer's numbers, which Pellucid draws, are read from the run's `start.onnx`; everything else PyTorch has from its own
state dictionary. Rows are in the order of the file (`data.shuffle = false`). The pictures are made here by the documented
filter, written out, and held against Pillow's.

Held is the loss of every step (`steps.csv`) against PyTorch's float64: no further from it than twice PyTorch's own float32 has
been up to that step. Its error is the mean over a batch's rows of how far each row's loss is off, since errors of rows cancel
in the batch's loss by luck (on one network by 0.2 to 1 times that mean), and the largest of four orders of the rows.
`--sabotage` swaps two channels of one weight for Pellucid; the comparison must fail then.
"""

import argparse
import copy
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
import torchvision
from onnx import numpy_helper
from PIL import Image

import fashion_mnist

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "zoo"))
from networks import calibrate_statistics, randomise  # noqa: E402
from weights_references import sabotaged  # noqa: E402

SIDE, BATCH, BATCHES, EPOCHS, ORDERS = 64, 16, 5, 2, 4
STEPS = BATCHES * EPOCHS
MOMENTUM, DECAY = 0.9, 1e-4
RATES = {"frozen": 1e-3, "unfrozen": 5e-4}

SETTINGS = """epochs = {epochs}
batch = {batch}
statistics = "{statistics}"
[data]
validation = 0.0
shuffle = false
[optimizer]
name = "sgd"
momentum = {momentum}
nesterov = false
learning_rate = {rate}
weight_decay = {decay}
[schedule]
shape = "constant"
{layers}"""

FROZEN = """[[layers]]
name = "*"
frozen = true
[[layers]]
name = "fc"
frozen = false
"""


def taps(old, new):
    """For each target place the first source place and its weights: a triangle that grows with the factor of reduction."""
    ratio = old / new
    scale = max(ratio, 1.0)
    for target in range(new):
        center = (target + 0.5) * ratio
        first, end = int(max(center - scale + 0.5, 0.0)), min(int(center + scale + 0.5), old)
        weights = np.maximum(1.0 - np.abs((np.arange(first, end) + 0.5 - center) / scale), 0.0)
        yield first, (weights / weights.sum()).astype(np.float32)


def along(pictures, new):
    """Pictures [n, h, w] of bytes whose last axis becomes `new` places; sums in float32, rounded to bytes."""
    made = []
    for first, weights in taps(pictures.shape[2], new):
        total = np.zeros(pictures.shape[:2], np.float32)
        for step, weight in enumerate(weights):
            total = total + weight * pictures[:, :, first + step].astype(np.float32)
        made.append(np.clip(total + np.float32(0.5), 0, 255).astype(np.uint8))
    return np.stack(made, 2)


def resized(pictures):
    wide = along(pictures, SIDE)
    made = along(wide.transpose(0, 2, 1), SIDE).transpose(0, 2, 1)
    pillow = np.stack([np.asarray(Image.fromarray(p).resize((SIDE, SIDE), Image.BILINEAR)) for p in pictures])
    off = np.abs(made.astype(int) - pillow).max()
    if off > 1:
        sys.exit(f"pictures are {off} levels from Pillow's")
    return made


def prepared(pictures, image):
    """The network's input, [n, 3, side, side] in float32, of gray bytes; `image` is what the model says of pictures."""
    low, high = image["range"]
    channels = []
    for channel in range(3):
        of = lambda key: float(np.float32(image[key][channel if len(image[key]) > 1 else 0]))
        pixel = low + (high - low) * np.arange(256) / 255.0
        channels.append(((pixel - of("mean")) * (1.0 / of("std"))).astype(np.float32)[resized(pictures)])
    return torch.from_numpy(np.stack(channels, 1))


def described(path):
    """What a model file says of its pictures, and its constants."""
    model = onnx.load(path)
    said = {entry.key: entry.value for entry in model.metadata_props}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return json.loads(said["pellucid.preprocessing"])["input"], constants


def steps_of(folder):
    with open(folder / "steps.csv") as file:
        return [float(line["loss"]) for line in csv.DictReader(file)]


def trained(net, stage, x, targets, dtype, generator):
    """Steps of PyTorch: the loss of each row, [steps, rows], and the network behind them. Rows are fed in an order drawn by
    `generator`."""
    net = copy.deepcopy(net).to(dtype)
    net.train(stage == "unfrozen")
    groups = []
    for name, value in net.named_parameters():
        if stage == "frozen" and not name.startswith("fc."):
            value.requires_grad_(False)
            continue
        value.requires_grad_(True)
        groups.append({"params": [value], "weight_decay": DECAY if value.dim() > 1 else 0.0})
    optimizer = torch.optim.SGD(groups, lr=RATES[stage], momentum=MOMENTUM)
    losses = []
    for step in range(STEPS):
        order = torch.arange(BATCH) if generator is None else torch.randperm(BATCH, generator=generator)
        rows = order + step % BATCHES * BATCH
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x[rows].to(dtype)), targets[rows], reduction="none")
        loss.mean().backward()
        optimizer.step()
        losses.append(loss.detach().double()[order.argsort()].numpy())
    return np.stack(losses), net


def held(stage, ours, exact, rounded):
    """Prints a line a step; whether every loss of ours is near enough. `exact` and `rounded` hold the losses of rows."""
    own = np.maximum.accumulate(np.max([np.abs(losses - exact).mean(1) for losses in rounded], 0))
    batches = np.max([np.abs(losses.mean(1) - exact.mean(1)) for losses in rounded], 0)
    error = np.abs(np.array(ours) - exact.mean(1))
    print(f"| {stage}: step | loss, float64 | error of Pellucid | of PyTorch's float32 | its rows', so far |")
    print("|---|---|---|---|---|")
    for step in range(STEPS):
        told = "" if error[step] <= 2 * own[step] else " too far"
        print(f"| {step + 1} | {exact[step].mean():.6f} | {error[step]:.1e}{told} | {batches[step]:.1e} | {own[step]:.1e} |")
    return bool((error <= 2 * own).all())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pellucid", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sabotage", action="store_true")
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    work, pellucid = arguments.work, arguments.pellucid.resolve()
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    pictures, classes = fashion_mnist.part("train", arguments.data)
    chosen = np.random.default_rng(7).permutation(len(pictures))[: 2 * BATCHES * BATCH].reshape(2, -1)

    network = randomise(torchvision.models.resnet50(weights=None).eval(), "fine-tuning-resnet50", SIDE)
    with torch.no_grad():
        # As in trained networks the branches of blocks are small beside what passes them: else derivatives grow from block to
        # block, and after a step two float32 programs are two different networks.
        for name, value in network.named_parameters():
            if name.endswith("bn3.weight"):
                value *= 0.25
        first = resized(pictures[chosen[0]]) / np.float32(255)
        gray = torch.from_numpy((first - first.mean()) / first.std()).float()
        calibrate_statistics(network, "fine-tuning-resnet50", gray[:, None].expand(-1, 3, -1, -1))
    state = network.state_dict()
    torch.save(sabotaged(state) if arguments.sabotage else state, work / "resnet50.pth")
    run = lambda *words: subprocess.run([pellucid, *words], check=True, stdout=subprocess.DEVNULL)
    run("new", "resnet50", "--input", f"3x{SIDE}x{SIDE}", "--weights", work / "resnet50.pth", "-o", work / "net.onnx")

    model, extra, fine, exact, narrow = work / "net.onnx", ["--head", "10"], True, None, None
    for stage, rows in zip(RATES, chosen):
        np.savez(work / f"{stage}.npz", x=pictures[rows], y=classes[rows].astype(np.int64))
        frozen = stage == "frozen"
        settings = work / f"{stage}.toml"
        settings.write_text(
            SETTINGS.format(
                epochs=EPOCHS, batch=BATCH, statistics="frozen" if frozen else "batch", momentum=MOMENTUM, rate=RATES[stage],
                decay=DECAY, layers=FROZEN if frozen else "",
            )
        )
        folder = work / stage
        for file in folder.glob("*"):
            file.unlink()
        run("train", model, "--settings", settings, "--data", work / f"{stage}.npz", *extra, "-o", folder)
        image, constants = described(folder / "start.onnx")
        if frozen:
            network.fc = torch.nn.Linear(2048, 10)
            with torch.no_grad():
                network.fc.weight.copy_(torch.from_numpy(constants["fc.weight"].copy()))
                network.fc.bias.copy_(torch.from_numpy(constants["fc.bias"].copy()))
            exact, narrow = network, [network] * ORDERS
        x, targets = prepared(pictures[rows], image), torch.from_numpy(classes[rows].astype(np.int64))
        losses, exact = trained(exact, stage, x, targets, torch.float64, None)
        orders = [None, *(torch.Generator().manual_seed(order) for order in range(1, ORDERS))]
        done = [trained(net, stage, x, targets, torch.float32, order) for net, order in zip(narrow, orders)]
        narrow = [net for _, net in done]
        fine &= held(stage, steps_of(folder), losses, [losses for losses, _ in done])
        model, extra = folder / "model.onnx", []
    if not fine:
        sys.exit("a loss is further from PyTorch's float64 than twice PyTorch's float32")


if __name__ == "__main__":
    main()
