//! The same network with its channels in front of space, behind it, and with pictures as flat rows: every method that knows
//! of space says the same of all three.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use ndarray::{ArrayD, IxDyn};
use pellucid::render::heat::{Drawn, draw_row};
use pellucid::{Array, Baseline, Engine, Inputs, Limits, Model, Options, Silent, explain};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};

const ROWS: usize = 2;
const HEIGHT: usize = 9;
const WIDTH: usize = 8;

/// How the input's rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lies {
    First,
    Last,
    /// Flat, of pictures whose channels are first.
    FlatFirst,
    /// Flat, of pictures whose channels are innermost.
    FlatLast,
}

/// Numbers around 0 that repeat late.
fn numbers(count: usize, seed: u16) -> Vec<f32> {
    let number = |i: usize| (f32::from(u16::try_from(i % 9973).unwrap()) * 0.7 + f32::from(seed)).sin();
    (0..count).map(number).collect()
}

fn constant(graph: &mut Graph, name: &str, shape: &[usize], seed: u16) -> ValueId {
    let values = numbers(shape.iter().product(), seed);
    graph.add_constant(name, Tensor::from_f32(shape.to_vec(), &values).unwrap()).unwrap()
}

/// Scaling, two convolutions, pooling, a linear layer.
fn model(channels: usize, lies: Lies) -> Model {
    let known = |sizes: &[usize]| {
        let size = |size: &usize| Dim::known(i64::try_from(*size).unwrap());
        [Dim::symbol("n")].into_iter().chain(sizes.iter().map(size)).collect()
    };
    let sizes: &[usize] = match lies {
        Lies::First => &[channels, HEIGHT, WIDTH],
        Lies::Last => &[HEIGHT, WIDTH, channels],
        Lies::FlatFirst | Lies::FlatLast => &[HEIGHT * WIDTH * channels],
    };
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, Some(known(sizes))).unwrap();
    let half = graph.add_constant("half", Tensor::from_f32(vec![1], &[0.5]).unwrap()).unwrap();
    let mut value = graph.push_one(NewNode::new("Mul", &[x, half], "scaled")).unwrap();
    let shaped = |graph: &mut Graph, value, name: &str, sizes: [usize; 3]| {
        let sizes: Vec<i64> =
            [-1].into_iter().chain(sizes.map(|size| i64::try_from(size).unwrap())).collect();
        let shape = Tensor::from_i64(vec![4], &sizes).unwrap();
        let shape = graph.add_constant(format!("{name}.shape"), shape).unwrap();
        graph.push_one(NewNode::new("Reshape", &[value, shape], name)).unwrap()
    };
    match lies {
        Lies::FlatFirst => value = shaped(&mut graph, value, "unflattened", [channels, HEIGHT, WIDTH]),
        Lies::FlatLast => value = shaped(&mut graph, value, "unflattened", [HEIGHT, WIDTH, channels]),
        _ => {}
    }
    if matches!(lies, Lies::Last | Lies::FlatLast) {
        // Exporters turn one channel by a Reshape.
        value = if channels == 1 {
            shaped(&mut graph, value, "turned", [1, HEIGHT, WIDTH])
        } else {
            let order = Attribute::Ints(vec![0, 3, 1, 2]);
            graph.push_one(NewNode::new("Transpose", &[value], "turned").with("perm", order)).unwrap()
        };
    }
    for (name, from, to, stride, seed) in [("conv1", channels, 5, 1, 3), ("conv2", 5, 6, 2, 4)] {
        let weight = constant(&mut graph, &format!("{name}.weight"), &[to, from, 3, 3], seed);
        let bias = constant(&mut graph, &format!("{name}.bias"), &[to], seed + 10);
        let convolution = NewNode::new("Conv", &[value, weight, bias], name)
            .with("pads", Attribute::Ints(vec![1; 4]))
            .with("strides", Attribute::Ints(vec![stride; 2]));
        let map = graph.push_one(convolution).unwrap();
        value = graph.push_one(NewNode::new("Relu", &[map], format!("{name}.relu"))).unwrap();
    }
    let mean = graph.push_one(NewNode::new("GlobalAveragePool", &[value], "mean")).unwrap();
    let flat = graph.push_one(NewNode::new("Flatten", &[mean], "flat")).unwrap();
    let (weight, bias) =
        (constant(&mut graph, "fc.weight", &[6, 4], 5), constant(&mut graph, "fc.bias", &[4], 6));
    let logits = graph.push_one(NewNode::new("Gemm", &[flat, weight, bias], "logits")).unwrap();
    graph.add_output(logits).unwrap();
    let model = Model::from_graph("network", graph).unwrap();
    let color = if channels == 1 { "gray" } else { "rgb" };
    let size = format!("{HEIGHT}x{WIDTH}");
    match lies {
        Lies::First | Lies::Last => model,
        Lies::FlatFirst => {
            model.with_preprocessing(&[("color", color), ("resize", &size), ("layout", "NCHW")]).unwrap()
        }
        Lies::FlatLast => {
            model.with_preprocessing(&[("color", color), ("resize", &size), ("layout", "NHWC")]).unwrap()
        }
    }
}

/// What has axes `[n, channels, …]`, as the model has it.
fn lying(rows: &ArrayD<f32>, lies: Lies) -> ArrayD<f32> {
    let turned = match lies {
        Lies::First | Lies::FlatFirst => rows.clone(),
        Lies::Last | Lies::FlatLast => rows.clone().permuted_axes(vec![0, 2, 3, 1]),
    };
    let values: Vec<f32> = turned.iter().copied().collect();
    let shape = match lies {
        Lies::First | Lies::Last => turned.shape().to_vec(),
        _ => vec![rows.shape()[0], rows.len() / rows.shape()[0]],
    };
    ArrayD::from_shape_vec(IxDyn(&shape), values).unwrap()
}

