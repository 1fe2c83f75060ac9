"""Fashion-MNIST's IDX files, packed by gzip or not."""

import gzip
import sys
from pathlib import Path

import numpy as np

FOLDER = Path("/usr/share/datasets/fashion-mnist")
LABELS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def part(name, folder=FOLDER):
    """Pictures [n, 28, 28] and classes [n] of the part `train` or `t10k`, as bytes."""
    return idx(folder, f"{name}-images-idx3-ubyte"), idx(folder, f"{name}-labels-idx1-ubyte")


def idx(folder, name):
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            sizes = np.frombuffer(raw, ">u4", raw[3], 4)
            return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)
    sys.exit(f"{folder}: no {name} found, expected Fashion-MNIST as IDX files")
