//! The kernels of a large network are not held twice.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use pellucid_graph::{Dim, ElementType, Graph, NewNode, Tensor};
use pellucid_runtime::{Array, Options, open};

/// A transposed convolution of one place with a kernel [channels, 1024, 1, 1], as a derivative has it; what it needs
/// beside the kernel's own bytes, and its result where every number is one.
fn beside(channels: usize) -> (u64, f32) {
    let mut graph = Graph::new();
    let shape =
        vec![Dim::known(1), Dim::known(i64::try_from(channels).unwrap()), Dim::known(1), Dim::known(1)];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let kernel = Tensor::from_f32(vec![channels, 1024, 1, 1], &vec![1.0; channels * 1024]).unwrap();
    let bytes = u64::try_from(kernel.bytes().len()).unwrap();
    let kernel = graph.add_constant("kernel", kernel).unwrap();
    let y = graph.push_one(NewNode::new("ConvTranspose", &[x, kernel], "y")).unwrap();
    graph.add_output(y).unwrap();
    let session = open(&graph, &Options::default()).unwrap();
    let x = Array::from_f32(&[1, channels, 1, 1], vec![1.0; channels]).unwrap();
    let y = session.run(&[("x", &x)], &["y"]).unwrap()[0].to_f32();
    let peak = session.peak_bytes(&BTreeMap::new(), &["y"]).unwrap();
    (peak - bytes, y[[0, 1023, 0, 0]])
}

#[test]
fn the_derivative_of_a_large_convolution_reads_the_kernel_as_it_lies() {
    // 20 MiB, and 4 MiB, which is turned around.
    for (channels, result) in [(5120, 5120.0f32), (1024, 1024.0)] {
        let (bytes, y) = beside(channels);
        assert!((y - result).abs() < 1e-3, "{channels}: {y}");
        assert!(bytes < 1 << 20, "{channels}: {bytes} bytes are held beside the kernel");
    }
}
