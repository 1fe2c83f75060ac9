//! A network that takes a state dictionary answers as PyTorch's does. `goldens/weights_references.py` made the files.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use pellucid::npy::read_arrays;
use pellucid::{Array, Engine};
use pellucid_graph::Graph;
use pellucid_runtime::{Options, open};
use pellucid_train::new::{Design, pretrained};
use pellucid_train::weights;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens").join(name)
}

fn array(name: &str) -> ArrayD<f64> {
    let arrays = read_arrays(&golden("weights.npz")).unwrap();
    arrays.into_iter().find(|(found, _)| found == name).unwrap().1.to_f64()
}

fn small() -> Design {
    Design {
        family: "resnet-small".to_owned(),
        input: Some(vec![2, 8, 8]),
        widths: Some(vec![4, 6]),
        ..Design::default()
    }
}

/// The largest difference, of the largest logit.
fn error(found: &ArrayD<f64>, expected: &ArrayD<f64>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let most = |array: &ArrayD<f64>| array.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    most(&(found - expected)) / most(expected)
}

fn interpreted(graph: &Graph) -> ArrayD<f64> {
    let input = pellucid_reference::Array::Float(array("input"));
    let results = pellucid_reference::run(graph, &[(graph.inputs()[0], input)], graph.outputs()).unwrap();
    results.into_iter().next().unwrap().to_floats()
}

#[test]
fn logits_are_those_of_pytorch_from_every_form() {
    let expected = array("logits");
    for file in ["weights.small.zip.pth", "weights.small.stream.pth", "weights.small.safetensors"] {
        let made = pretrained(&small(), &weights::open(&golden(file)).unwrap()).unwrap();
        let error_of = error(&interpreted(&made.graph), &expected);
        assert!(error_of < 1e-9, "{file}: {error_of}");
        let session = open(&made.graph, &Options { engine: Engine::Rten, ..Options::default() }).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "the engine computes in float32")]
        let input = Array::F32(array("input").mapv(|value| value as f32));
        let found = session.run(&[("input", &input)], &["logits"]).unwrap();
        let error_of = error(&found[0].to_f64(), &expected);
        assert!(error_of < 1e-5, "{file}, on the engine: {error_of}");
    }
}

#[test]
fn a_changed_weight_is_seen() {
    let state = weights::open(&golden("weights.small.zip.pth")).unwrap();
    let mut made = pretrained(&small(), &state).unwrap().graph;
    let name = "layer2.0.downsample.0.weight";
    let tensor = made.constant(made.find(name).unwrap()).unwrap().clone();
    let mut values = tensor.to_f32();
    values.swap(0, 1);
    let swapped = pellucid_graph::Tensor::from_f32(tensor.shape().to_vec(), &values).unwrap();
    made = pellucid_compile::training::with_weights(&made, &[(name.to_owned(), swapped)].into()).unwrap();
    assert!(error(&interpreted(&made), &array("logits")) > 1e-3);
}

#[test]
fn every_difference_is_told_at_once() {
    let state = weights::open(&golden("weights.small.zip.pth")).unwrap();
    let told = |design: &Design| {
        let told = pretrained(design, &state).unwrap_err().to_string();
        told.split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(
        told(&Design { outputs: Some(3), ..small() }),
        "its tensors are not those of resnet-small; 2 of other sizes or types: fc.weight is [5, 6], expected [3, 6], \
         fc.bias is [5], expected [3]"
    );
    let more = told(&Design { widths: Some(vec![4, 6, 8]), ..small() });
    assert!(more.contains("; 15 missing: layer3.0.conv1.weight, layer3.0.bn1.weight,"), "{more}");
    let fewer = told(&Design { widths: Some(vec![4]), ..small() });
    assert!(fewer.contains("15 that the network does not have: layer2.0.bn1.bias,"), "{fewer}");
    assert!(!fewer.contains("num_batches_tracked"), "{fewer}");
}
