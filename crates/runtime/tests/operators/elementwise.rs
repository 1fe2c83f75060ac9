//! Functions of one and several elements, and matrix products.

use pellucid_graph::ElementType::{self, BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};

use crate::case::Case;
use crate::case::In::{Bools, Constant, F, Ints, No, Of, Values, Weight, Within};

const KINKS: &[f32] = &[-2.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 49.0, -7.0];

fn unary() -> Vec<Case> {
    let mut cases = Vec::new();
    for operator in [
        "Abs",
        "Neg",
        "Sign",
        "Relu",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Celu",
        "Mish",
        "Gelu",
        "Swish",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Softplus",
        "Softsign",
        "Tanh",
        "ThresholdedRelu",
        "Shrink",
        "Erf",
        "Exp",
        "Floor",
        "Ceil",
        "Round",
        "Sin",
        "Cos",
        "Tan",
        "Sinh",
        "Cosh",
        "Atan",
        "Asinh",
        "IsNaN",
        "Identity",
        "Dropout",
    ] {
        cases.push(Case::new(operator, vec![F(&[3, 5])]));
        cases.push(Case::new(operator, vec![F(&[2, 3, 4, 2])]));
        cases.push(Case::new(operator, vec![Values(&[12], KINKS)]));
        cases.push(Case::new(operator, vec![Values(&[], &[0.75])]));
    }
    for operator in
        ["Softplus", "Sigmoid", "Tanh", "Gelu", "Swish", "Mish", "Elu", "Erf", "HardSwish", "Selu"]
    {
        cases.push(Case::new(operator, vec![Within(&[40], -100.0, 100.0)]));
        cases.push(Case::new(operator, vec![Within(&[40], -8.0, 0.0)]));
    }
    for (operator, low, high) in [
        ("Acos", -0.99, 0.99),
        ("Asin", -0.99, 0.99),
        ("Atanh", -0.99, 0.99),
        ("Acosh", 1.01, 5.0),
        ("Log", 0.01, 9.0),
        ("Sqrt", 0.0, 9.0),
        ("Reciprocal", 0.1, 5.0),
    ] {
        cases.push(Case::new(operator, vec![Within(&[30], low, high)]));
        cases.push(Case::new(operator, vec![Within(&[2, 3], low, high)]));
    }
    for operator in ["Abs", "Neg", "Sign", "Relu"] {
        cases.push(Case::new(operator, vec![Ints(&[5], &[-3, 0, 2, 7, -1])]));
        cases.push(Case::new(operator, vec![Of(I32, &[2, 3])]));
    }
    cases.extend([
        Case::new("LeakyRelu", vec![F(&[9])]).float("alpha", 0.3),
        Case::new("Elu", vec![F(&[9])]).float("alpha", 0.7),
        Case::new("Celu", vec![F(&[9])]).float("alpha", 2.5),
        Case::new("Selu", vec![F(&[9])]).float("alpha", 1.1).float("gamma", 2.0),
        Case::new("Swish", vec![F(&[9])]).float("alpha", 1.7),
        Case::new("Gelu", vec![F(&[40])]).text("approximate", "tanh"),
        Case::new("Gelu", vec![Within(&[40], -100.0, 100.0)]).text("approximate", "tanh"),
        Case::new("HardSigmoid", vec![F(&[9])]).float("alpha", 0.5).float("beta", 0.1),
        Case::new("ThresholdedRelu", vec![F(&[9])]).float("alpha", 0.3),
        Case::new("Shrink", vec![F(&[30])]).float("lambd", 1.0).float("bias", 0.25),
        Case::new("IsNaN", vec![Values(&[3], &[f32::NAN, 1.0, f32::INFINITY])]),
        Case::new("IsInf", vec![Values(&[3], &[f32::NEG_INFINITY, 1.0, f32::INFINITY])]),
        Case::new("IsInf", vec![Values(&[3], &[f32::NEG_INFINITY, 1.0, f32::INFINITY])])
            .int("detect_negative", 0),
        Case::new("IsInf", vec![Values(&[3], &[f32::NEG_INFINITY, 1.0, f32::INFINITY])])
            .int("detect_positive", 0),
        Case::new("IsInf", vec![Values(&[3], &[f32::NEG_INFINITY, 1.0, f32::INFINITY])])
            .int("detect_positive", 0)
            .int("detect_negative", 0),
        Case::new("Not", vec![Bools(&[2, 2], &[0, 1, 1, 0])]),
        Case::new("Dropout", vec![F(&[2, 3])]).outputs(2),
        Case::new("Dropout", vec![F(&[2, 3]), Constant(F32, &[], &[0.3])]),
        Case::new("PRelu", vec![F(&[2, 3, 4]), Weight(&[3, 1])]),
        Case::new("PRelu", vec![F(&[2, 3, 4]), F(&[1])]),
        Case::new("PRelu", vec![Ints(&[4], &[-2, 0, 1, -5]), Ints(&[4], &[2, 2, 2, 3])]),
        Case::new("Softplus", vec![Values(&[4], &[-120.0, -20.0, 90.0, 120.0])]),
        Case::new("Identity", vec![Ints(&[2], &[1, 2])]),
        Case::new("Identity", vec![Bools(&[2], &[1, 0])]),
    ]);
    cases
}

