//! Conservation of relevance, over random networks of linear, rectifier, sum, concat and pooling operators without
//! biases.

use ndarray::{ArrayD, IxDyn};
use pellucid_compile::methods::{Settings, find_compiled};
use pellucid_compile::{Builder, Keep, Method, Request, Target, Var, program};
use pellucid_graph::{Attribute, Dim, ElementType, Graph};
use pellucid_reference::{Array, run};
use pellucid_testkit::random_graph::Random;

use crate::attribute::Subject;

const NETWORKS: u64 = 40;
const CLASSES: usize = 3;

/// A random network and a row that it takes.
fn network(random: &mut Random) -> (Graph, ArrayD<f64>) {
    let builder = Builder::new(Graph::new());
    let sizes = [2, random.whole(4, 6), random.whole(4, 6)];
    let shape: Vec<Dim> = [1].iter().chain(&sizes).map(|size| Dim::from(*size)).collect();
    let mut value = builder.input("x", ElementType::F64, shape);
    for _ in 0..random.whole(2, 4) {
        value = block(random, value);
    }
    let spatial = [2, 3];
    let flat = match random.below(3) {
        0 => value.apply("GlobalAveragePool").squeeze(&spatial),
        1 => value.mean(&spatial, Keep::None),
        _ => builder.op("Flatten", &[value], &[]),
    };
    let hidden = matrix(random, flat, 5).relu();
    // Both spellings of a residual sum: of a value and a function of it, and of three values.
    let other = matrix(random, hidden, 5);
    let sum =
        if random.chance(0.5) { hidden + other } else { builder.op("Sum", &[hidden, other, other], &[]) };
    let y = matrix(random, sum, CLASSES).id();
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![y]);
    let count: usize = sizes.iter().product();
    let x =
        ArrayD::from_shape_vec(IxDyn(&[1, sizes[0], sizes[1], sizes[2]]), random.numbers(count, -1.5, 1.5));
    (graph, x.unwrap())
}

fn matrix<'g>(random: &mut Random, x: Var<'g>, outputs: usize) -> Var<'g> {
    let inputs = x.size(1).unwrap();
    let weights = random.numbers(inputs * outputs, -1.0, 1.0);
    x.matmul(x.builder().values(ElementType::F64, vec![inputs, outputs], &weights))
}

fn convolution<'g>(random: &mut Random, x: Var<'g>, outputs: usize) -> Var<'g> {
    let inputs = x.size(1).unwrap();
    let weights = random.numbers(inputs * outputs * 9, -1.0, 1.0);
    let weights = x.builder().values(ElementType::F64, vec![outputs, inputs, 3, 3], &weights);
    x.builder().op("Conv", &[x, weights], &[("pads", Attribute::Ints(vec![1; 4]))])
}

fn block<'g>(random: &mut Random, x: Var<'g>) -> Var<'g> {
    let builder = x.builder();
    let channels = x.size(1).unwrap();
    let window = [("kernel_shape", Attribute::Ints(vec![2, 2])), ("strides", Attribute::Ints(vec![1, 1]))];
    let roomy = x.size(2).unwrap() > 2 && x.size(3).unwrap() > 2;
    match random.below(7) {
        0 => convolution(random, x, 3).relu(),
        1 => builder.op("LeakyRelu", &[convolution(random, x, 2)], &[("alpha", Attribute::Float(0.2))]),
        2 => convolution(random, x.relu(), channels) + x,
        3 => builder.concat(&[convolution(random, x, 2).relu(), x], 1),
        4 if roomy => builder.op("MaxPool", &[x], &window),
        5 if roomy => builder.op("AveragePool", &[x], &window),
        4 | 5 => x.relu(),
        _ => convolution(random, x, channels).relu() - convolution(random, x, channels),
    }
}

/// The score, what the inputs get in all, and Σ of its magnitudes.
fn shares(method: &Method, graph: &Graph, x: &ArrayD<f64>, class: usize) -> (f64, f64, f64) {
    let request = Request { target: Target::Index(class), ..Request::default() };
    let program = program(graph, method, &request).unwrap();
    let compiled = &program.graph;
    let wanted = [&program.score, &program.attributions[0].1].map(|name| compiled.find(name).unwrap());
    let given = [(compiled.inputs()[0], Array::Float(x.clone()))];
    let results = run(compiled, &given, &wanted).unwrap();
    let [Array::Float(score), Array::Float(values)] = &results[..] else { panic!("floats were asked for") };
    let magnitude = values.iter().map(|value| value.abs()).sum();
    (score.sum(), values.sum(), magnitude)
}

/// As stabilisers vanish, Σ values = score within 1e-9 · Σ |values|.
pub(crate) fn conservation(subject: &Subject) -> Result<(), String> {
    let method = vanishing(subject);
    let mut failures = Vec::new();
    let mut checked = 0;
    for seed in 0..NETWORKS {
        let mut random = Random::new(9000 + seed);
        let (graph, x) = network(&mut random);
        for class in 0..CLASSES {
            let (score, sum, magnitude) = shares(&method, &graph, &x, class);
            if magnitude < 1e-9 {
                continue;
            }
            checked += 1;
            let gap = (score - sum).abs();
            if gap.is_nan() || gap > 1e-9 * magnitude {
                failures.push(format!("seed {seed}, class {class}: {gap} of {magnitude} is lost"));
            }
        }
    }
    assert!(checked > 50, "conservation of {} was checked {checked} times only", subject.name);
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("conservation of {}: {} failures:\n{}", subject.name, failures.len(), failures.join("\n")))
}

/// The subject's method with stabilisers of 1e-12; one whose rules were changed is taken as it is.
fn vanishing(subject: &Subject) -> Method {
    let definition = find_compiled(subject.name).unwrap();
    let plain = Subject::of(definition).method;
    if format!("{:?}", plain.rules) != format!("{:?}", subject.method.rules) {
        return subject.method.clone();
    }
    let given: Vec<(String, String)> = definition
        .parameters
        .iter()
        .filter(|parameter| ["epsilon", "stabilizer"].contains(&parameter.name))
        .map(|parameter| (parameter.name.to_owned(), "1e-12".to_owned()))
        .collect();
    let settings = Settings::new(definition, &given).unwrap();
    definition.method(&settings).unwrap().unwrap()
}
