"""Time of a training step and peak memory in PyTorch, of the networks of `pellucid new`.

    python training.py mlp 2 50
    cargo run --release -p pellucid-train --example step_time -- mlp 2 50

Arguments: `mlp`, `resnet-small` or `mobilenet-v2`, threads, steps, `first` or `last`, the order of axes, and `json` for a line that
`training_race.py` reads.
"""

import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
import torchvision
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.down = None
        if stride > 1 or inputs != outputs:
            self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.down is None else self.down(x)))


class Pool(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def main():
    defaults = ["mlp", "2", "30", "first", "text"]
    family, threads, steps, order, form = (sys.argv[1:] + defaults[len(sys.argv) - 1 :])[:5]
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    if family == "mlp":
        net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
        optimizer, shape = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0), (128, 784)
    elif family == "mobilenet-v2":
        net = torchvision.models.mobilenet_v2(num_classes=10, dropout=0.0)
        optimizer, shape = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9), (32, 3, 48, 48)
    else:
        stem = [nn.Conv2d(1, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
        blocks = [Block(32, 32, 1), Block(32, 64, 2), Block(64, 128, 2)]
        net = nn.Sequential(*stem, *blocks, Pool(), nn.Linear(128, 10))
        optimizer, shape = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9), (128, 1, 28, 28)
    x, t = torch.randn(shape), torch.arange(shape[0]) % 10
    if order == "last":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    times = []
    for at in range(int(steps) + 3):
        if at == 3:
            processor = time.process_time()
        began = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(net(x), t).backward()
        optimizer.step()
        times.append((time.perf_counter() - began) * 1e3)
    processor = (time.process_time() - processor) * 1e3 / int(steps)
    times = sorted(times[3:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if form == "json":
        row = {"ms": times[len(times) // 2], "least_ms": times[0], "processor_ms": processor, "peak_kb": peak}
        print(json.dumps(row))
        return
    print(
        f"torch {torch.__version__.split('+')[0]} {family} {order} on {threads} threads: median {times[len(times) // 2]:.2f}"
        f" ms, least {times[0]:.2f} ms, of the processor {processor:.2f} ms a step of {shape[0]};"
        f" peak {peak} kB"
    )


if __name__ == "__main__":
    main()
