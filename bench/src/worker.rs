//! Pellucid's side of the race: takes the commands that `rival.py` takes, and answers them by the library alone.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use pellucid::{Array, Engine, Explainer, Inputs, Limits, Model, Options, Silent, TargetChoice, npy};
use serde_json::{Value, json};

use crate::agreement;
use crate::error::Error;
use crate::machine::peak_bytes;

/// Engines that are raced: those that compute in `float32`.
pub(crate) fn engines() -> Vec<String> {
    Engine::ALL
        .iter()
        .filter(|engine| **engine != Engine::Reference)
        .map(|engine| engine.name().to_owned())
        .collect()
}

fn engine(name: &str) -> Result<Engine, Error> {
    Engine::ALL
        .into_iter()
        .find(|engine| engine.name() == name)
        .ok_or_else(|| Error::Option(format!("engine {name:?} does not exist: {} do", engines().join(", "))))
}

/// A network, and the explainer of what was asked for last: opening is not part of what is timed.
struct Loaded {
    model: Model,
    inputs: Array,
    threads: usize,
    engine: Engine,
}

/// Answers commands until the input ends.
pub(crate) fn run(folder: &Path, engine_name: &str) -> Result<(), Error> {
    let engine = engine(engine_name)?;
    let mut lines = std::io::stdin().lock().lines();
    let mut command = next(&mut lines);
    while let Some(load) = command {
        let loaded = match Loaded::new(folder, engine, &load) {
            Ok(loaded) => loaded,
            Err(error) => {
                answer(&json!({"error": error.to_string()}));
                command = next(&mut lines);
                continue;
            }
        };
        answer(&json!({"done": "load"}));
        command = loaded.serve(&mut lines);
    }
    Ok(())
}

fn next(lines: &mut dyn Iterator<Item = std::io::Result<String>>) -> Option<Value> {
    let line = lines.next()?.ok()?;
    Some(serde_json::from_str(&line).unwrap_or(Value::Null))
}

fn answer(value: &Value) {
    println!("{value}");
    let _ = std::io::stdout().flush();
}

fn text<'a>(command: &'a Value, key: &str) -> Result<&'a str, Error> {
    command.get(key).and_then(Value::as_str).ok_or_else(|| Error::Option(format!("{command} has no {key:?}")))
}

fn count(command: &Value, key: &str) -> Result<usize, Error> {
    let number = command.get(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| Error::Option(format!("{command} has no number {key:?}")))
}

impl Loaded {
    fn new(folder: &Path, engine: Engine, command: &Value) -> Result<Self, Error> {
        let network = text(command, "model")?;
        let model = Model::open(folder.join(format!("{network}.onnx")))?;
        let inputs = Array::F32(agreement::read(&folder.join(format!("{network}.npy")))?);
        Ok(Self { model, inputs, threads: count(command, "threads")?, engine })
    }

    /// Answers commands about this network; returns the command that loads another.
    fn serve(&self, lines: &mut dyn Iterator<Item = std::io::Result<String>>) -> Option<Value> {
        let mut kept: Option<(Value, Explainer<'_>)> = None;
        while let Some(command) = next(lines) {
            let result = match command.get("do").and_then(Value::as_str) {
                Some("load") => return Some(command),
                Some("memory") => peak_bytes().map(|bytes| json!({"done": "memory", "bytes": bytes})),
                Some("run") => self.run(&command, &mut kept),
                _ => Err(Error::Option(format!("{command} is no command"))),
            };
            answer(&result.unwrap_or_else(|error| json!({"error": error.to_string()})));
        }
        None
    }

    fn options(&self, command: &Value) -> Result<Options, Error> {
        let rows = count(command, "rows")?;
        let mut options = Options::new(text(command, "method")?);
        let settings = command.get("settings").and_then(Value::as_object);
        for (key, value) in settings.into_iter().flatten() {
            options = options.set(key, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let targets = command.get("targets").and_then(Value::as_array).into_iter().flatten();
        let classes = targets.filter_map(Value::as_u64).filter_map(|class| usize::try_from(class).ok());
        options.targets = vec![TargetChoice::Rows(classes.take(rows).collect())];
        options.limits = Limits { engine: self.engine, threads: Some(self.threads), ..Limits::default() };
        if let Some(path) = command.get("noise").and_then(Value::as_str) {
            options.noise = Some(vec![(self.input(), Array::F32(agreement::read(Path::new(path))?))]);
        }
        Ok(options)
    }

    fn input(&self) -> String {
        self.model.inputs().next().map(|input| input.name.clone()).unwrap_or_default()
    }

    fn run<'m>(&'m self, command: &Value, kept: &mut Option<(Value, Explainer<'m>)>) -> Result<Value, Error> {
        let rows = count(command, "rows")?;
        let inputs = Inputs::from_arrays(vec![(self.input(), self.inputs.rows(0..rows))])?;
        let mut wanted = command.clone();
        wanted["save"] = Value::Null;
        let mut explainer = match kept.take() {
            Some((made_for, explainer)) if made_for == wanted => explainer,
            _ => Explainer::new(&self.model, &inputs.shapes(), &self.options(command)?, &Silent)?,
        };
        let start = Instant::now();
        let explanation = explainer.explain(inputs);
        let seconds = start.elapsed().as_secs_f64();
        *kept = Some((wanted, explainer));
        let explanation = explanation?;
        let missing = || Error::Option(format!("{command} gave no attribution"));
        let attribution = &explanation.explained.first().ok_or_else(missing)?.attribution;
        let values = &attribution.values.first().ok_or_else(missing)?.1;
        if let Some(path) = command.get("save").and_then(Value::as_str) {
            let bytes = npy::encode(&Array::F32(values.clone()));
            std::fs::write(path, bytes).map_err(Error::file(path))?;
        }
        let list = |values: Option<&ndarray::Array1<f32>>| values.map(|values| values.to_vec());
        let norms: Vec<f64> = values
            .axis_iter(ndarray::Axis(0))
            .map(|row| row.iter().map(|value| f64::from(value.abs())).sum())
            .collect();
        Ok(json!({
            "done": "run", "seconds": seconds,
            "evaluations": attribution.evaluations as f64 / rows.max(1) as f64,
            "gap": list(attribution.gap.as_ref()),
            "quadrature_error": list(attribution.quadrature_error.as_ref()),
            "score": attribution.score.to_vec(),
            "baseline_score": list(attribution.baseline_score.as_ref()),
            "norm": norms,
        }))
    }
}
