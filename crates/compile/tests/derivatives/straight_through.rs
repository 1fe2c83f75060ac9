//! Operators whose derivative is the straight-through estimator's, against the derivative of the function that it
//! stands for: the same graph without rounding, at points that rounding leaves where they are.

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use pellucid_compile::rules::RuleMap;
use pellucid_compile::walk::walk;
use pellucid_compile::{Builder, Form, Keep, Kind, Var, ops};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, Tensor, ValueId};
use pellucid_reference::{Array, run};

/// What [`every_operator_has_a_case`](super::every_operator_has_a_case) finds here instead.
pub(crate) const OPERATORS: &[&str] = &["QuantizeLinear"];

const SHAPE: [usize; 2] = [4, 3];

/// A scale a column.
const SCALES: [f64; 3] = [0.5, 0.25, 2.0];
const ZEROS: [f64; 3] = [3.0, 0.0, 250.0];
const STORED: [[f64; 3]; 4] =
    [[7.0, 130.0, 249.0], [-4.0, 255.0, 300.0], [256.0, 1.0, 251.0], [100.0, -1.0, 0.0]];

/// Inputs that are stored as [`STORED`], of which some are outside the range.
fn points() -> Vec<f64> {
    STORED.iter().flat_map(|row| (0..3).map(|at| (row[at] - ZEROS[at]) * SCALES[at])).collect()
}

fn quantised<'g>(x: Var<'g>, scale: Var<'g>, zero: Var<'g>, moved: bool) -> Var<'g> {
    let axis = [("axis", Attribute::Int(1))];
    let b = x.builder();
    let stored = b.op("QuantizeLinear", &[x, scale, zero], &axis);
    if !moved {
        return b.op("DequantizeLinear", &[stored, scale, zero], &axis);
    }
    // Operators that move numbers stand between the two in real files.
    let turned = stored.transpose(&[1, 0]).slice(1, 0, 4, 1).unsqueeze(&[0]).squeeze(&[0]);
    b.op("DequantizeLinear", &[turned, scale, zero], &[("axis", Attribute::Int(0))]).transpose(&[1, 0])
}

/// clamp(x / s + z) − z) · s
fn unrounded<'g>(x: Var<'g>, scale: Var<'g>, zero: Var<'g>) -> Var<'g> {
    let zero = zero.cast(ElementType::F64);
    let b = x.builder();
    let clamped = b.op("Clip", &[x / scale + zero, x.scalar(0.0), x.scalar(255.0)], &[]);
    (clamped - zero) * scale
}

/// The function's value, its derivatives for x and the scales, and the second derivatives along a direction.
fn slopes(formula: impl for<'g> Fn(Var<'g>, Var<'g>, Var<'g>) -> Var<'g>) -> Vec<Vec<f64>> {
    let b = Builder::new(Graph::new());
    let x = b.input("x", ElementType::F64, SHAPE.iter().map(|size| Dim::from(*size)).collect());
    let scale = b.input("scale", ElementType::F64, vec![Dim::from(3)]);
    let zero = b.constant(Tensor::from_values(ElementType::U8, vec![3], &ZEROS).unwrap());
    let y = formula(x, scale, zero);
    let weights: Vec<f64> = (0..12).map(|at| 0.3 + 0.1 * f64::from(at)).collect();
    let loss = (y * y * b.values(ElementType::F64, SHAPE.to_vec(), &weights)).sum(&[0, 1], Keep::None);
    let one = b.scalar(ElementType::F64, 1.0);
    let asked = [x.id(), scale.id()];
    let gradients = walk(&b, &[(loss.id(), one)], &asked, &RuleMap::GRADIENT).unwrap();
    let along = |id: ValueId| (gradients[&id] * gradients[&id]).sum(&[0], Keep::None);
    let slope = along(x.id()).sum(&[0], Keep::None) + along(scale.id());
    let curvatures = walk(&b, &[(slope.id(), one)], &asked, &RuleMap::GRADIENT).unwrap();
    let mut wanted = vec![y.id()];
    wanted.extend(asked.iter().map(|id| gradients[id].id()));
    wanted.extend(asked.iter().map(|id| curvatures[id].id()));
    let graph = b.finish().unwrap();
    let array = |shape: &[usize], values: Vec<f64>| {
        Array::Float(ArrayD::from_shape_vec(IxDyn(shape), values).unwrap())
    };
    let fed = [(asked[0], array(&SHAPE, points())), (asked[1], array(&[3], SCALES.to_vec()))];
    run(&graph, &fed, &wanted)
        .unwrap()
        .iter()
        .map(Array::to_floats)
        .map(|a| a.into_iter().collect())
        .collect()
}

