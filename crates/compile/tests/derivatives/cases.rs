//! At least one case an operator, with inputs away from kinks.

use pellucid_graph::{Attribute, ElementType, Tensor};

use super::check::{Case, Input};

fn float(shape: &[usize]) -> Input {
    Input::Float(shape.to_vec(), -2.03, 1.94)
}

fn between(shape: &[usize], low: f64, high: f64) -> Input {
    Input::Float(shape.to_vec(), low, high)
}

fn integers(values: &[i64]) -> Input {
    Input::Constant(Tensor::integers(values))
}

fn table(shape: &[usize], values: &[i64]) -> Input {
    Input::Constant(Tensor::from_i64(shape.to_vec(), values).unwrap())
}

fn number(value: f64) -> Input {
    Input::Constant(Tensor::scalar(ElementType::F64, value))
}

fn int(value: i64) -> Attribute {
    Attribute::Int(value)
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn word(value: &str) -> Attribute {
    Attribute::String(value.to_owned())
}

fn case(operator: &'static str, inputs: Vec<Input>, attributes: Vec<(&'static str, Attribute)>) -> Case {
    Case { operator, inputs, attributes, outputs: 1, flat: false }
}

fn unary(operator: &'static str, attributes: Vec<(&'static str, Attribute)>) -> Case {
    case(operator, vec![between(&[3, 4], -4.13, 4.21)], attributes)
}

fn float_case(operator: &'static str) -> Case {
    case(operator, vec![float(&[3, 4])], vec![])
}

fn flat(operator: &'static str, inputs: Vec<Input>, attributes: Vec<(&'static str, Attribute)>) -> Case {
    Case { flat: true, ..case(operator, inputs, attributes) }
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = activations();
    cases.extend(arithmetic());
    cases.extend(matrices_and_norms());
    cases.extend(convolutions());
    cases.extend(pools());
    cases.extend(reductions());
    cases.extend(layouts());
    cases.extend(lookups());
    cases.extend(summations());
    cases.extend(flats());
    cases
}

fn activations() -> Vec<Case> {
    vec![
        unary("Celu", vec![("alpha", Attribute::Float(1.5))]),
        case("Clip", vec![between(&[3, 4], -4.13, 4.21), number(-1.5), number(2.5)], vec![]),
        case("Clip", vec![float(&[3, 4]), Input::Missing, number(0.7)], vec![]),
        case(
            "Clip",
            vec![between(&[3, 4], -4.13, 4.21), between(&[], -1.6, -1.4), between(&[], 1.5, 1.7)],
            vec![],
        ),
        unary("Elu", vec![("alpha", Attribute::Float(0.7))]),
        unary("Gelu", vec![]),
        unary("Gelu", vec![("approximate", word("tanh"))]),
        unary("HardSigmoid", vec![("alpha", Attribute::Float(0.25))]),
        unary("HardSwish", vec![]),
        unary("LeakyRelu", vec![("alpha", Attribute::Float(0.2))]),
        unary("Mish", vec![]),
        case("PRelu", vec![float(&[2, 3, 4]), between(&[3, 1], 0.1, 0.4)], vec![]),
        unary("Relu", vec![]),
        unary("Selu", vec![]),
        unary("Sigmoid", vec![]),
        unary("Softplus", vec![]),
        unary("Softsign", vec![]),
        unary("Swish", vec![("alpha", Attribute::Float(1.3))]),
        unary("Tanh", vec![]),
        unary("ThresholdedRelu", vec![("alpha", Attribute::Float(0.9))]),
        unary("Shrink", vec![("lambd", Attribute::Float(0.9)), ("bias", Attribute::Float(0.4))]),
        unary("Abs", vec![]),
        case("Acos", vec![between(&[3, 4], -0.83, 0.74)], vec![]),
        case("Acosh", vec![between(&[3, 4], 1.31, 3.04)], vec![]),
        case("Asin", vec![between(&[3, 4], -0.83, 0.74)], vec![]),
        unary("Asinh", vec![]),
        unary("Atan", vec![]),
        case("Atanh", vec![between(&[3, 4], -0.83, 0.74)], vec![]),
        float_case("Cosh"),
        float_case("Sinh"),
        case("Tan", vec![between(&[3, 4], -1.03, 1.04)], vec![]),
        unary("Cast", vec![("to", int(11))]),
        case("CastLike", vec![float(&[3, 4]), number(0.0)], vec![]),
        unary("Cos", vec![]),
        unary("Dropout", vec![]),
        unary("Erf", vec![]),
        unary("Exp", vec![]),
        unary("Identity", vec![]),
        case("Log", vec![between(&[3, 4], 0.5, 3.0)], vec![]),
        unary("Neg", vec![]),
        case("Reciprocal", vec![between(&[3, 4], 0.5, 3.0)], vec![]),
        unary("Sin", vec![]),
        case("Sqrt", vec![between(&[3, 4], 0.5, 3.0)], vec![]),
    ]
}

