//! Operators that move elements, look them up, or make them from shapes.

use pellucid_graph::ElementType::{F32, I32, I64, U8};
use pellucid_graph::Tensor;

use crate::case::Case;
use crate::case::In::{Bools, Constant, F, Ints, List, No, Of, Values, Weight};

fn shapes() -> Vec<Case> {
    let x = F(&[2, 3, 4]);
    let mut cases = vec![
        Case::new("Reshape", vec![x, List(&[4, 6])]),
        Case::new("Reshape", vec![x, List(&[0, -1])]),
        Case::new("Reshape", vec![x, List(&[-1])]),
        Case::new("Reshape", vec![x, List(&[1, 0, 2, -1])]),
        Case::new("Reshape", vec![Ints(&[4], &[1, 2, 3, 4]), List(&[2, 2])]),
        Case::new("Reshape", vec![Bools(&[4], &[1, 0, 0, 1]), List(&[2, 2])]),
        Case::new("Flatten", vec![x]),
        Case::new("Flatten", vec![x]).int("axis", 0),
        Case::new("Flatten", vec![x]).int("axis", 2),
        Case::new("Flatten", vec![x]).int("axis", -1),
        Case::new("Flatten", vec![x]).int("axis", 3),
        Case::new("Squeeze", vec![F(&[1, 3, 1, 2]), List(&[0])]),
        Case::new("Squeeze", vec![F(&[1, 3, 1, 2]), List(&[-2, 0])]),
        Case::new("Squeeze", vec![F(&[1, 3, 1])]),
        Case::new("Unsqueeze", vec![x, List(&[0])]),
        Case::new("Unsqueeze", vec![x, List(&[-1, 1])]),
        Case::new("Transpose", vec![x]),
        Case::new("Transpose", vec![x]).ints("perm", &[1, 2, 0]),
        Case::new("Transpose", vec![F(&[2, 3, 2, 2])]).ints("perm", &[0, 2, 3, 1]),
        Case::new("Transpose", vec![Ints(&[2, 2], &[1, 2, 3, 4])]),
        Case::new("Expand", vec![F(&[3, 1]), List(&[2, 3, 4])]),
        Case::new("Expand", vec![F(&[1]), List(&[4])]),
        Case::new("Expand", vec![F(&[2, 3]), List(&[1, 3])]),
        Case::new("Expand", vec![Bools(&[2, 1], &[1, 0]), List(&[2, 3])]),
        Case::new("Concat", vec![F(&[2, 3]), F(&[2, 1])]).int("axis", 1),
        Case::new("Concat", vec![F(&[2, 3]), Weight(&[1, 3]), F(&[2, 3])]).int("axis", -2),
        Case::new("Concat", vec![F(&[2, 3])]).int("axis", 0),
        Case::new("Concat", vec![Ints(&[2], &[1, 2]), Ints(&[1], &[3])]).int("axis", 0),
        Case::new("Concat", vec![Bools(&[2], &[1, 0]), Bools(&[1], &[1])]).int("axis", 0),
        Case::new("Split", vec![F(&[6, 2]), List(&[1, 3, 2])]).outputs(3),
        Case::new("Split", vec![F(&[2, 6])]).int("axis", 1).int("num_outputs", 3).outputs(3),
        Case::new("Split", vec![F(&[2, 7])]).int("axis", -1).int("num_outputs", 3).outputs(3),
        Case::new("Split", vec![F(&[2, 9])]).int("axis", -1).int("num_outputs", 5).outputs(5),
        Case::new("Tile", vec![F(&[2, 3]), List(&[2, 1])]),
        Case::new("Tile", vec![F(&[2, 3]), List(&[1, 3])]),
        Case::new("Tile", vec![Ints(&[2], &[1, 2]), List(&[3])]),
        Case::new("Trilu", vec![F(&[3, 4])]),
        Case::new("Trilu", vec![F(&[2, 3, 3])]).int("upper", 0),
        Case::new("Trilu", vec![F(&[3, 4]), Constant(I64, &[], &[1.0])]),
        Case::new("Trilu", vec![F(&[4, 4]), Constant(I64, &[], &[-1.0])]).int("upper", 0),
        Case::new("Trilu", vec![Bools(&[2, 2], &[1, 1, 1, 1])]),
    ];
    for mode in ["DCR", "CRD"] {
        cases.push(Case::new("DepthToSpace", vec![F(&[2, 8, 2, 3])]).int("blocksize", 2).text("mode", mode));
        cases.push(
            Case::new("DepthToSpace", vec![Of(I32, &[1, 4, 2, 1])]).int("blocksize", 2).text("mode", mode),
        );
    }
    cases.push(Case::new("SpaceToDepth", vec![F(&[2, 3, 4, 6])]).int("blocksize", 2));
    cases.push(Case::new("SpaceToDepth", vec![Of(I32, &[1, 2, 3, 6])]).int("blocksize", 3));
    cases
}

