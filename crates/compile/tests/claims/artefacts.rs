//! Artefacts give what the host computes from the program, leave predictions as they are, and hold nothing newer than
//! the opset that is written.

use ndarray::ArrayD;
use pellucid_compile::methods::{ALL, Form};
use pellucid_compile::{
    Artefact, Baseline, Builder, Collect, CompileError, Draws, Options, Points, Quadrature, Readout, Request,
    Target, artefact, lower, program,
};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, operators};
use pellucid_reference::{Array, run};
use pellucid_testkit::random_graph::{Config, Input, Random, Rows, network};

use crate::attribute::{Attribution, Case, Subject, attribute, largest};

fn config(seed: u64) -> Config {
    Config {
        rows: if seed.is_multiple_of(2) { Rows::Symbolic } else { Rows::Fixed(2) },
        input: if seed.is_multiple_of(3) { Input::Vector } else { Input::Image },
        softmax: seed.is_multiple_of(5),
        ..Config::default()
    }
}

/// Attribution and score of an artefact, and the bits of the predictions with and without it.
fn run_artefact(source: &Graph, made: &Artefact, case: &Case) -> (ArrayD<f64>, f64) {
    let graph = lower(&made.graph).unwrap();
    let x = || Array::Float(case.x.clone());
    let mut given = vec![(graph.inputs()[0], x())];
    for name in &made.inputs {
        let array = match name.as_str() {
            "target" => Array::Int(ndarray::arr1(&case.target).into_dyn()),
            "baseline" => Array::Float(case.baseline.clone()),
            "noise" => Array::Float(case.noise.clone()),
            "background" => Array::Float(case.background.clone()),
            other => panic!("an artefact takes {other}"),
        };
        given.push((graph.find(name).unwrap(), array));
    }
    let wanted = ["y", "attribution", "score"].map(|name| graph.find(name).unwrap());
    let out = run(&graph, &given, &wanted).unwrap();
    let alone = run(source, &[(source.inputs()[0], x())], source.outputs()).unwrap();
    let lowered = lower(source).unwrap();
    let alone_lowered = run(&lowered, &[(lowered.inputs()[0], x())], lowered.outputs()).unwrap();
    // Lowering spells a canonical function out, which rounds differently; what is compared is compiling.
    assert_eq!(bits(&out[0]), bits(&alone_lowered[0]), "the prediction is not the model's");
    let unlowered: Vec<_> = given
        .iter()
        .map(|(id, array)| (made.graph.find(&graph.value(*id).name).unwrap(), array.clone()))
        .collect();
    let predicted = run(&made.graph, &unlowered, source.outputs()).unwrap();
    assert_eq!(bits(&predicted[0]), bits(&alone[0]), "the prediction is not the model's");
    (out[1].as_float().unwrap().clone(), out[2].as_float().unwrap().sum())
}

fn bits(array: &Array) -> Vec<u64> {
    array.as_float().unwrap().iter().map(|value| value.to_bits()).collect()
}

fn assert_same(what: &str, found: &(ArrayD<f64>, f64), expected: &Attribution) {
    let largest_value = largest(&expected.values);
    let error = largest(&(&found.0 - &expected.values));
    assert!(error <= 1e-12 * largest_value.max(1.0), "{what}: {error} of {largest_value}");
    assert!((found.1 - expected.score).abs() <= 1e-12 * expected.score.abs().max(1.0), "{what}: score");
}

/// Whether a method looks at a layer or makes a map: a vector has neither.
fn needs_space(subject: &Subject) -> bool {
    subject.method.collect != Collect::Inputs || subject.name == "full-grad"
}

/// Every compiled method, and those that are evaluated once wrapped in points.
fn subjects(graph: &Graph) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for definition in ALL.iter().filter(|d| matches!(d.form, Form::Compiled(_))) {
        let plain = Subject::of(definition);
        if needs_space(&plain) && program(graph, &plain.method, &Request::default()).is_err() {
            continue;
        }
        if plain.method.points == Points::Once && !plain.method.rules.compares() {
            subjects.push(Subject::wrapped(definition, &[("points", "smooth"), ("samples", "3")]));
            // Relevance is a share of the score already, and refuses to be multiplied along a path.
            if !plain.method.is_relevance() {
                let path = [("points", "path"), ("quadrature", "gauss-legendre")];
                subjects.push(Subject::wrapped(definition, &path));
            }
        }
        if plain.method.readout == Readout::TimesChange {
            subjects.push(Subject::wrapped(definition, &[("form", "derivative")]));
        }
        subjects.push(plain);
    }
    subjects
}

