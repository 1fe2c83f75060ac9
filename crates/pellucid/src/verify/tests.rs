//! What agrees is found to agree; what was changed is found, and named.

use pellucid_graph::{Attribute, Dim, NewNode, Tensor};

use super::*;
use crate::explain::Silent;

/// `Relu(x · w)` and a softmax of it, `Hardmax` between where `step` says so.
fn network(step: bool) -> Model {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::symbol("n"), Dim::known(6)])).unwrap();
    let weights: Vec<f32> = (0..24_u16).map(|i| f32::from(i * 7 % 11) / 5.0 - 1.0).collect();
    let w = graph.add_constant("w", Tensor::from_f32(vec![6, 4], &weights).unwrap()).unwrap();
    let y = graph.push_one(NewNode::new("MatMul", &[x, w], "product")).unwrap();
    let mut y = graph.push_one(NewNode::new("Relu", &[y], "active")).unwrap();
    if step {
        y = graph.push_one(NewNode::new("Ceil", &[y], "steps")).unwrap();
    }
    let y = graph.push_one(NewNode::new("Softmax", &[y], "y").with("axis", Attribute::Int(1))).unwrap();
    graph.add_output(y).unwrap();
    Model::from_graph("network", graph).unwrap()
}

#[test]
fn engines_that_compute_the_same_agree() {
    let found = verify(&network(false), None, &Verify::default(), &Silent).unwrap();
    assert!(found.agree, "{found}");
    assert!(!found.engines.is_empty());
    assert_eq!(found.measure, Engine::ALL.into_iter().find(|engine| engine.is_exact()).unwrap().name());
    let text = found.to_string();
    assert!(text.contains("agree within what float32 rounding does"), "{text}");
    assert_eq!(found.to_json()["agree"], true);
}

#[test]
fn one_engine_has_nothing_to_be_compared_with() {
    let options = Verify { engines: vec![Engine::default()], ..Verify::default() };
    let found = verify(&network(false), None, &options, &Silent).unwrap();
    assert_eq!(found.verdict, format!("only {} ran: there is nothing to compare it with", found.measure));
}

#[test]
fn a_difference_past_rounding_parts() {
    let row = |name: &str, gradient: f64| Compared {
        name: name.to_owned(),
        prediction: Difference::Relative(1e-7),
        gradient: Difference::Relative(gradient),
        attribution: Difference::Failed("it has none".to_owned()),
        seconds: 0.0,
    };
    let rounding = row("rounding", 1e-4);
    assert_eq!(parts(&row("a", 9e-4), &rounding), None, "within what rounding does");
    assert_eq!(parts(&row("a", 2e-3), &rounding), Some("gradient"));
    assert_eq!(parts(&row("a", f64::INFINITY), &rounding), Some("gradient"));
    let failed = Compared { prediction: Difference::Failed("it failed".to_owned()), ..row("a", 0.0) };
    assert_eq!(parts(&failed, &rounding), Some("prediction"));
}

/// Two graphs that differ in one node stand for two engines: the node is named, not those behind it.
#[test]
fn the_first_node_that_differs_is_named() {
    let model = network(true);
    let inputs = drawn(&model, 3).unwrap();
    let options = Verify::default();
    let engines = (Engine::default(), Engine::ALL.into_iter().find(|engine| engine.is_exact()).unwrap());
    let agreed = part::find(&model, &inputs, &options, engines, ("prediction", None), &Silent).unwrap();
    assert_eq!(agreed.node, None);
    let graph = model.graph();
    let mut differences = vec![0.0; graph.values().len()];
    for (value, difference) in [("product", 1e-7), ("active", 1e-7), ("steps", 0.2), ("y", 0.1)] {
        differences[graph.find(value).unwrap().index()] = difference;
    }
    let blamed: Vec<String> = graph
        .nodes()
        .iter()
        .filter_map(|node| part::blamed(graph, node, &differences))
        .map(|p| p.value)
        .collect();
    assert_eq!(blamed, ["steps"]);
}

#[test]
fn free_sizes_need_an_input() {
    let mut graph = Graph::new();
    let shape = vec![Dim::symbol("n"), Dim::symbol("length")];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let y = graph.push_one(NewNode::new("Exp", &[x], "y")).unwrap();
    graph.add_output(y).unwrap();
    let model = Model::from_graph("free", graph).unwrap();
    let error = verify(&model, None, &Verify::default(), &Silent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x: its sizes are free, so no numbers can be drawn for it: give an input file"
    );
}

#[test]
fn large_models_leave_the_exact_engine_out() {
    let model = network(false);
    assert!(work(model.graph()) < 1000.0);
    let (engines, skipped) = chosen(model.graph(), &Verify::default());
    assert!(engines[0].is_exact());
    assert!(skipped.iter().all(|(name, _)| name != engines[0].name()));
}
