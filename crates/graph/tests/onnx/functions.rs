//! Functions of the model's own, bodies and their captures, order, sizes with names.

use crate::wire::{Message, floats, function, graph, integers, model, model_with, node, read, typed, value};

fn text(bytes: Vec<u8>) -> String {
    read(bytes).unwrap().text()
}

#[test]
fn functions_are_expanded() {
    // g calls f twice; attributes pass through, one by its default; names inside are made unique.
    let f = function(
        "f",
        &["a"],
        &["b"],
        &[
            node("LeakyRelu", &["a"], &["m"]).with_reference("alpha", "slope", 1),
            node("Elu", &["m"], &["b"]).with_reference("alpha", "missing", 1),
        ],
    )
    .texts(6, &["slope", "missing"]);
    let default = Message::new().text(1, "gain").float(2, 0.25).int(20, 1);
    let g = function(
        "g",
        &["a"],
        &["b"],
        &[
            node("f", &["a"], &["m"]).of("own").with_reference("slope", "gain", 1),
            node("f", &["m"], &["b"]).of("own").with_float("slope", 0.5),
        ],
    )
    .message(11, &default);
    let nodes =
        [node("g", &["x"], &["h"]).of("own").with_float("gain", 0.75), node("g", &["h"], &["y"]).of("own")];
    let bytes = model_with(18, &graph(&nodes, &[value("x", &["n"])], &["y"], &[]), &[f, g]);
    insta::assert_snapshot!("functions_are_expanded", text(bytes));
}

#[test]
fn functions_hand_inputs_back_and_have_outputs_that_nobody_takes() {
    let f = function(
        "f",
        &["a", "left_out"],
        &["a", "b", "b", "c"],
        &[node("Relu", &["a"], &["b"]), node("Clip", &["b", "left_out"], &["c"])],
    );
    let call = node("f", &["x"], &["same", "", "again", "y"]).of("own");
    let outputs = ["same", "again", "y"];
    let bytes = model_with(18, &graph(&[call], &[value("x", &["n"])], &outputs, &[]), &[f]);
    insta::assert_snapshot!("functions_hand_inputs_back", text(bytes));
}

#[test]
fn functions_have_their_own_opset() {
    let import = Message::new().text(1, "").int(2, 12);
    let old = function("f", &["a"], &["b"], &[node("Squeeze", &["a"], &["b"]).with_ints("axes", &[1])])
        .message(9, &import);
    let call = node("f", &["x"], &["y"]).of("own");
    let graph =
        read(model_with(18, &graph(&[call], &[value("x", &["n", "1"])], &["y"], &[]), &[old])).unwrap();
    let squeeze = &graph.nodes()[0];
    assert_eq!(squeeze.inputs.len(), 2, "axes became an input");
}

#[test]
fn nodes_out_of_order_are_sorted() {
    let nodes = [node("Exp", &["h"], &["y"]), node("Neg", &["x"], &["h"])];
    let graph = read(model(18, &graph(&nodes, &[value("x", &["n"])], &["y"], &[]))).unwrap();
    let operators: Vec<&str> = graph.nodes().iter().map(|node| node.operator.as_str()).collect();
    assert_eq!(operators, ["Neg", "Exp"]);
}

#[test]
fn bodies_capture_and_scope() {
    // The branches use names of the graph around them, one hides an outer name, and both use the same inner names.
    let inner = graph(&[node("Mul", &["t", "x"], &["u"])], &[], &["u"], &[]);
    let then_branch = graph(
        &[
            node("Add", &["x", "w"], &["t"]),
            node("If", &["c"], &["r"]).with_body("then_branch", &inner).with_body("else_branch", &inner),
        ],
        &[],
        &["r"],
        &[],
    );
    let hides = floats("w", &[1], &[9.0]);
    let else_branch = graph(&[node("Sub", &["x", "w"], &["t"])], &[], &["t"], &[hides]);
    let nodes = [
        node("If", &["c"], &["h"])
            .with_body("then_branch", &then_branch)
            .with_body("else_branch", &else_branch),
        node("Neg", &["h"], &["y"]),
    ];
    let inputs = [value("x", &["n"]), typed("c", 9, &[])];
    let bytes = model(18, &graph(&nodes, &inputs, &["y"], &[floats("w", &[1], &[2.0])]));
    insta::assert_snapshot!("bodies_capture_and_scope", text(bytes));
}

