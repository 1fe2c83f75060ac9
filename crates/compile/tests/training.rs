//! Training steps of random networks: the step is down the slope that central differences of the loss show.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use ndarray::ArrayD;
use pellucid_compile::{TrainingConfig, TrainingStep, training_step};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, operators};
use pellucid_reference::{Array, run};
use pellucid_testkit::random_graph::{Config, Functions, Input, Random, input_for, network};

/// A step and what is fed to it, by name.
struct Fed {
    step: TrainingStep,
    x: ArrayD<f64>,
    labels: Vec<i64>,
    learning_rate: f64,
    momentum: f64,
    weights: Vec<ArrayD<f64>>,
    velocities: Vec<ArrayD<f64>>,
}

fn fed(given: &[(pellucid_graph::ValueId, Array)], id: pellucid_graph::ValueId) -> bool {
    given.iter().any(|(other, _)| *other == id)
}

/// Loss, updated weights, updated velocities.
type Outcome = (f64, Vec<ArrayD<f64>>, Vec<ArrayD<f64>>);

impl Fed {
    fn new(model: &Graph, random: &mut Random, classes: usize) -> Self {
        let step = training_step(model, &TrainingConfig::default()).unwrap();
        let (shape, values) = input_for(random, model, 4);
        let labels = (0..4).map(|_| i64::try_from(random.below(classes)).unwrap()).collect();
        let weights: Vec<ArrayD<f64>> = step
            .weights
            .iter()
            .map(|weight| {
                let tensor = model.constant(model.find(&weight.weight).unwrap()).unwrap();
                ArrayD::from_shape_vec(tensor.shape(), tensor.to_f64()).unwrap()
            })
            .collect();
        let velocities = weights.iter().map(|weight| ArrayD::zeros(weight.raw_dim())).collect();
        let x = ArrayD::from_shape_vec(shape, values).unwrap();
        Self { step, x, labels, learning_rate: 0.05, momentum: 0.9, weights, velocities }
    }

    fn run(&self) -> Outcome {
        let graph = &self.step.graph;
        let find = |name: &str| graph.find(name).unwrap();
        let scalar = |value: f64| Array::Float(ndarray::arr0(value).into_dyn());
        let mut given = vec![
            (find("x"), Array::Float(self.x.clone())),
            (find(&self.step.targets), Array::Int(ndarray::arr1(&self.labels).into_dyn())),
            (find(&self.step.learning_rate), scalar(self.learning_rate)),
            (find(self.step.momentum.as_ref().unwrap()), scalar(self.momentum)),
        ];
        let mut wanted = vec![find(&self.step.loss)];
        for ((names, weight), velocity) in self.step.weights.iter().zip(&self.weights).zip(&self.velocities) {
            given.push((find(&names.weight), Array::Float(weight.clone())));
            let state = |input: &str| self.step.state.iter().find(|carried| carried.input == input).unwrap();
            let carried = state(&format!("velocity:{}", names.weight));
            given.push((find(&carried.input), Array::Float(velocity.clone())));
            wanted.extend([find(&names.updated), find(&carried.updated)]);
        }
        for carried in &self.step.state {
            if fed(&given, find(&carried.input)) {
                continue;
            }
            let values = ArrayD::from_shape_vec(carried.start.shape(), carried.start.to_f64()).unwrap();
            given.push((find(&carried.input), Array::Float(values)));
        }
        let out: Vec<ArrayD<f64>> = run(graph, &given, &wanted)
            .unwrap()
            .into_iter()
            .map(|array| array.as_float().unwrap().clone())
            .collect();
        let every_second = |from: usize| out[from..].iter().step_by(2).cloned().collect();
        (out[0].sum(), every_second(1), every_second(2))
    }

    /// Loss with the weights moved along `direction`.
    fn loss_at(&self, direction: &[ArrayD<f64>], far: f64) -> f64 {
        let weights = self.weights.iter().zip(direction).map(|(w, d)| w + &(d * far)).collect();
        let moved = Self {
            step: self.step.clone(),
            x: self.x.clone(),
            labels: self.labels.clone(),
            velocities: self.velocities.clone(),
            weights,
            ..*self
        };
        moved.run().0
    }
}

fn models() -> Vec<(u64, Graph, Config)> {
    (0..10)
        .map(|seed| {
            let input = if seed % 3 == 0 { Input::Vector } else { Input::Image };
            let softmax = seed % 4 == 1;
            let config = Config { input, functions: Functions::Smooth, softmax, ..Config::default() };
            (seed, network(&mut Random::new(6000 + seed), &config), config)
        })
        .collect()
}