#[test]
fn artefacts_are_what_the_host_computes() {
    let mut said = 0;
    for seed in 0..10 {
        let mut random = Random::new(4000 + seed);
        let config = config(seed);
        let graph = network(&mut random, &config);
        let case = Case::random(&mut random, &graph, config.classes);
        for subject in subjects(&graph) {
            let subject = subject.with_method(|method| {
                if let Points::Path { steps, quadrature } = &mut method.points {
                    *steps = 5;
                    if seed % 2 == 1 {
                        *quadrature = Quadrature::Trapezoid;
                    }
                }
            });
            let expected = attribute(&subject, &graph, &case);
            said += usize::from(largest(&expected.values) > 1e-9);
            let chunks: &[usize] =
                if matches!(subject.method.points, Points::Path { .. }) { &[1, 3] } else { &[1] };
            for &chunk in chunks {
                let options = Options {
                    chunk,
                    baseline: Baseline::Input,
                    draws: case.draws.clone(),
                    ..Options::default()
                };
                let made = artefact(&graph, &subject.method, &options).unwrap();
                let found = run_artefact(&graph, &made, &case);
                assert_same(&format!("seed {seed}, {}, chunk {chunk}", subject.name), &found, &expected);
            }
        }
    }
    assert!(said > 40, "only {said} attributions were not zero");
}

/// Operators past opset 18, bodies included.
fn too_new(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for node in graph.nodes() {
        match operators::lookup(&node.operator) {
            Some(operator) if operator.since <= 18 => {}
            _ => found.push(node.operator.clone()),
        }
        for attribute in node.attributes.values() {
            if let Attribute::Graph(body) = attribute {
                found.extend(too_new(body));
            }
        }
    }
    found
}

#[test]
fn what_is_emitted_is_standard() {
    let mut canonical = 0;
    for seed in 0..24 {
        let mut random = Random::new(5000 + seed);
        let graph = network(&mut random, &config(seed));
        canonical += usize::from(!too_new(&graph).is_empty());
        for definition in ALL {
            if !matches!(definition.form, Form::Compiled(_)) {
                continue;
            }
            let subject = Subject::of(definition);
            let method = subject.method.clone();
            let compiled = match program(&graph, &method, &Request::default()) {
                Ok(program) => program,
                Err(CompileError::Model(_) | CompileError::Setting(_)) if needs_space(&subject) => continue,
                Err(error) => panic!("seed {seed}, {}: {error}", definition.name),
            };
            // Derivatives hold no canonical function, only the copies of the model may.
            let added = &compiled.graph.nodes()[compiled.shared_nodes..];
            for node in added {
                let operator = operators::lookup(&node.operator).unwrap();
                assert!(operator.since <= 18, "{} emits {}", definition.name, node.operator);
            }
            let draws = Draws { pick: vec![0; 3], position: vec![0.5; 3] };
            let made = artefact(&graph, &method, &Options { draws, ..Options::default() }).unwrap();
            let strangers = too_new(&lower(&made.graph).unwrap());
            assert!(strangers.is_empty(), "{}: {strangers:?}", definition.name);
        }
    }
    assert!(canonical > 3, "hardly any network holds a canonical function");
}

/// Values by name, of a graph that is fed by name.
fn results(graph: &Graph, fed: &[(&str, Array)], wanted: &[&str]) -> Vec<ArrayD<f64>> {
    let find = |name: &str| graph.find(name).unwrap_or_else(|| panic!("nothing is called {name}"));
    let given: Vec<_> = fed.iter().map(|(name, array)| (find(name), array.clone())).collect();
    let wanted: Vec<_> = wanted.iter().map(|name| find(name)).collect();
    run(graph, &given, &wanted).unwrap().iter().map(|array| array.as_float().unwrap().clone()).collect()
}

/// Methods with points of every kind.
fn kinds_of_points() -> Vec<Subject> {
    let gradient = pellucid_compile::methods::find_compiled("gradient").unwrap();
    let path = [("points", "path"), ("quadrature", "gauss-legendre"), ("steps", "4")];
    let mut subjects = vec![Subject::of(gradient), Subject::wrapped(gradient, &path)];
    subjects.extend(["vargrad", "gradient-shap"].map(Subject::named));
    subjects
}

#[test]
fn several_targets_of_a_file_are_each_alone_behind_a_leading_axis() {
    for seed in 0..6 {
        let mut random = Random::new(7000 + seed);
        let config = Config { rows: Rows::Symbolic, classes: 4, softmax: false, ..config(seed) };
        let graph = network(&mut random, &config);
        let case = Case::random(&mut random, &graph, config.classes);
        let targets = [Target::Index(2), Target::Contrast { of: 0, minus: 3 }, Target::Rank(1)];
        for subject in kinds_of_points() {
            let made = |targets: &[Target]| {
                let options = Options {
                    targets: targets.to_vec(),
                    baseline: Baseline::Zero,
                    draws: case.draws.clone(),
                    chunk: 2,
                    ..Options::default()
                };
                let made = artefact(&graph, &subject.method, &options).unwrap();
                let mut fed = vec![("x", Array::Float(case.x.clone()))];
                for name in &made.inputs {
                    let array = if name == "noise" { &case.noise } else { &case.background };
                    fed.push((name.as_str(), Array::Float(array.clone())));
                }
                fed[0].0 = graph.value(graph.inputs()[0]).name.as_str();
                results(&made.graph, &fed, &["attribution", "score"])
            };
            let together = made(&targets);
            assert_eq!(together[0].shape()[0], targets.len(), "{}", subject.name);
            for (index, target) in targets.iter().enumerate() {
                let alone = made(&[*target]);
                for (alone, together) in alone.iter().zip(&together) {
                    let here = together.index_axis(ndarray::Axis(0), index);
                    assert_eq!(alone, &here.to_owned(), "seed {seed}, {}, {target:?}", subject.name);
                }
            }
            // A contrast of scores is the difference of their attributions where the method is linear.
            if subject.name == "gradient" {
                let [first, second] = [0, 3].map(|class| made(&[Target::Index(class)]).remove(0));
                let contrast = together[0].index_axis(ndarray::Axis(0), 1).to_owned();
                let error = largest(&(&first - &second - &contrast));
                assert!(error <= 1e-12 * largest(&first).max(1.0), "seed {seed}: {error}");
            }
        }
    }
}

