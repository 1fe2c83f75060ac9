"""Writes the node test cases of the installed `onnx` package: DIR/NAME/{model.onnx, data.onnx, tolerance}.

The package carries the cases as Python code. `data.onnx` holds a case's arrays as initializers named `input.NAME` and
`output.NAME`, so that one parser reads models and arrays. Cases with sequences, maps or optionals are left out:
nothing here computes on them. A case of an opset outside those that are read becomes one of the nearest that is,
where the checker finds it as valid there: newer opsets mostly add element types to the same operators. A declared
size of 0 is left out: files of exporters mean "unknown" by it, so it is not read.
"""

import pathlib
import sys
import warnings

import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.case import node as node_cases


def tensors(prefix: str, arrays, infos) -> list:
    found = []
    for array, info in zip(arrays, infos, strict=True):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array))
        tensor.name = f"{prefix}.{info.name}"
        found.append(tensor)
    return found


OLDEST, NEWEST = 7, 24


def readable(model: onnx.ModelProto) -> onnx.ModelProto:
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    for info in moved.graph.input:
        for dim in info.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value == 0:
                dim.ClearField("dim_value")
    for opset in moved.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = min(max(opset.version, OLDEST), NEWEST)
    try:
        onnx.checker.check_model(moved, full_check=True)
    except Exception:  # Whatever the checker holds against it: the case then stays what it is.
        return model
    return moved


def main() -> None:
    warnings.filterwarnings("ignore")
    target = pathlib.Path(sys.argv[1])
    for case in node_cases.collect_testcases(None):
        graph = case.model.graph
        if not all(info.type.HasField("tensor_type") for info in [*graph.input, *graph.output]):
            continue
        inputs, outputs = case.data_sets[0]
        arrays = tensors("input", inputs, graph.input) + tensors("output", outputs, graph.output)
        kept = [helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in arrays]
        data = helper.make_graph([], "data", [], kept, initializer=arrays)
        folder = target / case.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(readable(case.model).SerializeToString())
        opset = [helper.make_opsetid("", 18)]
        (folder / "data.onnx").write_bytes(helper.make_model(data, opset_imports=opset).SerializeToString())
        (folder / "tolerance").write_text(f"{case.rtol} {case.atol}\n")


main()
