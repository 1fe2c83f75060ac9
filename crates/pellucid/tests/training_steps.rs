//! Ten steps of training equal PyTorch's: in the interpreter to 10⁻⁹, on the engine, with kernels of the runtime and
//! without, as nearly as PyTorch's own float32.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis, IxDyn};
use ndarray_npy::NpzReader;
use pellucid::{Array, Engine};
use pellucid_compile::training::{
    ClassTargets, Loss, Optimizer, Role, Statistics, TrainingConfig, TrainingStep, WeightRule, training_step,
};
use pellucid_graph::onnx::{Limits, read_file};
use pellucid_runtime::{Kernels, Options, open};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens/training")
}

fn index() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("index.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array().map(|list| list.iter().map(|number| number.as_f64().unwrap()).collect())
}

fn config(case: &Value) -> TrainingConfig {
    let (loss, optimizer) = (&case["loss"], &case["optimizer"]);
    let weights = numbers(&loss["weights"]);
    let loss = match loss["kind"].as_str().unwrap() {
        "cross-entropy" => Loss::CrossEntropy {
            targets: if loss["soft"] == true { ClassTargets::Probabilities } else { ClassTargets::Numbers },
            smoothing: loss["smoothing"].as_f64().unwrap(),
            class_weights: weights,
        },
        "binary-cross-entropy" => Loss::BinaryCrossEntropy { positive_weights: weights },
        "mse" => Loss::MeanSquared,
        _ => Loss::Huber { delta: loss["delta"].as_f64().unwrap() },
    };
    let optimizer = if optimizer["kind"] == "sgd" {
        Optimizer::Sgd {
            momentum: optimizer["momentum"] != 0.0,
            nesterov: optimizer["nesterov"].as_bool().unwrap(),
        }
    } else {
        let betas = numbers(&optimizer["betas"]).unwrap();
        Optimizer::AdamW { beta1: betas[0], beta2: betas[1], epsilon: optimizer["eps"].as_f64().unwrap() }
    };
    let mut rules = Vec::new();
    for (pattern, factor) in case["factors"].as_object().into_iter().flatten() {
        let learning_rate = factor.as_f64();
        rules.push(WeightRule { pattern: pattern.clone(), learning_rate, ..WeightRule::default() });
    }
    for pattern in case["frozen"].as_array().into_iter().flatten() {
        let pattern = pattern.as_str().unwrap().to_owned();
        rules.push(WeightRule { pattern, frozen: Some(true), ..WeightRule::default() });
    }
    TrainingConfig {
        loss,
        optimizer,
        weight_decay: case["decay"].as_f64().unwrap_or(0.0),
        clip: case["clip"].as_f64(),
        statistics: if case["frozen_statistics"] == true { Statistics::Frozen } else { Statistics::Batch },
        average: case["average"].as_f64(),
        weights: rules,
        ..TrainingConfig::default()
    }
}

/// What a case feeds.
struct Data {
    x: ArrayD<f32>,
    classes: Option<ArrayD<i64>>,
    floats: Option<ArrayD<f64>>,
    arrays: NpzReader<File>,
    name: String,
}

impl Data {
    fn read(name: &str, network: &str) -> Self {
        let file = File::open(folder().join(format!("{network}.npz"))).unwrap();
        let mut arrays = NpzReader::new(file).unwrap();
        let x = arrays.by_name(&format!("{name}/x.npy")).unwrap();
        let targets = format!("{name}/targets.npy");
        let classes: Option<ArrayD<i64>> = arrays.by_name(&targets).ok();
        let floats: Option<ArrayD<f32>> = arrays.by_name(&targets).ok();
        let floats = floats.map(|values| values.mapv(f64::from));
        Self { x, classes, floats, arrays, name: name.to_owned() }
    }

    fn batch(&self, step: usize) -> (ArrayD<f64>, Array) {
        let at = step % self.x.shape()[0];
        let x = self.x.index_axis(Axis(0), at).mapv(f64::from);
        let targets = match (&self.classes, &self.floats) {
            (Some(classes), _) => Array::I64(classes.index_axis(Axis(0), at).to_owned()),
            (None, floats) => Array::F64(floats.as_ref().unwrap().index_axis(Axis(0), at).to_owned()),
        };
        (x, targets)
    }

    fn after(&mut self, tensor: &str) -> ArrayD<f64> {
        self.arrays.by_name(&format!("{}/{tensor}.npy", self.name)).unwrap()
    }
}

fn scalar(value: f64) -> Array {
    Array::F64(ArrayD::from_elem(IxDyn(&[]), value))
}

