//! Compiled graphs of a few tiny models as text: what the compiler emits, for people to read.

use pellucid_compile::{Artefact, Baseline, Options, Points, Quadrature, Request, Target, artefact};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};

use crate::attribute::Subject;

fn parameter(graph: &mut Graph, name: &str, shape: &[usize], values: &[f32]) -> ValueId {
    graph.add_constant(name, Tensor::from_f32(shape.to_vec(), values).unwrap()).unwrap()
}

/// Gemm, Relu, Gemm.
fn perceptron() -> Graph {
    let mut graph = Graph::new();
    let shape = vec![Dim::symbol("n"), Dim::known(2)];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let w = parameter(&mut graph, "w", &[2, 3], &[1.0, -2.0, 0.5, 0.25, 1.5, -1.0]);
    let b = parameter(&mut graph, "b", &[3], &[0.1, -0.1, 0.2]);
    let v = parameter(&mut graph, "v", &[3, 2], &[1.0, -1.0, 0.5, 2.0, -0.5, 0.75]);
    let inner = graph.push_one(NewNode::new("Gemm", &[x, w, b], "inner")).unwrap();
    let active = graph.push_one(NewNode::new("Relu", &[inner], "active")).unwrap();
    let y = graph.push_one(NewNode::new("MatMul", &[active, v], "y")).unwrap();
    graph.add_output(y).unwrap();
    graph
}

/// Conv of stride 2, SiLU, global mean, Gemm, Softmax.
fn convolution() -> Graph {
    let mut graph = Graph::new();
    let shape = vec![Dim::symbol("n"), Dim::known(1), Dim::known(5), Dim::known(4)];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let w = parameter(&mut graph, "w", &[2, 1, 2, 2], &[1.0, -1.0, 0.5, 2.0, -0.5, 0.75, 1.25, -2.0]);
    let v = parameter(&mut graph, "v", &[2, 2], &[1.0, -1.0, 0.5, 2.0]);
    let convolved = NewNode::new("Conv", &[x, w], "convolved").with("strides", Attribute::Ints(vec![2, 2]));
    let convolved = graph.push_one(convolved).unwrap();
    let active = graph.push_one(NewNode::new("Swish", &[convolved], "active")).unwrap();
    let pooled = graph.push_one(NewNode::new("GlobalAveragePool", &[active], "pooled")).unwrap();
    let flat = graph.push_one(NewNode::new("Flatten", &[pooled], "flat")).unwrap();
    let logits = graph.push_one(NewNode::new("Gemm", &[flat, v], "logits")).unwrap();
    let y = graph.push_one(NewNode::new("Softmax", &[logits], "y")).unwrap();
    graph.add_output(y).unwrap();
    graph
}

fn compiled(graph: &Graph, subject: &Subject, options: &Options) -> String {
    let Artefact { graph, .. } = artefact(graph, &subject.method, options).unwrap();
    graph.text()
}

#[test]
fn gradient_of_a_perceptron() {
    let subject = Subject::named("gradient");
    insta::assert_snapshot!(compiled(&perceptron(), &subject, &Options::default()));
}

#[test]
fn guided_backprop_of_a_perceptron_for_its_top_class() {
    let request = Request { target: Target::Rank(0), ..Request::default() };
    let options = Options { request, ..Options::default() };
    insta::assert_snapshot!(compiled(&perceptron(), &Subject::named("guided-backprop"), &options));
}

#[test]
fn grad_cam_of_a_convolution() {
    let subject = Subject::named("grad-cam");
    insta::assert_snapshot!(compiled(&convolution(), &subject, &Options::default()));
}

#[test]
fn integrated_gradients_of_a_perceptron_in_a_loop() {
    let subject = Subject::named("integrated-gradients").with_method(|method| {
        method.points = Points::Path { quadrature: Quadrature::GaussLegendre, steps: 3 };
    });
    let request = Request { target: Target::Index(1), ..Request::default() };
    let options = Options { request, baseline: Baseline::Zero, chunk: 2, ..Options::default() };
    insta::assert_snapshot!(compiled(&perceptron(), &subject, &options));
}
