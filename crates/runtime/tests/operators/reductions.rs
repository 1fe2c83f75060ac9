//! Reductions, normalisations and searches.

use pellucid_graph::ElementType::{F32, I64};

use crate::case::Case;
use crate::case::In::{Constant, F, Ints, List, No, Values, Weight, WeightWithin, Within};

fn reductions() -> Vec<Case> {
    let mut cases = Vec::new();
    let operators = [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
    ];
    for operator in operators {
        // Sums of logarithms want positive numbers.
        let x = if operator == "ReduceLogSum" { Within(&[2, 3, 4, 5], 0.1, 2.0) } else { F(&[2, 3, 4, 5]) };
        for axes in [List(&[3]), List(&[1]), List(&[0, 2, 3]), List(&[-1, -2]), List(&[0]), List(&[1, 3]), No]
        {
            cases.push(Case::new(operator, vec![x, axes]).near(4e-6));
            cases.push(Case::new(operator, vec![x, axes]).int("keepdims", 0).near(4e-6));
        }
        cases.push(Case::new(operator, vec![x, No]).int("noop_with_empty_axes", 1));
        cases.push(Case::new(operator, vec![x, List(&[])]));
    }
    for operator in ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare"] {
        let x = Ints(&[2, 3], &[1, -2, 3, 4, -5, 6]);
        cases.push(Case::new(operator, vec![x, List(&[1])]));
        cases.push(Case::new(operator, vec![x]).int("keepdims", 0));
    }
    cases.push(Case::new("ReduceSum", vec![F(&[2, 3, 4]), Ints(&[2], &[0, 2])]));
    cases.push(Case::new("ReduceMax", vec![Values(&[2, 2], &[f32::NAN, 1.0, 2.0, 3.0]), List(&[1])]));
    cases
}

fn searches() -> Vec<Case> {
    let ties = Values(&[2, 5], &[1.0, 3.0, 3.0, 0.0, 3.0, -1.0, -1.0, 2.0, -1.0, 2.0]);
    let mut cases = Vec::new();
    for operator in ["ArgMax", "ArgMin"] {
        for keep in [0, 1] {
            for last in [0, 1] {
                for (x, axis) in [(ties, 1), (ties, 0), (F(&[2, 3, 4]), -1), (Ints(&[4], &[2, 7, 7, 2]), 0)] {
                    cases.push(
                        Case::new(operator, vec![x])
                            .int("axis", axis)
                            .int("keepdims", keep)
                            .int("select_last_index", last),
                    );
                }
            }
        }
    }
    cases.extend([
        Case::new("TopK", vec![F(&[3, 6]), List(&[4])]).outputs(2),
        Case::new("TopK", vec![F(&[3, 6]), List(&[2])]).outputs(2).int("largest", 0),
        Case::new("TopK", vec![F(&[4, 3]), List(&[2])]).outputs(2).int("axis", 0),
        Case::new("TopK", vec![ties, List(&[3])]).outputs(2),
        Case::new("TopK", vec![Ints(&[5], &[3, 1, 3, 9, 0]), List(&[3])]).outputs(2),
        Case::new("Hardmax", vec![ties]),
        Case::new("Hardmax", vec![ties]).int("axis", 0),
        Case::new("Hardmax", vec![F(&[2, 3, 4])]).int("axis", 1),
        Case::new("CumSum", vec![F(&[3, 4]), Constant(I64, &[], &[1.0])]),
        Case::new("CumSum", vec![F(&[3, 4]), Constant(I64, &[], &[0.0])]).int("reverse", 1),
        Case::new("CumSum", vec![F(&[3, 4]), Constant(I64, &[], &[-1.0])]).int("exclusive", 1),
        Case::new("CumSum", vec![Ints(&[4], &[1, 2, 3, 4]), Constant(I64, &[], &[0.0])])
            .int("exclusive", 1)
            .int("reverse", 1),
    ]);
    cases
}

