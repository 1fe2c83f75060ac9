//! A summary against what is counted by hand.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use pellucid::render::summary as rendered;
use pellucid::render::terminal::Style;
use pellucid::summary::{Field, Matching, Parameters, Role, difference, profiled};
use pellucid::{Limits, Model, Silent, Summary, SummaryOptions, summary};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};

fn constant(graph: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|k| (k as f32 * 0.7).sin() + 0.1).collect();
    graph.add_constant(name, Tensor::from_f32(shape.to_vec(), &values).unwrap()).unwrap()
}

/// A convolution with bias, its normalisation, a pool, and a matrix that is used twice.
fn network() -> Model {
    let mut graph = Graph::new();
    let known = |size: i64| Dim::known(size);
    let shape = vec![Dim::symbol("n"), known(3), known(8), known(8)];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let weight = constant(&mut graph, "conv.weight", &[4, 3, 3, 3]);
    let bias = constant(&mut graph, "conv.bias", &[4]);
    let conv = NewNode::new("Conv", &[x, weight, bias], "a").with("pads", Attribute::Ints(vec![1; 4]));
    let a = graph.push_one(conv).unwrap();
    let norm: Vec<ValueId> = ["weight", "bias", "running_mean", "running_var"]
        .map(|name| constant(&mut graph, &format!("norm.{name}"), &[4]))
        .to_vec();
    let b = graph
        .push_one(NewNode::new("BatchNormalization", &[a, norm[0], norm[1], norm[2], norm[3]], "b"))
        .unwrap();
    let c = graph.push_one(NewNode::new("Relu", &[b], "c")).unwrap();
    let pool = NewNode::new("MaxPool", &[c], "d")
        .with("kernel_shape", Attribute::Ints(vec![2, 2]))
        .with("strides", Attribute::Ints(vec![2, 2]));
    let d = graph.push_one(pool).unwrap();
    let flat = graph.push_one(NewNode::new("Flatten", &[d], "e")).unwrap();
    let matrix = constant(&mut graph, "head.weight", &[64, 10]);
    let first = graph.push_one(NewNode::new("MatMul", &[flat, matrix], "f")).unwrap();
    let doubled = graph.push_one(NewNode::new("Add", &[flat, flat], "g")).unwrap();
    let second = graph.push_one(NewNode::new("MatMul", &[doubled, matrix], "h")).unwrap();
    let sum = graph.push_one(NewNode::new("Add", &[first, second], "i")).unwrap();
    let bias = constant(&mut graph, "head.bias", &[10]);
    let y = graph.push_one(NewNode::new("Add", &[sum, bias], "y")).unwrap();
    graph.add_output(y).unwrap();
    Model::from_graph("network", graph).unwrap()
}

#[test]
fn counts_are_those_by_hand() {
    let found = summary(&network(), &SummaryOptions { rows: 2, ..SummaryOptions::default() }).unwrap();
    // 4·27 + 4 of the convolution, 4 + 4 of the normalisation, 64·10 of the matrix once, 10 of its bias.
    assert_eq!(found.parameters, Parameters { trainable: 108 + 4 + 8 + 640 + 10, statistics: 8 });
    // By row 4·64 places of 27 products, and twice 10 of 64.
    assert_eq!(found.multiply_adds, Some(2 * (256 * 27 + 2 * 640)));
    assert_eq!(found.memory.weights, 4 * (770 + 8));
    // The convolution's result and the normalisation's, of two rows, beside the input.
    assert_eq!(found.memory.peak_activations, Some(2 * 4 * (256 + 256 + 192)));
    let named = |name: &str| found.layers.iter().find(|layer| layer.value == name).unwrap();
    assert_eq!(named("d").receptive_field, Some(vec![Field { size: 4, stride: 2, start: -1 }; 2]));
    assert_eq!(named("f").name, "head");
    assert!(named("f").shared.is_empty());
    assert_eq!(named("h").shared, ["head.weight"]);
    assert_eq!(named("h").parameters, Parameters::default());
    assert!(found.layers.iter().all(|layer| layer.kind != "Flatten"), "what only moves numbers is no layer");
    assert!(found.notes.iter().any(|note| note.contains("head.weight")));
    let weights = &named("f").weights[0];
    assert_eq!((weights.channel_norms.len(), weights.shape.as_slice()), (10, &[64, 10][..]));
}