#[test]
fn a_program_splits_behind_the_model() {
    for seed in 0..12 {
        let mut random = Random::new(8000 + seed);
        let config = config(seed);
        let graph = network(&mut random, &config);
        let case = Case::random(&mut random, &graph, config.classes);
        let method = Subject::named("input-x-gradient").method;
        let whole = program(&graph, &method, &Request::default()).unwrap();
        let split = whole.split().unwrap();
        let operators = |graph: &Graph| -> Vec<String> {
            graph.nodes().iter().map(|node| node.operator.clone()).collect()
        };
        assert_eq!(operators(&split.forward), operators(&graph), "the forward part is the model");
        let x = graph.value(graph.inputs()[0]).name.as_str();
        let fed = (x, Array::Float(case.x.clone()));
        let names: Vec<&str> = split.boundary.iter().map(String::as_str).collect();
        let shared = results(&split.forward, std::slice::from_ref(&fed), &names);
        let wanted = [whole.score.as_str(), whole.attributions[0].1.as_str()];
        let target = whole.target.as_deref().unwrap();
        for class in 0..config.classes {
            let classes = ndarray::arr1(&[i64::try_from(class).unwrap(); 2]).into_dyn();
            let target = (target, Array::Int(classes));
            let mut given: Vec<(&str, Array)> =
                names.iter().copied().zip(shared.iter().cloned().map(Array::Float)).collect();
            if split.backward.find(x).is_some() {
                given.push(fed.clone());
            }
            given.push(target.clone());
            let found = results(&split.backward, &given, &wanted);
            assert_eq!(found, results(&whole.graph, &[fed.clone(), target], &wanted), "seed {seed}");
        }
    }
}

/// A class that cannot be, of logit −∞ or +∞, leaves the scores and gradients of the others alone.
#[test]
fn an_infinite_logit_is_not_in_the_others_scores() {
    for infinite in [f64::INFINITY, f64::NEG_INFINITY] {
        let builder = Builder::new(Graph::new());
        let shape = vec![Dim::symbol("n"), Dim::known(3)];
        let x = builder.input("x", ElementType::F64, shape);
        let y = x * x + builder.values(ElementType::F64, vec![3], &[0.0, infinite, 1.0]);
        let y = y.id();
        let mut graph = builder.finish().unwrap();
        graph.set_outputs(vec![y]);
        let x = ndarray::arr2(&[[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]]).into_dyn();
        let of = |target: Target, fed: &[(&str, Array)]| {
            let request = Request { target, ..Request::default() };
            let made = program(&graph, &Subject::named("gradient").method, &request).unwrap();
            let mut given = vec![("x", Array::Float(x.clone()))];
            given.extend(fed.iter().cloned());
            results(&made.graph, &given, &["score", "attribution"])
        };
        let classes = |of: &[i64]| Array::Int(ndarray::arr1(of).into_dyn());
        let fixed = of(Target::Index(2), &[]);
        assert_eq!(fixed[0], ndarray::arr1(&[10.0, 5.0]).into_dyn());
        assert_eq!(fixed[1], ndarray::arr2(&[[0.0, 0.0, 6.0], [0.0, 0.0, 4.0]]).into_dyn());
        assert_eq!(of(Target::Input, &[("target", classes(&[2, 2]))]), fixed);
        let contrast =
            of(Target::InputContrast, &[("target", classes(&[2, 2])), ("target_minus", classes(&[-1, 0]))]);
        assert_eq!(contrast[0], ndarray::arr1(&[10.0, 4.0]).into_dyn());
        assert_eq!(contrast[1], ndarray::arr2(&[[0.0, 0.0, 6.0], [2.0, 0.0, 4.0]]).into_dyn());
        let both = of(Target::Contrast { of: 2, minus: 0 }, &[]);
        assert_eq!(both[0], ndarray::arr1(&[9.0, 4.0]).into_dyn());
    }
}