#[test]
fn steps_go_down_the_slope_that_differences_show() {
    for (seed, model, config) in models() {
        let mut random = Random::new(seed);
        let fed = Fed::new(&model, &mut random, config.classes);
        let (_, _, slopes) = fed.run();
        let direction: Vec<ArrayD<f64>> = fed
            .weights
            .iter()
            .map(|weight| {
                let values = random.numbers(weight.len(), -1.0, 1.0);
                ArrayD::from_shape_vec(weight.raw_dim(), values).unwrap()
            })
            .collect();
        let along: f64 = slopes.iter().zip(&direction).map(|(g, d)| (g * d).sum()).sum();
        let slope = |h: f64| (fed.loss_at(&direction, h) - fed.loss_at(&direction, -h)) / (2.0 * h);
        let h = 1e-3;
        let (coarse, middle, fine) = (slope(h), slope(h / 2.0), slope(h / 4.0));
        let (first, second) = ((4.0 * middle - coarse) / 3.0, (4.0 * fine - middle) / 3.0);
        let differences = (16.0 * second - first) / 15.0;
        assert!(differences.abs() > 1e-4, "seed {seed}: a slope of zero checks nothing");
        let error = (along - differences).abs() / differences.abs().max(1.0);
        assert!(error < 1e-9, "seed {seed}: {along} where differences say {differences}");
    }
}

#[test]
fn momentum_is_carried_as_pytorch_carries_it() {
    let (_, model, config) = models().swap_remove(1);
    let mut fed = Fed::new(&model, &mut Random::new(1), config.classes);
    let (before, weights, velocities) = fed.run();
    for ((old, new), velocity) in fed.weights.iter().zip(&weights).zip(&velocities) {
        let expected = old - &(velocity * fed.learning_rate);
        assert!((new - &expected).iter().all(|error| error.abs() < 1e-14));
    }
    fed.weights = weights;
    fed.velocities.clone_from(&velocities);
    let (after, _, second) = fed.run();
    assert!(after < before, "the loss does not fall: {before}, then {after}");
    fed.velocities.iter_mut().for_each(|velocity| velocity.fill(0.0));
    let (_, _, slopes) = fed.run();
    for ((velocity, first), slope) in second.iter().zip(&velocities).zip(&slopes) {
        let expected = first * fed.momentum + slope;
        assert!((velocity - &expected).iter().all(|error| error.abs() < 1e-14));
    }
}

#[test]
fn steps_are_standard_and_deterministic() {
    for (seed, model, _) in models() {
        let step = training_step(&model, &TrainingConfig::default()).unwrap();
        assert_eq!(
            step.graph,
            training_step(&model, &TrainingConfig::default()).unwrap().graph,
            "seed {seed}"
        );
        let own = model.nodes().len();
        for node in &step.graph.nodes()[own..] {
            assert!(operators::lookup(&node.operator).unwrap().since <= 18, "{}", node.operator);
        }
    }
}

/// Conv, `BatchNormalization`, Resize, mean, Gemm.
fn resized() -> Graph {
    let mut graph = Graph::new();
    let mut random = Random::new(3);
    let shape = vec![Dim::symbol("n"), Dim::known(1), Dim::known(4), Dim::known(4)];
    let x = graph.add_input("x", ElementType::F64, Some(shape)).unwrap();
    let mut parameter = |graph: &mut Graph, name: &str, shape: &[usize]| {
        let values = random.numbers(shape.iter().product(), 0.4, 1.3);
        graph.add_constant(name, Tensor::from_f64(shape.to_vec(), &values).unwrap()).unwrap()
    };
    let w = parameter(&mut graph, "w", &[2, 1, 2, 2]);
    let statistics = ["scale", "bias", "mean", "variance"].map(|name| parameter(&mut graph, name, &[2]));
    let v = parameter(&mut graph, "v", &[2, 3]);
    let scales = Tensor::from_f32(vec![4], &[1.0, 1.0, 2.0, 2.0]).unwrap();
    let scales = graph.add_constant("scales", scales).unwrap();
    let y = graph.push_one(NewNode::new("Conv", &[x, w], "convolved")).unwrap();
    let [scale, bias, mean, variance] = statistics;
    let normal = NewNode::new("BatchNormalization", &[y, scale, bias, mean, variance], "normal");
    let y = graph.push_one(normal).unwrap();
    let mut resize = NewNode::new("Resize", &[], "large").with("mode", Attribute::String("linear".into()));
    resize.inputs = vec![Some(y), None, Some(scales)];
    let y = graph.push_one(resize).unwrap();
    let y = graph.push_one(NewNode::new("GlobalAveragePool", &[y], "pooled")).unwrap();
    let y = graph.push_one(NewNode::new("Flatten", &[y], "flat")).unwrap();
    let y = graph.push_one(NewNode::new("Gemm", &[y, v], "y")).unwrap();
    graph.add_output(y).unwrap();
    graph
}

#[test]
fn settings_are_not_trained() {
    let step = training_step(&resized(), &TrainingConfig::default()).unwrap();
    let names: Vec<&str> = step.weights.iter().map(|weight| weight.weight.as_str()).collect();
    assert_eq!(names, ["w", "scale", "bias", "v"]);
    let mut fed = Fed::new(&resized(), &mut Random::new(5), 3);
    let mut last = f64::INFINITY;
    for _ in 0..5 {
        let (loss, weights, velocities) = fed.run();
        assert!(loss < last, "the loss does not fall: {last}, then {loss}");
        last = loss;
        fed.weights = weights;
        fed.velocities = velocities;
    }
}
