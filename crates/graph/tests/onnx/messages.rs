//! The text of every refusal.

use crate::wire::{
    Message, floats, function, graph, header, integers, message, model, model_with, node, read, small, typed,
    value,
};

fn one(node: Message) -> Vec<u8> {
    model(18, &graph(&[node], &[value("x", &["n", "4"])], &["y"], &[]))
}

#[test]
fn files_that_are_no_models() {
    assert_eq!(message(Vec::new()), "not an ONNX model: the file is empty");
    assert_eq!(
        message(b"PK\x03\x04 and so on".to_vec()),
        "not an ONNX model: it is a zip archive, as PyTorch checkpoints are: export the network to ONNX first"
    );
    assert_eq!(
        message(b"version https://git-lfs.github.com/spec/v1".to_vec()),
        "not an ONNX model: it is a Git LFS pointer: fetch the file itself with `git lfs pull`"
    );
    assert_eq!(
        message(b"hello, world".to_vec()),
        "not an ONNX model: at byte 2: no field of ONNX is of such a kind"
    );
    assert_eq!(message(vec![0x0b]), "not an ONNX model: at byte 0: no field of ONNX is of such a kind");
    assert_eq!(message(vec![0; 8]), "not an ONNX model: at byte 0: no field has such a number");
    assert_eq!(message(vec![0xff; 16]), "not an ONNX model: at byte 0: a number of more than 64 bits");
    assert_eq!(
        message(vec![0x38, 0x01]),
        "not an ONNX model: at byte 0: a number where text or a message was expected"
    );
    assert_eq!(message(vec![0x08, 0x08]), "not an ONNX model: it holds no graph");
    let bare = Message::new().message(7, &Message::new().text(2, "main"));
    assert_eq!(message(bare.0), "not an ONNX model: it declares no opset of ai.onnx");
    assert_eq!(message(model(18, &graph(&[], &[], &[], &[]))), "not an ONNX model: its graph has no output");
    let latin = Message::new().bytes(2, b"\xff\xfe");
    assert!(message(latin.0).starts_with("not an ONNX model: failed to decode Protobuf message"));
}

#[test]
fn opsets() {
    assert_eq!(
        message(model(6, &graph(&[], &[], &["y"], &[]))),
        "the model is of opset 6; opsets 7 to 24 are read: export it again with opset 18"
    );
    assert_eq!(
        message(model(99, &graph(&[], &[], &["y"], &[]))),
        "the model is of opset 99; opsets 7 to 24 are read: export it again with opset 18"
    );
}

#[test]
fn graphs_that_are_not_whole() {
    let cycle = [
        node("Relu", &["x"], &["a"]),
        node("Add", &["a", "d"], &["b"]),
        node("Neg", &["b"], &["c"]),
        node("Exp", &["c"], &["d"]),
        node("Abs", &["d"], &["y"]),
    ];
    assert_eq!(
        message(model(18, &graph(&cycle, &[value("x", &["n"])], &["y"], &[]))),
        "nodes form a cycle: Add (node \"the Add\"), Neg (node \"the Neg\"), Exp (node \"the Exp\")"
    );
    let itself = one(node("Relu", &["y"], &["y"]));
    assert_eq!(message(itself), "nodes form a cycle: Relu (node \"the Relu\")");
    assert_eq!(
        message(one(node("Add", &["x", "nowhere"], &["y"]))),
        "Add (node \"the Add\") takes \"nowhere\", which nothing defines"
    );
    assert_eq!(
        message(model(18, &graph(&[], &[], &["nowhere"], &[]))),
        "output \"nowhere\" is a value that nothing defines"
    );
    let twice = [node("Relu", &["x"], &["y"]), node("Neg", &["x"], &["y"])];
    assert_eq!(
        message(model(18, &graph(&twice, &[value("x", &["n"])], &["y"], &[]))),
        "value \"y\" is defined twice"
    );
    let listed = graph(&[node("Relu", &["x"], &["y"])], &[value("x", &["n"])], &["y", "y"], &[]);
    assert_eq!(message(model(18, &listed)), "output \"y\" is listed twice");
}

#[test]
fn every_unknown_operator_is_listed() {
    let body = graph(&[node("Wibble", &["x"], &["b"])], &[], &["b"], &[]);
    let unnamed = Message::new().texts(1, &["x"]).texts(2, &["d"]).text(4, "LSTM");
    let nodes = [
        node("Wobble", &["x"], &["a"]),
        node("If", &["c"], &["e"]).with_body("then_branch", &body).with_body("else_branch", &body),
        unnamed,
        node("Attention", &["x"], &["y"]).of("com.microsoft"),
    ];
    let inputs = [value("x", &["n"]), typed("c", 9, &[])];
    assert_eq!(
        message(model(18, &graph(&nodes, &inputs, &["y"], &[]))),
        "5 operators are unknown: Wobble (node \"the Wobble\"), Wibble (node \"the Wibble\"), \
         Wibble (node \"the Wibble\"), LSTM (output \"d\"), com.microsoft::Attention (node \"the Attention\")"
    );
    assert_eq!(
        message(one(node("Wobble", &["x"], &["y"]))),
        "1 operator is unknown: Wobble (node \"the Wobble\")"
    );
}

