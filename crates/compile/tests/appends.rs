//! The compiler only appends: what comes out begins with what went in.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use pellucid_compile::methods::{ALL, Form, Settings};
use pellucid_compile::{CompileError, Draws, Method, Options, Request, Target, artefact, program, raise};
use pellucid_graph::{Graph, NewNode, onnx};
use pellucid_testkit::golden;

/// Where `result` differs from `source` within the source's values, nodes, inputs and outputs.
fn changed(source: &Graph, result: &Graph) -> Option<String> {
    for (old, new) in source.values().iter().zip(result.values()) {
        if old != new {
            return Some(format!("value {:?} became {:?}", old.name, new.name));
        }
    }
    for (index, (old, new)) in source.nodes().iter().zip(result.nodes()).enumerate() {
        if old != new {
            return Some(format!("node {index}, {}, became {}", old.operator, new.operator));
        }
    }
    let kept = source.values().len() <= result.values().len()
        && source.nodes().len() <= result.nodes().len()
        && result.inputs().starts_with(source.inputs())
        && result.outputs().starts_with(source.outputs());
    (!kept).then(|| "something was taken away".to_owned())
}

/// Every method of the registry, with settings that a file can hold.
fn methods() -> Vec<(&'static str, Method)> {
    ALL.iter()
        .filter_map(|definition| {
            let Form::Compiled(_) = definition.form else { return None };
            let fixed = definition.parameters.iter().any(|parameter| parameter.name == "quadrature");
            let given: Vec<(String, String)> =
                fixed.then(|| ("quadrature".to_owned(), "gauss-legendre".to_owned())).into_iter().collect();
            let settings = Settings::new(definition, &given).unwrap();
            Some((definition.name, definition.method(&settings).unwrap()?))
        })
        .collect()
}

#[test]
fn the_source_is_an_untouched_prefix_of_every_compiled_graph() {
    let mut compiled = 0;
    for golden in golden::load() {
        let Some(variant) = golden.variants.first() else { continue };
        let graph = onnx::read_file(variant.path(), &onnx::Limits::default()).unwrap();
        let source = raise(&graph).unwrap();
        for (name, method) in methods() {
            let request = Request { target: Target::Input, ..Request::default() };
            let samples = method.points.samples().unwrap_or_default();
            let draws = Draws { pick: vec![0; samples], position: vec![0.5; samples] };
            let options = Options { request: request.clone(), draws, ..Options::default() };
            let graphs = [
                program(&source, &method, &request).map(|program| program.graph),
                artefact(&source, &method, &options).map(|artefact| artefact.graph),
            ];
            for result in graphs {
                match result {
                    Ok(result) => {
                        let source = method.prepared(&source).unwrap();
                        assert_eq!(changed(&source, &result), None, "{name} of {}", variant.file);
                        assert!(result.nodes().len() > source.nodes().len());
                        compiled += 1;
                    }
                    // A network without a spatial value has no layer or picture to look at.
                    Err(CompileError::Model(message) | CompileError::Setting(message))
                        if message.contains("channels and space") => {}
                    Err(error) => panic!("{name} of {}: {error}", variant.file),
                }
            }
        }
    }
    assert!(compiled > 200, "only {compiled} graphs were compiled");
}

#[test]
fn a_changed_node_is_noticed() {
    let graph = |operator: &str| {
        let mut graph = Graph::new();
        let x = graph.add_input("x", pellucid_graph::ElementType::F32, None).unwrap();
        let y = graph.push_one(NewNode::new(operator, &[x], "y")).unwrap();
        graph.add_output(y).unwrap();
        graph
    };
    assert_eq!(changed(&graph("Relu"), &graph("Relu")), None);
    assert_eq!(changed(&graph("Relu"), &graph("Exp")).unwrap(), "node 0, Relu, became Exp");
    assert!(changed(&graph("Relu"), &Graph::new()).is_some());
}
