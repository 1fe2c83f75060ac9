"""Fused and quantised operators, one a file, and small networks that ONNX Runtime fused or quantised.

    python expansions.py

writes expansions/NAME.onnx and expansions/expansions.npz: inputs and what onnxruntime computes of them with its own
optimiser off, as float64 arrays called NAME:input:VALUE and NAME:output:VALUE. Operators that onnxruntime has no
processor kernel for are computed with numpy, from their documentation. Needs numpy, onnx and onnxruntime.

Scales are powers of two, so that integers and floats give the same numbers, halves included; what rounding may move
to the neighbouring stored number is only in the networks.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

FOLDER = Path(__file__).parent / "expansions"
ORT = "com.microsoft"
F32, U8, I8, I32, I64 = np.float32, np.uint8, np.int8, np.int32, np.int64

arrays = {}
random = np.random.default_rng(4)


def floats(*shape, low=-2.0, high=2.0):
    return random.uniform(low, high, shape).astype(F32)


def stored(*shape, kind=U8):
    info = np.iinfo(kind)
    return random.integers(info.min, info.max, shape, endpoint=True).astype(kind)


def run(model, feed):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def keep(name, model, feed, results=None):
    names = [output.name for output in model.graph.output]
    for value, array in feed.items():
        arrays[f"{name}:input:{value}"] = array.astype(np.float64)
    for value, array in zip(names, run(model, feed) if results is None else results):
        assert np.isfinite(np.asarray(array, np.float64)).all(), name
        arrays[f"{name}:output:{value}"] = np.asarray(array, np.float64)
    for entry in list(model.metadata_props):
        model.metadata_props.remove(entry)
    model.doc_string = ""
    onnx.save(model, FOLDER / f"{name}.onnx")


def case(name, operator, inputs, outputs=("y",), domain=ORT, version=17, nodes=(), expected=None, **attributes):
    """One node. Inputs: a tuple is fed, an array is a constant, None is left out. Expected: instead of onnxruntime's."""
    feed, constants, names, declared = {}, [], [], []
    for position, value in enumerate(inputs):
        if value is None:
            names.append("")
            continue
        names.append(f"x{position}")
        if isinstance(value, tuple):
            (array,) = value
            feed[names[-1]] = array
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            declared.append(helper.make_tensor_value_info(names[-1], kind, array.shape))
        else:
            constants.append(numpy_helper.from_array(np.asarray(value), names[-1]))
    node = helper.make_node(operator, names, list(outputs), domain=domain, **attributes)
    last = [node, *nodes]
    results = [output for output in (nodes[-1].output if nodes else outputs) if output]
    # Types of outputs follow from what onnxruntime computes.
    values = [helper.make_empty_tensor_value_info(output) for output in results]
    graph = helper.make_graph(last, name, declared, values, constants)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", version), helper.make_opsetid(ORT, 1)],
        ir_version=8,
        producer_name="pellucid goldens",
    )
    computed = run(model, feed) if expected is None else expected
    for output, array in zip(model.graph.output, computed):
        kind = helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)
        output.CopyFrom(helper.make_tensor_value_info(output.name, kind, np.asarray(array).shape))
    keep(name, model, feed, computed)


def by(scale, zero, kind=U8):
    """A scale and a zero point."""
    return np.array(scale, F32), np.array(zero, kind)


def activations():
    x = (floats(2, 3, 8),)
    case("bias_gelu", "BiasGelu", [x, floats(8)])
    case("gelu", "Gelu", [x])
    case("fast_gelu", "FastGelu", [x, floats(8)])
    case("fast_gelu_plain", "FastGelu", [x])
    case("quick_gelu", "QuickGelu", [x], alpha=1.3)
    case("quick_gelu_default", "QuickGelu", [x])