#[test]
fn nodes_that_contradict_their_operator() {
    assert_eq!(
        message(one(node("Relu", &["x"], &["y"]).with_int("slope", 1))),
        "Relu (node \"the Relu\"): attribute \"slope\" is not one that the operator has in opset 18"
    );
    assert_eq!(
        message(one(node("Softmax", &["x"], &["y"]).with_float("axis", 1.0))),
        "Softmax (node \"the Softmax\"): attribute \"axis\" is Float where Int was expected"
    );
    assert_eq!(
        message(one(node("Add", &["x"], &["y"]))),
        "Add (node \"the Add\"): 1 inputs are given where 2 were expected"
    );
    assert_eq!(
        message(one(node("Softmax", &["x"], &["y"]).with_int("axis", 1).with_int("axis", 1))),
        "Softmax (node \"the Softmax\"): attribute \"axis\" is given twice"
    );
    let bytes = Message::new().text(1, "mode").bytes(4, b"\xff").int(20, 3);
    assert_eq!(
        message(one(node("Resize", &["x"], &["y"]).message(5, &bytes))),
        "Resize (node \"the Resize\"): attribute \"mode\" is text that is not UTF-8"
    );
    let sparse = Message::new().text(1, "value").int(20, 11);
    assert_eq!(
        message(one(node("ConstantOfShape", &["x"], &["y"]).message(5, &sparse))),
        "ConstantOfShape (node \"the ConstantOfShape\"): attribute \"value\" is a sparse tensor, \
         which is not supported"
    );
    assert_eq!(
        message(one(node("Constant", &[], &["y"]).with_text("value_string", "no"))),
        "Constant (node \"the Constant\"): a constant given as \"value_string\" is not supported"
    );
    assert_eq!(
        message(one(node("Relu", &["x"], &["y"]).with_reference("alpha", "alpha", 1))),
        "Relu (node \"the Relu\"): attribute \"alpha\" refers to an attribute of a function, but stands in none"
    );
}

#[test]
fn inputs() {
    let with = |input: Message| message(model(18, &graph(&[], &[input], &["x"], &[])));
    assert_eq!(
        with(value("x", &["n", "0"])),
        "input \"x\": size 0 of axis 1 is not positive: leave it out where it is not known"
    );
    assert_eq!(
        with(value("x", &["-1", "3"])),
        "input \"x\": size -1 of axis 0 is not positive: leave it out where it is not known"
    );
    assert_eq!(with(typed("x", 8, &["n"])), "input \"x\": elements are strings, which are not supported");
    assert_eq!(with(Message::new().text(1, "x")), "input \"x\": no type is declared");
    let sequence = Message::new().text(1, "x").message(2, &Message::new().message(4, &Message::new()));
    assert_eq!(with(sequence), "input \"x\": it is a sequence; only tensors are supported");
}

#[test]
fn constants() {
    let with = |tensor: Message| message(model(18, &graph(&[], &[], &["w"], &[tensor])));
    assert_eq!(
        with(floats("w", &[2, 3], &[0.0; 5])),
        "tensor \"w\": float32 of shape [2, 3] needs 24 bytes, found 20"
    );
    assert_eq!(with(floats("w", &[-1], &[0.0])), "tensor \"w\": sizes [-1] hold the negative number -1");
    assert_eq!(
        with(floats("w", &[1 << 40, 1 << 40], &[0.0])),
        "tensor \"w\": sizes [1099511627776, 1099511627776] multiply past the address range"
    );
    assert_eq!(
        with(header("w", 1, &[1 << 40])),
        "the model has 1099511627776 elements in a tensor, the limit is 68719476736"
    );
    assert_eq!(with(header("w", 14, &[1])), "tensor \"w\": elements are complex64, which are not supported");
    assert_eq!(with(header("w", 0, &[1])), "tensor \"w\": no element type is given");
    assert_eq!(with(header("w", 77, &[1])), "tensor \"w\": element type 77 is not one of ONNX");
    let twice = integers("w", &[1], &[1]).int(7, 1);
    assert_eq!(with(twice), "tensor \"w\": elements are given twice, in raw_data and in int64_data");
    let sparse = Message::new().message(1, &header("w", 1, &[1]));
    let whole = graph(&[], &[], &["w"], &[]).message(15, &sparse);
    assert_eq!(message(model(18, &whole)), "tensor \"w\": sparse tensors are not supported");
}

#[test]
fn functions() {
    let call = |function: &str| node(function, &["x"], &["y"]).of("own");
    let with = |node: Message, functions: &[Message]| {
        message(model_with(18, &graph(&[node], &[value("x", &["n"])], &["y"], &[]), functions))
    };
    let recursive = function("f", &["a"], &["b"], &[node("f", &["a"], &["b"]).of("own")]);
    assert_eq!(with(call("f"), &[recursive]), "function \"own::f\": it calls itself");
    let relu = function("f", &["a"], &["b"], &[node("Relu", &["a"], &["b"])]);
    assert_eq!(
        with(node("f", &["x", "x"], &["y"]).of("own"), std::slice::from_ref(&relu)),
        "function \"own::f\": it has 1 inputs and 1 outputs, but f (node \"the f\") is given 2 and 1"
    );
    assert_eq!(with(call("f"), &[relu.clone(), relu]), "function \"f\": it is defined twice");
    let outside = function("f", &["a"], &["b"], &[node("Add", &["a", "x"], &["b"])]);
    assert_eq!(
        with(call("f"), &[outside]),
        "Add (node \"the f/the Add\") takes \"x\", which nothing defines"
    );
    let ours = Message::new().text(1, "Relu").texts(4, &["a"]).texts(5, &["a"]).text(10, "ai.onnx");
    assert_eq!(with(call("f"), &[ours]), "function \"Relu\": it redefines an operator of ai.onnx");
}

#[test]
fn the_small_model_is_read() {
    insta::assert_snapshot!("the_small_model_is_read", read(small()).unwrap().text());
}
