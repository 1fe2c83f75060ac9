//! Artefacts give what the host computes from the program, leave predictions as they are, and hold nothing newer than
//! the opset that is written.

use ndarray::ArrayD;
use pellucid_compile::methods::{ALL, Form};
use pellucid_compile::{
    Artefact, Baseline, Collect, CompileError, Draws, Options, Points, Quadrature, Request, artefact, lower,
    program,
};
use pellucid_graph::{Attribute, Graph, operators};
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
        if plain.method.points == Points::Once {
            subjects.push(Subject::wrapped(definition, &[("points", "smooth"), ("samples", "3")]));
            subjects
                .push(Subject::wrapped(definition, &[("points", "path"), ("quadrature", "gauss-legendre")]));
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
            let method = subject.method;
            let compiled = match program(&graph, &method, &Request::default()) {
                Ok(program) => program.graph,
                Err(CompileError::Model(_) | CompileError::Setting(_)) if needs_space(&subject) => continue,
                Err(error) => panic!("seed {seed}, {}: {error}", definition.name),
            };
            // Derivatives hold no canonical function, only the copy of the model may.
            let added = &compiled.nodes()[graph.nodes().len()..];
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
