//! Files of both PyTorch exporters, folded and unfolded.

use pellucid_compile::passes::{DEFAULT_LIMIT_ELEMENTS, fold, fold_batch_normalization};
use pellucid_compile::raise;
use pellucid_graph::{Graph, onnx};
use pellucid_reference::{Array, run};
use pellucid_testkit::golden;

use crate::operators;

/// Operators after raising, for networks made of activations: these counts, and none of the pieces.
const EXPECTED: &[(&str, &[(&str, usize)])] = &[
    (
        "activations",
        &[
            ("LeakyRelu", 1),
            ("PRelu", 2),
            ("Elu", 1),
            ("Selu", 1),
            ("Clip", 2),
            ("Sigmoid", 1),
            ("HardSigmoid", 1),
            ("Tanh", 1),
            ("Softplus", 1),
            ("HardSwish", 1),
            ("Swish", 1),
            ("Gelu", 2),
        ],
    ),
    (
        "smooth_activations",
        &[("Sigmoid", 1), ("Tanh", 1), ("Softplus", 1), ("Swish", 1), ("Gelu", 2), ("Mish", 1)],
    ),
    ("squeeze_excite", &[("Swish", 2), ("HardSwish", 1), ("HardSigmoid", 1), ("Sigmoid", 1), ("Relu", 1)]),
    ("layer_norm", &[("LayerNormalization", 2), ("Gelu", 1)]),
    ("transformer", &[("LayerNormalization", 3), ("Gelu", 1)]),
    ("depthwise", &[("Clip", 2), ("LeakyRelu", 1)]),
];

/// Pieces that only exporters write; none is left where a network consists of activations.
const PIECES: &[&str] = &["Erf", "Pow", "Where", "Greater", "CastLike", "Exp", "Log"];

fn output(graph: &Graph, x: &Array) -> ndarray::ArrayD<f64> {
    run(graph, &[(graph.inputs()[0], x.clone())], graph.outputs()).unwrap()[0].to_floats()
}

#[test]
fn activations_of_both_exporters_become_canonical() {
    for (name, expected) in EXPECTED {
        for variant in golden::load_one(name).variants {
            let graph = onnx::read_file(variant.path(), &onnx::Limits::default()).unwrap();
            let found = operators(&raise(&graph).unwrap());
            for (operator, count) in *expected {
                assert_eq!(found.get(*operator), Some(count), "{operator} in {}: {found:?}", variant.file);
            }
            let canonical = |operator: &str| expected.iter().any(|(name, _)| *name == operator);
            if matches!(*name, "transformer" | "depthwise") {
                // Attention, class tokens and absent biases are written with such nodes too.
                continue;
            }
            for piece in PIECES.iter().chain(&["Sigmoid", "Tanh", "Softplus"]) {
                assert!(canonical(piece) || !found.contains_key(*piece), "{piece} in {}", variant.file);
            }
        }
    }
}

/// Folding rounds each constant to its element type where the interpreter alone would not.
#[test]
fn every_golden_network_computes_the_same_folded() {
    for golden in golden::load() {
        let x = Array::Float(golden.input().clone());
        for variant in &golden.variants {
            let graph = onnx::read_file(variant.path(), &onnx::Limits::default()).unwrap();
            let folded = fold(&graph, DEFAULT_LIMIT_ELEMENTS).unwrap();
            let without = fold_batch_normalization(&folded).unwrap();
            let before = output(&graph, &x);
            let largest = before.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            for after in [&folded, &without] {
                let after = output(after, &x);
                let difference = (&before - &after).iter().fold(0.0_f64, |most, value| most.max(value.abs()));
                assert!(difference <= 1e-6 * largest, "{}: {difference:e} of {largest}", variant.file);
            }
            for layer in variant.layers.values() {
                assert!(folded.find(layer).is_some(), "{}: {layer} is gone", variant.file);
            }
            // How the newer exporter writes an absent bias is folded first, so nothing hides a product.
            if golden.name == "residual" {
                assert!(!operators(&without).contains_key("BatchNormalization"), "{}", variant.file);
            }
        }
    }
}

/// Exporters round √2, √(2/π) and 0.044715 to float32, which moves a GELU by 2e-8 of its value or so, and PyTorch
/// cuts Softplus off above 20, which moves it by 2e-9; the rest is the same to the last digits.
#[test]
fn every_golden_network_computes_the_same_raised() {
    let mut raised_files = 0;
    for golden in golden::load() {
        let x = Array::Float(golden.input().clone());
        for variant in &golden.variants {
            let graph = onnx::read_file(variant.path(), &onnx::Limits::default()).unwrap();
            let raised = raise(&graph).unwrap();
            assert_eq!(raise(&raised).unwrap(), raised, "{}", variant.file);
            if raised == graph {
                continue;
            }
            raised_files += 1;
            let (before, after) = (output(&graph, &x), output(&raised, &x));
            let largest = before.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            let difference = (&before - &after).iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            let counts = operators(&raised);
            let rounded = counts.contains_key("Gelu") || counts.contains_key("Softplus");
            let tolerance = if rounded { 1e-7 } else { 1e-12 };
            assert!(largest > 0.0 && difference <= tolerance * largest, "{}: {difference:e}", variant.file);
            for layer in variant.layers.values() {
                assert!(raised.find(layer).is_some(), "{}: {layer} is gone", variant.file);
            }
        }
    }
    assert!(raised_files > 20, "{raised_files} files had something to raise");
}
