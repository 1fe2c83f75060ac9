"""Ten steps of training by PyTorch in float64, and how far its own float32 is from them.

    pip install -r ../requirements.txt
    python references.py

It writes `index.json`, and `NAME.npz` and `NAME.onnx` for each network, exported in float64 before the first step and
unfolded. Every parameter and every running statistic is random.

A case is a network, a loss, an optimizer and what else is said of the step. It holds the loss of each step, the state
after the last one, and for every tensor the largest error of PyTorch's float32. Float32 runs of the same batches in
other orders of rows differ by rounding alone, so that error is the largest of sixteen orders.

`schedules` in `index.json` holds the learning rates of PyTorch's schedulers, step by step.
"""

import copy
import io
import json
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler as schedulers

HERE = Path(__file__).resolve().parent
STEPS, ROWS, BATCHES, ORDERS = 10, 8, 3, 16


class Mlp(nn.Module):
    def __init__(self, outputs=4):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 10), nn.Linear(10, 7), nn.Linear(7, outputs)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.relu(self.first(x)))))


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.conv2, self.bn2 = nn.Conv2d(5, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6, eps=1e-3, momentum=0.3)
        self.head = nn.Linear(6 * 4, 4)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        return self.head(torch.relu(self.bn2(self.conv2(x))).flatten(1))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.down = None
        if stride > 1:
            self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.down is None else self.down(x)))


class Resnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.layer1, self.layer2 = Block(4, 4, 1), Block(4, 6, 2)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.layer2(self.layer1(torch.relu(self.bn(self.stem(x)))))
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    """A transformer's block over 5 places, pre-normalised, two heads."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.embed, self.place = nn.Linear(6, width), nn.Parameter(torch.zeros(5, width))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 12), nn.Linear(12, width)
        self.head, self.heads = nn.Linear(width, 4), heads

    def forward(self, x):
        x = self.embed(x) + self.place
        y = self.norm1(x)
        split = lambda t: t.reshape(-1, 5, self.heads, 4).transpose(1, 2)
        q, k, v = split(self.query(y)), split(self.key(y)), split(self.value(y))
        weights = torch.softmax(q @ k.transpose(2, 3) * 0.5, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(-1, 5, 8))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(self.norm3(x).mean(1))


NETWORKS = {
    "mlp": (Mlp, (6,), 11),
    "cnn": (Cnn, (2, 8, 8), 12),
    "resnet": (Resnet, (2, 6, 6), 13),
    "attention": (Attention, (5, 6), 14),
}

SGD = {"kind": "sgd", "momentum": 0.9, "nesterov": False}
PLAIN = {"kind": "sgd", "momentum": 0.0, "nesterov": False}
NESTEROV = {"kind": "sgd", "momentum": 0.9, "nesterov": True}
ADAM = {"kind": "adamw", "betas": [0.9, 0.999], "eps": 1e-8}
CE = {"kind": "cross-entropy", "smoothing": 0.0}

# name: network, loss, optimizer, learning rate, what else is said
CASES = {
    "mlp.plain": ("mlp", CE, PLAIN, 0.1, {}),
    "mlp.sgd": ("mlp", CE, SGD, 0.05, {}),
    "mlp.adamw": ("mlp", CE, ADAM, 0.01, {"decay": 0.1}),
    "mlp.smoothing": ("mlp", {"kind": "cross-entropy", "smoothing": 0.1}, SGD, 0.05, {}),
    "mlp.class-weights": ("mlp", {**CE, "weights": [0.5, 2.0, 1.0, 3.0], "smoothing": 0.2}, SGD, 0.05, {}),
    "mlp.soft": ("mlp", {**CE, "soft": True}, SGD, 0.05, {}),
    "mlp.soft-weights": ("mlp", {**CE, "soft": True, "smoothing": 0.1, "weights": [0.5, 2.0, 1.0, 3.0]}, SGD, 0.05, {}),
    "mlp.binary": ("mlp", {"kind": "binary-cross-entropy"}, NESTEROV, 0.1, {}),
    "mlp.binary-weights": ("mlp", {"kind": "binary-cross-entropy", "weights": [0.5, 2.0, 1.0, 3.0]}, SGD, 0.1, {}),
    "mlp.mse": ("mlp", {"kind": "mse"}, SGD, 0.02, {}),
    "mlp.huber": ("mlp", {"kind": "huber", "delta": 0.7}, ADAM, 0.02, {}),
    "mlp.clip": ("mlp", CE, SGD, 0.05, {"clip": 0.3, "decay": 0.01}),
    "mlp.layers": ("mlp", CE, SGD, 0.05, {"factors": {"second": 0.1}, "frozen": ["first"]}),
    "mlp.average": ("mlp", CE, SGD, 0.05, {"average": 0.8}),
    "cnn.sgd": ("cnn", CE, SGD, 0.02, {}),
    "cnn.adamw": ("cnn", CE, ADAM, 0.005, {"decay": 0.05}),
    "cnn.frozen-statistics": ("cnn", CE, SGD, 0.01, {"frozen_statistics": True}),
    "cnn.average": ("cnn", CE, NESTEROV, 0.01, {"average": 0.9, "clip": 1.0}),
    "resnet.sgd": ("resnet", CE, NESTEROV, 0.02, {"decay": 5e-4}),
    "resnet.adamw": ("resnet", CE, ADAM, 0.005, {"decay": 0.05}),
    "attention.sgd": ("attention", CE, SGD, 0.05, {"decay": 1e-3}),
    "attention.adamw": ("attention", CE, ADAM, 0.005, {"decay": 0.05, "clip": 1.0}),
}


def randomised(build, seed):
    """A network whose every parameter and statistic is random, rounded to float32 so that both widths begin alike."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda like, low, high: (torch.rand(like.shape, generator=generator) * (high - low) + low).float()
    net = build()
    with torch.no_grad():
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if value.dtype == torch.int64:
                continue
            if "running_var" in name or ("norm" in name or "bn" in name or "down.1" in name) and "weight" in name:
                value.copy_(draw(value, 0.5, 1.5))
            else:
                limit = 0.3 if value.dim() < 2 else 1.2 / np.sqrt(value[0].numel())
                value.copy_(draw(value, -limit, limit))
    return net