def erf_gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def without_kernel():
    """Operators of graphics processors."""
    x, bias, skip = floats(2, 3, 8), floats(8), floats(2, 3, 8)
    case("bias_add", "BiasAdd", [(x,), bias, (skip,)], expected=[x + bias + skip])
    left, right = np.split((x + bias).astype(np.float64), 2, axis=-1)
    case("bias_split_gelu", "BiasSplitGelu", [(x,), bias], expected=[(left * erf_gelu(right)).astype(F32)])
    image, scale, shift = floats(2, 3, 4, 6), floats(6, low=0.5), floats(6)

    def grouped(image, groups, epsilon):
        # Channels last: a group is a run of channels.
        split = image.astype(np.float64).reshape(2, 3, 4, groups, -1)
        mean = split.mean((1, 2, 4), keepdims=True)
        variance = split.var((1, 2, 4), keepdims=True)
        return ((split - mean) / np.sqrt(variance + epsilon)).reshape(image.shape) * scale + shift

    y = grouped(image, 3, 1e-3)
    case("group_norm", "GroupNorm", [(image,), scale, shift], expected=[y.astype(F32)], groups=3, epsilon=1e-3,
         activation=0)
    silu = (y / (1 + np.exp(-y))).astype(F32)
    case("group_norm_silu", "GroupNorm", [(image,), scale, shift], expected=[silu], groups=3, epsilon=1e-3, activation=1)
    first = np.ascontiguousarray(np.moveaxis(image, -1, 1))
    case("group_norm_first", "GroupNorm", [(first,), scale, shift], expected=[np.moveaxis(y, -1, 1).astype(F32)],
         groups=3, epsilon=1e-3, activation=0, channels_last=0)
    other = floats(2, 3, 4, 6)
    total = image + other + shift
    case("skip_group_norm", "SkipGroupNorm", [(image,), scale, shift, (other,), shift], ("y", "sum"),
         expected=[grouped(total, 2, 1e-3).astype(F32), total], groups=2, epsilon=1e-3, activation=0)
    a, b = floats(4, 3), floats(4, 5)
    case("transpose_matmul", "TransposeMatMul", [(a,), (b,)], expected=[a.T @ b], transA=1)
    table = floats(3, 8)
    root = np.sqrt((x.astype(np.float64) ** 2).mean((1, 2), keepdims=True) + 1e-3)
    case("rms_norm", "RMSNormalization", [(x,), table], domain="", version=23, axis=1, epsilon=1e-3,
         expected=[(x / root * table).astype(F32)])


def products():
    image, kernel, bias = (floats(1, 4, 6, 5),), floats(6, 2, 3, 3), floats(6)
    attributes = dict(group=2, pads=[1, 1, 1, 1], strides=[2, 1], kernel_shape=[3, 3])
    case("fused_conv_relu", "FusedConv", [image, kernel, bias], activation="Relu", **attributes)
    case("fused_conv_leaky", "FusedConv", [image, kernel], activation="LeakyRelu", activation_params=[0.25], **attributes)
    case("fused_conv_clip", "FusedConv", [image, kernel, bias], activation="Clip", activation_params=[0.0, 1.5], **attributes)
    case("fused_conv_hard_sigmoid", "FusedConv", [image, kernel, bias], activation="HardSigmoid",
         activation_params=[0.3, 0.4], **attributes)
    case("fused_conv_sum", "FusedConv", [image, kernel, bias, (floats(1, 6, 3, 5),)], activation="Relu", **attributes)
    case("fused_gemm", "FusedGemm", [(floats(3, 4),), floats(5, 4), floats(5)], transB=1, alpha=0.5, beta=2.0,
         activation="LeakyRelu", activation_alpha=0.2)
    case("fused_gemm_relu", "FusedGemm", [(floats(3, 4),), floats(4, 5), floats(5)], activation="Relu")
    case("fused_matmul", "FusedMatMul", [(floats(2, 4, 3),), (floats(2, 5, 4),)], transA=1, transB=1, alpha=0.25)
    case("fused_matmul_batch", "FusedMatMul", [(floats(4, 2, 3),), (floats(2, 3, 5),)], transBatchA=1)
    case("fused_matmul_both", "FusedMatMul", [(floats(3, 2, 4),), (floats(2, 3, 5),)], transBatchA=1, transA=1)


