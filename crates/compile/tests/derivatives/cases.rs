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
        unary("Abs", vec![]),
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
        case("LogSoftmax", vec![float(&[2, 5])], vec![("axis", int(-1))]),
        case("Softmax", vec![float(&[2, 5, 3])], vec![("axis", int(1))]),
    ]
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