#[test]
fn a_known_condition_picks_its_branch() {
    let truth = Message::new().text(8, "c").int(2, 9).bytes(9, &[0]);
    let then_branch = graph(&[node("Exp", &["x"], &["t"])], &[], &["t"], &[]);
    let weight = floats("w", &[1], &[9.0]);
    let else_branch =
        graph(&[node("Sub", &["x", "w"], &["t"]), node("Neg", &["t"], &["s"])], &[], &["s", "x"], &[weight]);
    let nodes = [
        node("If", &["c"], &["h", "same"])
            .with_body("then_branch", &then_branch)
            .with_body("else_branch", &else_branch),
        node("Abs", &["h"], &["y"]),
        node("Relu", &["same"], &["t"]),
    ];
    let constants = [truth, floats("w", &[1], &[2.0])];
    let bytes = model(18, &graph(&nodes, &[value("x", &["n"])], &["y", "t", "w"], &constants));
    insta::assert_snapshot!("a_known_condition_picks_its_branch", text(bytes));
}

#[test]
fn loops_have_bodies_whose_inputs_may_leave_their_types_out() {
    let body = graph(
        &[node("Add", &["carried", "x"], &["next"]), node("Identity", &["go"], &["on"])],
        &["i", "go", "carried"].map(|name| Message::new().text(1, name)),
        &["on", "next"],
        &[],
    );
    let nodes = [node("Loop", &["count", "", "x"], &["y"]).with_body("body", &body)];
    let bytes =
        model(18, &graph(&nodes, &[value("x", &["n", "2"])], &["y"], &[integers("count", &[], &[3])]));
    insta::assert_snapshot!("loops_have_bodies", text(bytes));
}

#[test]
fn sizes_have_names() {
    let inputs = [
        value("x", &["batch", "", "2*batch", "batch-size"]),
        value("y", &["N", "3"]),
        typed("z", 7, &["x.1"]),
    ];
    let graph = read(model(18, &graph(&[], &inputs, &["x", "y", "z"], &[]))).unwrap();
    let sizes = |index: usize| {
        let value = graph.value(graph.inputs()[index]);
        pellucid_graph::display_shape(value.shape.as_ref().unwrap())
    };
    assert_eq!(
        sizes(0),
        "[batch, x.1', 2*batch, batch-size]",
        "the unnamed size differs from the one named x.1"
    );
    assert_eq!(graph.value(graph.inputs()[0]).shape.as_ref().unwrap()[3].as_symbol(), Some("batch-size"));
    assert_eq!(sizes(1), "[N, 3]");
    assert_eq!(sizes(2), "[x.1]");
}

#[test]
fn initialisers_that_are_inputs_too_are_constants() {
    let nodes = [node("Add", &["x", "w"], &["y"])];
    let inputs = [value("x", &["n"]), value("w", &["1"])];
    let graph = read(model(7, &graph(&nodes, &inputs, &["y"], &[floats("w", &[1], &[2.0])]))).unwrap();
    assert_eq!(graph.inputs().len(), 1);
    assert_eq!(graph.constant(graph.find("w").unwrap()).unwrap().to_f32(), [2.0]);
}

#[test]
fn constant_nodes_of_every_kind_become_constants() {
    let tensor = Message::new().text(1, "value").message(5, &floats("", &[2], &[1.0, 2.0])).int(20, 4);
    let nodes = [
        node("Constant", &[], &["tensor"]).message(5, &tensor),
        node("Constant", &[], &["int"]).with_int("value_int", -3),
        node("Constant", &[], &["ints"]).with_ints("value_ints", &[4, 5]),
        node("Constant", &[], &["float"]).with_float("value_float", 0.5),
        node("Constant", &[], &["floats"]).with_floats("value_floats", &[0.25, 8.0]),
    ];
    let outputs = ["tensor", "int", "ints", "float", "floats"];
    insta::assert_snapshot!("constant_nodes", text(model(13, &graph(&nodes, &[], &outputs, &[]))));
}