fn largest_difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_quantised_number_has_the_slope_of_the_clamped_one() {
    let expected = slopes(unrounded);
    assert!(expected[1].iter().filter(|slope| slope.abs() < 1e-12).count() == 4, "four are outside");
    for moved in [false, true] {
        let found = slopes(|x, scale, zero| quantised(x, scale, zero, moved));
        let difference = largest_difference(&found, &expected);
        assert!(difference < 1e-9, "moved {moved}: {difference}\n{found:?}\n{expected:?}");
    }
    // The comparison can fail: the slope of a wider type is another one.
    let wider = slopes(|x, scale, zero| {
        let zero = zero.cast(ElementType::F64);
        (x / scale + zero - zero) * scale
    });
    assert!(largest_difference(&wider, &expected) > 1e-3);
}

#[test]
fn the_estimator_is_named() {
    let table: BTreeMap<&str, _> = ops::all().iter().map(|operator| (operator.name, operator)).collect();
    for name in OPERATORS {
        assert!(table[name].convention.contains("straight-through"), "{name}");
        let b = Builder::new(Graph::new());
        let x = b.scalar(ElementType::F32, 1.0);
        let y = b.op(name, &[x, x], &[]);
        let graph = b.graph();
        let id = graph.producer_of(y.id()).unwrap();
        assert_eq!((table[name].kind)(&graph, graph.node(id)), Kind::Quantised);
    }
}

/// A factor is constant where it depends on no input, however it is computed.
#[test]
fn products_with_what_is_computed_of_constants_are_linear() {
    let b = Builder::new(Graph::new());
    let x = b.input("x", ElementType::F32, [1_usize, 3, 4, 4].map(Dim::from).to_vec());
    let stored = b.constant(Tensor::from_values(ElementType::I8, vec![2, 3, 1, 1], &[3.0; 6]).unwrap());
    let half = b.constant(Tensor::from_values(ElementType::F16, vec![2, 3, 1, 1], &[3.0; 6]).unwrap());
    let weights = b.op("DequantizeLinear", &[stored, b.scalar(ElementType::F32, 0.5)], &[]);
    let of_input = x.slice(1, 0, 1, 1).slice(2, 0, 1, 1).slice(3, 0, 1, 1);
    let kind = |y: Var<'_>| {
        let graph = b.graph();
        let node = graph.node(graph.producer_of(y.id()).unwrap());
        (ops::lookup(&node.operator).unwrap().kind)(&graph, node)
    };
    assert_eq!(kind(b.op("Conv", &[x, weights], &[])), Kind::Linear(Form::Convolution));
    assert_eq!(kind(b.op("Conv", &[x, half.cast(ElementType::F32)], &[])), Kind::Linear(Form::Convolution));
    assert_eq!(kind(x / weights.sum(&[0, 1], Keep::None)), Kind::Linear(Form::Scale));
    assert_eq!(kind(x * of_input), Kind::Bilinear);
    assert_eq!(
        kind(b.op("Conv", &[of_input, x.slice(2, 0, 1, 1).slice(3, 0, 1, 1).slice(1, 0, 1, 1)], &[])),
        Kind::Bilinear
    );
    b.check().unwrap();
}