def normalisations():
    x, skip, scale, bias = (floats(2, 3, 8),), (floats(2, 3, 8),), floats(8, low=0.5), floats(8)
    case("skip_layer_norm", "SkipLayerNormalization", [x, skip, scale, bias, floats(8)], ("y", "", "", "sum"), epsilon=1e-3)
    case("skip_layer_norm_plain", "SkipLayerNormalization", [x, skip, scale, bias])
    case("simplified_layer_norm", "SimplifiedLayerNormalization", [x, scale], domain="", epsilon=1e-3, axis=-1)
    case("skip_simplified_layer_norm", "SkipSimplifiedLayerNormalization", [x, skip, scale, floats(8)],
         ("y", "", "", "sum"), epsilon=1e-3)
    words = (np.array([[1, 4, 0], [2, 2, 3]], I32),)
    segments = (np.array([[0, 1, 1], [1, 0, 0]], I32),)
    mask = (np.array([[1, 1, 0], [1, 1, 1]], I32),)
    tables = [floats(5, 8), floats(4, 8), floats(2, 8)]
    case("embed_layer_norm", "EmbedLayerNormalization", [words, segments, *tables, scale, bias, mask], ("y", "index"),
         epsilon=1e-3)
    case("embed_layer_norm_plain", "EmbedLayerNormalization", [words, None, tables[0], tables[1], None, scale, bias],
         ("y", "index", "sum"), epsilon=1e-3)


