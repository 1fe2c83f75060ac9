//! Any bytes are a graph or an error, and what was read can be printed, written, and read again as itself.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pellucid_graph::onnx::{EncodeError, EncodeOptions, Limits, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { memory_bytes: 1 << 28, nodes: 100_000, ..Limits::default() };
    let Ok(graph) = decode(Bytes::copy_from_slice(bytes), &limits) else {
        return;
    };
    let _ = graph.text();
    match encode(&graph, &EncodeOptions::default()) {
        Ok(encoded) => {
            // What is written may be larger than what was read, but it is never refused for what it holds.
            let again =
                decode(Bytes::from(encoded.model), &Limits::default()).expect("what is written can be read");
            assert_eq!(again.outputs().len(), graph.outputs().len());
        }
        Err(EncodeError::Unknown(_) | EncodeError::Unnamed) => {}
        Err(error) => panic!("a graph that was read cannot be written: {error}"),
    }
});
