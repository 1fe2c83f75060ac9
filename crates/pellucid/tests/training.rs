//! The compiler carries training: derivatives of all weights, and two steps of SGD, equal PyTorch's.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use ndarray::{ArrayD, Dimension, IxDyn};
use pellucid::{Array, Engine};
use pellucid_compile::rules::RuleMap;
use pellucid_compile::training::Statistics;
use pellucid_compile::walk::walk;
use pellucid_compile::{Builder, Keep, TrainingConfig, training_step};
use pellucid_graph::onnx::{Limits, read_file};
use pellucid_graph::{Attribute, ElementType, Graph, NewNode, Origin, Tensor, ValueId};
use pellucid_runtime::{Options, open};
use pellucid_testkit::golden::{self, Golden, whole_deviation};

#[expect(clippy::cast_possible_truncation, reason = "the engine computes in float32")]
fn float(engine: Engine, array: &ArrayD<f64>) -> Array {
    match engine {
        Engine::Reference => Array::F64(array.clone()),
        Engine::Rten | Engine::Onnxruntime => Array::F32(array.mapv(|value| value as f32)),
    }
}

fn options(engine: Engine) -> Options {
    Options { engine, ..Options::default() }
}

fn interpreted(graph: &Graph, fed: &[(&str, &Array)], wanted: &[&str]) -> Vec<Array> {
    let id = |name: &str| graph.find(name).unwrap();
    let given: Vec<_> = fed
        .iter()
        .map(|(name, array)| match array {
            Array::I64(values) => (id(name), pellucid_reference::Array::Int(values.clone())),
            other => (id(name), pellucid_reference::Array::Float(other.to_f64())),
        })
        .collect();
    let wanted: Vec<ValueId> = wanted.iter().map(|name| id(name)).collect();
    let results = pellucid_reference::run(graph, &given, &wanted).unwrap();
    results.into_iter().map(|array| Array::F64(array.to_floats())).collect()
}

/// How far the weights after each step are from PyTorch's, at most.
fn two_steps(golden: &Golden, engine: Engine) -> f64 {
    let training = golden.training.as_ref().unwrap();
    let mut furthest = 0.0f64;
    for variant in &golden.variants {
        let model = read_file(variant.path(), &Limits::default()).unwrap();
        let config = TrainingConfig { statistics: Statistics::Frozen, ..TrainingConfig::default() };
        let step = training_step(&model, &config).unwrap();
        let session = open(&step.graph, &options(engine)).unwrap();
        let compute = |fed: &[(&str, &Array)], wanted: &[&str]| match engine {
            Engine::Rten | Engine::Onnxruntime => session.run(fed, wanted).unwrap(),
            // The interpreter itself takes numbers that are not float32.
            Engine::Reference => interpreted(&step.graph, fed, wanted),
        };
        let scalar = |value: f64| float(engine, &ArrayD::from_elem(IxDyn(&[]), value));
        let mut state: BTreeMap<String, Array> = BTreeMap::new();
        for carried in &step.state {
            let values = ArrayD::from_shape_vec(carried.start.shape(), carried.start.to_f64()).unwrap();
            state.insert(carried.input.clone(), float(engine, &values));
        }
        let input = model.value(model.inputs()[0]).name.clone();
        state.insert(input, float(engine, golden.input()));
        state.insert(step.targets.clone(), Array::I64(golden.target.clone()));
        state.insert(step.learning_rate.clone(), scalar(training.learning_rate));
        state.insert(step.momentum.clone().unwrap(), scalar(training.momentum));
        let mut losses = Vec::new();
        for number in 1..=training.steps {
            let fed: Vec<(&str, &Array)> = state.iter().map(|(name, array)| (name.as_str(), array)).collect();
            let mut wanted = vec![step.loss.as_str()];
            wanted.extend(step.state.iter().map(|carried| carried.updated.as_str()));
            let mut results = compute(&fed, &wanted).into_iter();
            losses.push(results.next().unwrap().to_f64()[[]]);
            for carried in &step.state {
                state.insert(carried.input.clone(), results.next().unwrap());
            }
            for (parameter, wanted) in golden.after_step(number) {
                let place = &variant.weights[parameter];
                let found = state[&place.value].to_f64();
                furthest = furthest.max(whole_deviation(&found, &place.in_file(wanted, found.shape())));
            }
        }
        assert!(losses[1] < losses[0], "{}: the loss does not fall: {losses:?}", variant.file);
    }
    furthest
}