def quantised():
    a, b = by(0.03125, 130), by(0.0625, 12)
    case("dequantize_channels", "DequantizeLinear", [(stored(2, 3, 4),), *by([0.5, 0.25, 2.0], [3, 0, 250])], domain="",
         version=13, axis=1)
    case("quantize_channels", "QuantizeLinear", [(floats(2, 3, 4, low=-40, high=40),),
         *by([0.5, 0.25, 2.0], [3, -7, 0], I8)], domain="", version=13, axis=1)
    case("dequantize_blocks", "DequantizeLinear", [(stored(4, 3),), *by([[0.5, 0.25, 2], [1, 4, 0.125]], [[1, 2, 3], [4, 5, 6]])],
         domain="", version=21, axis=0, block_size=2)
    case("quantize_blocks", "QuantizeLinear", [(floats(4, 3, low=-40, high=40),), np.array([[0.5, 0.25, 2], [1, 4, 0.125]], F32)],
         domain="", version=21, axis=0, block_size=2)
    case("quantize_type", "QuantizeLinear", [(floats(4, 3, low=-99, high=99),), np.array(0.5, F32)], domain="", version=21,
         output_dtype=TensorProto.INT8)
    case("quantize_16_bits", "QuantizeLinear", [(floats(4, 3),), *by(0.0009765625, 30000, np.uint16)], domain="", version=21)
    case("dequantize_ort", "DequantizeLinear", [(stored(2, 3, kind=np.int16),), *by(0.25, 7, np.int16)])
    image = (stored(1, 4, 5, 5),)
    kernel = by([2**-4, 2**-5, 2**-6, 2**-4, 2**-5, 2**-6], [0] * 6, I8)
    attributes = dict(group=2, pads=[1, 0, 1, 1], strides=[1, 2], kernel_shape=[3, 3])
    case("qlinear_conv", "QLinearConv", [image, *a, stored(6, 2, 3, 3, kind=I8), *kernel, *by(1.0, 128),
         stored(6, kind=np.int16).astype(I32)], domain="", version=13, **attributes)
    case("qlinear_conv_no_bias", "QLinearConv", [image, *a, stored(6, 4, 1, 1), *by(2**-5, 120), *by(2.0, 100)], domain="",
         version=13)
    case("qlinear_matmul", "QLinearMatMul", [(stored(2, 3, 4),), *a, stored(4, 5), *b, *by(1.0, 100)], domain="", version=13)
    case("qlinear_matmul_columns", "QLinearMatMul", [(stored(3, 4),), *a, stored(4, 3, kind=I8),
         *by([0.25, 0.5, 0.125], [0, 0, 0], I8), *by(1.0, 100)], domain="", version=13)
    case("conv_integer", "ConvInteger", [image, stored(6, 2, 3, 3), np.array(130, U8), np.array(120, U8)], domain="", version=13,
         **attributes)
    case("matmul_integer", "MatMulInteger", [(stored(3, 4),), stored(4, 5, kind=I8), np.array(130, U8), np.array(3, I8)],
         domain="", version=13)
    case("matmul_integer_columns", "MatMulInteger", [(stored(3, 4),), stored(4, 3), np.array(130, U8),
         np.array([1, 2, 200], U8)], domain="", version=13)
    case("matmul_integer_float", "MatMulInteger", [(stored(3, 4),), stored(4, 5, kind=I8)], ("whole",), domain="", version=13,
         nodes=[helper.make_node("Cast", ["whole"], ["y"], to=1)])
    case("dynamic_quantize", "DynamicQuantizeLinear", [(np.array([[-1.0, 0.5, 0.25], [2.984375, 1.0, -0.75]], F32),)],
         ("y", "scale", "zero"), domain="", version=13)
    case("dynamic_quantize_zeros", "DynamicQuantizeLinear", [(np.zeros((2, 3), F32),)], ("y", "scale", "zero"), domain="",
         version=13)
    case("dynamic_matmul", "DynamicQuantizeMatMul", [(np.array([[-1.0, 0.5, 0.25], [2.984375, 1.0, -0.75]], F32),),
         stored(3, 4), *by(0.25, 100), floats(4)])
    case("matmul_integer_to_float", "MatMulIntegerToFloat", [(stored(3, 4),), stored(4, 5), a[0], b[0], a[1], b[1], floats(5)])
    pair = [(stored(2, 3, 4),), *a, (stored(3, 4),), *b]
    case("qlinear_add", "QLinearAdd", [*pair, *by(0.0625, 100)])
    case("qlinear_mul", "QLinearMul", [*pair, *by(0.25, 100)])
    one = [(stored(2, 3, 4),), *a]
    case("qlinear_sigmoid", "QLinearSigmoid", [*one, *by(2**-8, 0)])
    case("qlinear_leaky_relu", "QLinearLeakyRelu", [*one, *by(0.03125, 60)], alpha=0.25)
    case("qlinear_softmax", "QLinearSoftmax", [*one, *by(2**-8, 0)], axis=-1, opset=13)
    case("qlinear_average_pool", "QLinearAveragePool", [image, *a, *by(0.0625, 100)], kernel_shape=[2, 2], strides=[2, 2],
         pads=[1, 0, 0, 1], count_include_pad=1)
    case("qlinear_average_pool_last", "QLinearAveragePool", [image, *a, *by(0.0625, 100)], kernel_shape=[2, 2],
         channels_last=1)
    case("qlinear_global_average_pool", "QLinearGlobalAveragePool", [(stored(1, 4, 4, 4),), *a, *by(0.03125, 128)])
    case("qlinear_concat", "QLinearConcat", [*by(0.125, 100), (stored(2, 3),), *a, (stored(2, 2),), *b], axis=1)
    case("qlinear_where", "QLinearWhere", [(random.random((3, 4)) > 0.5,), (stored(3, 4),), *a, (stored(3, 4),), *b,
         *by(0.125, 100)])
    case("qgemm", "QGemm", [(stored(3, 4),), *a, stored(5, 4), *b, stored(5, kind=np.int16).astype(I32), *by(0.5, 100)], transB=1)
    case("qgemm_float", "QGemm", [(stored(3, 4),), *a, stored(4, 5), *b], alpha=0.5)
    case("nhwc_max_pool", "NhwcMaxPool", [image], kernel_shape=[2, 2], strides=[2, 1], pads=[1, 0, 0, 1])


