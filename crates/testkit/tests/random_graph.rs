//! Random networks are valid, follow from their seed, and rewrites leave their function as it is.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use ndarray::ArrayD;
use pellucid_graph::{ElementType, Graph};
use pellucid_reference::{Array, run};
use pellucid_testkit::random_graph::{Config, Functions, Input, REWRITES, Random, Rows, input_for, network};

fn predict(graph: &Graph, shape: &[usize], values: &[f64]) -> ArrayD<f64> {
    let x = Array::Float(ArrayD::from_shape_vec(shape, values.to_vec()).unwrap());
    let mut out = run(graph, &[(graph.inputs()[0], x)], graph.outputs()).unwrap();
    match out.swap_remove(0) {
        Array::Float(y) => y,
        other => panic!("expected floats, found {other:?}"),
    }
}

/// Configurations in turn, so that every combination comes up.
fn config(seed: u64) -> Config {
    let flag = |bit: u64| seed >> bit & 1 == 1;
    Config {
        element: if seed % 7 == 3 { ElementType::F32 } else { ElementType::F64 },
        rows: if flag(0) { Rows::Symbolic } else { Rows::Fixed(2) },
        input: if flag(1) { Input::Image } else { Input::Vector },
        functions: if flag(2) { Functions::Smooth } else { Functions::Any },
        blocks: 6,
        softmax: flag(3),
        ..Config::default()
    }
}

#[test]
fn networks_are_valid_varied_and_follow_from_their_seed() {
    let mut operators = BTreeSet::new();
    let mut collapsed = 0;
    for seed in 0..240 {
        let config = config(seed);
        let mut random = Random::new(seed);
        let graph = network(&mut random, &config);
        assert_eq!(graph, network(&mut Random::new(seed), &config), "seed {seed}");
        operators.extend(graph.nodes().iter().map(|node| node.operator.clone()));
        let (shape, values) = input_for(&mut random, &graph, 2);
        let y = predict(&graph, &shape, &values);
        assert_eq!(y.shape(), [2, config.classes], "seed {seed}");
        assert!(y.iter().all(|v| v.is_finite() && v.abs() < 1e4), "seed {seed}: {y}");
        collapsed += usize::from((y[[0, 0]] - y[[1, 0]]).abs() < 1e-12);
    }
    assert!(collapsed <= 8, "{collapsed} networks of 240 are constant");
    for wanted in [
        "Conv",
        "BatchNormalization",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Add",
        "Concat",
        "Mul",
        "Reshape",
        "Flatten",
        "Transpose",
        "Gemm",
        "MatMul",
        "LayerNormalization",
        "Softmax",
        "Split",
        "Slice",
        "Pad",
        "ReduceMean",
        "Pow",
        "Sqrt",
        "Div",
        "Neg",
        "Exp",
        "Sub",
        "Max",
        "Min",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "Tanh",
        "Softplus",
        "HardSwish",
        "Swish",
        "Gelu",
        "Mish",
        "Erf",
        "Softsign",
        "Abs",
    ] {
        assert!(operators.contains(wanted), "{wanted} never comes up");
    }
}

#[test]
fn rewrites_change_the_graph_and_not_the_function() {
    for rewrite in REWRITES {
        let mut found = 0;
        for seed in 0..60 {
            let config = Config { element: ElementType::F64, ..config(seed) };
            let mut random = Random::new(1000 + seed);
            let graph = network(&mut random, &config);
            let Some(rewritten) = (rewrite.apply)(&graph, &mut random) else { continue };
            found += 1;
            assert_ne!(graph.nodes(), rewritten.nodes(), "{} did nothing", rewrite.name);
            let (shape, values) = input_for(&mut random, &graph, 2);
            let (before, after) = (predict(&graph, &shape, &values), predict(&rewritten, &shape, &values));
            let largest = before.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            let error = (&before - &after).iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            assert!(error <= 1e-11 * largest.max(1.0), "{}, seed {seed}: {error}", rewrite.name);
        }
        assert!(found >= 5, "{} found only {found} places", rewrite.name);
    }
}