fn normalisations() -> Vec<Case> {
    let mut cases = Vec::new();
    let near = 5e-6;
    for operator in ["Softmax", "LogSoftmax"] {
        for (x, axis) in
            [(F(&[3, 7]), -1), (F(&[2, 3, 4]), 1), (F(&[2, 3, 4]), 0), (Within(&[2, 9], -90.0, 90.0), 1)]
        {
            cases.push(Case::new(operator, vec![x]).int("axis", axis));
        }
        cases.push(Case::new(operator, vec![F(&[4])]));
    }
    for x in [F(&[2, 3]), F(&[2, 3, 4]), F(&[2, 3, 4, 5]), F(&[1, 3, 2, 2, 2])] {
        let parameters =
            [WeightWithin(&[3], 0.5, 1.5), Weight(&[3]), Weight(&[3]), WeightWithin(&[3], 0.5, 2.0)];
        let inputs: Vec<_> = [x].into_iter().chain(parameters).collect();
        cases.push(Case::new("BatchNormalization", inputs.clone()).near(near));
        cases.push(Case::new("BatchNormalization", inputs).float("epsilon", 0.1).near(near));
    }
    cases.push(
        Case::new(
            "BatchNormalization",
            vec![F(&[2, 3, 4]), F(&[3]), F(&[3]), F(&[3]), Within(&[3], 0.5, 2.0)],
        )
        .near(near),
    );
    for x in [F(&[2, 3, 8]), F(&[2, 3, 4, 5]), F(&[2, 3, 2, 3, 2])] {
        cases.push(Case::new("InstanceNormalization", vec![x, Weight(&[3]), Weight(&[3])]).near(near));
        cases.push(
            Case::new("InstanceNormalization", vec![x, Weight(&[3]), Weight(&[3])])
                .float("epsilon", 0.1)
                .near(near),
        );
    }
    for x in [F(&[2, 6, 5]), F(&[2, 6, 4, 3]), F(&[1, 6, 2, 2, 2])] {
        cases.push(
            Case::new("GroupNormalization", vec![x, Weight(&[3]), Weight(&[3])])
                .int("num_groups", 3)
                .near(near),
        );
        cases.push(
            Case::new("GroupNormalization", vec![x, Weight(&[2]), Weight(&[2])])
                .int("num_groups", 2)
                .float("epsilon", 0.2)
                .near(near),
        );
    }
    cases.extend([
        Case::new("LayerNormalization", vec![F(&[2, 3, 8]), Weight(&[8]), Weight(&[8])]).near(near),
        Case::new("LayerNormalization", vec![F(&[2, 3, 8]), Weight(&[8])]).near(near),
        Case::new("LayerNormalization", vec![F(&[2, 3, 8]), Weight(&[3, 8]), Weight(&[3, 8])])
            .int("axis", 1)
            .near(near),
        Case::new("LayerNormalization", vec![F(&[2, 3, 8]), Weight(&[8]), Weight(&[8])])
            .float("epsilon", 0.1)
            .outputs(3)
            .near(near),
        Case::new("LayerNormalization", vec![F(&[2, 3, 4]), Weight(&[3, 4])])
            .int("axis", -2)
            .outputs(3)
            .near(near),
        Case::new("LpNormalization", vec![F(&[3, 5])]),
        Case::new("LpNormalization", vec![F(&[3, 5])]).int("axis", 0).int("p", 1),
        Case::new("LRN", vec![F(&[2, 7, 3, 3])]).int("size", 3).near(near),
        Case::new("LRN", vec![F(&[2, 7, 3, 3])])
            .int("size", 4)
            .float("alpha", 0.1)
            .float("beta", 0.5)
            .float("bias", 2.0)
            .near(near),
        Case::new("LRN", vec![F(&[2, 4, 5])]).int("size", 5).float("alpha", 0.3).near(near),
        Case::new("MeanVarianceNormalization", vec![F(&[2, 3, 4, 4])]).near(near),
        Case::new("MeanVarianceNormalization", vec![F(&[2, 3, 4])]).ints("axes", &[2]).near(near),
        Case::new("Sqrt", vec![Constant(F32, &[2], &[2.0, 3.0])]),
    ]);
    cases
}

pub(crate) fn cases() -> Vec<Case> {
    [reductions(), searches(), normalisations()].concat()
}