def batches(shape, loss, seed):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(BATCHES):
        x = torch.randn((ROWS, *shape), generator=generator)
        if loss["kind"] == "cross-entropy" and not loss.get("soft"):
            t = torch.randint(0, 4, (ROWS,), generator=generator)
        elif loss["kind"] == "cross-entropy":
            t = torch.softmax(2 * torch.randn((ROWS, 4), generator=generator), 1)
        elif loss["kind"] == "binary-cross-entropy":
            t = torch.randint(0, 2, (ROWS, 4), generator=generator).float()
        else:
            t = torch.randn((ROWS, 4), generator=generator)
        made.append((x, t))
    return made


def measured(loss, y, t):
    if loss["kind"] == "cross-entropy":
        weights = torch.tensor(loss["weights"], dtype=y.dtype) if "weights" in loss else None
        return F.cross_entropy(y, t, weight=weights, label_smoothing=loss["smoothing"])
    if loss["kind"] == "binary-cross-entropy":
        weights = torch.tensor(loss["weights"], dtype=y.dtype) if "weights" in loss else None
        return F.binary_cross_entropy_with_logits(y, t, pos_weight=weights)
    return F.mse_loss(y, t) if loss["kind"] == "mse" else F.huber_loss(y, t, delta=loss["delta"])


def decays(net, name):
    """Weights that inputs are multiplied by; no biases, no normalisations, no positions that are added."""
    return name.endswith(".weight") and dict(net.named_parameters())[name].dim() > 1


def trained(net, case, data, dtype, order):
    _, loss, optimizer, rate, said = case
    net = copy.deepcopy(net).to(dtype).train()
    if said.get("frozen_statistics"):
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    groups, followed = [], []
    for name, value in net.named_parameters():
        if any(name.startswith(frozen + ".") for frozen in said.get("frozen", [])):
            value.requires_grad_(False)
            continue
        factors = [factor for start, factor in said.get("factors", {}).items() if name.startswith(start + ".")]
        decay = said.get("decay", 0.0) if decays(net, name) else 0.0
        groups.append({"params": [value], "lr": rate * (factors or [1.0])[0], "weight_decay": decay})
        followed.append(value)
    if optimizer["kind"] == "sgd":
        made = torch.optim.SGD(groups, momentum=optimizer["momentum"], nesterov=optimizer["nesterov"])
    else:
        made = torch.optim.AdamW(groups, betas=optimizer["betas"], eps=optimizer["eps"])
    states = lambda: {k: v for k, v in net.state_dict().items() if v.dtype == dtype}
    average = {name: value.clone() for name, value in states().items()}
    losses = []
    for step in range(STEPS):
        x, t = data[step % BATCHES]
        x, t = x[order].to(dtype), t[order] if t.dtype == torch.int64 else t[order].to(dtype)
        made.zero_grad()
        value = measured(loss, net(x), t)
        value.backward()
        if "clip" in said:
            torch.nn.utils.clip_grad_norm_(followed, said["clip"])
        made.step()
        losses.append(value.item())
        if "average" in said:
            with torch.no_grad():
                for name, value in states().items():
                    average[name].mul_(said["average"]).add_(value, alpha=1 - said["average"])
    after = {name: value.detach().double().numpy() for name, value in states().items()}
    if "average" in said:
        after |= {f"average:{name}": value.detach().double().numpy() for name, value in average.items()}
    return losses, after