fn arithmetic() -> Vec<Case> {
    vec![
        case("Add", vec![float(&[2, 3]), float(&[3])], vec![]),
        case("Add", vec![float(&[2, 1]), float(&[2, 1, 3])], vec![]),
        case("Sub", vec![float(&[2, 3]), float(&[2, 1])], vec![]),
        case("Mul", vec![float(&[2, 3]), float(&[2, 1, 1])], vec![]),
        case("Div", vec![float(&[2, 3]), between(&[3], 0.6, 2.0)], vec![]),
        case("Max", vec![float(&[2, 3]), between(&[3], -0.51, 0.53)], vec![]),
        case("Max", vec![float(&[2, 3]), between(&[3], -0.51, 0.53), between(&[2, 1], 0.1, 0.41)], vec![]),
        case("Min", vec![float(&[2, 3]), between(&[3], -0.51, 0.53)], vec![]),
        case("Mod", vec![between(&[2, 3], 0.53, 2.37), between(&[3], 0.81, 1.19)], vec![("fmod", int(1))]),
        case("Mean", vec![float(&[2, 3]), float(&[3])], vec![]),
        case("Sum", vec![float(&[2, 3]), float(&[3]), float(&[])], vec![]),
        case("Pow", vec![between(&[2, 3], 0.5, 2.0), number(2.0)], vec![]),
        case("Pow", vec![between(&[2, 3], 0.5, 2.0), number(3.5)], vec![]),
        case("Pow", vec![between(&[2, 3], 0.5, 2.0), between(&[3], 0.4, 2.6)], vec![]),
        case("Pow", vec![float(&[2, 3]), Input::Constant(Tensor::integers(&[3]))], vec![]),
        case(
            "Where",
            vec![
                Input::Constant(
                    Tensor::from_bool(vec![2, 3], &[true, false, true, true, false, false]).unwrap(),
                ),
                float(&[2, 3]),
                float(&[3]),
            ],
            vec![],
        ),
    ]
}

