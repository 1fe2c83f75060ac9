//! Whole models: those that the goldens hold, and what the compiler makes of them.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod engines;

use std::path::{Path, PathBuf};

use pellucid_compile::methods::{ALL, Form, Settings};
use pellucid_compile::{Options as ArtefactOptions, Request, Target, artefact, program};
use pellucid_graph::onnx::{Limits, read_file};
use pellucid_graph::{ElementType, Graph};
use pellucid_runtime::{Array, Engine, Options, open};

fn goldens() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "onnx"))
        .collect();
    files.sort();
    files
}

/// Arrays for every input, free sizes being `rows`; positive ones for a model that takes roots and logarithms.
fn inputs(graph: &Graph, rows: usize) -> Vec<(String, Array)> {
    let roots = graph.nodes().iter().any(|node| node.operator == "Log");
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = f32::from(u16::try_from(state >> 48).unwrap()) / 32768.0;
        if roots { number + 0.1 } else { number - 1.0 }
    };
    // A model of one number a row has the target 0 alone.
    let first = graph.outputs().first().and_then(|id| graph.value(*id).shape.as_ref());
    let one_number = first.and_then(|shape| shape.last()).is_some_and(|size| size.size() == Some(1));
    graph
        .inputs()
        .iter()
        .map(|id| {
            let value = graph.value(*id);
            let whole = i64::from(!(one_number && value.name == "target"));
            let shape: Vec<usize> =
                value.shape.iter().flatten().map(|size| size.size().unwrap_or(rows)).collect();
            let count = shape.iter().product();
            let array = match value.element {
                Some(ElementType::I64 | ElementType::I32) => {
                    Array::from_i64(&shape, vec![whole; count]).unwrap()
                }
                _ => Array::from_f32(&shape, (0..count).map(|_| next()).collect()).unwrap(),
            };
            (value.name.clone(), array)
        })
        .collect()
}

/// Runs `names` on every engine; the largest error relative to each value's magnitude, and where it is.
fn difference(graph: &Graph, rows: usize, names: &[&str]) -> Result<(f64, String), String> {
    let fed = inputs(graph, rows);
    let fed: Vec<(&str, &Array)> = fed.iter().map(|(name, array)| (name.as_str(), array)).collect();
    let reference = Options { engine: Engine::Reference, ..Options::default() };
    let expected = open(graph, &reference).and_then(|s| s.run(&fed, names)).map_err(|e| e.to_string())?;
    let mut worst = (0.0, String::new());
    for engine in engines::tested() {
        let options = Options { engine, ..Options::default() };
        let computed = open(graph, &options).and_then(|s| s.run(&fed, names)).map_err(|e| e.to_string())?;
        for ((name, computed), expected) in names.iter().zip(&computed).zip(&expected) {
            let (error, values) = furthest(computed, expected).map_err(|e| format!("{name}: {e}"))?;
            if error > worst.0 {
                worst = (error, format!("{name} on {}: {values}", engine.name()));
            }
        }
    }
    Ok(worst)
}

/// The largest error relative to the result's magnitude, and the two numbers.
fn furthest(computed: &Array, expected: &Array) -> Result<(f64, String), String> {
    if computed.shape() != expected.shape() {
        return Err(format!("shape {:?}, expected {:?}", computed.shape(), expected.shape()));
    }
    let (computed, expected) = (computed.to_f64(), expected.to_f64());
    let scale = expected.iter().fold(1e-6, |a: f64, b| a.max(b.abs()));
    let mut worst = (0.0, String::new());
    for (x, y) in computed.iter().zip(&expected) {
        let error = if x.is_nan() { f64::INFINITY } else { (x - y).abs() / scale };
        if error > worst.0 {
            worst = (error, format!("{x}, expected {y}"));
        }
    }
    Ok(worst)
}

#[test]
fn every_value_of_every_golden_model() {
    let mut failures = Vec::new();
    let files = goldens();
    assert!(files.len() > 10, "the goldens are not where they are expected");
    for file in &files {
        let graph = read_file(file, &Limits::default()).unwrap();
        let names: Vec<&str> = graph
            .value_ids()
            .filter(|id| graph.producer_of(*id).is_some())
            .map(|id| graph.value(id).name.as_str())
            .collect();
        match difference(&graph, 2, &names) {
            Ok((error, _)) if error < 2e-5 => {}
            Ok((error, place)) => failures.push(format!("{}: {error:.1e} in {place}", file.display())),
            Err(error) => failures.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), files.len(), failures.join("\n"));
}

