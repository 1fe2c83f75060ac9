//! Sizes made to overflow, to exhaust memory or to run forever; control flow; every operator on nonsense.

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, broadcast_shapes, operators};
use proptest::prelude::*;

use crate::table::{assert_within_limits, check, describe};

#[test]
fn too_many_elements() {
    check(&[
        (
            "Pad(float32[1, 3], {0, 0, 0, 1099511627776})",
            "error: the output's shape [1, 1099511627779] has more than 2147483648 elements",
        ),
        (
            "Pad(float32[n, 3], {0, 0, 0, 1099511627776})",
            "error: the output's shape [n, 1099511627779] has more than 2147483648 elements",
        ),
        (
            "Pad(float32[1, 3], {0, 0, 0, 9223372036854775807})",
            "error: the size of the output's axis 1 overflows",
        ),
        (
            "ConstantOfShape({4294967296, 4294967296, 4294967296})",
            "error: the output's shape [4294967296, 4294967296, 4294967296] has more than 2147483648 elements",
        ),
        ("ConstantOfShape({4294967296, 4294967296, 0})", "float32[4294967296, 4294967296, 0]"),
        (
            "Expand(float32[1], {65536, 65536})",
            "error: the output's shape [65536, 65536] has more than 2147483648 elements",
        ),
        (
            "Tile(float32[65536], {65536})",
            "error: the output's shape [4294967296] has more than 2147483648 elements",
        ),
        ("Tile(float32[65536], {9223372036854775807})", "error: the size of the output's axis 0 overflows"),
        (
            "Range(#0, #9223372036854775807, #1)",
            "error: the output's shape [9223372036854775807] has more than 2147483648 elements",
        ),
        (
            "Range(#-9223372036854775808, #9223372036854775807, #1)",
            "error: the size of the output's axis 0 overflows",
        ),
        (
            "Range(#9223372036854775807, #0, #-9223372036854775808)",
            "error: the size of the output's axis 0 overflows",
        ),
        (
            "Range(f#0, f#1e30, f#1)",
            "error: a range from 0 to 1000000015047466200000000000000 by 1 has too many elements",
        ),
        (
            "Resize(float32[1, 1, 4, 4], _, _, {1, 1, 1000000, 1000000})",
            "error: the output's shape [1, 1, 1000000, 1000000] has more than 2147483648 elements",
        ),
        (
            "Resize(float32[1, 1, 4, 4], _, f{1, 1, 1e30, 1})",
            "error: the output's shape [1, 1, 9223372036854775807, 4] has more than 2147483648 elements",
        ),
        (
            "MatMul(float32[65536, 1], float32[1, 65536])",
            "error: the output's shape [65536, 65536] has more than 2147483648 elements",
        ),
        (
            "OneHot(int64[65536], #65536, f{0, 1})",
            "error: the output's shape [65536, 65536] has more than 2147483648 elements",
        ),
        (
            "ConvTranspose(float32[1, 1, 2], float32[1, 1, 1]) strides=[2147483648] output_padding=[2147483647]",
            "error: the output's shape [1, 1, 4294967296] has more than 2147483648 elements",
        ),
        (
            "Reshape(float32[n, 4], {9223372036854775807, 9223372036854775807, -1})",
            "error: the output's shape [9223372036854775807, 9223372036854775807, ?y.2] has more than 2147483648 elements",
        ),
    ]);
}