fn matrices_and_norms() -> Vec<Case> {
    let normal = || vec![float(&[2, 3, 4]), between(&[3], 0.4, 1.8), float(&[3])];
    let mut with_statistics = normal();
    with_statistics.extend([float(&[3]), between(&[3], 0.4, 1.8)]);
    let training = Case {
        outputs: 1,
        ..case("BatchNormalization", with_statistics.clone(), vec![("training_mode", int(1))])
    };
    vec![
        case("MatMul", vec![float(&[2, 3]), float(&[3, 4])], vec![]),
        case("MatMul", vec![float(&[2, 2, 3]), float(&[3, 4])], vec![]),
        case("MatMul", vec![float(&[2, 1, 2, 3]), float(&[5, 3, 4])], vec![]),
        case("MatMul", vec![float(&[3]), float(&[3, 4])], vec![]),
        case("MatMul", vec![float(&[2, 3]), float(&[3])], vec![]),
        case("MatMul", vec![float(&[3]), float(&[3])], vec![]),
        case("MatMul", vec![float(&[2, 4, 3]), float(&[3])], vec![]),
        case("Gemm", vec![float(&[2, 3]), float(&[3, 4]), float(&[4])], vec![]),
        case(
            "Gemm",
            vec![float(&[2, 3]), float(&[4, 3])],
            vec![("transB", int(1)), ("alpha", Attribute::Float(0.5))],
        ),
        case(
            "Gemm",
            vec![float(&[3, 2]), float(&[3, 4]), float(&[2, 1])],
            vec![("transA", int(1)), ("beta", Attribute::Float(0.25))],
        ),
        case("Gemm", vec![float(&[3, 2]), float(&[4, 3])], vec![("transA", int(1)), ("transB", int(1))]),
        case("BatchNormalization", with_statistics, vec![("epsilon", Attribute::Float(1e-3))]),
        training,
        case("InstanceNormalization", normal(), vec![]),
        case("LayerNormalization", vec![float(&[2, 3, 4]), float(&[4]), float(&[4])], vec![]),
        case("LayerNormalization", vec![float(&[2, 3, 4]), float(&[3, 4])], vec![("axis", int(1))]),
        case(
            "GroupNormalization",
            vec![float(&[2, 6, 4]), between(&[3], 0.4, 1.8), float(&[3])],
            vec![("num_groups", int(3))],
        ),
        case(
            "GroupNormalization",
            vec![float(&[2, 6, 2, 2]), between(&[2], 0.4, 1.8), float(&[2])],
            vec![("num_groups", int(2)), ("epsilon", Attribute::Float(1e-3))],
        ),
        lrn(5),
        lrn(2),
        case("LpNormalization", vec![float(&[3, 5])], vec![]),
        case("LpNormalization", vec![float(&[3, 5])], vec![("axis", int(0)), ("p", int(1))]),
        case("MeanVarianceNormalization", vec![float(&[2, 3, 2, 2])], vec![]),
        case("MeanVarianceNormalization", vec![float(&[2, 3, 4])], vec![("axes", ints(&[-1]))]),
        case("DequantizeLinear", vec![bytes(&[2, 3]), between(&[3], 0.4, 1.8), small(&[3])], vec![]),
        case("DequantizeLinear", vec![bytes(&[2, 3]), between(&[], 0.4, 1.8)], vec![]),
        case(
            "DequantizeLinear",
            vec![bytes(&[2, 3]), between(&[2], 0.4, 1.8), small(&[2])],
            vec![("axis", int(-2))],
        ),
        case("LogSoftmax", vec![float(&[2, 5])], vec![("axis", int(-1))]),
        case("Softmax", vec![float(&[2, 5, 3])], vec![("axis", int(1))]),
    ]
}

fn lrn(size: i64) -> Case {
    case(
        "LRN",
        vec![float(&[2, 6, 3])],
        vec![("size", int(size)), ("alpha", Attribute::Float(0.7)), ("bias", Attribute::Float(1.5))],
    )
}

/// Stored numbers of a quantised tensor.
fn bytes(shape: &[usize]) -> Input {
    let values: Vec<f64> = (0..shape.iter().product()).map(|at: usize| (at * 37 % 251) as f64).collect();
    Input::Constant(Tensor::from_values(ElementType::U8, shape.to_vec(), &values).unwrap())
}

/// Zero points.
fn small(shape: &[usize]) -> Input {
    let values: Vec<f64> = (0..shape.iter().product()).map(|at: usize| (100 + at) as f64).collect();
    Input::Constant(Tensor::from_values(ElementType::U8, shape.to_vec(), &values).unwrap())
}

