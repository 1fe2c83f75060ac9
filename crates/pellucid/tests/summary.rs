//! A summary against what is counted by hand.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use pellucid::summary::{Field, Parameters};
use pellucid::{Model, SummaryOptions, summary};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};

fn constant(graph: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|k| (k as f32 * 0.7).sin() + 0.1).collect();
    graph.add_constant(name, Tensor::from_f32(shape.to_vec(), &values).unwrap()).unwrap()
}

/// A convolution with bias, its normalisation, a pool, and a matrix that is used twice.
fn network() -> Model {
    let mut graph = Graph::new();
    let known = |size: i64| Dim::known(size);
    let shape = vec![Dim::symbol("n"), known(3), known(8), known(8)];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let weight = constant(&mut graph, "conv.weight", &[4, 3, 3, 3]);
    let bias = constant(&mut graph, "conv.bias", &[4]);
    let conv = NewNode::new("Conv", &[x, weight, bias], "a").with("pads", Attribute::Ints(vec![1; 4]));
    let a = graph.push_one(conv).unwrap();
    let norm: Vec<ValueId> = ["weight", "bias", "running_mean", "running_var"]
        .map(|name| constant(&mut graph, &format!("norm.{name}"), &[4]))
        .to_vec();
    let b = graph
        .push_one(NewNode::new("BatchNormalization", &[a, norm[0], norm[1], norm[2], norm[3]], "b"))
        .unwrap();
    let c = graph.push_one(NewNode::new("Relu", &[b], "c")).unwrap();
    let pool = NewNode::new("MaxPool", &[c], "d")
        .with("kernel_shape", Attribute::Ints(vec![2, 2]))
        .with("strides", Attribute::Ints(vec![2, 2]));
    let d = graph.push_one(pool).unwrap();
    let flat = graph.push_one(NewNode::new("Flatten", &[d], "e")).unwrap();
    let matrix = constant(&mut graph, "head.weight", &[64, 10]);
    let first = graph.push_one(NewNode::new("MatMul", &[flat, matrix], "f")).unwrap();
    let doubled = graph.push_one(NewNode::new("Add", &[flat, flat], "g")).unwrap();
    let second = graph.push_one(NewNode::new("MatMul", &[doubled, matrix], "h")).unwrap();
    let sum = graph.push_one(NewNode::new("Add", &[first, second], "i")).unwrap();
    let bias = constant(&mut graph, "head.bias", &[10]);
    let y = graph.push_one(NewNode::new("Add", &[sum, bias], "y")).unwrap();
    graph.add_output(y).unwrap();
    Model::from_graph("network", graph).unwrap()
}

#[test]
fn counts_are_those_by_hand() {
    let found = summary(&network(), &SummaryOptions { rows: 2, ..SummaryOptions::default() }).unwrap();
    // 4·27 + 4 of the convolution, 4 + 4 of the normalisation, 64·10 of the matrix once, 10 of its bias.
    assert_eq!(found.parameters, Parameters { trainable: 108 + 4 + 8 + 640 + 10, statistics: 8 });
    // By row 4·64 places of 27 products, and twice 10 of 64.
    assert_eq!(found.multiply_adds, Some(2 * (256 * 27 + 2 * 640)));
    assert_eq!(found.memory.weights, 4 * (770 + 8));
    // The convolution's result and the normalisation's, of two rows.
    assert_eq!(found.memory.peak_activations, Some(2 * 4 * 2 * 256));
    let named = |name: &str| found.layers.iter().find(|layer| layer.value == name).unwrap();
    assert_eq!(named("d").receptive_field, Some(vec![Field { size: 4, stride: 2 }; 2]));
    assert_eq!(named("f").name, "head");
    assert!(named("f").shared.is_empty());
    assert_eq!(named("h").shared, ["head.weight"]);
    assert_eq!(named("h").parameters, Parameters::default());
    assert!(found.layers.iter().all(|layer| layer.kind != "Flatten"), "what only moves numbers is no layer");
    assert!(found.notes.iter().any(|note| note.contains("head.weight")));
    let weights = named("f").weights.as_ref().unwrap();
    assert_eq!((weights.channel_norms.len(), weights.shape.as_slice()), (10, &[64, 10][..]));
}

#[test]
fn a_size_that_the_model_does_not_have_is_refused() {
    let mut options = SummaryOptions::default();
    options.sizes.insert("height".to_owned(), 3);
    let refused = summary(&network(), &options).unwrap_err().to_string();
    assert!(refused.contains("height") && refused.contains('n'), "{refused}");
}