fn binary() -> Vec<Case> {
    let mut cases = Vec::new();
    for operator in [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Max",
        "Min",
        "Sum",
        "Mean",
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
    ] {
        cases.push(Case::new(operator, vec![F(&[3, 4]), F(&[3, 4])]));
        cases.push(Case::new(operator, vec![F(&[2, 3, 4]), F(&[4])]));
        cases.push(Case::new(operator, vec![F(&[3, 1]), F(&[2, 1, 4])]));
        cases.push(Case::new(operator, vec![F(&[2, 3, 4, 5]), Weight(&[1, 3, 1, 1])]));
        cases.push(Case::new(operator, vec![F(&[5]), Constant(F32, &[], &[0.7])]));
        cases.push(Case::new(operator, vec![Constant(F32, &[1], &[0.7]), F(&[5])]));
        cases.push(Case::new(operator, vec![F(&[1, 2, 1, 3, 2]), F(&[2, 1, 3, 1, 1])]));
    }
    for operator in [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Max",
        "Min",
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
        "Mod",
    ] {
        let values = vec![Ints(&[6], &[-7, -3, 0, 3, 7, 12]), Ints(&[6], &[2, 3, 5, 3, -4, 5])];
        cases.push(Case::new(operator, values));
        cases.push(Case::new(operator, vec![Of(I32, &[2, 3]), Constant(I32, &[], &[3.0])]));
    }
    for operator in ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Less", "Equal", "Mod"] {
        for one in [Constant(F32, &[1, 1], &[2.0]), Values(&[1, 1], &[2.0])] {
            cases.push(Case::new(operator, vec![Within(&[3], 0.5, 3.0), one]).int("fmod", 1));
        }
    }
    for operator in ["And", "Or", "Xor", "Equal"] {
        cases.push(Case::new(operator, vec![Bools(&[2, 2], &[0, 1, 1, 0]), Bools(&[2, 2], &[0, 1, 0, 1])]));
        cases.push(Case::new(operator, vec![Bools(&[2, 2], &[0, 1, 1, 0]), Bools(&[2], &[0, 1])]));
    }
    for operator in ["Max", "Min", "Sum", "Mean"] {
        cases.push(Case::new(operator, vec![F(&[3])]));
        cases.push(Case::new(operator, vec![F(&[3]), F(&[2, 3]), F(&[1])]));
        cases.push(Case::new(operator, vec![F(&[3, 1]), F(&[3]), F(&[2, 1, 1]), F(&[1])]));
    }
    for operator in ["Max", "Min"] {
        let nan = Values(&[3], &[f32::NAN, 1.0, f32::INFINITY]);
        cases.push(Case::new(operator, vec![nan, F(&[3])]));
        cases.push(Case::new(operator, vec![F(&[3]), nan]));
    }
    cases.extend([
        Case::new("Div", vec![Values(&[3], &[1.0, -1.0, 0.0]), Values(&[3], &[0.0, 0.0, 0.0])]),
        Case::new("Mod", vec![F(&[20]), Within(&[20], 0.3, 1.0)]).int("fmod", 1),
        Case::new("Mod", vec![Ints(&[4], &[-7, -3, 7, 12]), Ints(&[4], &[2, -5, -4, 5])]).int("fmod", 1),
        Case::new("Pow", vec![Within(&[9], 0.1, 3.0), F(&[9])]).near(4e-6),
        Case::new("Pow", vec![F(&[9]), Constant(F32, &[], &[2.0])]),
        Case::new("Pow", vec![F(&[9]), Constant(F32, &[], &[3.0])]),
        Case::new("Pow", vec![Within(&[9], 0.0, 3.0), Constant(F32, &[], &[0.5])]),
        Case::new("Pow", vec![F(&[9]), Constant(I64, &[], &[3.0])]),
        Case::new("Pow", vec![Ints(&[4], &[-3, 0, 2, 5]), Ints(&[4], &[3, 2, 1, 0])]),
        Case::new("Pow", vec![Ints(&[4], &[1, 0, 2, 5]), Constant(F32, &[], &[2.0])]),
        Case::new("Where", vec![Bools(&[2, 2], &[0, 1, 1, 0]), F(&[2, 2]), F(&[2, 2])]),
        Case::new("Where", vec![Bools(&[2, 1], &[0, 1]), F(&[3]), Constant(F32, &[], &[-1.0])]),
        Case::new("Where", vec![Bools(&[3], &[0, 1, 1]), Ints(&[3], &[1, 2, 3]), Ints(&[1], &[9])]),
        Case::new("Where", vec![Bools(&[3], &[0, 1, 1]), Bools(&[3], &[1, 0, 1]), Bools(&[3], &[1, 1, 0])]),
        Case::new("Clip", vec![F(&[9]), Constant(F32, &[], &[-0.5]), Constant(F32, &[], &[0.8])]),
        Case::new("Clip", vec![F(&[9]), Constant(F32, &[], &[-0.5])]),
        Case::new("Clip", vec![F(&[9]), No, Constant(F32, &[], &[0.5])]),
        Case::new("Clip", vec![F(&[9])]),
        Case::new("Clip", vec![F(&[9]), Constant(F32, &[], &[0.5]), Constant(F32, &[], &[-0.5])]),
        Case::new(
            "Clip",
            vec![Values(&[3], &[f32::NEG_INFINITY, 1.0, f32::INFINITY]), Constant(F32, &[], &[0.0])],
        ),
        Case::new(
            "Clip",
            vec![Values(&[3], &[f32::NEG_INFINITY, 1.0, f32::INFINITY]), No, Constant(F32, &[], &[0.0])],
        ),
        Case::new("Clip", vec![F(&[9]), Values(&[], &[-0.25]), Values(&[], &[0.25])]),
        Case::new(
            "Clip",
            vec![Ints(&[3], &[-9, 2, 9]), Constant(I64, &[], &[-3.0]), Constant(I64, &[], &[9e18])],
        ),
    ]);
    cases
}