fn convolutions() -> Vec<Case> {
    let conv = |x: &[usize], w: &[usize], attributes: Vec<(&'static str, Attribute)>| {
        case("Conv", vec![float(x), float(w), float(&[w[0]])], attributes)
    };
    let back = |x: &[usize], w: &[usize], attributes: Vec<(&'static str, Attribute)>| {
        case("ConvTranspose", vec![float(x), float(w)], attributes)
    };
    vec![
        conv(&[2, 2, 7], &[3, 2, 3], vec![("strides", ints(&[2])), ("pads", ints(&[1, 0]))]),
        conv(&[1, 2, 6, 5], &[4, 2, 3, 2], vec![("pads", ints(&[1, 0, 2, 1]))]),
        conv(
            &[1, 4, 8, 7],
            &[6, 2, 3, 2],
            vec![("group", int(2)), ("strides", ints(&[3, 2])), ("dilations", ints(&[2, 1]))],
        ),
        conv(
            &[1, 3, 6, 6],
            &[3, 1, 3, 3],
            vec![("group", int(3)), ("auto_pad", word("SAME_UPPER")), ("strides", ints(&[2, 2]))],
        ),
        conv(
            &[1, 1, 4, 5, 3],
            &[2, 1, 2, 3, 2],
            vec![("strides", ints(&[1, 2, 1])), ("pads", ints(&[0, 1, 1, 1, 0, 0]))],
        ),
        back(&[1, 3, 4], &[3, 2, 3], vec![("strides", ints(&[2])), ("output_padding", ints(&[1]))]),
        back(
            &[1, 4, 3, 4],
            &[4, 3, 3, 2],
            vec![
                ("group", int(2)),
                ("strides", ints(&[2, 3])),
                ("pads", ints(&[1, 0, 0, 1])),
                ("output_padding", ints(&[1, 2])),
            ],
        ),
        back(
            &[1, 2, 3, 4],
            &[2, 2, 2, 3],
            vec![
                ("strides", ints(&[3, 2])),
                ("pads", ints(&[1, 1, 1, 1])),
                ("output_padding", ints(&[2, 1])),
            ],
        ),
        back(&[1, 2, 3, 3], &[2, 2, 3, 3], vec![("dilations", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))]),
    ]
}

fn pools() -> Vec<Case> {
    let pool = |operator, x: &[usize], attributes| case(operator, vec![float(x)], attributes);
    vec![
        pool("MaxPool", &[1, 2, 7], vec![("kernel_shape", ints(&[3])), ("strides", ints(&[2]))]),
        pool(
            "MaxPool",
            &[1, 2, 6, 5],
            vec![("kernel_shape", ints(&[3, 3])), ("strides", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))],
        ),
        pool(
            "MaxPool",
            &[1, 1, 6, 6],
            vec![
                ("kernel_shape", ints(&[3, 2])),
                ("strides", ints(&[2, 2])),
                ("ceil_mode", int(1)),
                ("dilations", ints(&[1, 2])),
            ],
        ),
        pool(
            "MaxPool",
            &[1, 1, 4, 3, 4],
            vec![("kernel_shape", ints(&[2, 2, 2])), ("strides", ints(&[2, 1, 2]))],
        ),
        pool(
            "AveragePool",
            &[1, 2, 6, 5],
            vec![("kernel_shape", ints(&[3, 3])), ("strides", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))],
        ),
        pool(
            "AveragePool",
            &[1, 2, 6, 5],
            vec![
                ("kernel_shape", ints(&[3, 2])),
                ("strides", ints(&[2, 2])),
                ("pads", ints(&[1, 0, 1, 1])),
                ("ceil_mode", int(1)),
                ("count_include_pad", int(1)),
            ],
        ),
        pool(
            "AveragePool",
            &[1, 2, 7],
            vec![("kernel_shape", ints(&[3])), ("strides", ints(&[3])), ("ceil_mode", int(1))],
        ),
        pool(
            "AveragePool",
            &[1, 1, 4, 3, 4],
            vec![("kernel_shape", ints(&[2, 2, 2])), ("strides", ints(&[2, 1, 2]))],
        ),
        pool("LpPool", &[1, 2, 7], vec![("kernel_shape", ints(&[3])), ("strides", ints(&[2]))]),
        pool(
            "LpPool",
            &[1, 2, 6, 5],
            vec![
                ("kernel_shape", ints(&[3, 2])),
                ("strides", ints(&[2, 2])),
                ("pads", ints(&[1, 0, 1, 1])),
                ("ceil_mode", int(1)),
                ("p", int(3)),
            ],
        ),
        pool("LpPool", &[1, 2, 5, 5], vec![("kernel_shape", ints(&[2, 2])), ("p", int(1))]),
        pool("GlobalLpPool", &[2, 3, 4, 2], vec![]),
        pool("GlobalLpPool", &[2, 3, 4, 2], vec![("p", int(3))]),
        pool("GlobalLpPool", &[2, 3, 5], vec![("p", int(1))]),
        pool("GlobalAveragePool", &[2, 3, 4, 2], vec![]),
        pool("GlobalMaxPool", &[2, 3, 4, 2], vec![]),
    ]
}