#[test]
fn extreme_numbers() {
    check(&[
        ("Add({9223372036854775807}, {1})", "int64[1] = [!y.0]"),
        ("Mul({-9223372036854775808}, {-1})", "int64[1] = [!y.0]"),
        ("Div({-9223372036854775808}, {-1})", "int64[1] = [!y.0]"),
        ("Mod({-9223372036854775808}, {-1})", "int64[1] = [!y.0]"),
        ("Neg({-9223372036854775808})", "int64[1] = [!y.0]"),
        ("Abs({-9223372036854775808})", "int64[1] = [!y.0]"),
        ("Pow({3}, {4294967295})", "int64[1] = [!y.0]"),
        (
            "Slice(float32[5], {-9223372036854775808}, {9223372036854775807}, {0}, {-9223372036854775808})",
            "float32[0]",
        ),
        (
            "Slice(float32[5], {9223372036854775807}, {-9223372036854775808}, {0}, {-9223372036854775808})",
            "float32[1]",
        ),
        (
            "Slice(float32[h], {9223372036854775807}, {-9223372036854775808}, {0}, {-9223372036854775808})",
            "float32[?y.0]",
        ),
        (
            "Gather(float32[5], {-9223372036854775808})",
            "error: index -9223372036854775808 is outside an axis of size 5",
        ),
        (
            "Softmax(float32[5]) axis=-9223372036854775808",
            "error: axis -9223372036854775808 is outside the 1 axes",
        ),
        (
            "DepthToSpace(float32[1, 4, 2, 2]) blocksize=9223372036854775807",
            "error: attribute blocksize 9223372036854775807 must be from 1 to 1048576",
        ),
        (
            "GatherND(float32[5], int64[1, 9223372036854775807]) batch_dims=9223372036854775807",
            "error: indices of 9223372036854775807 numbers with batch_dims 9223372036854775807 do not fit the shape [5]",
        ),
        (
            "Conv(float32[1, 3, 8], float32[8, 3, 3]) group=9223372036854775807",
            "error: input of shape [1, 3, 8] and weights of shape [8, 3, 3] with 9223372036854775807 groups: the numbers of input channels differ",
        ),
        (
            "Split(float32[n, 8]) axis=1 num_outputs=9223372036854775807",
            "error: attribute num_outputs is 9223372036854775807, found 1 outputs",
        ),
        ("Reshape(float32[1], int64[9223372036854775807])", "float32?"),
    ]);
}

/// A thousand strided convolutions of a symbolic size, each on the last, neither slow down nor nest.
#[test]
fn long_chains_stay_small() {
    let mut graph = Graph::new();
    let shape = vec![Dim::known(1), Dim::known(1), Dim::symbol("h")];
    let mut last = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let weights = Tensor::from_f32(vec![1, 1, 2], &[1.0, 1.0]).unwrap();
    let weights = graph.add_constant("w", weights).unwrap();
    for index in 0..1000 {
        let strides = Attribute::Ints(vec![2 + index % 2]);
        let node = NewNode::new("Conv", &[last, weights], format!("v{index}")).with("strides", strides);
        match graph.push_one(node) {
            Ok(id) => last = id,
            Err(error) => {
                assert!(error.to_string().contains("overflows"), "{error}");
                assert!(index > 30);
                break;
            }
        }
        assert!(describe(&graph, last).len() < 100);
    }
}

/// Doubling by addition of a value with itself grows numbers, not expressions.
#[test]
fn concatenating_a_value_with_itself_ends() {
    let mut graph = Graph::new();
    let mut last = graph.add_input("x", ElementType::F32, Some(vec![Dim::symbol("n")])).unwrap();
    for index in 0..200 {
        let node = NewNode::new("Concat", &[last, last], format!("v{index}")).with("axis", Attribute::Int(0));
        last = graph.push_one(node).unwrap();
    }
    assert!(describe(&graph, last).len() < 100);
}

fn body(name: &str, shape: &[Dim]) -> Graph {
    let mut graph = Graph::new();
    let value = graph.add_input(name, ElementType::F32, Some(shape.to_vec())).unwrap();
    graph.add_output(value).unwrap();
    graph
}

#[test]
fn branches_agree_or_do_not() {
    let n = || Dim::symbol("n");
    for (then, other, expected) in [
        (vec![n(), Dim::known(3)], vec![n(), Dim::known(3)], "float32[n, 3]"),
        (vec![n(), Dim::known(3)], vec![n(), Dim::known(4)], "float32[n, ?y.1]"),
        (vec![Dim::symbol("?a.0")], vec![Dim::symbol("?a.0")], "float32[?y.0]"),
        (vec![n()], vec![n(), n()], "float32?"),
    ] {
        let mut graph = Graph::new();
        let condition = graph.add_input("c", ElementType::Bool, Some(vec![])).unwrap();
        let node = NewNode::new("If", &[condition], "y")
            .with("then_branch", Attribute::Graph(Box::new(body("a", &then))))
            .with("else_branch", Attribute::Graph(Box::new(body("b", &other))));
        let output = graph.push_one(node).unwrap();
        assert_eq!(describe(&graph, output), expected);
    }
    let mut graph = Graph::new();
    let condition = graph.add_input("c", ElementType::Bool, Some(vec![])).unwrap();
    let node =
        NewNode::new("If", &[condition], "y").with("then_branch", Attribute::Graph(Box::new(body("a", &[]))));
    let error = graph.push(node).unwrap_err().to_string();
    assert_eq!(error, "If node \"\": attribute else_branch is missing");
}

