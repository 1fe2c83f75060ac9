//! Integrals along a path whose derivative is nowhere that is looked at first.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use pellucid::{Array, Explanation, Inputs, Model, Options, Silent, explain};
use pellucid_graph::{Dim, ElementType, Graph, NewNode, Tensor};

/// A score that goes from 0 to 1 while x does from `from` to `from` + `width`, and is level everywhere else.
fn step(from: f32, width: f32) -> Model {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::symbol("n"), Dim::known(1)])).unwrap();
    let number = |graph: &mut Graph, name: &str, value: f32| {
        graph.add_constant(name, Tensor::from_f32(vec![1, 1], &[value]).unwrap()).unwrap()
    };
    let steep = number(&mut graph, "steep", 1.0 / width);
    let offset = number(&mut graph, "offset", from / width);
    let one = number(&mut graph, "one", 1.0);
    let scaled = graph.push_one(NewNode::new("Mul", &[x, steep], "scaled")).unwrap();
    let low = graph.push_one(NewNode::new("Sub", &[scaled, offset], "low")).unwrap();
    let high = graph.push_one(NewNode::new("Sub", &[low, one], "high")).unwrap();
    let rising = graph.push_one(NewNode::new("Relu", &[low], "rising")).unwrap();
    let level = graph.push_one(NewNode::new("Relu", &[high], "level")).unwrap();
    let y = graph.push_one(NewNode::new("Sub", &[rising, level], "y")).unwrap();
    graph.add_output(y).unwrap();
    Model::from_graph("step", graph).unwrap()
}

fn explained(model: &Model) -> Explanation {
    let x = Array::from_f32(&[1, 1], vec![1.0]).unwrap();
    let inputs = Inputs::from_arrays(vec![("x".to_owned(), x)]).unwrap();
    explain(model, inputs, &Options::new("integrated-gradients"), &Silent).unwrap()
}

#[test]
fn a_score_that_moves_between_the_first_points_is_looked_for() {
    // Wide enough for the points that are allowed to find it, and between those of the first round.
    let found = explained(&step(0.4, 0.02));
    let value = found.explained[0].attribution.values[0].1[[0, 0]];
    assert!((value - 1.0).abs() < 0.05, "{value}");
    assert!(found.notes.iter().all(|note| !note.contains("did not reach")), "{:?}", found.notes);
}

/// Where it is not found, that is said.
#[test]
fn what_no_point_finds_is_told() {
    let found = explained(&step(0.4, 1e-6));
    let value = found.explained[0].attribution.values[0].1[[0, 0]];
    assert!(value.abs() < 1e-6, "{value}");
    assert!(found.notes.iter().any(|note| note.contains("did not reach the tolerance")), "{:?}", found.notes);
}