fn reductions() -> Vec<Case> {
    let reduce = |operator, low, high, axes: &[i64], keep| {
        case(operator, vec![between(&[2, 3, 4], low, high), integers(axes)], vec![("keepdims", int(keep))])
    };
    vec![
        reduce("ReduceL1", -2.03, 1.94, &[1], 1),
        reduce("ReduceL2", 0.5, 1.94, &[0, 2], 0),
        reduce("ReduceLogSum", 0.5, 1.94, &[1], 1),
        reduce("ReduceLogSumExp", -2.03, 1.94, &[-1], 0),
        reduce("ReduceMax", -2.03, 1.94, &[1], 0),
        reduce("ReduceMin", -2.03, 1.94, &[0, 1], 1),
        reduce("ReduceMean", -2.03, 1.94, &[1, 2], 0),
        reduce("ReduceProd", -2.03, 1.94, &[0, 2], 0),
        reduce("ReduceProd", -2.03, 1.94, &[1], 1),
        case("ReduceProd", vec![float(&[2, 3])], vec![("keepdims", int(0))]),
        reduce("ReduceSum", -2.03, 1.94, &[-2], 1),
        case("ReduceSum", vec![float(&[2, 3])], vec![("keepdims", int(0))]),
        reduce("ReduceSumSquare", -2.03, 1.94, &[0], 0),
        case("CumSum", vec![float(&[2, 4]), table(&[], &[1])], vec![("exclusive", int(1))]),
        case("CumSum", vec![float(&[2, 4]), table(&[], &[0])], vec![("reverse", int(1))]),
    ]
}

