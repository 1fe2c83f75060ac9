//! Measures methods that propagate relevance on the networks that `goldens/zoo/prepare.py` made, and writes the table of
//! `docs/zoo-propagation.md`: `zoo_propagation measure WORK [NAME…]`, then `zoo_propagation table WORK DOCUMENT`.
//! `goldens/zoo/propagate` does all of it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use pellucid::{Array, Engine, Explanation, Inputs, Model, Options, Silent, TargetChoice, methods, npy};
use serde::{Deserialize, Serialize};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Methods whose values must sum to the difference of two scores, as a share of Σ|values|, at most this.
const ADDITIVE: f64 = 1e-5;

/// The first of these that a network has is measured: with its normalisations where the exporter can leave them.
const FILES: [&str; 4] =
    ["torchscript.unfolded.onnx", "torchscript.dynamic.onnx", "torchscript.onnx", "file.onnx"];

/// What was found of a method on an engine.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Run {
    score: f64,
    /// Σ values.
    sum: f64,
    /// Σ|values|.
    absolute: f64,
    /// Score − baseline score − Σ values, where the method tells it.
    gap: Option<f64>,
    /// What is wrong.
    problem: Option<String>,
}

/// `propagation.json` of a network: by method, then engine.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    file: String,
    nodes: usize,
    /// By method, the share of the nodes on the way that a rule passes.
    covered: BTreeMap<String, f64>,
    runs: BTreeMap<String, BTreeMap<String, Run>>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["measure", work, names @ ..] => measure_all(Path::new(work), names),
        ["table", work, document] => Ok(fs::write(document, table(Path::new(work))?)?),
        _ => Err("usage: zoo_propagation measure WORK [NAME…] | zoo_propagation table WORK DOCUMENT".into()),
    }
}

/// Methods that propagate relevance or differences.
fn measured() -> Vec<&'static str> {
    let propagates =
        |name: &str| name.starts_with("lrp-") || name == "excitation-backprop" || name == "deeplift";
    methods::all().iter().map(|definition| definition.name).filter(|name| propagates(name)).collect()
}

fn engines() -> impl Iterator<Item = Engine> {
    let computes = |engine: &Engine| *engine != Engine::Reference && engine.available().is_ok();
    Engine::ALL.into_iter().filter(computes)
}

fn measure_all(work: &Path, names: &[&str]) -> Result<()> {
    let mut folders: Vec<PathBuf> = if names.is_empty() {
        fs::read_dir(work)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?
    } else {
        names.iter().map(|name| work.join(name)).collect()
    };
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join("ready").exists()) {
        if let Some(file) = FILES.iter().find(|file| folder.join(file).exists()) {
            measure(folder, file)?;
        }
    }
    Ok(())
}

fn measure(folder: &Path, file: &str) -> Result<()> {
    let record = folder.join("propagation.found");
    let mut found: Found = match fs::read_to_string(&record) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Found { file: file.to_owned(), ..Found::default() },
    };
    let arrays: BTreeMap<String, Array> =
        npy::read_arrays(&folder.join("reference.npz"))?.into_iter().collect();
    let model = Model::open(folder.join(file))?;
    found.nodes = model.graph().nodes().len();
    for method in measured() {
        for engine in engines() {
            let runs = found.runs.entry(method.to_owned()).or_default();
            if runs.contains_key(engine.name()) {
                continue;
            }
            let run = run(&model, &arrays, method, engine)
                .unwrap_or_else(|error| Run { problem: Some(error.to_string()), ..Run::default() });
            println!("{} {method} {}: {run:?}", folder.display(), engine.name());
            runs.insert(engine.name().to_owned(), run);
        }
        let options = Options::new(method);
        let share = pellucid::coverage(&model, &options).map_or(0.0, |coverage| coverage.share());
        found.covered.insert(method.to_owned(), share);
        fs::write(&record, serde_json::to_string_pretty(&found)?)?;
    }
    Ok(())
}