fn explained(model: &Model, rows: ArrayD<f32>, options: &Options) -> ArrayD<f32> {
    let inputs = Inputs::from_arrays(vec![("x".to_owned(), Array::F32(rows))]).unwrap();
    let found = explain(model, inputs, options, &Silent).unwrap();
    found.explained[0].attribution.values[0].1.clone()
}

#[test]
fn every_layout_is_explained_alike() {
    let options = |method: &str, settings: &[(&str, &str)], baseline: Baseline| {
        let mut options = Options::new(method);
        for (key, value) in settings {
            options = options.set(key, value);
        }
        options.baseline = baseline;
        options.limits = Limits { engine: Engine::Reference, ..Limits::default() };
        options
    };
    // A map at a layer's or the input's resolution has one channel in front; what is of the input has its axes.
    let cases = [
        (options("occlusion", &[], Baseline::Zero), true),
        (options("occlusion", &[("window", "3"), ("stride", "2")], Baseline::Mean), true),
        (options("occlusion", &[("window", "1x3x2"), ("stride", "1x2x2")], Baseline::Zero), true),
        (options("rise", &[("samples", "40"), ("grid", "3")], Baseline::Blur), false),
        (options("score-cam", &[], Baseline::Zero), false),
        (options("grad-cam", &[], Baseline::Zero), false),
        (options("integrated-gradients", &[("steps", "8")], Baseline::Blur), true),
        (options("integrated-gradients", &[("steps", "8")], Baseline::Mean), true),
        (options("guided-grad-cam", &[], Baseline::Zero), true),
        (options("full-grad", &[], Baseline::Zero), false),
        (options("full-grad", &[("rescale", "layer")], Baseline::Zero), false),
        (options("full-grad", &[("form", "signed")], Baseline::Zero), false),
    ];
    for channels in [1, 3] {
        let shape = [ROWS, channels, HEIGHT, WIDTH];
        let rows = ArrayD::from_shape_vec(IxDyn(&shape), numbers(shape.iter().product(), 1)).unwrap();
        let first = model(channels, Lies::First);
        for (options, of_input) in &cases {
            let wanted = explained(&first, rows.clone(), options);
            let largest = wanted.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert!(largest > 1e-3, "{} of {channels} channels is zero", options.method);
            for lies in [Lies::Last, Lies::FlatFirst, Lies::FlatLast] {
                let flat = lies != Lies::Last;
                if flat && matches!(options.method.as_str(), "guided-grad-cam" | "full-grad") {
                    continue;
                }
                let found = explained(&model(channels, lies), lying(&rows, lies), options);
                let wanted = if *of_input { lying(&wanted, lies) } else { wanted.clone() };
                assert_eq!(found.shape(), wanted.shape(), "{} {lies:?}", options.method);
                let far = found.iter().zip(&wanted).fold(0.0f32, |far, (a, b)| far.max((a - b).abs()));
                assert!(far < 1e-5 * largest, "{} {lies:?} of {channels} channels: {far:e}", options.method);
            }
        }
    }
}

/// Thirteen bands, as some satellites have them: sizes alone would not tell which axis they are.
#[test]
fn heatmaps_are_of_space() {
    let shape = [1, 13, HEIGHT, WIDTH];
    let rows = ArrayD::from_shape_vec(IxDyn(&shape), numbers(shape.iter().product(), 1)).unwrap();
    let drawn = |lies| {
        let inputs = Inputs::from_arrays(vec![("x".to_owned(), Array::F32(lying(&rows, lies)))]).unwrap();
        let found = explain(&model(13, lies), inputs, &Options::new("gradient"), &Silent).unwrap();
        match draw_row(&found, &found.explained[0], 0, 0) {
            Drawn::Map(map) => map.values,
            other => panic!("{other:?}"),
        }
    };
    let (first, last) = (drawn(Lies::First), drawn(Lies::Last));
    assert_eq!(first.dim(), (HEIGHT, WIDTH));
    assert_eq!(last.dim(), (HEIGHT, WIDTH));
    let largest = first.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 1e-3 && first.iter().zip(&last).all(|(a, b)| (a - b).abs() < 1e-4 * largest));
}

#[test]
fn how_numbers_lie_in_memory_does_not_matter() {
    let mut options = Options::new("integrated-gradients").set("steps", "8");
    options.baseline = Baseline::Mean;
    let shape = [ROWS, 3, HEIGHT, WIDTH];
    let rows = ArrayD::from_shape_vec(IxDyn(&shape), numbers(shape.iter().product(), 1)).unwrap();
    for lies in [Lies::Last, Lies::FlatFirst, Lies::FlatLast] {
        let rows = lying(&rows, lies);
        // The same numbers, the first axis innermost.
        let by_column = rows.t().as_standard_layout().into_owned().reversed_axes();
        assert!(!by_column.is_standard_layout());
        let model = model(3, lies);
        assert_eq!(explained(&model, by_column, &options), explained(&model, rows, &options), "{lies:?}");
    }
}

#[test]
fn a_layer_with_channels_last_is_refused_where_channels_count() {
    let mut options = Options::new("grad-cam");
    options.layer = Some("scaled".to_owned());
    let inputs = Array::F32(ArrayD::zeros(IxDyn(&[1, HEIGHT, WIDTH, 3])));
    let inputs = Inputs::from_arrays(vec![("x".to_owned(), inputs)]).unwrap();
    let error = explain(&model(3, Lies::Last), inputs, &options, &Silent).unwrap_err().to_string();
    assert!(error.contains("\"scaled\" has its channels along axis 3"), "{error}");
}