fn layouts() -> Vec<Case> {
    let resize = |mode: &str, coordinates: &str, scales: &[f32]| {
        case(
            "Resize",
            vec![
                float(&[1, 2, 4, 5]),
                Input::Missing,
                Input::Constant(Tensor::from_f32(vec![scales.len()], scales).unwrap()),
            ],
            vec![("mode", word(mode)), ("coordinate_transformation_mode", word(coordinates))],
        )
    };
    let pad = |mode: &str, pads: &[i64]| {
        case("Pad", vec![float(&[2, 4]), integers(pads)], vec![("mode", word(mode))])
    };
    let mut cases = vec![
        case("Concat", vec![float(&[2, 3]), float(&[2, 1])], vec![("axis", int(-1))]),
        case("DepthToSpace", vec![float(&[1, 8, 2, 3])], vec![("blocksize", int(2))]),
        case("DepthToSpace", vec![float(&[1, 8, 2, 3])], vec![("blocksize", int(2)), ("mode", word("CRD"))]),
        case("SpaceToDepth", vec![float(&[1, 2, 4, 6])], vec![("blocksize", int(2))]),
        case("Expand", vec![float(&[3, 1]), integers(&[2, 3, 4])], vec![]),
        case("Flatten", vec![float(&[2, 3, 4])], vec![("axis", int(2))]),
        case("Gather", vec![float(&[4, 3]), table(&[2, 2], &[0, 3, 3, -2])], vec![]),
        case("Gather", vec![float(&[2, 4, 3]), table(&[], &[-1])], vec![("axis", int(1))]),
        case("Gather", vec![float(&[2, 4, 3]), table(&[1, 1], &[2])], vec![("axis", int(1))]),
        case("GatherElements", vec![float(&[3, 2]), table(&[2, 2], &[0, 2, 2, 2])], vec![]),
        case("Reshape", vec![float(&[2, 6]), integers(&[3, -1])], vec![]),
        case("ScatterElements", vec![float(&[3, 2]), table(&[2, 2], &[0, 2, 1, 0]), float(&[2, 2])], vec![]),
        case(
            "ScatterElements",
            vec![float(&[3, 2]), table(&[2, 2], &[0, 2, 0, 2]), float(&[2, 2])],
            vec![("reduction", word("add"))],
        ),
        case("Slice", vec![float(&[5, 4]), integers(&[1]), integers(&[4]), integers(&[0])], vec![]),
        case(
            "Slice",
            vec![
                float(&[7, 4]),
                integers(&[-1, 0]),
                integers(&[-7, 4]),
                integers(&[0, 1]),
                integers(&[-2, 3]),
            ],
            vec![],
        ),
        case("Slice", vec![float(&[5, 4]), integers(&[1, 2]), integers(&[i64::MAX, 3])], vec![]),
        Case { outputs: 2, ..case("Split", vec![float(&[5, 2]), integers(&[2, 3])], vec![("axis", int(0))]) },
        case("Squeeze", vec![float(&[2, 1, 3]), integers(&[1])], vec![]),
        case("Tile", vec![float(&[2, 3]), integers(&[2, 3])], vec![]),
        case("Transpose", vec![float(&[2, 3, 4])], vec![("perm", ints(&[2, 0, 1]))]),
        case("Transpose", vec![float(&[2, 3])], vec![]),
        case("Trilu", vec![float(&[2, 3, 4])], vec![]),
        case("Trilu", vec![float(&[4, 4]), table(&[], &[-1])], vec![("upper", int(0))]),
        case("Unsqueeze", vec![float(&[2, 3]), integers(&[0, -1])], vec![]),
        pad("constant", &[1, 0, 2, 3]),
        pad("constant", &[-1, 1, 0, -2]),
        pad("reflect", &[1, 3, 0, 2]),
        pad("edge", &[1, 2, 3, 0]),
    ];
    for (mode, coordinates) in [
        ("nearest", "asymmetric"),
        ("nearest", "half_pixel"),
        ("linear", "half_pixel"),
        ("linear", "align_corners"),
        ("cubic", "pytorch_half_pixel"),
    ] {
        cases.push(resize(mode, coordinates, &[1.0, 1.0, 2.0, 1.6]));
        cases.push(resize(mode, coordinates, &[1.0, 1.0, 0.5, 0.8]));
    }
    cases.push(case(
        "Resize",
        vec![float(&[1, 2, 4, 5]), Input::Missing, Input::Missing, integers(&[1, 2, 7, 3])],
        vec![("mode", word("linear"))],
    ));
    cases
}

