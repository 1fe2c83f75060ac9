//! Classes in the channels of a map of one place, `[n, classes, 1, 1]`, are those of `[n, classes]`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use ndarray::ArrayD;
use pellucid::{Array, Inputs, Model, Options, Silent, TargetChoice, explain};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor};

/// A convolution over the whole of a map, and a softmax over its channels; `flat` takes the axes of space away between.
fn network(flat: bool, axis: i64) -> Model {
    let mut graph = Graph::new();
    let shape = vec![Dim::symbol("n"), Dim::known(2), Dim::known(3), Dim::known(3)];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let values: Vec<f32> = (0..5 * 18).map(|k| (k as f32 * 1.3).sin()).collect();
    let weight = graph.add_constant("w", Tensor::from_f32(vec![5, 2, 3, 3], &values).unwrap()).unwrap();
    let conv = graph.push_one(NewNode::new("Conv", &[x, weight], "conv")).unwrap();
    let squared = graph.push_one(NewNode::new("Mul", &[conv, conv], "squared")).unwrap();
    let classes =
        if flat { graph.push_one(NewNode::new("Flatten", &[squared], "flat")).unwrap() } else { squared };
    let softmax = NewNode::new("Softmax", &[classes], "y").with("axis", Attribute::Int(axis));
    let y = graph.push_one(softmax).unwrap();
    graph.add_output(y).unwrap();
    Model::from_graph("network", graph).unwrap()
}

fn explained(model: &Model, target: TargetChoice, method: &str) -> (Vec<f32>, ArrayD<f32>) {
    let values: Vec<f32> = (0..3 * 18).map(|k| (k as f32 * 0.7).cos()).collect();
    let x = Array::from_f32(&[3, 2, 3, 3], values).unwrap();
    let inputs = Inputs::from_arrays(vec![("x".to_owned(), x)]).unwrap();
    let options = Options { targets: vec![target], ..Options::new(method) };
    let explanation = explain(model, inputs, &options, &Silent).unwrap();
    let attribution = &explanation.explained[0].attribution;
    (attribution.score.to_vec(), attribution.values[0].1.clone())
}

#[test]
fn classes_of_a_map_of_one_place_are_those_of_a_vector() {
    let contrast = TargetChoice::Contrast(Box::new(TargetChoice::Top), Box::new(TargetChoice::Index(1)));
    for target in [TargetChoice::Top, TargetChoice::Rank(2), TargetChoice::Index(3), contrast] {
        for method in ["gradient", "integrated-gradients", "occlusion"] {
            let (scores, values) = explained(&network(false, 1), target.clone(), method);
            let (wanted_scores, wanted) = explained(&network(true, 1), target.clone(), method);
            assert_eq!(scores, wanted_scores, "{method} of {target:?}");
            assert_eq!(values, wanted, "{method} of {target:?}");
            assert!(values.iter().any(|value| *value != 0.0), "{method} of {target:?}");
        }
    }
}

/// A softmax over the last axis of such a map gives ones: stepping over it would explain another model.
#[test]
fn a_softmax_over_another_axis_stays() {
    let (scores, _) = explained(&network(false, -1), TargetChoice::Index(0), "occlusion");
    assert!(scores.iter().all(|score| (score - 1.0).abs() < 1e-6), "{scores:?}");
}