#[test]
fn two_steps_equal_pytorch() {
    for name in ["mlp", "cnn"] {
        let golden = golden::load_one(name);
        let reference = two_steps(&golden, Engine::Reference);
        assert!(reference < 1e-9, "{name}: {reference:.1e} in the interpreter");
        let rten = two_steps(&golden, Engine::Rten);
        assert!(rten < 1e-4, "{name}: {rten:.1e} on rten");
        println!("{name}: {reference:.1e} in the interpreter, {rten:.1e} on rten");
    }
}

/// A graph with the derivatives of the sum of the target logits by `wanted`, and that sum.
fn derivatives(
    model: &Graph,
    target: &ArrayD<i64>,
    wanted: &[ValueId],
) -> (Graph, ValueId, BTreeMap<ValueId, ValueId>) {
    let rows = i64::try_from(target.len()).unwrap();
    let model = model.bind(&model.symbols().into_iter().map(|symbol| (symbol, rows)).collect()).unwrap();
    let scored = pellucid_compile::score::find(&model, None).unwrap();
    let builder = Builder::new(model);
    let logits = builder.var(scored.value);
    let classes = scored.classes.unwrap();
    let mut mask = vec![0.0; target.len() * classes];
    for (row, class) in target.iter().enumerate() {
        mask[row * classes + usize::try_from(*class).unwrap()] = 1.0;
    }
    let mask = builder.values(logits.element(), vec![target.len(), classes], &mask);
    let total = (logits * mask).sum(&[0, 1], Keep::None);
    let one = builder.scalar(logits.element(), 1.0);
    let found = walk(&builder, &[(total.id(), one)], wanted, &RuleMap::GRADIENT).unwrap();
    let found = found.into_iter().map(|(id, signal)| (id, signal.id())).collect();
    let total = total.id();
    (builder.finish().unwrap(), total, found)
}