fn lookups() -> Vec<Case> {
    let top = |shape: &[usize], k: i64, attributes| Case {
        outputs: 2,
        ..case("TopK", vec![float(shape), integers(&[k])], attributes)
    };
    vec![
        case("GatherND", vec![float(&[3, 2, 4]), table(&[3, 2], &[0, 1, 2, 0, 0, 1])], vec![]),
        case("GatherND", vec![float(&[3, 2]), table(&[2, 1], &[2, -1])], vec![]),
        case(
            "GatherND",
            vec![float(&[2, 3, 4]), table(&[2, 2, 1], &[2, 0, 1, 1])],
            vec![("batch_dims", int(1))],
        ),
        case("ScatterND", vec![float(&[4, 3]), table(&[2, 1], &[1, 3]), float(&[2, 3])], vec![]),
        case(
            "ScatterND",
            vec![float(&[4, 3]), table(&[3, 2], &[1, 0, 3, 2, 1, 0]), float(&[3])],
            vec![("reduction", word("add"))],
        ),
        top(&[3, 5], 2, vec![]),
        top(&[5, 3], 3, vec![("axis", int(0)), ("largest", int(0))]),
        Case { outputs: 1, ..top(&[2, 6], 4, vec![("axis", int(1)), ("sorted", int(0))]) },
    ]
}

fn summations() -> Vec<Case> {
    let sum = |equation: &str, shapes: &[&[usize]]| {
        let inputs = shapes.iter().map(|shape| float(shape)).collect();
        case("Einsum", inputs, vec![("equation", word(equation))])
    };
    vec![
        sum("ij,jk->ik", &[&[2, 3], &[3, 4]]),
        sum("bhwqd,bhwkd->bhwqk", &[&[1, 2, 1, 3, 2], &[1, 2, 1, 4, 2]]),
        sum("bij,bjk,k->bi", &[&[2, 2, 3], &[2, 3, 4], &[4]]),
        sum("...ij,...jk", &[&[2, 2, 3], &[1, 3, 4]]),
        sum("...ij,jk->...ik", &[&[5, 2, 2, 3], &[3, 4]]),
        sum("ij->j", &[&[2, 3]]),
        sum("ij->", &[&[2, 3]]),
        sum("ij", &[&[2, 3]]),
        sum("ba", &[&[2, 3]]),
        sum("ii->i", &[&[3, 3]]),
        sum("iji->j", &[&[3, 2, 3]]),
        sum("i,j->ij", &[&[2], &[3]]),
        sum("ij,ij->", &[&[2, 3], &[2, 3]]),
    ]
}

fn flats() -> Vec<Case> {
    let x = || float(&[3, 4]);
    let one = |operator| flat(operator, vec![x()], vec![]);
    let two = |operator| flat(operator, vec![x(), between(&[4], -0.51, 0.53)], vec![]);
    vec![
        flat("ArgMax", vec![x()], vec![("axis", int(1))]),
        flat("ArgMin", vec![x()], vec![("axis", int(1))]),
        one("Ceil"),
        flat("ConstantOfShape", vec![integers(&[2, 2])], vec![]),
        two("Equal"),
        one("EyeLike"),
        one("Floor"),
        one("Hardmax"),
        two("Greater"),
        two("GreaterOrEqual"),
        one("IsInf"),
        one("IsNaN"),
        two("Less"),
        two("LessOrEqual"),
        flat("NonZero", vec![Input::Constant(Tensor::integers(&[1, 0, 2]))], vec![]),
        one("Round"),
        one("Shape"),
        one("Sign"),
        one("Size"),
        flat(
            "OneHot",
            vec![
                integers(&[1, 0]),
                table(&[], &[3]),
                Input::Constant(Tensor::from_f64(vec![2], &[0.5, 2.0]).unwrap()),
            ],
            vec![],
        ),
        flat("Range", vec![table(&[], &[0]), table(&[], &[4]), table(&[], &[1])], vec![]),
        flat("And", vec![truths(), truths()], vec![]),
        flat("Or", vec![truths(), truths()], vec![]),
        flat("Xor", vec![truths(), truths()], vec![]),
        flat("Not", vec![truths()], vec![]),
    ]
}

fn truths() -> Input {
    Input::Constant(Tensor::from_bool(vec![3], &[true, false, true]).unwrap())
}