#[test]
fn loops_keep_what_every_turn_keeps() {
    let mut body = Graph::new();
    body.add_input("i", ElementType::I64, Some(vec![])).unwrap();
    let go_on = body.add_input("go_on", ElementType::Bool, Some(vec![])).unwrap();
    let shape = vec![Dim::symbol("n"), Dim::known(3)];
    let state = body.add_input("state", ElementType::F32, Some(shape.clone())).unwrap();
    let next = body.push_one(NewNode::new("Relu", &[state], "next")).unwrap();
    body.set_outputs(vec![go_on, next, state]);

    let mut graph = Graph::new();
    let count = graph.add_constant("count", Tensor::scalar(ElementType::I64, 5.0)).unwrap();
    let start = graph.add_input("start", ElementType::F32, Some(shape)).unwrap();
    let node = NewNode {
        operator: "Loop".to_owned(),
        inputs: vec![Some(count), None, Some(start)],
        outputs: vec!["last".to_owned(), "all".to_owned()],
        attributes: BTreeMap::from([("body".to_owned(), Attribute::Graph(Box::new(body)))]),
        ..NewNode::default()
    };
    let id = graph.push(node.clone()).unwrap();
    let outputs: Vec<String> =
        graph.node(id).outputs.iter().flatten().map(|output| describe(&graph, *output)).collect();
    assert_eq!(outputs, ["float32[n, 3]", "float32[?all.0, n, 3]"]);

    let short = NewNode { outputs: vec!["other".to_owned()], ..node };
    let error = graph.push(short).unwrap_err().to_string();
    assert!(
        error.contains("a body of 3 inputs and 3 outputs does not fit 1 carried values and 1 outputs"),
        "{error}"
    );
}

#[test]
fn broadcast_is_public() {
    let n = || Dim::symbol("n");
    let joined = broadcast_shapes(&[n(), Dim::known(1)], &[Dim::known(4)]).unwrap();
    assert_eq!(joined, [n(), Dim::known(4)]);
    let one_way = broadcast_shapes(&[n()], &[Dim::symbol("m")]).unwrap();
    assert_eq!(one_way, broadcast_shapes(&[Dim::symbol("m")], &[n()]).unwrap(), "the order does not matter");
    assert!(broadcast_shapes(&[Dim::known(2)], &[Dim::known(3)]).is_err());
}

fn dims() -> impl Strategy<Value = Option<Vec<Dim>>> {
    let dim = prop_oneof![
        6 => (0..5i64).prop_map(Dim::known),
        2 => Just(Dim::symbol("n")),
        1 => Just(Dim::known(1 << 40)),
        1 => Just(Dim::known(i64::MAX)),
    ];
    proptest::option::weighted(0.9, proptest::collection::vec(dim, 0..5))
}

#[derive(Debug, Clone)]
enum Input {
    Left,
    Values(ElementType, Option<Vec<Dim>>),
    Numbers(Vec<i64>),
    Scalar(i64),
    Scales(Vec<f32>),
}

fn input() -> impl Strategy<Value = Input> {
    let number = prop_oneof![8 => -3..6i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => Just(1i64 << 40)];
    let element =
        prop_oneof![4 => Just(ElementType::F32), 1 => Just(ElementType::I64), 1 => Just(ElementType::Bool)];
    prop_oneof![
        1 => Just(Input::Left),
        8 => (element, dims()).prop_map(|(element, shape)| Input::Values(element, shape)),
        4 => proptest::collection::vec(number.clone(), 0..9).prop_map(Input::Numbers),
        1 => number.prop_map(Input::Scalar),
        1 => proptest::collection::vec(-1.0f32..3.0, 0..5).prop_map(Input::Scales),
    ]
}

const ATTRIBUTES: [&str; 22] = [
    "axis",
    "axes",
    "perm",
    "strides",
    "pads",
    "dilations",
    "kernel_shape",
    "group",
    "ceil_mode",
    "keepdims",
    "output_padding",
    "output_shape",
    "blocksize",
    "num_outputs",
    "size",
    "num_groups",
    "to",
    "batch_dims",
    "start",
    "end",
    "allowzero",
    "transA",
];

