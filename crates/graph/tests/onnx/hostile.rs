//! Files made to exhaust the reader: refused before memory is taken, by limits that can be set.

use bytes::Bytes;
use pellucid_graph::onnx::{Limits, decode};

use crate::wire::{Message, floats, function, graph, message, model, model_with, node, read, small, value};

fn refused(bytes: Vec<u8>, limits: &Limits) -> String {
    decode(Bytes::from(bytes), limits).unwrap_err().to_string()
}

#[test]
fn every_truncation_is_refused() {
    let whole = small();
    assert!(read(whole.clone()).is_ok());
    for length in 0..whole.len() {
        let error = message(whole[..length].to_vec());
        assert!(error.starts_with("not an ONNX model: "), "{length} bytes: {error}");
    }
}

#[test]
fn lengths_that_lie_take_no_memory() {
    // A graph of 2⁶³ bytes, of which none follows.
    let mut lie = Message::new();
    lie.0.push(0x3a);
    lie.varint(1 << 63);
    assert_eq!(
        message(lie.0),
        "not an ONNX model: at byte 0: a field of 9223372036854775808 bytes, but 0 are left"
    );
    let mut beyond = Message::new().text(2, "inner");
    beyond.0.extend([0x0a, 0x7f]);
    let outer = Message::new().message(7, &beyond).text(2, &"x".repeat(200));
    assert_eq!(message(outer.0), "not an ONNX model: at byte 9: a field of 127 bytes, but 0 are left");
}

#[test]
fn empty_messages_are_counted_before_they_are_decoded() {
    // Two bytes each in the file, a hundred times that in memory.
    let nodes = Message([0x0a, 0x00].repeat(5000));
    let tensors = Message([0x2a, 0x00].repeat(5000));
    let limits = Limits { nodes: 4999, tensors: 4999, ..Limits::default() };
    assert_eq!(refused(model(18, &nodes), &limits), "the model has 5000 nodes, the limit is 4999");
    assert_eq!(refused(model(18, &tensors), &limits), "the model has 5000 tensors, the limit is 4999");
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let error = refused(model(18, &Message([0x5a, 0x00].repeat(100_000))), &limits);
    assert!(error.contains("bytes of decoded structure, the limit is 1048576"), "{error}");
}

#[test]
fn packed_numbers_are_counted_before_they_are_decoded() {
    // One byte each in the file, eight in memory.
    let tensor = Message::new().int(1, 1 << 20).int(2, 7).text(8, "w").bytes(7, &vec![0; 1 << 20]);
    let limits = Limits { memory_bytes: 1 << 22, ..Limits::default() };
    let error = refused(model(18, &graph(&[], &[], &["w"], &[tensor])), &limits);
    assert!(error.contains("bytes of decoded structure, the limit is 4194304"), "{error}");
}

#[test]
fn nesting_is_limited() {
    let mut body = graph(&[node("Relu", &["x"], &["b"])], &[], &["b"], &[]);
    let condition = Message::new().text(8, "c").int(2, 9).bytes(9, &[1]);
    let deepen = |body: &Message| {
        let outer = node("If", &["c"], &["b"]).with_body("then_branch", body).with_body("else_branch", body);
        graph(&[outer], &[], &["b"], &[])
    };
    let whole = |body: &Message| {
        let outer = node("If", &["c"], &["y"]).with_body("then_branch", body).with_body("else_branch", body);
        model(18, &graph(&[outer], &[value("x", &["n"])], &["y"], std::slice::from_ref(&condition)))
    };
    for _ in 0..7 {
        body = deepen(&body);
    }
    assert!(read(whole(&body)).is_ok());
    let limits = Limits { nesting: 7, ..Limits::default() };
    assert_eq!(refused(whole(&body), &limits), "the model has 8 levels of nested bodies, the limit is 7");
    // Without copies of the other branch, hundreds of levels take few bytes.
    let mut deep = graph(&[], &[], &[], &[]);
    for _ in 0..2000 {
        deep = graph(&[node("If", &["c"], &["b"]).with_body("then_branch", &deep)], &[], &["b"], &[]);
    }
    assert_eq!(message(model(18, &deep)), "the model has 17 levels of nested bodies, the limit is 16");
    let limits = Limits { nesting: u64::MAX, ..Limits::default() };
    assert_eq!(
        refused(model(18, &deep), &limits),
        "the model has 25 levels of nested bodies, the limit is 24"
    );
}