#[test]
fn a_size_that_the_model_does_not_have_is_refused() {
    let mut options = SummaryOptions::default();
    options.sizes.insert("height".to_owned(), 3);
    let refused = summary(&network(), &options).unwrap_err().to_string();
    assert!(refused.contains("height") && refused.contains('n'), "{refused}");
}

const PLAIN: Style = Style { columns: 80, colours: false };

fn summed(model: &Model) -> Summary {
    summary(model, &SummaryOptions::default()).unwrap()
}

#[test]
fn modules_are_rebuilt_and_added_up() {
    let found = summed(&network());
    let row = |name: &str| found.modules.rows.iter().find(|row| row.name == name).unwrap();
    // The head is two products that share a matrix.
    let head = row("head");
    assert_eq!((head.layer, head.layers, head.parameters, head.depth), (None, 3, 650, 1));
    assert_eq!(head.multiply_adds, Some(2 * 640));
    let place = found.modules.rows.iter().position(|row| row.name == "head");
    let inside: Vec<&str> =
        found.modules.rows.iter().filter(|row| row.parent == place).map(|row| row.label.as_str()).collect();
    assert_eq!(inside, ["MatMul", "MatMul", "Add"]);
    let text = rendered::summary(&found, Some(1), true, PLAIN);
    assert!(text.contains("\nhead  ") && !text.contains("  head  "), "{text}");
    assert!(text.contains("parameters     770, and 8 running statistics"), "{text}");
    assert!(text.contains("multiply-adds  8,192 for 1 row"), "{text}");
}

#[test]
fn every_kind_of_parameter_is_described() {
    let found = summed(&network());
    let roles: Vec<(&str, Role)> = found
        .layers
        .iter()
        .flat_map(|layer| &layer.weights)
        .map(|weight| (weight.name.as_str(), weight.role))
        .collect();
    assert_eq!(
        roles,
        [
            ("conv.weight", Role::Kernel),
            ("conv.bias", Role::Bias),
            ("norm.weight", Role::Scale),
            ("norm.bias", Role::Shift),
            ("norm.running_mean", Role::RunningMean),
            ("norm.running_var", Role::RunningVariance),
            ("head.weight", Role::Matrix),
            ("head.bias", Role::Bias),
        ]
    );
    let conv = &found.layers[0].weights[0];
    let initial = conv.initialisation.as_ref().unwrap();
    assert_eq!((initial.fan_in, initial.fan_out), (Some(27), Some(36)));
    assert!((initial.ratio.unwrap() - conv.std / (2.0f64 / 27.0).sqrt()).abs() < 1e-12);
    let spectrum = conv.spectrum.as_ref().unwrap();
    let squares: f64 = spectrum.singular_values.iter().map(|value| value * value).sum();
    assert!((squares.sqrt() - conv.norm()).abs() < 1e-6 * conv.norm(), "‖W‖² is the sum of squares");
    let filters = found.filters.as_ref().unwrap();
    assert_eq!((filters.shape, filters.values.len()), ([4, 3, 3, 3], 108));
}

/// The network with a change.
fn changed(change: impl Fn(&str, usize, f32) -> f32) -> Model {
    let graph = network().graph().clone();
    let mut other = Graph::new();
    let mut ids: Vec<ValueId> = Vec::new();
    for id in graph.value_ids() {
        let value = graph.value(id);
        ids.push(match (value.constant(), graph.producer_of(id)) {
            (Some(tensor), _) => {
                let values: Vec<f32> =
                    tensor.to_f32().iter().enumerate().map(|(k, w)| change(&value.name, k, *w)).collect();
                let tensor = Tensor::from_f32(tensor.shape().to_vec(), &values).unwrap();
                other.add_constant(value.name.clone(), tensor).unwrap()
            }
            (None, None) => {
                other.add_input(value.name.clone(), ElementType::F32, value.shape.clone()).unwrap()
            }
            (None, Some(node)) => {
                let node = graph.node(node);
                let inputs: Vec<ValueId> = node.inputs.iter().flatten().map(|id| ids[id.index()]).collect();
                let mut new = NewNode::new(&node.operator, &inputs, value.name.clone());
                for (name, attribute) in &node.attributes {
                    new = new.with(name, attribute.clone());
                }
                other.push_one(new).unwrap()
            }
        });
    }
    other.add_output(ids[graph.outputs()[0].index()]).unwrap();
    Model::from_graph("changed", other).unwrap()
}