fn attribute() -> impl Strategy<Value = (String, Attribute)> {
    let number = prop_oneof![8 => -3..8i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => Just(1i64 << 31)];
    let value = prop_oneof![
        number.clone().prop_map(Attribute::Int),
        proptest::collection::vec(number, 0..7).prop_map(Attribute::Ints),
    ];
    (proptest::sample::select(&ATTRIBUTES[..]), value).prop_map(|(name, value)| (name.to_owned(), value))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// Whatever a node says, inference gives facts within the limits or an error.
    #[test]
    fn nonsense_neither_panics_nor_passes_the_limits(
        operator in proptest::sample::select(operators::all()),
        inputs in proptest::collection::vec(input(), 0..6),
        attributes in proptest::collection::vec(attribute(), 0..5),
        more_outputs in 0..3usize,
    ) {
        let mut graph = Graph::new();
        let fits = |count: usize| count.clamp(operator.inputs.min, operator.inputs.max.unwrap_or(count.max(operator.inputs.min)));
        let mut ids = Vec::new();
        for (index, input) in inputs.iter().cycle().take(if inputs.is_empty() { 0 } else { fits(inputs.len()) }).enumerate() {
            let name = format!("x{index}");
            ids.push(match input.clone() {
                Input::Left => None,
                Input::Values(element, shape) => Some(graph.add_input(name, element, shape).unwrap()),
                Input::Numbers(values) => Some(graph.add_constant(name, Tensor::integers(&values)).unwrap()),
                Input::Scalar(value) => {
                    Some(graph.add_constant(name, Tensor::from_i64(vec![], &[value]).unwrap()).unwrap())
                }
                Input::Scales(values) => {
                    Some(graph.add_constant(name, Tensor::from_f32(vec![values.len()], &values).unwrap()).unwrap())
                }
            });
        }
        let node = NewNode {
            operator: operator.name.to_owned(),
            inputs: ids,
            outputs: (0..operator.outputs.min + more_outputs).map(|index| format!("y{index}")).collect(),
            attributes: attributes.into_iter().collect(),
            ..NewNode::default()
        };
        if let Ok(id) = graph.push(node) {
            for output in graph.node(id).outputs.iter().flatten() {
                assert_within_limits(&graph, *output);
            }
        }
    }
}

/// Every operator of the table has a rule: none says that it has no inference.
#[test]
fn every_operator_is_inferred() {
    for operator in operators::all() {
        let mut graph = Graph::new();
        let inputs = (0..operator.inputs.min)
            .map(|index| Some(graph.add_input(format!("x{index}"), ElementType::F32, None).unwrap()))
            .collect();
        let outputs = (0..operator.outputs.min).map(|index| format!("y{index}")).collect();
        let node = NewNode { operator: operator.name.to_owned(), inputs, outputs, ..NewNode::default() };
        if let Err(error) = graph.push(node) {
            assert!(!error.to_string().contains("no inference"), "{}", operator.name);
        }
    }
}

/// Long names, many axes, many inputs: each is bounded or refused.
#[test]
fn sizes_of_the_graph_itself_are_bounded() {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::symbol("n")])).unwrap();
    let y = graph.add_input("y", ElementType::F32, Some(vec![Dim::symbol("m")])).unwrap();
    let long = "z".repeat(1_000_000);
    let first = graph.push_one(NewNode::new("Add", &[x, y], format!("{long}1"))).unwrap();
    let second = graph.push_one(NewNode::new("Add", &[x, y], format!("{long}2"))).unwrap();
    let sizes = [first, second].map(|id| graph.value(id).shape.clone().unwrap()[0].to_string());
    assert!(sizes.iter().all(|size| size.len() < 300));
    assert_ne!(sizes[0], sizes[1]);

    let wide = graph.add_input("wide", ElementType::F32, Some(vec![Dim::known(1); 65])).unwrap();
    let error = graph.push_one(NewNode::new("Relu", &[wide], "w")).unwrap_err();
    assert_eq!(error.to_string(), "Relu node \"\": a value of 65 axes has more than 64");

    let empty = graph.add_constant("empty", Tensor::integers(&[])).unwrap();
    let one = graph.add_constant("one", Tensor::integers(&[1])).unwrap();
    let mut inputs = vec![empty; 1_000_000];
    inputs.extend([one; 1000]);
    let node = NewNode::new("Concat", &inputs, "ones").with("axis", Attribute::Int(0));
    let joined = graph.push_one(node).unwrap();
    assert_eq!(graph.value(joined).contents.as_ref().map(Vec::len), Some(1000));
}
