//! Fused and quantised operators, and networks that hold them, against onnxruntime: through the reader, then in the
//! interpreter and on the engine. And what their gradients are.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ndarray::ArrayD;
use pellucid_compile::rules::RuleMap;
use pellucid_compile::walk::walk;
use pellucid_compile::{Builder, Keep};
use pellucid_graph::onnx::{Limits, expanded, read_file};
use pellucid_graph::{Graph, Tensor, ValueId};
use pellucid_runtime::{Array, Engine, Options, open};
use pellucid_testkit::archive;

/// Largest error of floats, relative to the largest magnitude of the result.
const TOLERANCE: f64 = 2e-6;

type Arrays = BTreeMap<String, ArrayD<f64>>;

fn folder() -> PathBuf {
    archive::folder().join("expansions")
}

fn read(name: &str) -> Graph {
    read_file(folder().join(format!("{name}.onnx")), &Limits::default()).unwrap()
}

/// Names of the files.
fn cases() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".onnx")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// What a graph is fed, each in the element type that it declares.
fn inputs(graph: &Graph, name: &str, arrays: &Arrays) -> Vec<(String, Array)> {
    let given = |id: &ValueId| {
        let value = graph.value(*id);
        let array = &arrays[&format!("{name}:input:{}", value.name)];
        let numbers: Vec<f64> = array.iter().copied().collect();
        let tensor = Tensor::from_values(value.element.unwrap(), array.shape().to_vec(), &numbers).unwrap();
        (value.name.clone(), Array::from_tensor(&tensor))
    };
    graph.inputs().iter().map(given).collect()
}

fn run(
    graph: &Graph,
    engine: Engine,
    fed: &[(String, Array)],
    wanted: &[&str],
) -> Result<Vec<Array>, String> {
    let options = Options { engine, threads: Some(1), ..Options::default() };
    let session = open(graph, &options).map_err(|error| error.to_string())?;
    let fed: Vec<(&str, &Array)> = fed.iter().map(|(name, array)| (name.as_str(), array)).collect();
    session.run(&fed, wanted).map_err(|error| error.to_string())
}

/// How far apart two arrays are, relative to the largest magnitude of the second.
fn distance(found: &ArrayD<f64>, wanted: &ArrayD<f64>) -> f64 {
    let largest = |array: &ArrayD<f64>| array.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    largest(&(found - wanted)) / largest(wanted).max(1e-3)
}

/// The error of a case's worst output.
fn error(name: &str, engine: Engine, arrays: &Arrays) -> Result<f64, String> {
    let graph = read(name);
    let fed = inputs(&graph, name, arrays);
    let outputs: Vec<&str> = graph.outputs().iter().map(|id| graph.value(*id).name.as_str()).collect();
    let found = run(&graph, engine, &fed, &outputs)?;
    let mut worst = 0.0f64;
    for (output, found) in outputs.iter().zip(&found) {
        let wanted = &arrays[&format!("{name}:output:{output}")];
        if found.shape() != wanted.shape() {
            return Err(format!("{output} has shape {:?}, expected {:?}", found.shape(), wanted.shape()));
        }
        worst = worst.max(distance(&found.to_f64(), wanted));
    }
    Ok(worst)
}

#[test]
fn every_expansion_equals_onnxruntime() {
    let arrays = archive::arrays(&folder().join("expansions.npz"));
    let names: Vec<String> = cases().into_iter().filter(|name| !is_network(name)).collect();
    assert!(names.len() >= 50, "{names:?}");
    let mut failures = Vec::new();
    for name in &names {
        for engine in [Engine::Reference, Engine::Rten] {
            match error(name, engine, &arrays) {
                Ok(error) if error <= TOLERANCE => {}
                other => failures.push(format!("{name} on {engine:?}: {other:?}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // The comparison can fail.
    let mut wrong = arrays.clone();
    wrong.get_mut("qlinear_add:output:y").unwrap().mapv_inplace(|y| y + 1.0);
    assert!(error("qlinear_add", Engine::Reference, &wrong).unwrap() > TOLERANCE);
}

#[test]
fn every_line_of_the_table_has_a_case() {
    let mut written = BTreeSet::new();
    for name in cases() {
        // Names of operators stand in the file as they are; reading has expanded them.
        written.insert(std::fs::read(folder().join(format!("{name}.onnx"))).unwrap());
    }
    let holds = |file: &[u8], operator: &str| {
        // Field 4 of a node, its length, its bytes.
        let mut wanted = vec![0x22, u8::try_from(operator.len()).unwrap()];
        wanted.extend(operator.bytes());
        file.windows(wanted.len()).any(|window| window == wanted)
    };
    let missing: Vec<&str> = expanded()
        .map(|(_, operator)| operator)
        .filter(|operator| !written.iter().any(|file| holds(file, operator)))
        .collect();
    assert!(missing.is_empty(), "no case for {}", missing.join(", "));
}

fn is_network(name: &str) -> bool {
    name.starts_with("network") || name.starts_with("transformer")
}

/// Networks that were made of `network`, and how alike the gradients of the two must at least be (cosine): a fused
/// network is the same function, a quantised one is near.
const MADE: &[(&str, f64)] = &[
    ("network.extended", 1.0 - 1e-9),
    ("network.qdq", 0.95),
    ("network.qdq.extended", 0.95),
    ("network.qoperator", 0.95),
    ("network.dynamic", 0.95),
];

/// The derivative of each row's largest logit for the input.
fn gradient(name: &str, arrays: &Arrays, engine: Engine) -> ArrayD<f64> {
    let graph = read(name);
    let fed = inputs(&graph, name, arrays);
    let (x, y) = (graph.inputs()[0], graph.outputs()[0]);
    let b = Builder::new(graph);
    let logits = b.var(y);
    let best = b.op("ReduceMax", &[logits, b.axes(&[1])], &[]).sum(&[0, 1], Keep::None);
    let one = best.scalar(1.0);
    let signal = walk(&b, &[(best.id(), one)], &[x], &RuleMap::GRADIENT).unwrap()[&x].id();
    let mut graph = b.finish().unwrap();
    let output = graph.value(signal).name.clone();
    graph.set_outputs(vec![signal]);
    run(&graph, engine, &fed, &[&output]).unwrap()[0].to_f64()
}

fn cosine(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    let dot = |a: &ArrayD<f64>, b: &ArrayD<f64>| (a * b).sum();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn networks_predict_as_onnxruntime() {
    let arrays = archive::arrays(&folder().join("expansions.npz"));
    let names: Vec<String> = cases().into_iter().filter(|name| is_network(name)).collect();
    assert!(MADE.iter().all(|(name, _)| names.iter().any(|own| own == name)));
    for name in &names {
        for engine in [Engine::Reference, Engine::Rten] {
            let error = error(name, engine, &arrays).unwrap();
            assert!(error <= TOLERANCE, "{name} on {engine:?}: {error:e}");
        }
    }
}

#[test]
fn gradients_of_fused_and_quantised_networks_are_useful() {
    let arrays = archive::arrays(&folder().join("expansions.npz"));
    let original = gradient("network", &arrays, Engine::Reference);
    for (name, alike) in MADE {
        for engine in [Engine::Reference, Engine::Rten] {
            let found = cosine(&gradient(name, &arrays, engine), &original);
            assert!(found >= *alike, "{name} on {engine:?}: {found}");
        }
    }
    // The measure can fail: rows in another order are another gradient.
    let mut turned = original.clone();
    turned.invert_axis(ndarray::Axis(0));
    assert!(cosine(&turned, &original) < 0.95);
}