def network():
    """Convolutions with normalisation, a residual sum, depthwise convolution, pooling, a linear head."""
    weights, nodes = [], []

    def weight(name, array):
        weights.append(numpy_helper.from_array(array.astype(F32), name))
        return name

    def node(operator, inputs, output, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def conv(x, name, into, of, size=3, group=1, stride=1):
        kernel = random.normal(0, (2 / (of // group * size * size)) ** 0.5, (into, of // group, size, size))
        inputs = [x, weight(f"{name}.weight", kernel), weight(f"{name}.bias", random.normal(0, 0.1, into))]
        return node("Conv", inputs, name, group=group, pads=[size // 2] * 4, strides=[stride] * 2, kernel_shape=[size] * 2)

    stem = node("Relu", [conv("x", "stem", 8, 3)], "stem.relu")
    inner = node("Relu", [conv(stem, "inner", 8, 8, group=8)], "inner.relu")
    both = node("Add", [conv(inner, "outer", 8, 8, size=1), stem], "sum")
    after = node("Relu", [both], "sum.relu")
    small = node("MaxPool", [after], "pool", kernel_shape=[2, 2], strides=[2, 2])
    wide = node("Relu", [conv(small, "wide", 16, 8, stride=2)], "wide.relu")
    flat = node("Flatten", [node("GlobalAveragePool", [wide], "mean")], "flat")
    head = random.normal(0, 0.6, (5, 16))
    node("Gemm", [flat, weight("head.weight", head), weight("head.bias", random.normal(0, 0.1, 5))], "logits", transB=1)
    graph = helper.make_graph(
        nodes, "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 12, 12])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2, 5])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                             producer_name="pellucid goldens")


class Photographs(quantization.CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": floats(2, 3, 12, 12)} for _ in range(16)]

    def get_next(self):
        return self.left.pop() if self.left else None


def optimised(model, path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def networks():
    feed = {"x": floats(2, 3, 12, 12)}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model = network()
        keep("network", model, feed)
        keep("network.extended", optimised(model, folder / "extended.onnx"), feed)
        kinds = {"qdq": quantization.QuantFormat.QDQ, "qoperator": quantization.QuantFormat.QOperator}
        source = FOLDER / "network.onnx"
        for kind, form in kinds.items():
            path = folder / f"{kind}.onnx"
            quantization.quantize_static(source, path, Photographs(), quant_format=form, per_channel=kind == "qdq",
                                         weight_type=quantization.QuantType.QInt8)
            keep(f"network.{kind}", onnx.load(path), feed)
        keep("network.qdq.extended", optimised(onnx.load(FOLDER / "network.qdq.onnx"), folder / "fused.onnx"), feed)
        quantization.quantize_dynamic(source, folder / "dynamic.onnx")
        keep("network.dynamic", onnx.load(folder / "dynamic.onnx"), feed)
        # What ONNX Runtime makes of a transformer that PyTorch exported.
        transformer = onnx.load(FOLDER.parent / "transformer.torchscript.onnx")
        arrays_of = np.load(FOLDER.parent / "transformer.npz")
        feed = {transformer.graph.input[0].name: arrays_of["input"].astype(F32)}
        keep("transformer.extended", optimised(transformer, folder / "transformer.onnx"), feed)


def main():
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.onnx"):
        file.unlink()
    activations()
    without_kernel()
    products()
    normalisations()
    quantised()
    networks()
    np.savez_compressed(FOLDER / "expansions.npz", **arrays)


if __name__ == "__main__":
    main()