#[test]
fn every_compiled_method_of_every_golden_model() {
    let mut failures = Vec::new();
    let mut compiled = 0;
    for file in &goldens() {
        let graph = read_file(file, &Limits::default()).unwrap();
        for definition in ALL {
            let Form::Compiled(build) = definition.form else { continue };
            // Relevance divides by sums that may all but cancel: with the smallest ε rounding is enlarged past any bound,
            // and this is about the forms that engines are given.
            let steady = ("epsilon".to_owned(), "0.1".to_owned());
            let given = if definition.parameters.iter().any(|known| known.name == "epsilon") {
                vec![steady]
            } else {
                Vec::new()
            };
            let method = Settings::new(definition, &given).and_then(|settings| build(&settings)).unwrap();
            let request = Request { target: Target::Index(0), ..Request::default() };
            // What does not compile is the compiler's to say, and its tests'.
            let Ok(program) = program(&graph, &method, &request) else { continue };
            compiled += 1;
            let names: Vec<&str> = program
                .attributions
                .iter()
                .map(|(_, output)| output.as_str())
                .chain([program.score.as_str()])
                .collect();
            let place = || format!("{} of {}", definition.name, file.file_name().unwrap().display());
            match difference(&program.graph, 2, &names) {
                Ok((error, _)) if error < 1e-4 => {}
                Ok((error, value)) => failures.push(format!("{}: {error:.1e} in {value}", place())),
                Err(error) => failures.push(format!("{}: {error}", place())),
            }
        }
    }
    assert!(compiled > 20, "only {compiled} programs were compiled");
    assert!(failures.is_empty(), "{} of {compiled}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_embedded_network() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/efficientnet-lite0.onnx");
    let graph = read_file(file, &Limits::default()).unwrap();
    let name = graph.value(graph.outputs()[0]).name.clone();
    let (error, place) = difference(&graph, 1, &[&name]).unwrap();
    assert!(error < 2e-5, "{error:.1e} in {place}");
}

#[test]
fn bits_of_gradients_do_not_depend_on_threads() {
    let definition = ALL.iter().find(|definition| definition.name == "gradient").unwrap();
    let Form::Compiled(build) = definition.form else { panic!("the gradient is compiled") };
    let method = build(&Settings::new(definition, &[]).unwrap()).unwrap();
    let request = Request { target: Target::Index(0), ..Request::default() };
    for file in &goldens() {
        let graph = read_file(file, &Limits::default()).unwrap();
        let Ok(program) = program(&graph, &method, &request) else { continue };
        let fed = inputs(&program.graph, 3);
        let fed: Vec<(&str, &Array)> = fed.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let output = [program.attributions[0].1.as_str()];
        let run = |threads| {
            let options = Options { threads: Some(threads), ..Options::default() };
            open(&program.graph, &options).unwrap().run(&fed, &output).unwrap().remove(0).to_f32()
        };
        let one = run(1);
        for threads in [2, 2, 3] {
            let other = run(threads);
            let equal = one.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(equal, "{} with {threads} threads", file.display());
        }
    }
}

/// Artefacts run their points in a loop, where the batch is free: bodies with the model inside.
#[test]
fn artefacts_of_golden_models() {
    let definition = ALL.iter().find(|definition| definition.name == "integrated-gradients").unwrap();
    let Form::Compiled(build) = definition.form else { panic!("integrated gradients are compiled") };
    let given = [("quadrature", "gauss-legendre"), ("steps", "6")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let method = build(&Settings::new(definition, &given).unwrap()).unwrap();
    let (mut failures, mut compiled) = (Vec::new(), 0);
    for file in &goldens() {
        let graph = read_file(file, &Limits::default()).unwrap();
        let options = ArtefactOptions { chunk: 3, ..ArtefactOptions::default() };
        let Ok(artefact) = artefact(&graph, &method, &options) else { continue };
        compiled += 1;
        // The gap is a small difference of large numbers.
        let names: Vec<&str> =
            artefact.outputs.iter().map(String::as_str).filter(|name| *name != "gap").collect();
        match difference(&artefact.graph, 2, &names) {
            Ok((error, _)) if error < 1e-4 => {}
            Ok((error, place)) => failures.push(format!("{}: {error:.1e} in {place}", file.display())),
            Err(error) => failures.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(compiled > 10, "only {compiled} artefacts were compiled");
    assert!(failures.is_empty(), "{} of {compiled}:\n{}", failures.len(), failures.join("\n"));
}