/// A method on the first image, twice: the same bits, finite, not all zero.
fn run(model: &Model, arrays: &BTreeMap<String, Array>, method: &str, engine: Engine) -> Result<Run> {
    let array = |name: &str| arrays.get(name).ok_or_else(|| format!("reference.npz holds no {name}"));
    let Array::I64(targets) = array("target")? else { return Err("targets are not int64".into()) };
    let target = targets.iter().next().copied().ok_or("there is no target")?;
    let mut options = Options::new(method);
    options.targets = vec![TargetChoice::Index(usize::try_from(target)?)];
    options.limits.engine = engine;
    let name = model.inputs().next().ok_or("the network has no input")?.name.clone();
    let once = || -> Result<Explanation> {
        let inputs = Inputs::from_arrays(vec![(name.clone(), array("input")?.rows(0..1))])?;
        Ok(pellucid::explain(model, model.check_inputs(inputs)?, &options, &Silent)?)
    };
    let (first, again) = (once()?, once()?);
    let attribution = &first.explained[0].attribution;
    let values = &attribution.values[0].1;
    let sum = |of: fn(f32) -> f32| values.iter().map(|value| f64::from(of(*value))).sum::<f64>();
    let mut run = Run {
        score: f64::from(attribution.score[0]),
        sum: sum(|value| value),
        absolute: sum(f32::abs),
        gap: attribution.gap.as_ref().map(|gap| f64::from(gap[0])),
        problem: None,
    };
    if !values.iter().all(|value| value.is_finite()) {
        run.problem = Some("values that are not finite".to_owned());
    } else if run.absolute == 0.0 {
        run.problem = Some("nothing but zeros".to_owned());
    } else if *values != again.explained[0].attribution.values[0].1 {
        run.problem = Some("a second run gives other bits".to_owned());
    }
    Ok(run)
}

/// What a cell says, and whether it is right.
fn cell(method: &str, covered: f64, runs: &BTreeMap<String, Run>) -> (String, bool) {
    if let Some(problem) = runs.values().find_map(|run| run.problem.as_deref()) {
        return (format!("**fails**: {}", problem.lines().next().unwrap_or_default()), false);
    }
    if covered < 1.0 {
        return (format!("**{:.0} %** covered", 100.0 * covered), false);
    }
    if method == "deeplift" {
        let shares: Vec<f64> =
            runs.values().map(|run| run.gap.map_or(f64::NAN, |gap| gap.abs() / run.absolute)).collect();
        let text: Vec<String> = shares.iter().map(|share| format!("{share:.0e}")).collect();
        return (text.join(", "), shares.iter().all(|share| *share <= ADDITIVE));
    }
    let kept: Vec<String> =
        runs.values().take(1).map(|run| format!("{:+.1} %", 100.0 * (run.sum / run.score - 1.0))).collect();
    (kept.join(", "), true)
}

fn table(work: &Path) -> Result<String> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(work)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    folders.sort();
    let methods = measured();
    let (mut rows, mut failures, mut cells, mut networks) = (String::new(), 0, 0, 0);
    for folder in &folders {
        let Ok(text) = fs::read_to_string(folder.join("propagation.found")) else { continue };
        let found: Found = serde_json::from_str(&text)?;
        networks += 1;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        write!(rows, "| {name}, {} |", found.file.trim_end_matches(".onnx"))?;
        for method in &methods {
            let covered = found.covered.get(*method).copied().unwrap_or_default();
            let (text, right) = match found.runs.get(*method) {
                Some(runs) => cell(method, covered, runs),
                None => ("not measured".to_owned(), false),
            };
            cells += 1;
            failures += usize::from(!right);
            write!(rows, " {text} |")?;
        }
        rows.push('\n');
    }
    let mut text = String::from(OPENING);
    writeln!(
        text,
        "{networks} networks, {} methods: {} of {cells} cells hold.\n",
        methods.len(),
        cells - failures
    )?;
    let names: Vec<String> = methods.iter().map(|method| format!("`{method}`")).collect();
    writeln!(text, "| network, file | {} |", names.join(" | "))?;
    writeln!(text, "|---|{}", "--:|".repeat(methods.len()))?;
    text.push_str(&rows);
    Ok(text)
}

const OPENING: &str = "\
# Propagation on the convolutional zoo

Generated by `goldens/zoo/propagate`; do not edit. The networks are those of [zoo.md](zoo.md): every family of torchvision's
convolutional classifiers and the `light_*.onnx` of the onnx package, every parameter and buffer drawn at random. One
file a network, with its normalisations as nodes of their own where the exporter leaves them.

A cell holds where `coverage` is 100 %, the values are finite and not all zero, and a second run gives the same bits, on
rten and on onnxruntime. Of layer-wise relevance propagation it says how much relevance there is at the input beyond the
score, on rten, in percent of the score: biases and rules without conservation take and make relevance, and no claim is
made that it be zero. Of `deeplift` it says |score − baseline score − Σ values| / Σ|values| on onnxruntime and on rten,
the baseline being zero, which may be 1e-5 at most.

";
