//! Rules that tell signs apart see those of a `Gemm`'s weights and bias with its factors.

use ndarray::{ArrayD, IxDyn};
use pellucid_compile::methods::{ALL, find_compiled};
use pellucid_compile::{Builder, Request, Target, program};
use pellucid_graph::{Attribute, Dim, ElementType, Graph};
use pellucid_reference::{Array, run};
use pellucid_testkit::random_graph::Random;

use crate::attribute::Subject;

const INPUTS: usize = 5;
const WIDTH: usize = 7;
/// Both are float32 numbers, so that products with them are the same in both graphs.
const ALPHA: f32 = -0.75;
const BETA: f32 = -1.25;

/// Two layers of which the first is α · x · W + β · b: with factors, or with weights and a bias that they are in already.
fn network(with_factors: bool) -> Graph {
    let mut random = Random::new(404);
    let (w, b) = (random.numbers(INPUTS * WIDTH, -1.0, 1.0), random.numbers(WIDTH, -1.0, 1.0));
    let last = random.numbers(WIDTH * 2, -1.0, 1.0);
    let times = |numbers: Vec<f64>, factor: f32| -> Vec<f64> {
        let factor = if with_factors { 1.0 } else { f64::from(factor) };
        numbers.into_iter().map(|number| number * factor).collect()
    };
    let attributes = [("alpha", Attribute::Float(ALPHA)), ("beta", Attribute::Float(BETA))];
    let builder = Builder::new(Graph::new());
    let y = {
        let x = builder.input("x", ElementType::F64, vec![Dim::known(1), Dim::known(5)]);
        let w = builder.values(ElementType::F64, vec![INPUTS, WIDTH], &times(w, ALPHA));
        let b = builder.values(ElementType::F64, vec![WIDTH], &times(b, BETA));
        let h = builder.op("Gemm", &[x, w, b], if with_factors { &attributes } else { &[] });
        h.relu().matmul(builder.values(ElementType::F64, vec![WIDTH, 2], &last)).id()
    };
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![y]);
    graph
}

fn values(graph: &Graph, subject: &Subject, x: &ArrayD<f64>) -> ArrayD<f64> {
    let request = Request { target: Target::Index(1), ..Request::default() };
    let program = program(graph, &subject.method, &request).unwrap();
    let mut given = vec![(program.graph.inputs()[0], Array::Float(x.clone()))];
    for (_, name) in &program.baselines {
        given.push((program.graph.find(name).unwrap(), Array::Float(x.mapv(|_| 0.1))));
    }
    let wanted = program.graph.find(&program.attributions[0].1).unwrap();
    run(&program.graph, &given, &[wanted]).unwrap()[0].as_float().unwrap().clone()
}

#[test]
fn factors_of_a_layer_are_its_weights_and_its_bias() {
    let x = ArrayD::from_shape_vec(IxDyn(&[1, INPUTS]), Random::new(7).numbers(INPUTS, -1.0, 1.0)).unwrap();
    let named = |name: &str| name.starts_with("lrp-") || name == "excitation-backprop" || name == "deeplift";
    let mut subjects: Vec<Subject> = ALL
        .iter()
        .filter(|definition| named(definition.name))
        .map(|definition| Subject::of(definition))
        .collect();
    subjects.push(Subject::wrapped(find_compiled("deeplift").unwrap(), &[("rule", "reveal-cancel")]));
    assert!(subjects.len() > 9, "{} methods", subjects.len());
    for subject in &subjects {
        let [with, without] = [true, false].map(|factors| values(&network(factors), subject, &x));
        let largest = without.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let apart = (&with - &without).iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        assert!(largest > 1e-3 && apart <= 1e-12 * largest, "{}: {apart:e} of {largest:e}", subject.name);
    }
}
