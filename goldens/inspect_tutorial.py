"""The network of docs/inside.md: two inputs, three rectifiers, two tanh units, three classes; weights of one digit, so that
every number can be worked out by hand.

    pip install -r requirements.txt
    python inspect_tutorial.py       # writes tutorial.onnx, tutorial.npy and the vectors to hold it against

`tutorial.npz` holds what PyTorch in float64 says of it by hooks and autograd, for the class 1: `z:LAYER`, `a:LAYER`,
`delta:LAYER` = ∂loss/∂z, `error:LAYER` = ∂loss/∂a, `gradient:WEIGHT`, `loss`.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
X = [[1.0, 2.0]]
LABEL = 1
WEIGHTS = {
    "hidden1": ([[0.5, -0.2], [0.3, 0.4], [-0.6, 0.1]], [0.1, -0.3, 0.2]),
    "hidden2": ([[0.7, -0.5, 0.2], [0.4, 0.8, -0.1]], [0.1, -0.2]),
    "output": ([[0.9, -0.3], [-0.4, 0.6], [0.2, 0.5]], [0.0, 0.1, -0.1]),
}
FUNCTIONS = {"hidden1": "Relu", "hidden2": "Tanh"}


def network():
    nodes, constants, value = [], [], "x"
    for name, (weight, bias) in WEIGHTS.items():
        constants.append(numpy_helper.from_array(np.array(weight, np.float32), f"{name}.weight"))
        constants.append(numpy_helper.from_array(np.array(bias, np.float32), f"{name}.bias"))
        z = f"{name}.z" if name in FUNCTIONS else "logits"
        nodes.append(helper.make_node("Gemm", [value, f"{name}.weight", f"{name}.bias"], [z], name, transB=1))
        value = z
        if name in FUNCTIONS:
            nodes.append(helper.make_node(FUNCTIONS[name], [z], [f"{name}.a"], f"{name}.{FUNCTIONS[name].lower()}"))
            value = f"{name}.a"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "tutorial", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def reference():
    arrays, a = {}, torch.tensor(X, dtype=torch.float64)
    kept, weights = {}, {}
    for name, pair in WEIGHTS.items():
        # The file holds float32 numbers, so the reference starts from those.
        weight, bias = (torch.tensor(np.array(part, np.float32)).double().requires_grad_() for part in pair)
        weights |= {f"{name}.weight": weight, f"{name}.bias": bias}
        z = a @ weight.T + bias
        a = {"Relu": torch.relu, "Tanh": torch.tanh}[FUNCTIONS[name]](z) if name in FUNCTIONS else z
        z.retain_grad()
        a.retain_grad()
        kept[name] = (z, a)
    loss = F.cross_entropy(a, torch.tensor([LABEL]))
    loss.backward()
    for name, (z, a) in kept.items():
        arrays |= {f"z:{name}": z, f"a:{name}": a, f"delta:{name}": z.grad, f"error:{name}": a.grad}
    arrays |= {f"gradient:{name}": weight.grad for name, weight in weights.items()}
    arrays["loss"] = loss[None]
    return {name: array.detach().numpy() for name, array in arrays.items()}


def main():
    onnx.save(network(), HERE / "tutorial.onnx")
    np.save(HERE / "tutorial.npy", np.array(X, np.float32))
    np.savez_compressed(HERE / "tutorial.npz", **reference())


if __name__ == "__main__":
    main()
