"""Networks to look into, trained on Fashion-MNIST: `fashion.onnx`, `tinted.onnx` and `fashion.npz`.

    pip install -r requirements.txt
    python inspect_fashion.py [FOLDER]        # some minutes on two cores
    python inspect_fashion.py FOLDER --damage  # also damaged copies and the whole test set, in FOLDER

Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf 2017, arXiv:1708.07747, MIT licence) is read from Debian's package
`dataset-fashion-mnist`. `fashion.onnx` takes the grey pictures; it has batch normalisation, rectifiers, max-pooling and
a tanh layer. `tinted.onnx` takes them in warm colours: the picture's red, less green, little blue, by amounts that
change from picture to picture. Both are written unfolded and describe their preprocessing and labels.

`fashion.npz` holds the first 256 test pictures, uint8 `[256, 28, 28]`, and their labels, so that a test needs no data set;
`fashion_row.npy` the first of them as the network takes it.

    python inspect_fashion.py FOLDER --measure PELLUCID

runs the command on the whole test set in FOLDER, on networks and inputs damaged on purpose, takes the time and the peak of
memory, and writes the tables in docs/inside.md.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

import exporting
import fashion_mnist

HERE = Path(__file__).resolve().parent
MEAN, STD = 0.286, 0.353


def tinted(pictures, first=0):
    """float32 [n, 3, 28, 28] between 0 and 1: red the picture, green and blue parts of it that change by picture."""
    number = np.arange(first, first + len(pictures))
    green = 0.3 + 0.5 * (number * 0.618034 % 1)
    blue = 0.25 * (number * 0.414214 % 1)
    grey = pictures.astype(np.float32) / 255
    parts = np.stack([np.ones_like(green), green, blue], 1).astype(np.float32)
    return grey[:, None] * parts[:, :, None, None]


def normalised(pictures):
    return ((pictures - MEAN) / STD).astype(np.float32)


def grey(pictures):
    return pictures.astype(np.float32)[:, None] / 255


def network(channels):
    return nn.Sequential(
        nn.Conv2d(channels, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 20, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 9, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


def trained(x, labels, epochs, seed):
    torch.manual_seed(seed)
    model = network(x.shape[1])
    # Decay keeps what the tanh layer is applied to small, so that it is not saturated.
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.3)
    batches = len(x) // 128
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * batches)
    for epoch in range(epochs):
        order = torch.randperm(len(x))
        total = 0.0
        for batch in order[: batches * 128].view(batches, 128):
            loss = F.cross_entropy(model(x[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / batches:.3f}", flush=True)
    return model.eval()


def accuracy(model, x, labels):
    with torch.no_grad():
        found = torch.cat([model(part).argmax(1) for part in x.split(1000)])
    return (found == labels).double().mean().item()


def written(model, channels, path):
    file = exporting.export(model, torch.zeros(2, channels, 28, 28), "torchscript", folded=False)
    image = {
        "layout": "NCHW",
        "color": "gray" if channels == 1 else "RGB",
        "resize": {"size": [28, 28], "interpolation": "bilinear"},
        "range": [0.0, 1.0],
        "mean": [MEAN] * channels,
        "std": [STD] * channels,
    }
    for key, value in (
        ("pellucid.preprocessing", {"input": image}),
        ("pellucid.labels", fashion_mnist.LABELS),
        ("pellucid.outputs", {"output": {"meaning": "logit"}}),
    ):
        file.metadata_props.add(key=key, value=json.dumps(value))
    onnx.save(file, path)


def damaged(path, weights):
    """A copy of a file with some of its weights changed: name to function."""
    file = onnx.load(path)
    for tensor in file.graph.initializer:
        if tensor.name in weights:
            array = numpy_helper.to_array(tensor).copy()
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name](array).astype(np.float32), tensor.name))
    return file


def same_filters(weight):
    weight[3], weight[7] = weight[0], weight[5]
    return weight


DAMAGES = {
    "dead": {"4.bias": lambda b: b - 60},
    "saturated": {"11.weight": lambda w: w * 60},
    "duplicates": {"4.weight": same_filters},
    "exploding": {"7.weight": lambda w: w * 1000},
}


def run(pellucid, folder, *arguments):
    """What the command says, the seconds that it took, and its peak of memory in MB, by GNU time: a child of this process
    would inherit the peak of this process."""
    with tempfile.NamedTemporaryFile("r") as peak:
        start = time.monotonic()
        command = ["/usr/bin/time", "-f", "%M", "-o", peak.name, pellucid, "inspect", *arguments, "--json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return json.loads(done.stdout), time.monotonic() - start, int(peak.read()) / 1024


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(pellucid, folder):
    fashion, warm = str(HERE / "fashion.onnx"), str(HERE / "tinted.onnx")
    rows = []
    for count, file in (("1,000", "rows1000.npy"), ("10,000", "test.npy"), ("60,000", "rows60000.npy")):
        _, seconds, peak = run(pellucid, folder, fashion, file)
        rows.append([count, f"{seconds:.1f} s", f"{peak:.0f} MB"])
    memory = table(["images", "time", "peak memory"], rows)
    cases = [
        ("nothing, grey pictures", fashion, "test.npy"),
        ("nothing, grey pictures with right answers", fashion, "test.npy", "--label", "labels.npy"),
        ("nothing, coloured pictures", warm, "tinted.npy"),
        ("biases of a layer lowered by 60", "dead.onnx", "test.npy"),
        ("weights before the tanh layer times 60", "saturated.onnx", "test.npy"),
        ("two filters copied over two others", "duplicates.onnx", "test.npy"),
        ("a convolution's weights times 1,000", "exploding.onnx", "test.npy"),
        ("pictures between 0 and 1, not normalised", fashion, "unnormalised.npy"),
        ("red and blue exchanged", warm, "swapped.npy"),
        ("red and blue exchanged, with right answers", warm, "swapped.npy", "--label", "labels.npy"),
    ]
    rows = []
    for what, *arguments in cases:
        found, _, _ = run(pellucid, folder, *arguments)
        texts = [f"`{fault['kind']}`: {fault['text']}" for fault in found["faults"]]
        rows.append([what, "<br>".join(texts) or "nothing wrong was found"])
    faults = table(["what was damaged", "what `inspect` says of all 10,000 images"], rows)
    page = HERE.parent / "docs" / "inside.md"
    text = page.read_text()
    for name, block in (("memory", memory), ("faults", faults)):
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = before + start + block + "\n" + end + rest.split(end)[1]
    page.write_text(text)


def main():
    plain = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    folder = Path(plain[0] if plain else HERE)
    if "--measure" in sys.argv:
        return measure(str(Path(plain[1]).resolve()), folder)
    torch.set_num_threads(1)
    images, labels = fashion_mnist.part("train")
    tests, answers = fashion_mnist.part("t10k")
    labels, answers = (torch.tensor(classes.astype(np.int64)) for classes in (labels, answers))
    for name, made in (("fashion", grey), ("tinted", tinted)):
        if (HERE / f"{name}.onnx").exists():
            continue  # to be trained anew, take it away
        x, held = (torch.tensor(normalised(made(part))) for part in (images, tests))
        model = trained(x, labels, 5, 1)
        print(f"{name}: {accuracy(model, held, answers):.4f} of the test set", flush=True)
        written(model, x.shape[1], HERE / f"{name}.onnx")
    np.save(HERE / "fashion_row.npy", normalised(grey(tests[:1])))
    np.savez_compressed(HERE / "fashion.npz", pictures=tests[:256], labels=answers[:256].numpy())
    if "--damage" in sys.argv:
        np.save(folder / "test.npy", normalised(grey(tests)))
        np.save(folder / "labels.npy", answers.numpy())
        np.save(folder / "unnormalised.npy", grey(tests))
        np.save(folder / "tinted.npy", normalised(tinted(tests)))
        np.save(folder / "swapped.npy", normalised(tinted(tests))[:, ::-1].copy())
        for count in (1000, 60000):
            np.save(folder / f"rows{count}.npy", np.resize(normalised(grey(tests)), (count, 1, 28, 28)))
        for name, weights in DAMAGES.items():
            onnx.save(damaged(HERE / "fashion.onnx", weights), folder / f"{name}.onnx")


if __name__ == "__main__":
    main()