#[test]
fn damage_is_told_in_words() {
    let model = changed(|name, at, value| match (name, at) {
        ("conv.weight", 27..54) | ("norm.running_var", 2) => 0.0,
        ("conv.weight", 54..81) => ((at - 54) as f32 * 0.7).sin() + 0.1,
        ("head.weight", 3) => 100.0,
        ("norm.running_var", _) => 1.0,
        _ => value,
    });
    let found = summed(&model);
    let told: Vec<String> = found
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.weights.join(", "), finding.remark))
        .collect();
    let says =
        |weight: &str, words: &str| told.iter().any(|told| told.starts_with(weight) && told.contains(words));
    assert!(says("conv.weight", "1 of 4 channels is dead, all weights as good as 0: number 1"), "{told:?}");
    assert!(says("conv.weight", "1 of 4 channels repeats an earlier one: 2 = 0"), "{told:?}");
    // 640 numbers: one at 100 cannot be more than √640 = 25 deviations out, but kurtosis tells.
    assert!(says("head.weight", "heavy tails"), "{told:?}");
    assert!(says("norm.running_var", "almost 0"), "{told:?}");
    let text = rendered::summary(&found, None, false, PLAIN);
    assert!(text.contains("remarkable in the weights\n"), "{text}");
    // A wave as a matrix is the sum of few products, and is told so; nothing else is remarkable of the network.
    let calm = summed(&network());
    assert!(calm.findings.iter().all(|finding| finding.remark.contains("of rank")), "{:?}", calm.findings);
}

#[test]
fn what_is_true_of_several_weights_is_told_once() {
    let model = changed(|name, _, value| if name.ends_with(".weight") { 0.0 } else { value });
    let found = summed(&model);
    let zero = found
        .findings
        .iter()
        .filter(|finding| finding.remark.starts_with("all of it is 0"))
        .collect::<Vec<_>>();
    assert_eq!(zero.len(), 1, "{:?}", found.findings);
    assert_eq!(zero[0].weights, ["conv.weight", "norm.weight", "head.weight"]);
    let text = rendered::summary(&found, None, false, PLAIN);
    assert!(text.contains("\n  conv.weight, norm.weight, head.weight: all of it is 0"), "{text}");
}

#[test]
fn what_moved_is_told_where_and_by_how_much() {
    let after = changed(|name, at, value| match (name, at) {
        ("head.weight", 64) => value + 0.5,
        ("head.bias", _) => 2.0 * value,
        _ => value,
    });
    let found = difference(&network(), &after).unwrap();
    let weight = |name: &str| found.weights.iter().find(|weight| weight.name == name).unwrap();
    let moved = weight("head.weight");
    assert!((moved.change - 0.5).abs() < 1e-6 && (moved.largest - 0.5).abs() < 1e-6);
    assert_eq!(moved.largest_at, [6, 4], "64 of rows of 10");
    assert!((moved.changed - 1.0 / 640.0).abs() < 1e-12);
    assert_eq!(moved.channels.len(), 1);
    assert_eq!(moved.channels[0].0, 4, "the output that takes it");
    let bias = weight("head.bias");
    assert!((bias.relative.unwrap() - 1.0).abs() < 1e-6 && (bias.cosine.unwrap() - 1.0).abs() < 1e-6);
    assert!(found.weights.iter().all(|weight| weight.matching == Matching::Name));
    let words = found.words.join("\n");
    assert!(words.contains("6 of 8 weights are the same, bit for bit"), "{words}");
    assert!(words.contains("head.bias moved most: by 100 % of its norm"), "{words}");
    assert!(rendered::difference(&found, PLAIN).contains("head    "));
    let same = difference(&network(), &network()).unwrap();
    assert_eq!(same.words, ["all 8 weights are the same, bit for bit"]);
}