fn conversions() -> Vec<Case> {
    let mut cases = Vec::new();
    let to = |case: Case, element: ElementType| case.int("to", i64::from(element.onnx_code()));
    let sources = [
        Values(&[8], &[-2.7, -1.0, -0.4, 0.0, 0.4, 0.6, 2.7, 100.0]),
        Ints(&[5], &[-3, 0, 1, 2, 100]),
        Bools(&[2], &[0, 1]),
        Of(U8, &[4]),
        Of(I8, &[4]),
        Of(F64, &[4]),
    ];
    for source in sources {
        for element in [F32, F64, F16, BF16, I32, I64, I16, I8, Bool] {
            // Half precision is computed in single: only what both hold is compared.
            let tolerance = if matches!(element, F16 | BF16) { 1e-2 } else { 2e-6 };
            cases.push(to(Case::new("Cast", vec![source]), element).near(tolerance));
        }
    }
    cases.extend([
        to(Case::new("Cast", vec![Ints(&[6], &[-129, -1, 127, 128, 255, 300])]), I8),
        to(Case::new("Cast", vec![Ints(&[6], &[-1, 0, 127, 128, 255, 300])]), U8),
        to(Case::new("Cast", vec![Ints(&[3], &[-32769, 40000, 65536])]), I16),
        to(Case::new("Cast", vec![Values(&[3], &[f32::NAN, f32::INFINITY, 0.0])]), Bool),
        Case::new("CastLike", vec![F(&[4]), Ints(&[1], &[0])]),
        Case::new("CastLike", vec![Ints(&[2], &[3, 4]), F(&[1])]),
        Case::new("CastLike", vec![F(&[4]), Bools(&[1], &[0])]),
    ]);
    for element in [F16, BF16, F64] {
        cases.push(Case::new("Add", vec![Of(element, &[4]), Constant(element, &[4], &[1.0, 2.0, 3.0, 4.0])]));
        cases.push(Case::new("Exp", vec![Constant(element, &[2], &[1.0, 2.0])]));
    }
    cases
}

