"""Explains more and more rows of a file, and shows that memory does not grow with them.

    python streaming.py PELLUCID FOLDER [ROWS …]

PELLUCID is the command; FOLDER gets a small convolutional network, `.npy` files of rows [3, 32, 32] (1.2 GB for
100,000) and their gradients. Rows are 1,000, 10,000 and 100,000 unless given. Shown for each: seconds, rows a second
and the most memory that the process held (VmHWM, as the system counts it). Needs numpy and onnx.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS = (1_000, 10_000, 100_000)
SHAPE = (3, 32, 32)


def network():
    """Three convolutions of He-scaled kernels, of which two halve the picture, and ten classes."""
    draw = np.random.default_rng(0)
    weights, nodes, before, value = [], [], SHAPE[0], "input"
    for number, (channels, stride) in enumerate(((16, 1), (32, 2), (32, 2))):
        kernel = draw.normal(0, (2 / (9 * before)) ** 0.5, (channels, before, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{number}"))
        nodes.append(
            helper.make_node(
                "Conv", [value, f"kernel{number}"], [f"conv{number}"], pads=[1] * 4, strides=[stride] * 2
            )
        )
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]))
        before, value = channels, f"relu{number}"
    weights.append(numpy_helper.from_array(draw.normal(0, 0.5, (before, 10)).astype(np.float32), "dense"))
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "dense"], ["logits"]))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *SHAPE])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_rows(path, rows):
    """Standard normal numbers, a thousand rows at a time."""
    draw = np.random.default_rng(rows)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, *SHAPE))
    for start in range(0, rows, 1000):
        file[start : start + 1000] = draw.standard_normal(file[start : start + 1000].shape, dtype=np.float32)
    file.flush()


# A process of its own, so small that its memory, which the system counts to the command before it starts, is less.
LAUNCHER = """
import os, sys, time
start = time.monotonic()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, used = os.wait4(child, 0)
print(time.monotonic() - start, used.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(command):
    """Seconds, and mebibytes of memory at the peak."""
    command = [sys.executable, "-S", "-c", LAUNCHER, *map(str, command)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command[4:])}: failed")
    return map(float, result.stdout.split())


def main():
    pellucid, folder, *rows = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(network(), folder / "small.onnx")
    for count in [int(number) for number in rows] or ROWS:
        path, out = folder / f"rows-{count}.npy", folder / f"gradient-{count}.npz"
        if not path.exists():
            write_rows(path, count)
        seconds, peak = run([pellucid, "explain", folder / "small.onnx", path, "--method", "gradient", "-o", out])
        shape = np.load(out)["score"].shape
        if shape != (count,):
            sys.exit(f"{out}: {shape} scores, expected {count}")
        size = path.stat().st_size / 1e6
        print(f"{count:>9,} rows, {size:7.1f} MB: {seconds:7.1f} s, {count / seconds:6.0f} rows/s, peak {peak:6.1f} MiB")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