/// Functions that call the next one twice: 2ᵏ nodes of k functions.
fn doubling(levels: usize) -> Vec<u8> {
    let mut functions = vec![function("f0", &["a"], &["b"], &[node("Relu", &["a"], &["b"])])];
    for level in 1..=levels {
        let inner = format!("f{}", level - 1);
        let nodes = [node(&inner, &["a"], &["m"]).of("own"), node(&inner, &["m"], &["b"]).of("own")];
        functions.push(function(&format!("f{level}"), &["a"], &["b"], &nodes));
    }
    let call = node(&format!("f{levels}"), &["x"], &["y"]).of("own");
    model_with(18, &graph(&[call], &[value("x", &["n"])], &["y"], &[]), &functions)
}

#[test]
fn expansion_is_limited() {
    assert_eq!(read(doubling(8)).unwrap().nodes().len(), 256);
    let limits = Limits { nodes: 1000, ..Limits::default() };
    assert_eq!(
        refused(doubling(30), &limits),
        "the model has 1001 nodes after functions are expanded, the limit is 1000"
    );
    assert_eq!(
        refused(doubling(40), &Limits::default()),
        "the model has 33 levels of functions that call functions, the limit is 32"
    );
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let error = refused(doubling(30), &limits);
    assert!(error.contains("bytes of expanded structure, the limit is 1048576"), "{error}");
}

#[test]
fn followed_sizes_are_limited() {
    let mut nodes = vec![node("Identity", &["w"], &["v0"])];
    for step in 1..100 {
        let (input, output) = (format!("v{}", step - 1), format!("v{step}"));
        nodes.push(node("Identity", &[&input], &[&output]));
    }
    let constant = crate::wire::integers("w", &[1000], &[7; 1000]);
    let bytes = model(18, &graph(&nodes, &[], &["v99"], &[constant]));
    assert!(read(bytes.clone()).is_ok());
    let limits = Limits { followed_sizes: 50_000, ..Limits::default() };
    let error = refused(bytes, &limits);
    assert!(error.contains("sizes that are followed symbolically, the limit is 50000"), "{error}");
}

#[test]
fn the_file_itself_is_limited() {
    let limits = Limits { file_bytes: 10, ..Limits::default() };
    let length = small().len();
    assert_eq!(
        refused(small(), &limits),
        format!("the model has {length} bytes of model file, the limit is 10")
    );
}

#[test]
fn a_pad_to_a_tebibyte_is_refused_by_its_size() {
    let padded = |amount: i64| {
        let pads = crate::wire::integers("p", &[2], &[amount, 0]);
        let padded = node("Pad", &["x", "p"], &["y"]);
        message(model(18, &graph(&[padded], &[value("x", &["4"])], &["y"], &[pads])))
    };
    for amount in [1 << 40, i64::MAX, i64::MIN] {
        let error = padded(amount);
        assert!(error.starts_with("Pad (node \"the Pad\"): "), "{error}");
    }
}

#[test]
fn weights_are_shared_with_the_file() {
    // Small tensors are copied out.
    let bytes = Bytes::from(model(18, &graph(&[], &[], &["w"], &[floats("w", &[2000], &[1.5; 2000])])));
    let range = bytes.as_ptr_range();
    let graph = decode(bytes.clone(), &Limits::default()).unwrap();
    let weight = graph.constant(graph.outputs()[0]).unwrap();
    assert!(range.contains(&weight.bytes().as_ptr()), "the tensor is a slice of the file");
}
