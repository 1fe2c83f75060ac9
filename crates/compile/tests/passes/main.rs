//! Raising, lowering and folding against the interpreter.

#![expect(clippy::unwrap_used, reason = "what tests share may panic as they do")]
#![expect(clippy::approx_constant, reason = "numbers as people write them are what is tried")]

mod folding;
mod goldens;
mod properties;
mod raising;
mod rewriting;
mod spellings;

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use pellucid_compile::{Builder, Var};
use pellucid_graph::{Attribute, Dim, ElementType, Graph};
use pellucid_reference::{Array, run};

/// A graph of input `x`, [n, 4, 6] of `element`, and output `y`.
fn graph_of(element: ElementType, formula: impl for<'g> Fn(Var<'g>) -> Var<'g>) -> Graph {
    let b = Builder::with_prefix(Graph::new(), "piece");
    let x = b.input("x", element, vec![Dim::symbol("n"), Dim::known(4), Dim::known(6)]);
    let y = b.named("Identity", formula(x), "y").id();
    let mut graph = b.finish().unwrap();
    graph.set_outputs(vec![y]);
    without_last_identity(&graph)
}

/// `y` itself is the pattern's value, not a copy of it.
fn without_last_identity(graph: &Graph) -> Graph {
    let copy = graph.producer_of(graph.find("y").unwrap()).unwrap();
    let value = graph.node(copy).input(0).unwrap();
    let mut graph = graph.clone();
    graph.rename(graph.find("y").unwrap(), "copy").unwrap();
    graph.rename(value, "y").unwrap();
    graph.set_outputs(vec![value]);
    graph.pruned().unwrap()
}

/// How many nodes of each operator, bodies included.
fn operators(graph: &Graph) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for node in graph.nodes() {
        *counts.entry(node.operator.clone()).or_insert(0) += 1;
        for attribute in node.attributes.values() {
            if let Attribute::Graph(body) = attribute {
                for (operator, count) in operators(body) {
                    *counts.entry(operator).or_insert(0) += count;
                }
            }
        }
    }
    counts
}

fn counts(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(operator, count)| ((*operator).to_owned(), *count)).collect()
}

/// Numbers from −9 to 9, kinks and large ones among them; every element of a row differs.
fn samples(shape: &[usize]) -> ArrayD<f64> {
    let count: usize = shape.iter().product();
    let spread = |place: usize| ((place * 37 + 11) % 101) as f64 / 101.0 * 18.0 - 9.0;
    let mut values: Vec<f64> = (0..count).map(spread).collect();
    if count > 8 {
        values[1] = 0.0;
        values[2] = 25.0;
        values[3] = -30.0;
        values[5] = 3.0;
        values[7] = -3.0;
    }
    ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
}

/// The outputs at [`samples`] for every input, symbolic sizes being 3.
fn outputs(graph: &Graph) -> Vec<ArrayD<f64>> {
    let inputs: Vec<_> = graph
        .inputs()
        .iter()
        .map(|id| {
            let shape: Vec<usize> =
                graph.value(*id).shape.iter().flatten().map(|dim| dim.size().unwrap_or(3)).collect();
            (*id, Array::Float(samples(&shape)))
        })
        .collect();
    run(graph, &inputs, graph.outputs()).unwrap().iter().map(Array::to_floats).collect()
}

/// Largest difference, relative to the largest value where that is above 1.
fn deviation(a: &Graph, b: &Graph) -> f64 {
    let (a, b) = (outputs(a), outputs(b));
    assert_eq!(a.len(), b.len());
    let mut largest = 0.0_f64;
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.shape(), b.shape());
        let scale = a.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!(a.is_finite() && b.is_finite(), "{a} and {b}");
            largest = largest.max((a - b).abs() / scale);
        }
    }
    largest
}

fn output_names(graph: &Graph) -> Vec<String> {
    graph.outputs().iter().map(|id| graph.value(*id).name.clone()).collect()
}
