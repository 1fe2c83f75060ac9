//! Constants computed, batch normalisation moved into weights.

use pellucid_compile::passes::{DEFAULT_LIMIT_ELEMENTS, fold, fold_batch_normalization};
use pellucid_compile::{Builder, Var};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};

use crate::{counts, deviation, operators, output_names};

/// Numbers of order one, none alike.
fn numbers(count: usize, offset: usize) -> Vec<f64> {
    (0..count).map(|place| ((place * 29 + offset * 17 + 5) % 47) as f64 / 23.0 - 1.0).collect()
}

fn finished(b: Builder, y: ValueId) -> Graph {
    let mut graph = b.finish().unwrap();
    graph.set_outputs(vec![y]);
    graph
}

#[test]
fn weights_are_cast_moved_and_scaled_once() {
    let b = Builder::new(Graph::new());
    let x = b.input("x", ElementType::F32, vec![Dim::symbol("n"), Dim::known(4)]);
    let stored = b.values(ElementType::F16, vec![12], &numbers(12, 0));
    let weight = stored.cast(ElementType::F32).reshape(&[3, 4]).transpose(&[1, 0]) * 0.5;
    let y = x.matmul(weight).id();
    let graph = finished(b, y);
    let folded = fold(&graph, DEFAULT_LIMIT_ELEMENTS).unwrap();
    assert_eq!(operators(&folded), counts(&[("MatMul", 1)]));
    let weight = folded.constant(folded.nodes()[0].input(1).unwrap()).unwrap();
    assert_eq!((weight.element(), weight.shape()), (ElementType::F32, &[4, 3][..]));
    assert!(deviation(&graph, &folded) < 1e-15, "halves of float16 numbers are exact in float32");
    assert_eq!(output_names(&folded), output_names(&graph));
    assert_eq!(fold(&folded, DEFAULT_LIMIT_ELEMENTS).unwrap(), folded);
    // Each result is larger than the limit.
    assert_eq!(operators(&fold(&graph, 11).unwrap()), operators(&graph));
}

/// How PyTorch's newer exporter writes a bias that is not there.
#[test]
fn a_number_cast_to_the_type_of_a_value_is_a_constant() {
    let b = Builder::new(Graph::new());
    let x = b.input("x", ElementType::F64, vec![Dim::symbol("n"), Dim::known(4)]);
    let zero = b.op("CastLike", &[b.scalar(ElementType::F32, 0.5), x], &[]);
    let bias = b.op("Expand", &[zero, b.integers(&[4])], &[]);
    let y = (x + bias).id();
    let graph = finished(b, y);
    let folded = fold(&graph, DEFAULT_LIMIT_ELEMENTS).unwrap();
    assert_eq!(operators(&folded), counts(&[("Add", 1)]));
    let bias = folded.constant(folded.nodes()[0].input(1).unwrap()).unwrap();
    assert_eq!((bias.element(), bias.to_f64()), (ElementType::F64, vec![0.5; 4]));
}

#[test]
fn results_are_rounded_to_their_element_type() {
    let b = Builder::new(Graph::new());
    let third = b.scalar(ElementType::F32, 1.0) / b.scalar(ElementType::F32, 3.0);
    let narrow = third.cast(ElementType::F16);
    let whole = b.scalar(ElementType::F64, 300.7).cast(ElementType::U8);
    let outputs = vec![third.id(), narrow.id(), whole.id()];
    let mut graph = b.finish().unwrap();
    graph.set_outputs(outputs);
    let folded = fold(&graph, DEFAULT_LIMIT_ELEMENTS).unwrap();
    assert!(folded.nodes().is_empty());
    let value = |index: usize| folded.constant(folded.outputs()[index]).unwrap().to_f64()[0];
    assert_eq!(value(0).to_bits(), f64::from(1.0_f32 / 3.0).to_bits());
    assert_eq!(value(1).to_bits(), 0.333_251_953_125_f64.to_bits());
    // 300 wraps, as the interpreter documents.
    assert_eq!(value(2).to_bits(), 44.0_f64.to_bits());
}

#[test]
fn sizes_that_are_known_become_constants() {
    let b = Builder::new(Graph::new());
    let x = b.input("x", ElementType::F64, vec![Dim::known(2), Dim::known(6)]);
    let sizes = x.apply("Shape");
    let y = (b.op("Reshape", &[x.reshape(&[3, 4]), sizes], &[])).id();
    let graph = finished(b, y);
    let folded = fold(&graph, DEFAULT_LIMIT_ELEMENTS).unwrap();
    assert_eq!(operators(&folded), counts(&[("Reshape", 2)]));
    assert!(deviation(&graph, &folded) <= 0.0);
}