/// Losses, and what is carried after the last step.
fn run(
    step: &TrainingStep,
    case: &Value,
    data: &Data,
    engine: Engine,
    kernels: Kernels,
) -> (Vec<f64>, BTreeMap<String, Array>) {
    let options = Options { engine, kernels, threads: Some(1), ..Options::default() };
    let session = open(&step.graph, &options).unwrap();
    let mut state: BTreeMap<String, Array> = step
        .state
        .iter()
        .map(|carried| {
            let values = ArrayD::from_shape_vec(carried.start.shape(), carried.start.to_f64()).unwrap();
            (carried.input.clone(), Array::F64(values))
        })
        .collect();
    state.insert(step.learning_rate.clone(), scalar(case["learning_rate"].as_f64().unwrap()));
    if let Some(momentum) = &step.momentum {
        state.insert(momentum.clone(), scalar(case["optimizer"]["momentum"].as_f64().unwrap()));
    }
    let mut wanted = vec![step.loss.as_str()];
    wanted.extend(step.state.iter().map(|carried| carried.updated.as_str()));
    let mut losses = Vec::new();
    for number in 0..10 {
        let (x, targets) = data.batch(number);
        state.insert("input".to_owned(), Array::F64(x));
        state.insert(step.targets.clone(), targets);
        let fed: Vec<(&str, &Array)> = state.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let mut results = session.run(&fed, &wanted).unwrap().into_iter();
        losses.push(results.next().unwrap().to_f64().sum());
        for carried in &step.state {
            state.insert(carried.input.clone(), results.next().unwrap());
        }
    }
    (losses, state)
}

fn largest(found: &ArrayD<f64>, wanted: &ArrayD<f64>) -> f64 {
    assert_eq!(found.shape(), wanted.shape());
    (found - wanted).iter().fold(0.0, |most, error| most.max(error.abs()))
}

/// One unit in the last place of the largest number, as `float32` holds it: an error below it is luck.
fn last_place(values: &ArrayD<f64>) -> f64 {
    let most = values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    most.log2().floor().exp2() * f64::from(f32::EPSILON)
}

#[test]
fn ten_steps_equal_pytorch() {
    let index = index();
    let mut problems = Vec::new();
    for (name, case) in index["cases"].as_object().unwrap() {
        let network = case["network"].as_str().unwrap();
        let path = folder().join(format!("{network}.onnx"));
        let model = read_file(&path, &Limits::default()).unwrap();
        let step = training_step(&model, &config(case)).unwrap();
        let mut data = Data::read(name, network);
        let (losses, exact) = run(&step, case, &data, Engine::Reference, Kernels::Never);
        let engines = [("rten", Kernels::Never), ("rten with kernels", Kernels::Always)];
        let rounded =
            engines.map(|(named, kernels)| (named, run(&step, case, &data, Engine::Rten, kernels).1));
        if name.starts_with("cnn") || name.starts_with("resnet") {
            let same = step.state.iter().all(|carried| {
                let [plain, kernels] = [0, 1].map(|at: usize| rounded[at].1[&carried.input].to_f64());
                plain.iter().zip(&kernels).all(|(a, b)| a.to_bits() == b.to_bits())
            });
            assert!(!same, "{name}: no kernel ran");
        }
        let off = losses.iter().zip(numbers(&case["losses"]).unwrap()).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0f64, f64::max);
        let mut most = 0.0f64;
        let (mut ratios, mut compared) = ([0.0f64; 2], 0);
        for carried in &step.state {
            let tensor = match &carried.role {
                Role::Model => carried.input.clone(),
                Role::Average(of) => format!("average:{of}"),
                Role::Optimizer => continue,
            };
            let wanted = data.after(&tensor);
            most = most.max(largest(&exact[&carried.input].to_f64(), &wanted));
            let own = case["float32_error"][&tensor].as_f64().unwrap().max(last_place(&wanted));
            for ((named, state), ratio) in rounded.iter().zip(&mut ratios) {
                let error = largest(&state[&carried.input].to_f64(), &wanted);
                *ratio = ratio.max(error / own);
                if error > 2.0 * own {
                    problems.push(format!(
                        "{name}: {tensor} is {error:.1e} off on {named}, PyTorch's float32 {own:.1e}"
                    ));
                }
            }
            compared += 1;
        }
        println!(
            "{name:24} losses {off:.1e}, weights {most:.1e}; of PyTorch's error rten {:.2}, with kernels {:.2}, \
             {compared} tensors",
            ratios[0], ratios[1]
        );
        if off > 1e-9 || most > 1e-9 {
            problems.push(format!("{name}: losses are {off:.1e} off, weights {most:.1e}"));
        }
        assert!(compared >= 3);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
