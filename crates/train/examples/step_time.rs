//! Time of a training step and the most memory that the process held, of networks that `bench/training.py` builds alike.
//!
//!     cargo run --release -p pellucid-train --example step_time -- mlp 2 50
//!
//! Arguments: `mlp`, `resnet-small` or `mobilenet-v2`, threads, steps, `rten` or `onnxruntime`, and `kernels` or `engine`: whether kernels
//! of the runtime compute what they can, as `train` has it, or the engine everything. A
//! sixth, `json`, writes what `bench/training_race.py` reads.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]

use std::collections::BTreeMap;
use std::time::Instant;

use pellucid::{Array, Engine};
use pellucid_compile::training::{Optimizer, TrainingConfig, training_step};
use pellucid_runtime::{Kernels, Options, open};
use pellucid_train::new::{Design, design};

/// What the command is built with too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let family = arguments.first().map_or("mlp", String::as_str);
    let number = |at: usize, default: usize| arguments.get(at).map_or(default, |text| text.parse().unwrap());
    let (threads, steps) = (number(1, 2), number(2, 30));
    let engine = arguments.get(3).map_or(Engine::Rten, |name| Engine::named(name).unwrap());
    let kernels = arguments.get(4).is_none_or(|name| name == "kernels");
    let mlp = family == "mlp";
    let (rows, input) = match family {
        "mlp" => (128, vec![784]),
        "mobilenet-v2" => (32, vec![3, 48, 48]),
        _ => (128, vec![1, 28, 28]),
    };
    let graph = design(&Design {
        family: family.to_owned(),
        input: Some(input.clone()),
        outputs: Some(10),
        widths: None,
        dropout: Some(0.0),
        seed: 1,
    })
    .unwrap();
    let sizes = BTreeMap::from([("n".to_owned(), i64::try_from(rows).unwrap())]);
    let optimizer = if mlp { Optimizer::ADAM_W } else { Optimizer::Sgd { momentum: true, nesterov: false } };
    let config = TrainingConfig { optimizer, ..TrainingConfig::default() };
    let step = training_step(&graph.bind(&sizes).unwrap(), &config).unwrap();
    let session = open(
        &step.graph,
        &Options {
            engine,
            threads: Some(threads),
            kernels: if kernels { Kernels::Worthwhile } else { Kernels::Never },
            ..Options::default()
        },
    )
    .unwrap();
    let shape = [&[rows], input.as_slice()].concat();
    let values = (0..shape.iter().product()).map(|k: usize| ((k * 31 % 101) as f32 - 50.0) / 50.0).collect();
    let x = Array::from_f32(&shape, values).unwrap();
    let targets = (0..rows).map(|row| i64::try_from(row % 10).unwrap()).collect();
    let targets = Array::from_i64(&[rows], targets).unwrap();
    let scalar = |value: f32| Array::from_f32(&[], vec![value]).unwrap();
    let (rate, momentum) = (scalar(1e-3), scalar(0.9));
    let mut state: Vec<Array> = step.state.iter().map(|carried| Array::from_tensor(&carried.start)).collect();
    let mut wanted = vec![step.loss.as_str()];
    wanted.extend(step.state.iter().map(|carried| carried.updated.as_str()));
    let mut times = Vec::new();
    let mut loss = 0.0;
    let mut processor = 0.0;
    for at in 0..steps + 3 {
        if at == 3 {
            processor = processor_ms();
        }
        let began = Instant::now();
        let mut fed: Vec<(&str, &Array)> =
            vec![("input", &x), (&step.targets, &targets), (&step.learning_rate, &rate)];
        fed.extend(step.momentum.as_ref().map(|name| (name.as_str(), &momentum)));
        fed.extend(step.state.iter().zip(&state).map(|(carried, array)| (carried.input.as_str(), array)));
        let mut results = session.run(&fed, &wanted).unwrap().into_iter();
        loss = results.next().unwrap().to_f64().sum();
        session.recycle(std::mem::replace(&mut state, results.collect()));
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let processor = (processor_ms() - processor) / steps as f64;
    let mut times = times.split_off(3);
    times.sort_by(f64::total_cmp);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    if arguments.get(5).is_some_and(|form| form == "json") {
        let peak: String = peak.chars().filter(char::is_ascii_digit).collect();
        println!(
            "{{\"ms\": {}, \"least_ms\": {}, \"processor_ms\": {processor}, \"peak_kb\": {peak}}}",
            times[times.len() / 2],
            times[0]
        );
        return;
    }
    println!(
        "{} {family} on {threads} threads: median {:.2} ms, least {:.2} ms, of the processor {processor:.2} ms a step of {rows}; peak {peak}; loss {loss:.4}",
        engine.name(),
        times[times.len() / 2],
        times[0]
    );
}

/// Time that the processor spent on this process so far, all threads together.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    // utime and stime, in hundredths of a second.
    (ticks(11) + ticks(12)) * 10.0
}