fn slices() -> Vec<Case> {
    let x = F(&[4, 5, 6]);
    let end = List(&[i64::MAX]);
    let mut cases = vec![
        Case::new("Slice", vec![x, List(&[1]), List(&[3])]),
        Case::new("Slice", vec![x, List(&[1, 0]), List(&[3, 100]), List(&[0, 2]), List(&[1, 2])]),
        Case::new("Slice", vec![x, List(&[-3]), end, List(&[-1])]),
        Case::new("Slice", vec![x, List(&[-1]), List(&[i64::MIN]), List(&[1]), List(&[-1])]),
        Case::new("Slice", vec![x, List(&[4]), List(&[0]), List(&[1]), List(&[-2])]),
        Case::new("Slice", vec![x, List(&[100]), List(&[-100]), List(&[1]), List(&[-2])]),
        Case::new("Slice", vec![x, List(&[2]), List(&[2]), List(&[1])]),
        Case::new("Slice", vec![x, List(&[-100]), List(&[2]), List(&[0])]),
        Case::new("Slice", vec![Ints(&[4], &[1, 2, 3, 4]), List(&[1]), List(&[-1])]),
        Case::new("Slice", vec![Bools(&[4], &[1, 0, 1, 1]), List(&[1]), end, No, List(&[2])]),
        Case::new("Slice", vec![x, Ints(&[1], &[1]), Ints(&[1], &[3]), List(&[1])]),
    ];
    let image = F(&[1, 2, 4, 5]);
    let wide = List(&[0, 0, 1, 2, 0, 0, 3, 1]);
    let deep = List(&[0, 1, 0, 0, 0, 1, 0, 0]);
    for mode in ["constant", "reflect", "edge"] {
        cases.push(Case::new("Pad", vec![image, wide]).text("mode", mode));
        cases.push(Case::new("Pad", vec![F(&[3, 4]), List(&[1, 0, 0, 2])]).text("mode", mode));
        cases.push(Case::new("Pad", vec![F(&[5]), List(&[2, 1])]).text("mode", mode));
        cases.push(Case::new("Pad", vec![image, deep]).text("mode", mode));
        cases.push(Case::new("Pad", vec![F(&[3, 4]), List(&[1, 2]), No, List(&[-1])]).text("mode", mode));
        cases.push(Case::new("Pad", vec![Of(I32, &[3, 4]), List(&[1, 1, 1, 1])]).text("mode", mode));
    }
    cases.extend([
        Case::new("Pad", vec![image, wide, Constant(F32, &[], &[-1.5])]),
        Case::new("Pad", vec![image, wide, Constant(F32, &[1], &[-1.5])]),
        Case::new("Pad", vec![F(&[4, 5]), List(&[-1, 0, 2, -2])]),
        Case::new("Pad", vec![F(&[4, 5]), List(&[-1, 3, -1, -2]), Constant(F32, &[], &[7.0])]),
        Case::new(
            "Pad",
            vec![F(&[4]), List(&[1, 1]), Constant(F32, &[], &[0.5]), Constant(I32, &[1], &[0.0])],
        ),
        Case::new("Pad", vec![F(&[3]), Ints(&[2], &[1, 2])]),
        Case::new("Pad", vec![Bools(&[2], &[1, 1]), List(&[1, 1])]),
    ]);
    cases
}