#[test]
fn what_an_engine_does_better_is_left_to_it() {
    let b = Builder::new(Graph::new());
    let x = b.input("x", ElementType::F64, vec![Dim::known(3)]);
    let weight = |offset| b.values(ElementType::F64, vec![3, 3], &numbers(9, offset));
    let y = (x.matmul(weight(0).matmul(weight(1)))).id();
    let graph = finished(b, y);
    assert_eq!(operators(&fold(&graph, DEFAULT_LIMIT_ELEMENTS).unwrap()), counts(&[("MatMul", 2)]));
}

#[test]
fn nodes_that_cannot_be_computed_stay() {
    let b = Builder::new(Graph::new());
    let one = b.integers(&[1]);
    // Contents are not inferred of a quotient, and the interpreter refuses a division by zero.
    let quotient = (one / b.integers(&[0])).id();
    let graph = finished(b, quotient);
    assert_eq!(operators(&fold(&graph, DEFAULT_LIMIT_ELEMENTS).unwrap()), counts(&[("Div", 1)]));
}

/// `linear` and a normalisation of its `channels`.
fn normalised(linear: Var<'_>, channels: usize) -> Var<'_> {
    let b = linear.builder();
    let element = linear.element();
    let parameter = |offset| b.values(element, vec![channels], &numbers(channels, offset));
    let variance: Vec<f64> = numbers(channels, 9).iter().map(|value| value.abs() + 0.5).collect();
    let variance = b.values(element, vec![channels], &variance);
    let epsilon = [("epsilon", Attribute::Float(0.25))];
    b.op("BatchNormalization", &[linear, parameter(3), parameter(4), parameter(5), variance], &epsilon)
}

type Linear = for<'g> fn(Var<'g>) -> Var<'g>;

fn weights<'g>(x: Var<'g>, shape: &[usize], offset: usize) -> Var<'g> {
    x.builder().values(x.element(), shape.to_vec(), &numbers(shape.iter().product(), offset))
}

const LINEAR: &[(&str, &[usize], usize, Linear)] = &[
    ("Conv", &[2, 4, 5], 6, |x| {
        x.builder().op("Conv", &[x, weights(x, &[6, 4, 2], 1), weights(x, &[6], 2)], &[])
    }),
    ("Conv", &[2, 4, 5, 3], 6, |x| {
        x.builder().op("Conv", &[x, weights(x, &[6, 2, 2, 3], 1)], &[("group", Attribute::Int(2))])
    }),
    ("ConvTranspose", &[2, 4, 5], 3, |x| {
        x.builder().op("ConvTranspose", &[x, weights(x, &[4, 3, 2], 1), weights(x, &[3], 2)], &[])
    }),
    ("ConvTranspose", &[2, 4, 5, 3], 6, |x| {
        let group = [("group", Attribute::Int(2)), ("strides", Attribute::Ints(vec![2, 1]))];
        x.builder().op("ConvTranspose", &[x, weights(x, &[4, 3, 2, 2], 1)], &group)
    }),
    ("Gemm", &[3, 4], 5, |x| x.builder().op("Gemm", &[x, weights(x, &[4, 5], 1), weights(x, &[5], 2)], &[])),
    ("Gemm", &[3, 4], 5, |x| {
        let attributes = [
            ("transB", Attribute::Int(1)),
            ("alpha", Attribute::Float(0.5)),
            ("beta", Attribute::Float(-2.0)),
        ];
        x.builder().op("Gemm", &[x, weights(x, &[5, 4], 1), weights(x, &[1, 5], 2)], &attributes)
    }),
    ("Gemm", &[3, 4], 5, |x| {
        x.builder().op(
            "Gemm",
            &[x, weights(x, &[4, 5], 1), x.scalar(0.5)],
            &[("beta", Attribute::Float(3.0))],
        )
    }),
];

#[test]
fn normalisation_moves_into_the_weights_before_it() {
    for (operator, shape, channels, linear) in LINEAR {
        let b = Builder::new(Graph::new());
        let x = b.input("x", ElementType::F64, shape.iter().map(|size| Dim::from(*size)).collect());
        let y = (normalised(linear(x), *channels)).id();
        let graph = finished(b, y);
        let folded = fold_batch_normalization(&graph).unwrap();
        assert_eq!(operators(&folded), counts(&[(operator, 1)]));
        assert_eq!(output_names(&folded), output_names(&graph));
        let found = deviation(&graph, &folded);
        assert!(found < 1e-13, "{operator} of {shape:?} deviates by {found:e}");
    }
}

