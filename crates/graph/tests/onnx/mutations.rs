//! Whatever bytes are changed, reading ends in a graph or an error, and what is read can be written.

use bytes::Bytes;
use pellucid_graph::onnx::{self, EncodeOptions, Limits};
use proptest::prelude::*;

use crate::wire::{Message, floats, function, graph, integers, model_with, node, small, typed, value};

/// A model with a function, a body, data and attributes of most kinds.
fn rich() -> Vec<u8> {
    let body = graph(&[node("Mul", &["x", "x"], &["t"])], &[], &["t"], &[floats("inner", &[1], &[1.0])]);
    let nodes = [
        node("f", &["x"], &["a"]).of("own").with_float("slope", 0.5),
        node("If", &["c"], &["b"]).with_body("then_branch", &body).with_body("else_branch", &body),
        node("Slice", &["b"], &["d"])
            .with_ints("starts", &[0])
            .with_ints("ends", &[2])
            .with_ints("axes", &[1]),
        node("Upsample", &["d"], &["e"]).with_floats("scales", &[1.0, 2.0]).with_text("mode", "nearest"),
        node("Softmax", &["e"], &["g"]).with_int("axis", 0),
        node("Reshape", &["g", "shape"], &["y"]),
    ];
    let constants = [integers("shape", &[1], &[-1]), floats("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0])];
    let inputs = [value("x", &["n", "4"]), typed("c", 9, &[])];
    let f = function(
        "f",
        &["p"],
        &["q"],
        &[node("LeakyRelu", &["p"], &["m"]).with_reference("alpha", "slope", 1), node("Exp", &["m"], &["q"])],
    );
    model_with(9, &graph(&nodes, &inputs, &["y", "a", "w"], &constants), &[f])
}

/// Reads, and writes what was read.
fn survive(bytes: Vec<u8>) {
    let limits = Limits { memory_bytes: 1 << 26, nodes: 10_000, tensors: 10_000, ..Limits::default() };
    if let Ok(graph) = onnx::decode(Bytes::from(bytes), &limits) {
        let _ = graph.text();
        let _ = onnx::encode(&graph, &EncodeOptions::default());
    }
}

#[test]
fn the_models_that_are_changed_are_read() {
    for bytes in [small(), rich()] {
        onnx::decode(Bytes::from(bytes), &Limits::default()).unwrap();
    }
}

#[test]
fn every_single_byte_may_be_anything() {
    let bytes = small();
    for position in 0..bytes.len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff, bytes[position] ^ 1, bytes[position].wrapping_add(8)] {
            let mut changed = bytes.clone();
            changed[position] = value;
            survive(changed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_do_not_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let mut bytes = rich();
        for (position, value) in edits {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if let Some((from, length)) = cut {
            let from = from.index(bytes.len());
            let to = from + length.index(bytes.len() - from);
            bytes.drain(from..to);
        }
        survive(bytes);
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        survive(Message::new().bytes(7, &bytes).message(8, &Message::new().int(2, 18)).0);
        survive(bytes);
    }
}
