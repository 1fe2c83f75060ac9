"""Both exporters of PyTorch, and which of a file's values and weights is which of the network's."""

import contextlib
import io

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import torch
from onnx import TensorProto, numpy_helper

VARIANTS = [(exporter, folded) for exporter in ("torchscript", "dynamo") for folded in (True, False)]


def export(network, x, exporter, folded, dynamic=True):
    """`network` as an ONNX model: input `input`, output `output`, first axis `batch`, or that of `x`."""
    names = dict(input_names=["input"], output_names=["output"], opset_version=18, verbose=False)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if exporter == "torchscript":
            if not folded:
                names |= dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
            file = io.BytesIO()
            axes = {"input": {0: "batch"}, "output": {0: "batch"}} if dynamic else None
            torch.onnx.export(network, (x,), file, dynamo=False, dynamic_axes=axes, **names)
            model = onnx.load_from_string(file.getvalue())
        else:
            batch = ({0: torch.export.Dim("batch")},) if dynamic else None
            model = torch.onnx.export(
                network, (x,), dynamo=True, dynamic_shapes=batch, optimize=folded, **names
            ).model_proto
    # Stack traces hold paths of the machine that exported; the FX nodes and classes make
    # half of the file. The module paths (`namespace`, `name_scopes`) stay.
    for node in [n for graph in [model.graph, *model.functions] for n in graph.node]:
        kept = [p for p in node.metadata_props if not p.key.endswith((".stack_trace", ".fx_node", ".class_hierarchy"))]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    return model


def interior(model, x):
    """Every float value of the graph in order of computation, by onnxruntime: name to array."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {v.name: v.type.tensor_type.elem_type for v in [*inferred.graph.value_info, *inferred.graph.output]}
    names = [name for node in model.graph.node for name in node.output if types.get(name) == TensorProto.FLOAT]
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"input": x})))


def value_named(values, activation):
    """The first value that equals `activation`."""
    for name, value in values.items():
        if value.shape == activation.shape and np.abs(value - activation).max() <= 1e-4 * np.abs(activation).max():
            return name
    return None


def weights_named(model, network):
    """Parameter name to the initializer that holds it, and how: same, transposed or reshaped."""
    held = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    found = {}
    for name, parameter in network.named_parameters():
        wanted = parameter.detach().numpy()
        for value, array in held.items():
            if array.size != wanted.size or array.dtype != wanted.dtype:
                continue
            if array.shape == wanted.shape and (array == wanted).all():
                found[name] = {"value": value, "layout": "same"}
            elif array.shape == wanted.T.shape and (array == wanted.T).all():
                found[name] = {"value": value, "layout": "transposed"}
            elif (array.ravel() == wanted.ravel()).all():
                found[name] = {"value": value, "layout": "reshaped"}
    return found


def in_float64(model):
    """`model` with every float32 constant and cast made float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)

    def widened(tensor):
        array = numpy_helper.to_array(tensor)
        return numpy_helper.from_array(array.astype(np.float64), tensor.name) if array.dtype == np.float32 else tensor

    for tensor in wide.graph.initializer:
        tensor.CopyFrom(widened(tensor))
    for node in wide.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                attribute.t.CopyFrom(widened(attribute.t))
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    for value in [*wide.graph.input, *wide.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del wide.graph.value_info[:]
    return wide


def output_in_float64(model, x):
    """The model's output by `onnx.reference` in float64, or None where that lacks or mistakes an operator."""
    try:
        return onnx.reference.ReferenceEvaluator(in_float64(model)).run(None, {"input": x})[0]
    except Exception:
        return None