#[test]
fn derivatives_of_all_weights_equal_pytorch() {
    let mut checked = 0;
    for golden in golden::load() {
        let gradients = golden.weight_gradients();
        for variant in &golden.variants {
            let model = read_file(variant.path(), &Limits::default()).unwrap();
            let wanted: Vec<ValueId> =
                variant.weights.values().filter_map(|weight| model.find(&weight.value)).collect();
            // The newer exporter computed a function of a parameter of `expression`: its derivative is lost there.
            let lost = variant.folded && golden.name == "expression";
            if gradients.is_empty() || wanted.is_empty() || lost {
                continue;
            }
            let (graph, _, found) = derivatives(&model, &golden.target, &wanted);
            let input = pellucid_reference::Array::Float(golden.input().clone());
            for (parameter, gradient) in &gradients {
                let Some(place) = variant.weights.get(*parameter) else { continue };
                let id = model.find(&place.value).unwrap();
                let given = [(model.inputs()[0], input.clone())];
                let values = pellucid_reference::run(&graph, &given, &[found[&id]]).unwrap();
                let values = values[0].as_float().unwrap();
                let deviation = whole_deviation(values, &place.in_file(gradient, values.shape()));
                // Folding rounds weights to float32, which the file's own deviation tells.
                let allowed = 1e-6f64.max(20.0 * variant.float64_deviation.unwrap_or_default());
                assert!(deviation < allowed, "{} {parameter}: {deviation:.1e}", variant.file);
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "only {checked} derivatives were checked");
}

/// The same network in float64, so that the constants of derivatives, such as 2/√π, are not rounded to float32.
fn widened(source: &Graph) -> Graph {
    let mut graph = Graph::new();
    let mut pushed = 0;
    for id in source.value_ids() {
        let value = source.value(id);
        let float = value.element == Some(ElementType::F32);
        match &value.origin {
            Origin::Input => {
                let element = if float { ElementType::F64 } else { value.element.unwrap() };
                graph.add_input(value.name.clone(), element, value.shape.clone()).unwrap();
            }
            Origin::Constant(tensor) => {
                let tensor = if float {
                    Tensor::from_f64(tensor.shape().to_vec(), &tensor.to_f64()).unwrap()
                } else {
                    tensor.clone()
                };
                graph.add_constant(value.name.clone(), tensor).unwrap();
            }
            Origin::Node(node, _) => {
                while pushed <= node.index() {
                    let old = &source.nodes()[pushed];
                    let name = |output: &Option<ValueId>| {
                        output.map_or_else(String::new, |output| source.value(output).name.clone())
                    };
                    let mut attributes = old.attributes.clone();
                    if attributes.get("to") == Some(&Attribute::Int(1)) {
                        attributes.insert("to".to_owned(), Attribute::Int(11));
                    }
                    let new = NewNode {
                        operator: old.operator.clone(),
                        inputs: old.inputs.clone(),
                        outputs: old.outputs.iter().map(name).collect(),
                        attributes,
                        ..NewNode::default()
                    };
                    graph.push(new).unwrap();
                    pushed += 1;
                }
            }
            Origin::Captured(_) => panic!("the golden networks have no bodies"),
        }
    }
    graph.set_outputs(source.outputs().to_vec());
    graph
}

#[test]
fn derivatives_of_smooth_networks_equal_central_differences() {
    let mut checked = 0;
    for golden in golden::load().iter().filter(|golden| golden.smooth) {
        for variant in &golden.variants {
            let model = read_file(variant.path(), &Limits::default()).unwrap();
            let model = widened(&pellucid_compile::passes::fold(&model, 1024).unwrap());
            let x = model.inputs()[0];
            // Their slope is continuous, but its own slope is not, which differences show.
            let kinked =
                |node: &pellucid_graph::Node| ["Elu", "Selu", "Celu"].contains(&node.operator.as_str());
            if model.nodes().iter().any(kinked) {
                continue;
            }
            let (graph, total, found) = derivatives(&model, &golden.target, &[x]);
            let input = golden.input();
            let direction = ArrayD::from_shape_fn(input.raw_dim(), |index| {
                let place: usize = index.slice().iter().enumerate().map(|(axis, i)| (axis + 2) * i).sum();
                (place as f64 * 1.7).sin()
            });
            let run = |at: ArrayD<f64>, id: ValueId| {
                let given = [(x, pellucid_reference::Array::Float(at))];
                let values = pellucid_reference::run(&graph, &given, &[id]).unwrap();
                values[0].as_float().unwrap().clone()
            };
            let slope = |h: f64| {
                let shifted = |h: f64| run(input + &(&direction * h), total)[[]];
                (shifted(h) - shifted(-h)) / (2.0 * h)
            };
            let h = 1e-3;
            let (coarse, middle, fine) = (slope(h), slope(h / 2.0), slope(h / 4.0));
            let (first, second) = ((4.0 * middle - coarse) / 3.0, (4.0 * fine - middle) / 3.0);
            let difference = (16.0 * second - first) / 15.0;
            let gradient = run(input.clone(), found[&x]);
            let along = (&gradient * &direction).sum();
            assert!(difference.abs() > 1e-3, "{}: a zero reference checks nothing", variant.file);
            assert!(
                (along - difference).abs() < 1e-9 * difference.abs().max(1.0),
                "{}: {along} where differences say {difference}",
                variant.file
            );
            checked += 1;
        }
    }
    assert!(checked >= 12, "only {checked} networks were checked");
}