def exported(net, shape, path):
    net = copy.deepcopy(net).double().eval()
    out = io.BytesIO()
    torch.onnx.export(
        net, torch.zeros((ROWS, *shape), dtype=torch.float64), out, dynamo=False, opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, input_names=["input"],
        output_names=["output"], dynamic_axes={"input": {0: "n"}, "output": {0: "n"}},
    )
    model = onnx.load_from_string(out.getvalue())
    model.doc_string, model.graph.doc_string = "", ""
    path.write_bytes(model.SerializeToString())


def schedules():
    def rates(make, lr, steps=40):
        weight = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=lr)
        scheduler = make(optimizer)
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    def warmed(rest, warm, start):
        def make(optimizer):
            first = schedulers.LinearLR(optimizer, start_factor=start, total_iters=warm)
            return schedulers.SequentialLR(optimizer, [first, rest(optimizer)], [warm])

        return make

    constant = lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: 1.0)
    return {
        "constant": rates(constant, 0.1),
        "constant.warm": rates(warmed(constant, 5, 0.1), 0.1),
        "step": rates(lambda o: schedulers.StepLR(o, 7, 0.3), 0.1),
        "step.warm": rates(warmed(lambda o: schedulers.StepLR(o, 7, 0.3), 4, 0.01), 0.1),
        "cosine": rates(lambda o: schedulers.CosineAnnealingLR(o, 40, 0.002), 0.1),
        "cosine.warm": rates(warmed(lambda o: schedulers.CosineAnnealingLR(o, 36), 4, 0.25), 0.1),
        "one-cycle": rates(
            lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=41, pct_start=0.3, cycle_momentum=False), 0.1
        ),
        "one-cycle.other": rates(
            lambda o: schedulers.OneCycleLR(
                o, 0.2, total_steps=41, pct_start=0.2, div_factor=10, final_div_factor=100, cycle_momentum=False
            ),
            0.1,
        ),
    }


def main():
    torch.set_num_threads(1)
    index = {"torch": torch.__version__.split("+")[0], "steps": STEPS, "schedules": schedules(), "cases": {}}
    arrays = {name: {} for name in NETWORKS}
    nets = {}
    for name, (build, shape, seed) in NETWORKS.items():
        nets[name] = randomised(build, seed)
        exported(nets[name], shape, HERE / f"{name}.onnx")
    for name, case in CASES.items():
        network, loss, optimizer, rate, said = case
        data = batches(NETWORKS[network][1], loss, sum(name.encode()))
        orders = [torch.arange(ROWS)]
        generator = torch.Generator().manual_seed(5)
        orders += [torch.randperm(ROWS, generator=generator) for _ in range(ORDERS - 1)]
        losses, after = trained(nets[network], case, data, torch.float64, orders[0])
        assert losses[-1] < losses[0], (name, losses)
        errors = {tensor: 0.0 for tensor in after}
        for order in orders:
            _, rounded = trained(nets[network], case, data, torch.float32, order)
            for tensor, value in after.items():
                errors[tensor] = max(errors[tensor], float(np.abs(rounded[tensor] - value).max()))
        held = arrays[network]
        held[f"{name}/x"] = np.stack([x.numpy() for x, _ in data]).astype(np.float32)
        held[f"{name}/targets"] = np.stack([t.numpy() for _, t in data])
        moved = {k: v for k, v in after.items()}
        for tensor, value in moved.items():
            held[f"{name}/{tensor}"] = value
        index["cases"][name] = {
            "network": network, "loss": loss, "optimizer": optimizer, "learning_rate": rate, **said,
            "losses": losses, "float32_error": errors,
        }
        print(f"{name:24} {losses[0]:.3f} -> {losses[-1]:.3f}  float32 {max(errors.values()):.1e}")
    for name, held in arrays.items():
        np.savez_compressed(HERE / f"{name}.npz", **held)
    (HERE / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