fn lookups() -> Vec<Case> {
    let x = F(&[3, 4, 2]);
    let mut cases = vec![
        Case::new("Gather", vec![x, Ints(&[2], &[0, 2])]),
        Case::new("Gather", vec![x, Ints(&[2, 2], &[0, -1, 1, 1])]).int("axis", 1),
        Case::new("Gather", vec![x, Constant(I64, &[], &[1.0])]).int("axis", -1),
        Case::new("Gather", vec![F(&[4]), Constant(I64, &[], &[-2.0])]),
        Case::new("Gather", vec![Ints(&[3], &[5, 6, 7]), Of(I32, &[0])]),
        Case::new("Gather", vec![Weight(&[7, 3]), Ints(&[1, 4], &[6, 0, 0, 3])]),
        Case::new("GatherElements", vec![F(&[3, 3]), Ints(&[2, 3], &[0, 1, 2, 2, 0, -1])]),
        Case::new("GatherElements", vec![F(&[3, 3]), Ints(&[3, 2], &[0, 1, 2, 2, 0, -1])]).int("axis", 1),
        Case::new("GatherElements", vec![F(&[3, 4]), Ints(&[2, 2], &[0, 1, 3, -1])]).int("axis", 1),
        Case::new("GatherElements", vec![F(&[3, 4]), Ints(&[2, 2], &[0, 1, 2, -1])]).int("axis", 0),
        Case::new("GatherND", vec![F(&[2, 3, 4]), Ints(&[2, 2], &[0, 1, 1, -1])]),
        Case::new("GatherND", vec![F(&[2, 3, 4]), Ints(&[2, 1], &[1, 0])]),
        Case::new("GatherND", vec![F(&[2, 3, 4]), Ints(&[2, 1], &[1, 0])]).int("batch_dims", 1),
        Case::new("GatherND", vec![F(&[2, 3]), Ints(&[1, 2], &[1, 2])]),
        Case::new("NonZero", vec![Values(&[2, 3], &[0.0, 1.0, 2.0, 0.0, 0.0, -3.0])]),
        Case::new("NonZero", vec![Bools(&[4], &[0, 1, 1, 0])]),
        Case::new(
            "OneHot",
            vec![Ints(&[3], &[0, 2, -1]), Constant(I64, &[], &[4.0]), Constant(F32, &[2], &[0.0, 1.0])],
        ),
        Case::new(
            "OneHot",
            vec![
                Ints(&[2, 2], &[0, 2, 3, 9]),
                Constant(I64, &[1], &[4.0]),
                Constant(F32, &[2], &[-1.0, 2.0]),
            ],
        )
        .int("axis", 1),
        Case::new(
            "OneHot",
            vec![Values(&[2], &[1.0, 0.0]), Constant(F32, &[], &[3.0]), Constant(I64, &[2], &[0.0, 5.0])],
        )
        .int("axis", 0),
        Case::new("ScatterND", vec![F(&[4, 3]), Ints(&[2, 1], &[1, 3]), F(&[2, 3])]),
        Case::new("ScatterND", vec![F(&[4, 3]), Ints(&[2, 2], &[1, 0, 1, 0]), F(&[2])])
            .text("reduction", "add"),
        Case::new("ScatterND", vec![F(&[4, 3]), Ints(&[2, 2], &[1, 0, 3, -1]), F(&[2])])
            .text("reduction", "mul"),
    ];
    for reduction in ["none", "add", "mul", "max", "min"] {
        for (axis, indices) in
            [(0, Ints(&[2, 3], &[0, 1, 2, 1, 0, -1])), (1, Ints(&[2, 3], &[0, 1, 2, 1, 0, -1]))]
        {
            cases.push(
                Case::new("ScatterElements", vec![F(&[3, 3]), indices, F(&[2, 3])])
                    .int("axis", axis)
                    .text("reduction", reduction),
            );
        }
        cases.push(
            Case::new(
                "ScatterElements",
                vec![F(&[3, 4, 3]), Ints(&[2, 2, 2], &[0, 1, 2, 3, 1, 0, 3, 2]), F(&[2, 2, 2])],
            )
            .int("axis", 1)
            .text("reduction", reduction),
        );
    }
    cases
}

