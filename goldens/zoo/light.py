"""The `light_*.onnx` of the onnx package, with weights, and run by PyTorch.

The files hold networks of the first model zoo in opset 9, their weights replaced by one
constant. Here every weight is drawn, He-scaled, and stands in the file as an initializer.
A few lines of PyTorch an operator make a module of the file: the reference of its gradient,
independent of Pellucid. That the module is the file is checked with `onnx.reference` and onnxruntime.
"""

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F

from networks import Refused, images, normal, uniform

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
SIZE = 224
NAMES = sorted(path.stem for path in FOLDER.glob("light_*.onnx"))


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def padded(x, a, value):
    """`x` with the pads of a pool or convolution written out, and the pads that remain."""
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    if (top, left) == (bottom, right):
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom), value=value), (0, 0)


def convolution(a, x, w, b=None):
    x, pads = padded(x, a, 0.0)
    return F.conv2d(x, w, b, a.get("strides", 1), pads, a.get("dilations", 1), a.get("group", 1))


def max_pool(a, x):
    x, pads = padded(x, a, -torch.inf)
    return F.max_pool2d(x, a["kernel_shape"], a["strides"], pads)


def average_pool(a, x):
    pads = a.get("pads", [0, 0, 0, 0])
    if a.get("count_include_pad") or not any(pads):
        x, pads = padded(x, a, 0.0)
        return F.avg_pool2d(x, a["kernel_shape"], a["strides"], pads)
    if pads[:2] == pads[2:]:
        return F.avg_pool2d(x, a["kernel_shape"], a["strides"], pads[:2], count_include_pad=False)
    # Sums, by the number of elements that are no padding.
    total, _ = padded(x, a, 0.0)
    count, _ = padded(torch.ones_like(x[:1, :1]), a, 0.0)
    pool = lambda y: F.avg_pool2d(y, a["kernel_shape"], a["strides"])
    return pool(total) / pool(count)


def gemm(a, x, w, b):
    if a.get("transA") or a.get("alpha", 1.0) != 1 or a.get("beta", 1.0) != 1:
        raise Refused("a product of a form that no file had")
    return F.linear(x, w if a.get("transB") else w.T, b)


