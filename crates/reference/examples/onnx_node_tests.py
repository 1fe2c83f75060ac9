"""Writes the node test cases of the installed `onnx` package: DIR/NAME/{model.onnx, test_data_set_0/*.pb, tolerance}.

The package carries the cases as Python code. Cases with sequences, maps or optionals are left out: nothing here
computes on them.
"""

import pathlib
import sys
import warnings

import onnx
from onnx import numpy_helper
from onnx.backend.test.case import node as node_cases


def write(folder: pathlib.Path, prefix: str, arrays, infos) -> None:
    for index, (array, info) in enumerate(zip(arrays, infos, strict=True)):
        if not isinstance(array, onnx.TensorProto):
            array = numpy_helper.from_array(array, info.name)
        (folder / f"{prefix}_{index}.pb").write_bytes(array.SerializeToString())


def main() -> None:
    warnings.filterwarnings("ignore")
    target = pathlib.Path(sys.argv[1])
    for case in node_cases.collect_testcases(None):
        graph = case.model.graph
        if not all(info.type.HasField("tensor_type") for info in [*graph.input, *graph.output]):
            continue
        data = target / case.name / "test_data_set_0"
        data.mkdir(parents=True, exist_ok=True)
        inputs, outputs = case.data_sets[0]
        write(data, "input", inputs, graph.input)
        write(data, "output", outputs, graph.output)
        (target / case.name / "model.onnx").write_bytes(case.model.SerializeToString())
        (target / case.name / "tolerance").write_text(f"{case.rtol} {case.atol}\n")


main()