fn makers() -> Vec<Case> {
    vec![
        Case::new("Shape", vec![F(&[2, 3, 4])]),
        Case::new("Shape", vec![F(&[2, 3, 4])]).int("start", 1),
        Case::new("Shape", vec![F(&[2, 3, 4])]).int("start", -2).int("end", -1),
        Case::new("Size", vec![F(&[2, 3, 4])]),
        Case::new("ConstantOfShape", vec![Ints(&[2], &[2, 3])]),
        Case::new("ConstantOfShape", vec![List(&[2, 3])])
            .tensor("value", Tensor::from_f32(vec![1], &[2.5]).unwrap()),
        Case::new("ConstantOfShape", vec![Ints(&[2], &[2, 1])]).tensor("value", Tensor::integers(&[7])),
        Case::new("ConstantOfShape", vec![Ints(&[1], &[2])])
            .tensor("value", Tensor::from_bool(vec![1], &[true]).unwrap()),
        Case::new("ConstantOfShape", vec![Ints(&[1], &[2])])
            .tensor("value", Tensor::from_f64(vec![1], &[0.25]).unwrap()),
        Case::new("EyeLike", vec![F(&[3, 4])]),
        Case::new("EyeLike", vec![F(&[3, 3])]).int("k", 1).int("dtype", 7),
        Case::new("EyeLike", vec![Ints(&[2, 2], &[0, 0, 0, 0])]).int("k", -1).int("dtype", 1),
        Case::new("Range", vec![Ints(&[], &[2]), Ints(&[], &[11]), Ints(&[], &[3])]),
        Case::new("Range", vec![Ints(&[], &[5]), Ints(&[], &[-2]), Ints(&[], &[-2])]),
        Case::new("Range", vec![Values(&[], &[0.0]), Values(&[], &[100.0]), Values(&[], &[0.1])]),
        Case::new("Range", vec![Values(&[], &[1.0]), Values(&[], &[50.0]), Values(&[], &[49.0])]),
        Case::new(
            "QuantizeLinear",
            vec![F(&[3, 4]), Constant(F32, &[], &[0.02]), Constant(U8, &[], &[100.0])],
        ),
        Case::new("QuantizeLinear", vec![F(&[3, 4]), Constant(F32, &[], &[0.02])]),
        Case::new(
            "DequantizeLinear",
            vec![Of(U8, &[3, 4]), Constant(F32, &[], &[0.02]), Constant(U8, &[], &[100.0])],
        ),
        Case::new(
            "DequantizeLinear",
            vec![
                Of(U8, &[3, 2]),
                Constant(F32, &[3], &[0.02, 0.5, 1.0]),
                Constant(U8, &[3], &[100.0, 0.0, 3.0]),
            ],
        )
        .int("axis", 0),
        Case::new(
            "QuantizeLinear",
            vec![
                F(&[3, 2]),
                Constant(F32, &[2], &[0.02, 0.5]),
                Constant(pellucid_graph::ElementType::I8, &[2], &[-10.0, 0.0]),
            ],
        )
        .int("axis", 1),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    [shapes(), slices(), lookups(), makers()].concat()
}
