//! What is raised, what is not, and what stays around it.

use std::collections::BTreeMap;

use pellucid_compile::{Builder, lower, raise};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, onnx};

use crate::spellings::{NEAR_MISSES, SPELLINGS};
use crate::{counts, deviation, graph_of, operators, output_names};

#[test]
fn every_spelling_becomes_its_canonical_node() {
    let mut failures = Vec::new();
    for spelling in SPELLINGS {
        let graph = graph_of(ElementType::F64, spelling.formula);
        let raised = raise(&graph).unwrap();
        if operators(&raised) != counts(spelling.raised) {
            failures.push(format!("{}: {:?}", spelling.name, operators(&raised)));
            continue;
        }
        assert_eq!(output_names(&raised), ["y"], "{}", spelling.name);
        assert_eq!(raise(&raised).unwrap(), raised, "{}: raised twice", spelling.name);
        // Attributes are float32, five digits are five digits, and a threshold of 20 cuts 2e-9 off.
        let tolerance = match spelling.name {
            "gelu, five digits" => 1e-5,
            name if name.starts_with("sigmoid app") || name.starts_with("hard") => 1e-7,
            name if name.contains("norm") => 1e-8,
            name if name.contains("softplus") => 1e-9,
            _ => 1e-12,
        };
        let found = deviation(&graph, &raised);
        if found > tolerance {
            failures.push(format!("{}: deviates by {found:e}", spelling.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn numbers_of_every_float_are_recognised() {
    for element in [ElementType::F16, ElementType::BF16, ElementType::F32, ElementType::F64] {
        for spelling in SPELLINGS.iter().filter(|spelling| !spelling.name.contains("norm")) {
            let raised = raise(&graph_of(element, spelling.formula)).unwrap();
            assert_eq!(operators(&raised), counts(spelling.raised), "{} in {element}", spelling.name);
        }
    }
}

#[test]
fn near_misses_stay_as_they_are() {
    for (name, formula) in NEAR_MISSES {
        let graph = graph_of(ElementType::F64, *formula);
        assert_eq!(raise(&graph).unwrap(), graph, "{name}: {:?}", operators(&raise(&graph).unwrap()));
    }
}

#[test]
fn coarse_numbers_are_accepted_of_coarse_types_only() {
    let gelu = |element, root: f64| {
        let graph =
            graph_of(element, |x: pellucid_compile::Var<'_>| 0.5 * x * ((x * root).apply("Erf") + 1.0));
        operators(&raise(&graph).unwrap()).contains_key("Gelu")
    };
    assert!(gelu(ElementType::F32, 0.707_107) && gelu(ElementType::F32, 0.7071));
    assert!(gelu(ElementType::F16, 0.7076) && !gelu(ElementType::F32, 0.7076));
    assert!(gelu(ElementType::BF16, 0.709) && !gelu(ElementType::F16, 0.709));
    assert!(!gelu(ElementType::BF16, 0.72));
}

#[test]
fn pieces_that_others_take_stay() {
    let b = Builder::new(Graph::new());
    let x = b.input("x", ElementType::F64, vec![Dim::known(5)]);
    let gate = b.named("Sigmoid", x, "gate");
    let silu = x * gate;
    let twice = gate * 2.0;
    let outputs = vec![silu.id(), gate.id(), twice.id()];
    let mut graph = b.finish().unwrap();
    graph.set_outputs(outputs);
    let raised = raise(&graph).unwrap();
    assert_eq!(operators(&raised), counts(&[("Sigmoid", 1), ("Swish", 1), ("Mul", 1)]));
    assert_eq!(output_names(&raised), output_names(&graph));
    assert!(raised.find("gate").is_some());
    assert!(deviation(&graph, &raised) < 1e-15);
}

#[test]
fn name_and_metadata_of_the_last_node_stay() {
    let mut graph = Graph::new();
    graph.name = "g".to_owned();
    graph.producer = "p".to_owned();
    graph.metadata.insert("key".to_owned(), "value".to_owned());
    let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::known(3)])).unwrap();
    let unused = graph.add_input("unused", ElementType::F32, None).unwrap();
    let gate = graph.push_one(NewNode::new("Sigmoid", &[x], "gate")).unwrap();
    let metadata: BTreeMap<_, _> = [("namespace".to_owned(), "block.act".to_owned())].into();
    let last = NewNode {
        name: "act/Mul".to_owned(),
        metadata: metadata.clone(),
        ..NewNode::new("Mul", &[x, gate], "silu")
    };
    let silu = graph.push_one(last).unwrap();
    graph.add_output(silu).unwrap();
    let raised = raise(&graph).unwrap();
    let node = raised.nodes().last().unwrap();
    assert_eq!((node.operator.as_str(), node.name.as_str()), ("Swish", "act/Mul"));
    assert_eq!(node.metadata, metadata);
    assert_eq!((raised.name.as_str(), raised.producer.as_str()), ("g", "p"));
    assert_eq!(raised.metadata, graph.metadata);
    assert_eq!(raised.inputs().len(), 2);
    assert_eq!(raised.value(raised.inputs()[1]).name, graph.value(unused).name);
    // Lowered, its nodes carry the metadata, under names of their own.
    let lowered = lower(&raised).unwrap();
    assert!(lowered.nodes().iter().all(|node| node.metadata == metadata && node.name.starts_with("act/Mul")));
    let mut names: Vec<_> = lowered.nodes().iter().map(|node| node.name.clone()).collect();
    names.dedup();
    assert_eq!(names.len(), lowered.nodes().len());
}

#[test]
fn names_of_an_earlier_pass_do_not_collide() {
    let graph = graph_of(ElementType::F32, |x| {
        let x = x * x.sigmoid();
        0.5 * x * ((x / std::f64::consts::SQRT_2).apply("Erf") + 1.0)
    });
    let lowered = lower(&raise(&graph).unwrap()).unwrap();
    let again = raise(&lowered).unwrap();
    assert_eq!(operators(&again), counts(&[("Swish", 1), ("Gelu", 1)]));
    let twice = lower(&again).unwrap();
    assert_eq!(operators(&twice), operators(&lowered));
    assert!(deviation(&graph, &twice) < 1e-7);
}

/// `if flag { silu(x) } else { gelu(x + 1) }`, both in pieces.
fn conditional() -> Graph {
    let mut graph = Graph::new();
    let flag = graph.add_input("x", ElementType::F64, Some(vec![Dim::known(3)])).unwrap();
    let zero = graph.add_constant("zero", Tensor::scalar(ElementType::F64, 0.0)).unwrap();
    let sum = graph
        .push_one(NewNode::new("ReduceSum", &[flag], "sum").with("keepdims", Attribute::Int(0)))
        .unwrap();
    let condition = graph.push_one(NewNode::new("Greater", &[sum, zero], "condition")).unwrap();
    // Captured through a gate that raising removes, so that ids inside and outside move.
    let gate = graph.push_one(NewNode::new("Sigmoid", &[flag], "gate")).unwrap();
    let outer = graph.push_one(NewNode::new("Mul", &[gate, flag], "outer")).unwrap();
    let like = graph.value(outer).clone();
    let body = |formula: &dyn for<'g> Fn(pellucid_compile::Var<'g>) -> pellucid_compile::Var<'g>,
                name: &str| {
        let b = Builder::with_prefix(Graph::new(), name);
        let x = b.capture(outer, &like);
        let y = formula(x).id();
        let mut body = b.finish().unwrap();
        body.set_outputs(vec![y]);
        Attribute::Graph(Box::new(body))
    };
    let yes = body(&|x| x * x.sigmoid(), "yes");
    let no = body(
        &|x| {
            let x = x + 1.0;
            x * 0.5 * ((x / std::f64::consts::SQRT_2).apply("Erf") + 1.0)
        },
        "no",
    );
    let node = NewNode::new("If", &[condition], "y").with("then_branch", yes).with("else_branch", no);
    let y = graph.push_one(node).unwrap();
    graph.add_output(y).unwrap();
    graph
}

#[test]
fn bodies_are_raised_and_lowered() {
    let graph = conditional();
    let raised = raise(&graph).unwrap();
    let expected = [("ReduceSum", 1), ("Greater", 1), ("Swish", 2), ("If", 1), ("Add", 1), ("Gelu", 1)];
    assert_eq!(operators(&raised), counts(&expected));
    assert_eq!(raise(&raised).unwrap(), raised);
    let lowered = lower(&raised).unwrap();
    assert!(!operators(&lowered).contains_key("Swish") && !operators(&lowered).contains_key("Gelu"));
    for sign in [1.0, -1.0] {
        let values = ndarray::arr1(&[0.5, 2.0, -0.25]).mapv(|value: f64| sign * value).into_dyn();
        let results = [&graph, &raised, &lowered].map(|graph| {
            let input = [(graph.inputs()[0], pellucid_reference::Array::Float(values.clone()))];
            pellucid_reference::run(graph, &input, graph.outputs()).unwrap()[0].to_floats()
        });
        for other in &results[1..] {
            let difference = (&results[0] - other).mapv(f64::abs);
            assert!(difference.iter().all(|difference| *difference < 1e-14), "{difference}");
        }
    }
}

#[test]
fn lowered_graphs_can_be_written_and_nothing_else_changes() {
    for spelling in SPELLINGS {
        let raised = raise(&graph_of(ElementType::F64, spelling.formula)).unwrap();
        let lowered = lower(&raised).unwrap();
        assert!(onnx::encode(&lowered, &onnx::EncodeOptions::default()).is_ok(), "{}", spelling.name);
        assert_eq!(output_names(&lowered), ["y"]);
        if !operators(&raised).contains_key("Gelu") && !operators(&raised).contains_key("Swish") {
            assert_eq!(lowered, raised, "{}", spelling.name);
        }
        let found = deviation(&raised, &lowered);
        assert!(found < 1e-12, "{} deviates by {found:e}", spelling.name);
    }
}

#[test]
fn canonical_functions_are_refused_by_the_writer_until_lowered() {
    let raised = raise(&graph_of(ElementType::F32, |x| x * x.sigmoid())).unwrap();
    assert!(onnx::encode(&raised, &onnx::EncodeOptions::default()).is_err());
}

/// Opset 18 stores 8 bits; what later opsets store in 16 is lowered to arithmetic.
#[test]
fn quantisation_to_16_bits_is_lowered() {
    for (element, kept) in [(ElementType::U16, 0), (ElementType::I16, 0), (ElementType::U8, 1)] {
        for count in [1, 4] {
            let graph = graph_of(ElementType::F64, |x| {
                let b = x.builder();
                let axis = [("axis", Attribute::Int(1))];
                let constant = |element, values: [f64; 4]| {
                    b.constant(Tensor::from_values(element, vec![count], &values[..count]).unwrap())
                };
                let by = [
                    constant(ElementType::F64, [1e-4, 2e-2, 0.5, 3e-3]),
                    constant(element, [100.0, 3.0, 7.0, 0.0]),
                ];
                let stored = b.op("QuantizeLinear", &[x, by[0], by[1]], &axis);
                b.op("DequantizeLinear", &[stored, by[0], by[1]], &axis)
            });
            let lowered = lower(&graph).unwrap();
            let left = operators(&lowered).get("QuantizeLinear").copied().unwrap_or_default();
            assert_eq!(left, kept, "{element}");
            assert!(deviation(&graph, &lowered) < 1e-12, "{element} {count}");
            assert!(onnx::encode(&lowered, &onnx::EncodeOptions::default()).is_ok());
        }
    }
}