def added(a, *terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


OPERATORS = {
    "Add": added,
    "AveragePool": average_pool,
    "BatchNormalization": lambda a, x, s, b, m, v: F.batch_norm(x, m, v, s, b, eps=a.get("epsilon", 1e-5)),
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Conv": convolution,
    "Dropout": lambda a, x: x,
    "Gemm": gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "LRN": lambda a, x: F.local_response_norm(x, a["size"], a["alpha"], a["beta"], a["bias"]),
    "MaxPool": max_pool,
    "Mul": lambda a, x, y: x * y,
    "Relu": lambda a, x: F.relu(x),
    "Softmax": lambda a, x: F.softmax(x.flatten(a.get("axis", 1)), -1).view(x.shape),
    "Sum": added,
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": lambda a, x: x[(..., *[None] * len(a["axes"]))],
}


def reshaped(x, shape):
    """Where the file names one row, any number of rows."""
    shape = [int(size) if size else x.shape[axis] for axis, size in enumerate(shape)]
    return x.reshape([len(x) if axis == 0 and size == 1 else size for axis, size in enumerate(shape)])


class Network(nn.Module):
    """A file as a module: its output is what the final Softmax takes, or the file's own."""

    def __init__(self, model, weights):
        super().__init__()
        graph = model.graph
        self.nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
        self.integers = {name: array for name, array in weights.items() if array.dtype == np.int64}
        held = {name: torch.from_numpy(array.copy()) for name, array in weights.items() if array.dtype != np.int64}
        self.keys = {name: f"weight{position}" for position, name in enumerate(held)}
        for name, key in self.keys.items():
            self.register_buffer(key, held[name])
        given = {i.name for i in graph.initializer}
        (self.input,) = [i.name for i in graph.input if i.name not in given]
        self.softmax = self.nodes[-1].op_type == "Softmax"

    def forward(self, x, observe=lambda node, values: None):
        values = {name: getattr(self, key) for name, key in self.keys.items()}
        values[self.input] = x
        for node in self.nodes[: len(self.nodes) - self.softmax]:
            observe(node, values)
            a = attributes(node)
            if node.op_type == "Reshape":
                result = reshaped(values[node.input[0]], self.integers[node.input[1]])
            else:
                result = OPERATORS[node.op_type](a, *[values[name] for name in node.input])
            values[node.output[0]] = result
        return result.flatten(1)


def load(name):
    """The file with drawn weights, and the module."""
    model = onnx.load(FOLDER / f"{name}.onnx")
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            weights[node.output[0]] = np.zeros(weights[node.input[0]], np.float32)
    network = Network(model, weights).eval()
    with torch.no_grad():
        randomise(network, name, images(16, SIZE, name, "calibration"))
    return fill(model, network), network


def randomise(network, name, x):
    """Draws weights where they are first used, so that statistics can be those of what arrives there."""
    last = [node for node in network.nodes if node.op_type in ("Conv", "Gemm")][-1]
    # Value to weight: a reshaped weight is a view of it, and is drawn through that view.
    roots = {weight: weight for weight in network.keys}
    for node in network.nodes:
        if node.op_type == "Reshape" and node.input[0] in roots:
            roots[node.output[0]] = roots[node.input[0]]
    drawn = set()

    def draw(node, values):
        own = [values[i] if i in roots else None for i in node.input]

        def fill(position, tensor):
            own[position].copy_(tensor)
            drawn.add(roots[node.input[position]])

        def words(position):
            return name, roots[node.input[position]]

        def scales(position, spread=0.5):
            fill(position, uniform(own[position].shape, 1 - spread, 1 + spread, *words(position)))

        def biases(position, scale=0.2):
            fill(position, normal(own[position].shape, scale, *words(position)))

        if node.op_type in ("Conv", "Gemm"):
            rows_out = node.op_type == "Conv" or attributes(node).get("transB")
            fan = own[1][0].numel() if rows_out else len(own[1])
            biases(1, (2 / fan) ** 0.5)
            if len(own) > 2:
                biases(2)
        elif node.op_type == "BatchNormalization":
            variance, mean = torch.var_mean(values[node.input[0]], (0, 2, 3))
            scales(1)
            biases(2)
            biases(3, 0.1)
            own[3].mul_(variance.sqrt()).add_(mean)
            scales(4, 0.2)
            own[4].mul_(variance)
        elif node.op_type == "Unsqueeze" and own[0] is not None:
            user = next(other for other in network.nodes if node.output[0] in other.input)
            scales(0) if user.op_type == "Mul" else biases(0)
        if node is last:
            # The same as the head of the other networks: logits that vary by one.
            logits = OPERATORS[node.op_type](attributes(node), *[values[i] for i in node.input])
            logits = logits.flatten(2).mean(2) if logits.dim() > 2 else logits
            scale = 1 / logits.std(0).mean()
            own[1].mul_(scale)
            if len(own) > 2:
                logits = logits - own[2]
                own[2].copy_(normal(own[2].shape, 0.5, name, "head") - logits.mean(0) * scale)

    network(x, draw)
    unused = {roots[i] for node in network.nodes for i in node.input if i in roots} - drawn
    if unused:
        raise Refused(f"{name}: weights were not drawn: {sorted(unused)[:5]}")


def fill(model, network):
    """The file with the network's weights as initializers in place of constants."""
    filled = onnx.ModelProto()
    filled.CopyFrom(model)
    made = [node for node in filled.graph.node if node.op_type == "ConstantOfShape"]
    for node in made:
        filled.graph.node.remove(node)
    gone = {node.input[0] for node in made}
    kept = [i for i in filled.graph.input if i.name not in gone]
    del filled.graph.input[:]
    filled.graph.input.extend(kept)
    integers = [i for i in filled.graph.initializer if i.data_type == onnx.TensorProto.INT64 and i.name not in gone]
    del filled.graph.initializer[:]
    filled.graph.initializer.extend(integers)
    named = dict(network.named_buffers())
    listed = {i.name for i in kept}
    for name, key in network.keys.items():
        tensor = numpy_helper.from_array(named[key].numpy(), name)
        filled.graph.initializer.append(tensor)
        if name not in listed:
            # Before version 4 of the format, every initializer is an input as well.
            filled.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    onnx.checker.check_model(filled, full_check=True)
    return filled