#[test]
fn normalisation_moves_into_the_weights_behind_it() {
    for (operator, shape, _, linear) in LINEAR.iter().filter(|(operator, ..)| *operator != "ConvTranspose") {
        let b = Builder::new(Graph::new());
        let x = b.input("x", ElementType::F64, shape.iter().map(|size| Dim::from(*size)).collect());
        let y = linear(normalised(x, shape[1])).id();
        let graph = finished(b, y);
        let folded = fold_batch_normalization(&graph).unwrap();
        assert_eq!(operators(&folded), counts(&[(operator, 1)]));
        assert_eq!(output_names(&folded), output_names(&graph));
        let found = deviation(&graph, &folded);
        assert!(found < 1e-13, "{operator} of {shape:?} deviates by {found:e}");
    }
}

/// What is padded is 0 behind the normalisation, and would not be in front of it.
#[test]
fn normalisation_stays_in_front_of_padding_unless_it_only_scales() {
    let network = |shifts: bool| {
        let b = Builder::new(Graph::new());
        let x = b.input("x", ElementType::F64, [2, 4, 5].map(Dim::known).to_vec());
        let zeros = weights(x, &[4], 0) * 0.0;
        let (beta, mean) = if shifts { (weights(x, &[4], 1), weights(x, &[4], 2)) } else { (zeros, zeros) };
        let normalised = b.op(
            "BatchNormalization",
            &[x, weights(x, &[4], 3), beta, mean, weights(x, &[4], 4).apply("Abs")],
            &[],
        );
        let pads = [("pads", Attribute::Ints(vec![1, 0]))];
        let y = b.op("Conv", &[normalised, weights(x, &[6, 4, 2], 5)], &pads).id();
        fold(&finished(b, y), DEFAULT_LIMIT_ELEMENTS).unwrap()
    };
    assert_eq!(operators(&fold_batch_normalization(&network(true)).unwrap()), operators(&network(true)));
    let folded = fold_batch_normalization(&network(false)).unwrap();
    assert_eq!(operators(&folded), counts(&[("Conv", 1)]));
    assert!(deviation(&network(false), &folded) < 1e-13);
}

#[test]
fn normalisation_stays_where_its_input_has_another_use() {
    let (_, shape, channels, linear) = LINEAR[0];
    let sizes: Vec<Dim> = shape.iter().map(|size| Dim::from(*size)).collect();
    let b = Builder::new(Graph::new());
    let linear_of_x = linear(b.input("x", ElementType::F64, sizes.clone()));
    let y = (normalised(linear_of_x, channels) + linear_of_x).id();
    let used_again = finished(b, y);
    let b = Builder::new(Graph::new());
    let linear_of_x = linear(b.input("x", ElementType::F64, sizes.clone()));
    let outputs = vec![linear_of_x.id(), normalised(linear_of_x, channels).id()];
    let mut given_out = b.finish().unwrap();
    given_out.set_outputs(outputs);
    let b = Builder::new(Graph::new());
    let y = (normalised(linear(b.input("x", ElementType::F64, sizes)).relu(), channels)).id();
    let after_relu = finished(b, y);
    for graph in [used_again, given_out, after_relu] {
        assert_eq!(operators(&fold_batch_normalization(&graph).unwrap()), operators(&graph));
    }
}

#[test]
fn normalisation_with_statistics_of_the_batch_stays() {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F64, Some(vec![Dim::known(2), Dim::known(3)])).unwrap();
    let constant = |graph: &mut Graph, name: &str, shape: Vec<usize>| {
        let count = shape.iter().product();
        let tensor = Tensor::from_values(ElementType::F64, shape, &vec![1.0; count]).unwrap();
        graph.add_constant(name, tensor).unwrap()
    };
    let weight = constant(&mut graph, "weight", vec![3, 3]);
    let product = graph.push_one(NewNode::new("Gemm", &[x, weight], "product")).unwrap();
    let parameters = ["scale", "bias", "mean", "variance"].map(|name| constant(&mut graph, name, vec![3]));
    let inputs: Vec<ValueId> = [product].into_iter().chain(parameters).collect();
    let node = NewNode {
        outputs: vec!["y".to_owned(), String::new(), String::new()],
        ..NewNode::new("BatchNormalization", &inputs, "").with("training_mode", Attribute::Int(1))
    };
    let pushed = graph.push(node).unwrap();
    graph.add_output(graph.node(pushed).output(0).unwrap()).unwrap();
    assert_eq!(operators(&fold_batch_normalization(&graph).unwrap())["BatchNormalization"], 1);
}