/// Numbers of float64 are compared as they are, not as the float32 that they are near.
#[test]
fn weights_of_float64_differ_beyond_float32() {
    let network = |weights: [f64; 2]| {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F64, Some(vec![Dim::known(1), Dim::known(2)])).unwrap();
        let weight = Tensor::from_f64(vec![2, 1], &weights).unwrap();
        let weight = graph.add_constant("head.weight", weight).unwrap();
        let y = graph.push_one(NewNode::new("MatMul", &[x, weight], "y")).unwrap();
        graph.add_output(y).unwrap();
        Model::from_graph("network", graph).unwrap()
    };
    let found = difference(&network([1.0, 2.0]), &network([1.0, 2.0 + 1e-12])).unwrap();
    let moved = &found.weights[0];
    assert!((moved.change - 1e-12).abs() < 1e-15 && (moved.changed - 0.5).abs() < 1e-12, "{moved:?}");
    assert!(!found.words.join("\n").contains("bit for bit"), "{:?}", found.words);
}

#[test]
fn times_are_measured_layer_by_layer() {
    let found = profiled(&network(), &SummaryOptions::default(), &Limits::default(), &Silent).unwrap();
    let profile = found.profile.as_ref().unwrap();
    assert_eq!(profile.seconds.len(), found.layers.len());
    assert!(profile.whole > 0.0 && profile.seconds.iter().all(|seconds| seconds.is_some_and(|s| s > 0.0)));
    let rows: f64 = found.modules.down_to(Some(1)).filter_map(|row| row.seconds).sum();
    let layers: f64 = profile.seconds.iter().flatten().sum();
    assert!((rows - layers).abs() < 1e-12, "modules hold the times of their layers");
    assert!(found.notes.iter().any(|note| note.contains("rten")));
}

#[test]
fn pages_and_pictures_need_nothing_else() {
    let found = summed(&network());
    let html = String::from_utf8(rendered::html(&found).unwrap()).unwrap();
    let links = html.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "//www", "@import", "url(", "fetch(", "{{", "}}"] {
        assert!(!links.contains(word), "{word}");
    }
    assert!(html.contains("id=\"row-0\"") && html.contains("class=\"vertex module\""));
    assert!(rendered::png(&found).unwrap().starts_with(b"\x89PNG"));
    assert!(rendered::svg(&found).unwrap().starts_with(b"<svg"));
    for plot in rendered::Plot::ALL {
        assert!(plot.png(&found).unwrap().is_some(), "{plot:?}");
    }
    let without =
        summary(&network(), &SummaryOptions { weights: false, ..SummaryOptions::default() }).unwrap();
    assert!(rendered::Plot::Weights.png(&without).unwrap().is_none());
    let moved = difference(&network(), &changed(|_, at, value| value + at as f32 * 1e-3)).unwrap();
    let html = String::from_utf8(rendered::difference_html(&moved).unwrap()).unwrap();
    assert!(
        html.contains("conv.weight") && rendered::difference_png(&moved).unwrap().starts_with(b"\x89PNG")
    );
}

/// A model of as many layers as nobody could draw at once, with names that hold markup.
fn long(nodes: usize, name: impl Fn(usize) -> String) -> Model {
    let mut graph = Graph::new();
    let mut x = graph.add_input("x", ElementType::F32, Some(vec![Dim::known(1), Dim::known(4)])).unwrap();
    let first = x;
    for number in 0..nodes {
        let node = if number % 50 == 49 {
            NewNode::new("Add", &[x, first], name(number))
        } else {
            NewNode::new("Relu", &[x], name(number))
        };
        x = graph.push_one(node).unwrap();
    }
    graph.add_output(x).unwrap();
    Model::from_graph("long", graph).unwrap()
}

type Naming = Box<dyn Fn(usize) -> String>;

#[test]
fn ten_thousand_layers_are_drawn_in_blocks() {
    let names: [(usize, Naming); 3] = [
        (10_000, Box::new(|number| format!("n{number}"))),
        (10_000, Box::new(|number| format!("block{}.part{}.n{number}", number / 1000, number / 100))),
        (300, Box::new(|number| "</script><!--.".repeat(1000) + &number.to_string())),
    ];
    for (nodes, name) in names {
        let model = long(nodes, name);
        let start = Instant::now();
        let found = summed(&model);
        let html = String::from_utf8(rendered::html(&found).unwrap()).unwrap();
        assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
        assert_eq!(html.matches("<script").count(), 2, "the data and our own");
        assert!(rendered::Plot::Graph.svg(&found).unwrap().is_some());
    }
}
