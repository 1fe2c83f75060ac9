//! Random stacks of spellings, and random networks.

use pellucid_compile::passes::{DEFAULT_LIMIT_ELEMENTS, fold, fold_batch_normalization};
use pellucid_compile::{Builder, lower, raise};
use pellucid_graph::{Dim, ElementType, Graph, onnx};
use pellucid_testkit::random_graph::{Config, Random, network};
use proptest::prelude::*;

use crate::spellings::{NEAR_MISSES, SPELLINGS};
use crate::{deviation, operators, output_names};

/// Formulas one after another, each kept small, with a shortcut around every second one.
fn stack(choices: &[usize]) -> Graph {
    let b = Builder::new(Graph::new());
    let mut x = b.input("x", ElementType::F64, vec![Dim::known(2), Dim::known(4), Dim::known(6)]);
    for (position, choice) in choices.iter().enumerate() {
        let formula = match SPELLINGS.get(*choice) {
            Some(spelling) => spelling.formula,
            None => NEAR_MISSES[choice - SPELLINGS.len()].1,
        };
        let y = formula(x).apply("Tanh") * 3.0;
        x = if position % 2 == 1 && y.shape().unwrap() == x.shape().unwrap() { x + y } else { y };
    }
    let y = x.id();
    let mut graph = b.finish().unwrap();
    graph.set_outputs(vec![y]);
    graph
}

/// The formulas whose result has the shape of x.
fn choices() -> impl Strategy<Value = Vec<usize>> {
    let widens = |choice: &usize| {
        choice.checked_sub(SPELLINGS.len()).is_none_or(|miss| !NEAR_MISSES[miss].0.contains("widens"))
    };
    let one = (0..SPELLINGS.len() + NEAR_MISSES.len()).prop_filter("of the same rank", widens);
    prop::collection::vec(one, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn stacks_compute_the_same(choices in choices()) {
        let graph = stack(&choices);
        let raised = raise(&graph).unwrap();
        prop_assert_eq!(raise(&raised).unwrap(), raised.clone());
        let lowered = lower(&raised).unwrap();
        prop_assert!(onnx::encode(&lowered, &onnx::EncodeOptions::default()).is_ok());
        prop_assert_eq!(output_names(&lowered), output_names(&graph));
        // Steep pieces amplify the rounding of attributes and of written digits.
        prop_assert!(deviation(&graph, &raised) < 1e-3, "{:?}", operators(&raised));
        prop_assert!(deviation(&raised, &lowered) < 1e-9, "{:?}", operators(&raised));
    }

    #[test]
    fn networks_compute_the_same(seed in any::<u64>()) {
        let graph = network(&mut Random::new(seed), &Config::default());
        let raised = raise(&graph).unwrap();
        prop_assert!(deviation(&graph, &lower(&raised).unwrap()) < 1e-6);
        prop_assert!(deviation(&graph, &fold_batch_normalization(&graph).unwrap()) < 1e-9);
        prop_assert!(deviation(&graph, &fold(&graph, DEFAULT_LIMIT_ELEMENTS).unwrap()) < 1e-12);
    }
}
