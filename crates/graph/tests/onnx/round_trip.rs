//! What is written is read again as the same graph.

use std::collections::BTreeMap;

use bytes::Bytes;
use pellucid_graph::onnx::{self, EncodeOptions, Limits};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor};

use crate::wire::{graph, model, node, read, small, typed, value};

fn rewritten(graph: &Graph) -> Graph {
    let encoded = onnx::encode(graph, &EncodeOptions::default()).unwrap();
    onnx::decode(Bytes::from(encoded.model), &Limits::default()).unwrap()
}

#[test]
fn a_read_graph_is_written_and_read_as_it_is() {
    let mut first = read(small()).unwrap();
    first.producer = "a test".to_owned();
    assert_eq!(rewritten(&first), first);
}

#[test]
fn everything_that_a_graph_holds_is_kept() {
    let mut graph = Graph::new();
    graph.name = "net".to_owned();
    graph.producer = "somebody 1.2".to_owned();
    graph.description = "what it does".to_owned();
    graph.metadata = BTreeMap::from([("pellucid.labels".to_owned(), "[\"cat\"]".to_owned())]);
    let n = Dim::symbol("n");
    let twice = n.scaled(2).unwrap();
    let x = graph.add_input("x", ElementType::F32, Some(vec![n, Dim::known(2)])).unwrap();
    let noise = graph.add_input("noise", ElementType::F32, Some(vec![twice, Dim::known(2)])).unwrap();
    for element in ElementType::ALL {
        let tensor = Tensor::from_values(element, vec![3], &[0.0, 1.0, 1.0]).unwrap();
        graph.add_constant(format!("constant of {element}"), tensor).unwrap();
    }
    let mut fill = NewNode::new("LeakyRelu", &[x], "y").with("alpha", Attribute::Float(f32::MIN_POSITIVE));
    fill.metadata = BTreeMap::from([("namespace".to_owned(), "net.layer1".to_owned())]);
    fill.name = "rectifier".to_owned();
    let y = graph.push_one(fill).unwrap();
    let mut dropped = NewNode::new("MaxPool", &[], "pooled").with("kernel_shape", Attribute::Ints(vec![1]));
    let rows = graph.push_one(NewNode::new("Unsqueeze", &[y], "rows")).err();
    assert!(rows.is_some(), "an axis is missing");
    let axes = graph.add_constant("axes", Tensor::integers(&[0])).unwrap();
    let rows = graph.push_one(NewNode::new("Unsqueeze", &[noise, axes], "rows")).unwrap();
    dropped.inputs = vec![Some(rows)];
    dropped.outputs.push(String::new());
    graph.push(dropped).unwrap();
    let z = graph.find("pooled").unwrap();
    graph.set_outputs(vec![y, z, x]);
    let read = rewritten(&graph);
    // Constants come before nodes in a file; otherwise all is the same.
    assert_eq!(read.text().lines().count(), graph.text().lines().count());
    assert_eq!(read.name, graph.name);
    assert_eq!(read.producer, graph.producer);
    assert_eq!(read.description, graph.description);
    assert_eq!(read.metadata, graph.metadata);
    assert_eq!(read.nodes()[0].metadata, graph.nodes()[0].metadata);
    assert_eq!(read.text(), graph.text());
    assert_eq!(rewritten(&read), read);
}

#[test]
fn bodies_are_kept() {
    let then_branch = graph(&[node("Add", &["x", "x"], &["t"])], &[], &["t"], &[]);
    // Hands an outer value on, which goes through Identity when it is written.
    let else_branch = graph(&[], &[], &["x"], &[]);
    let nodes = [
        node("If", &["c"], &["h"])
            .with_body("then_branch", &then_branch)
            .with_body("else_branch", &else_branch),
        // The name is used in a branch too.
        node("Neg", &["h"], &["t"]),
    ];
    let inputs = [value("x", &["n"]), typed("c", 9, &[])];
    let first = read(model(18, &graph(&nodes, &inputs, &["t"], &[]))).unwrap();
    let second = rewritten(&first);
    insta::assert_snapshot!("bodies_are_kept", second.text());
    assert_eq!(rewritten(&second), second);
}

#[test]
fn operators_of_later_opsets_are_not_written() {
    let nodes = [node("Gelu", &["x"], &["h"]), node("Swish", &["h"], &["y"])];
    let graph = read(model(24, &graph(&nodes, &[value("x", &["n"])], &["y"], &[]))).unwrap();
    assert_eq!(
        onnx::encode(&graph, &EncodeOptions::default()).unwrap_err().to_string(),
        "opset 18 lacks Gelu (node \"the Gelu\"), Swish (node \"the Swish\"): lower them before writing"
    );
}

#[test]
fn graphs_that_no_file_can_hold_are_refused() {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, None).unwrap();
    graph.set_outputs(vec![x, x]);
    let message = |graph: &Graph| onnx::encode(graph, &EncodeOptions::default()).unwrap_err().to_string();
    assert_eq!(message(&graph), "output \"x\" is listed twice");
    let mut graph = Graph::new();
    graph.add_input("", ElementType::F32, None).unwrap();
    assert_eq!(
        message(&graph),
        "an input, constant or output has an empty name, which in a file means that it is left out"
    );
}
