//! Maps and `FullGrad`: sums that their papers promise, over networks in the `f64` interpreter.

use ndarray::{ArrayD, Axis};
use pellucid_compile::methods::Settings;
use pellucid_compile::methods::find_compiled;
use pellucid_compile::{Builder, Method, Request, program};
use pellucid_graph::{Attribute, Dim, ElementType, Graph};
use pellucid_reference::{Array, run};
use pellucid_testkit::random_graph::{Config, Functions, Random, network};

use crate::attribute::{Case, Subject};

/// Score, attribution and, where the method knows one, gap, of every row.
struct Found {
    scores: Vec<f64>,
    values: ArrayD<f64>,
    gaps: Option<Vec<f64>>,
}

impl Found {
    /// The sum of each row's values.
    fn sums(&self) -> Vec<f64> {
        self.values.axis_iter(Axis(0)).map(|row| row.sum()).collect()
    }
}

fn found(graph: &Graph, method: &Method, layer: Option<&str>, x: &ArrayD<f64>, target: &[i64]) -> Found {
    let request = Request { layer: layer.map(str::to_owned), ..Request::default() };
    let program =
        program(graph, method, &request).unwrap_or_else(|error| panic!("{error}\n{}", graph.text()));
    let compiled = &program.graph;
    let find = |name: &str| compiled.find(name).unwrap();
    let given = [
        (compiled.inputs()[0], Array::Float(x.clone())),
        (find(program.target.as_ref().unwrap()), Array::Int(ndarray::arr1(target).into_dyn())),
    ];
    let mut wanted = vec![find(&program.score), find(&program.attributions[0].1)];
    wanted.extend(program.gap.as_deref().map(find));
    let results = run(compiled, &given, &wanted).unwrap();
    let floats = |index: usize| results[index].as_float().unwrap();
    Found {
        scores: floats(0).iter().copied().collect(),
        values: floats(1).clone(),
        gaps: (results.len() > 2).then(|| floats(2).iter().copied().collect()),
    }
}

fn method(name: &str, settings: &[(&str, &str)]) -> Method {
    let definition = find_compiled(name).unwrap();
    let given: Vec<(String, String)> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    definition.method(&Settings::new(definition, &given).unwrap()).unwrap().unwrap()
}

/// Input-gradient × input and the terms of every bias sum to the score, and so do the values of the signed map: over
/// random networks of linear operators, rectifiers and any other functions.
pub(crate) fn full_completeness(subject: &Subject) -> Result<(), String> {
    let mut failures = Vec::new();
    let mut checked = 0;
    for seed in 0..32 {
        let mut random = Random::new(4000 + seed);
        let config = Config { functions: Functions::Any, softmax: false, ..Config::default() };
        let graph = network(&mut random, &config);
        let case = Case::random(&mut random, &graph, config.classes);
        let signed = method("full-grad", &[("form", "signed")]);
        let found = found(
            &graph,
            &Method { rules: subject.method.rules.clone(), ..signed },
            None,
            &case.x,
            &case.target,
        );
        let size = found.values.iter().fold(1e-3, |sum: f64, value| sum + value.abs());
        let gaps = found.gaps.clone().unwrap();
        for (row, sum) in found.sums().into_iter().enumerate() {
            checked += 1;
            let (gap, left) = (gaps[row], found.scores[row] - sum);
            if gap.is_nan() || gap.abs() > 1e-9 * size || (left - gap).abs() > 1e-9 * size {
                failures
                    .push(format!("seed {seed}, row {row}: the gap is {gap}, and that of the values {left}"));
            }
        }
    }
    assert!(checked >= 32, "full completeness of {} was checked {checked} times only", subject.name);
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Conv, Relu, Flatten, Gemm; with `hidden`, a rectifier before the last layer. The bias of each class, too.
fn small(random: &mut Random, hidden: bool) -> (Graph, Vec<f64>) {
    let builder = Builder::new(Graph::new());
    let f64s = ElementType::F64;
    let shape = vec![Dim::symbol("n"), Dim::known(2), Dim::known(4), Dim::known(3)];
    let x = builder.input("x", f64s, shape);
    let mut draw = |shape: &[usize]| {
        let numbers = random.numbers(shape.iter().product(), -1.0, 1.0);
        builder.values(f64s, shape.to_vec(), &numbers)
    };
    let (kernel, bias) = (draw(&[5, 2, 3, 3]), draw(&[5]));
    let pads = ("pads", Attribute::Ints(vec![1; 4]));
    let y = builder.named("Relu", builder.op("Conv", &[x, kernel, bias], &[pads]), "layer");
    let mut flat = builder.op("Flatten", &[y], &[]);
    if hidden {
        let (w, b) = (draw(&[60, 60]), draw(&[60]));
        flat = builder.op("Gemm", &[flat, w, b], &[]).relu();
    }
    let head = draw(&[60, 3]);
    let bias = draw(&[3]);
    let out = builder.op("Gemm", &[flat, head, bias], &[]);
    let (out, biases) = (out.id(), bias.constant().unwrap().to_f64());
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![out]);
    (graph, biases)
}

/// The largest difference of Σ values and score − bias, over random networks.
fn sum_differs(name: &str, hidden: bool) -> f64 {
    let mut far: f64 = 0.0;
    for seed in 0..8 {
        let mut random = Random::new(5000 + seed);
        let (graph, biases) = small(&mut random, hidden);
        let x = ArrayD::from_shape_vec(vec![2, 2, 4, 3], random.numbers(48, -1.0, 1.0)).unwrap();
        let target = [0_i64, 2];
        let found = found(&graph, &method(name, &[]), Some("layer"), &x, &target);
        for (row, (sum, score)) in found.sums().iter().zip(&found.scores).enumerate() {
            let bias = biases[usize::try_from(target[row]).unwrap()];
            far = far.max((sum - (score - bias)).abs());
        }
    }
    far
}

#[test]
fn hires_cam_sums_to_the_score_before_a_linear_head() {
    assert!(sum_differs("hires-cam", false) < 1e-10);
}

#[test]
fn what_does_not_sum_to_the_score_is_caught() {
    assert!(sum_differs("hires-cam", true) > 1e-3, "behind a rectifier there are other biases");
    assert!(sum_differs("grad-cam", false) > 1e-3);
    assert!(sum_differs("layer-cam", false) > 1e-3);
}