fn products() -> Vec<Case> {
    let mut cases = Vec::new();
    let near = 3e-6;
    for (a, b) in [
        (F(&[3, 4]), F(&[4, 5])),
        (F(&[2, 3, 4]), F(&[4, 5])),
        (F(&[2, 3, 4]), F(&[2, 4, 5])),
        (F(&[2, 1, 3, 4]), F(&[3, 4, 2])),
        (F(&[3, 4]), F(&[2, 4, 5])),
        (F(&[4]), F(&[4, 5])),
        (F(&[3, 4]), F(&[4])),
        (F(&[4]), F(&[4])),
        (F(&[2, 3, 4]), F(&[4])),
        (F(&[4]), F(&[2, 4, 3])),
        (F(&[7, 33]), Weight(&[33, 65])),
        (F(&[1, 300]), Weight(&[300, 17])),
    ] {
        cases.push(Case::new("MatMul", vec![a, b]).near(near));
    }
    for c in [No, F(&[5]), F(&[1]), F(&[3, 1]), F(&[3, 5]), Constant(F32, &[], &[0.5])] {
        cases.push(Case::new("Gemm", vec![F(&[3, 4]), Weight(&[4, 5]), c]).near(near));
        let scaled = Case::new("Gemm", vec![F(&[4, 3]), Weight(&[5, 4]), c]);
        cases.push(
            scaled.int("transA", 1).int("transB", 1).float("alpha", 0.7).float("beta", -1.3).near(near),
        );
    }
    cases.push(Case::new("Gemm", vec![F(&[3, 4]), F(&[4, 5]), F(&[5])]).float("beta", 0.0).near(near));
    for (equation, inputs) in [
        ("ij,jk->ik", vec![F(&[3, 4]), F(&[4, 5])]),
        ("bij,bjk->bik", vec![F(&[2, 3, 4]), F(&[2, 4, 5])]),
        ("bhid,bhjd->bhij", vec![F(&[2, 2, 3, 4]), F(&[2, 2, 5, 4])]),
        ("ij->ji", vec![F(&[3, 4])]),
        ("ij->i", vec![F(&[3, 4])]),
        ("i,j->ij", vec![F(&[3]), F(&[4])]),
        ("ij,ij->", vec![F(&[3, 4]), F(&[3, 4])]),
        (",i->i", vec![F(&[]), F(&[3])]),
        ("ii->i", vec![F(&[3, 3])]),
        ("iji->j", vec![F(&[3, 2, 3])]),
        ("bij,bjk,k->bi", vec![F(&[2, 2, 3]), F(&[2, 3, 4]), F(&[4])]),
        ("...ij,...jk", vec![F(&[5, 2, 3]), F(&[5, 3, 4])]),
        ("...ij,jk->...ik", vec![F(&[2, 5, 2, 3]), F(&[3, 4])]),
        ("nchw,oc->nohw", vec![F(&[2, 3, 2, 2]), F(&[4, 3])]),
    ] {
        cases.push(Case::new("Einsum", inputs).text("equation", equation).near(near));
    }
    cases
}

pub(crate) fn cases() -> Vec<Case> {
    [unary(), binary(), conversions(), products()].concat()
}
