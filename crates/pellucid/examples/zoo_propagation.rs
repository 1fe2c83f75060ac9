//! Measures methods that propagate relevance on the networks that `goldens/zoo/prepare.py` made, and writes the table of
//! `docs/zoo-propagation.md`: `zoo_propagation measure WORK [NAME…]`, then `zoo_propagation table WORK DOCUMENT`.
//! `goldens/zoo/propagate` does all of it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use pellucid::{Array, Engine, Explainer, Inputs, Model, Options, Silent, TargetChoice, methods, npy};
use pellucid_compile::methods::{Settings, find_compiled};
use pellucid_compile::{Request, Target, program};
use pellucid_reference::{Array as Exact, run as interpret};
use serde::{Deserialize, Deserializer, Serialize};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Methods whose values must sum to the difference of two scores, as a share of Σ|values|, at most this on engines, which
/// compute in float32.
const ADDITIVE: f64 = 1e-5;

/// The same in the interpreter, which computes in float64.
const EXACTLY_ADDITIVE: f64 = 1e-9;

/// What holds the row of a network, and the class that is explained.
const SUBJECT: &str = "subject.npz";

/// What the interpreter's run is called among the engines.
const INTERPRETER: &str = "interpreter";

/// The first of these that a network has is measured: with its normalisations where the exporter can leave them.
const FILES: [&str; 4] =
    ["torchscript.unfolded.onnx", "torchscript.dynamic.onnx", "torchscript.onnx", "file.onnx"];

/// Where a network's measurements are kept. What another version of this program measured has another name.
const RECORD: &str = "propagation.3.json";

/// What was found of a method on an engine.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Run {
    #[serde(deserialize_with = "number")]
    score: f64,
    /// Σ values.
    #[serde(deserialize_with = "number")]
    sum: f64,
    /// Σ|values|.
    #[serde(deserialize_with = "number")]
    absolute: f64,
    /// Score − baseline score − Σ values, where the method tells it.
    gap: Option<f64>,
    /// What is wrong.
    problem: Option<String>,
    /// For compiling, opening and two runs.
    seconds: f64,
}

/// JSON has no number that is not finite: it is written as null.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// What a file of `RECORD` holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    file: String,
    nodes: usize,
    /// By method, the share of the nodes on the way that a rule passes.
    covered: BTreeMap<String, f64>,
    /// By method, then engine.
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

/// Folders of networks that are ready, sorted by name.
fn folders(work: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = if names.is_empty() {
        fs::read_dir(work)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?
    } else {
        names.iter().map(|name| work.join(name)).collect()
    };
    folders.sort();
    folders.retain(|folder| folder.join(SUBJECT).exists());
    Ok(folders)
}

fn measure_all(work: &Path, names: &[&str]) -> Result<()> {
    let start = Instant::now();
    for folder in folders(work, names)? {
        let Some(file) = FILES.iter().find(|file| folder.join(file).exists()) else {
            eprintln!("{}: no file of it is left", folder.display());
            continue;
        };
        // What goes wrong with one network is said, and the others are measured all the same.
        if let Err(error) = measure(&folder, file) {
            eprintln!("{}: {error}", folder.display());
        }
        eprintln!("{}: done after {:.0} s", folder.display(), start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// A network as it is measured: one row of its inputs, and the class that is explained.
struct Subject {
    model: Model,
    input: String,
    row: Array,
    class: usize,
}

impl Subject {
    fn open(folder: &Path, file: &str) -> Result<Self> {
        let arrays: BTreeMap<String, Array> = npy::read_arrays(&folder.join(SUBJECT))?.into_iter().collect();
        let array = |name: &str| arrays.get(name).ok_or_else(|| format!("{SUBJECT} holds no {name}"));
        let Array::I64(targets) = array("target")? else { return Err("targets are not int64".into()) };
        let target = targets.iter().next().copied().ok_or("there is no target")?;
        let model = Model::open(folder.join(file))?;
        let input = model.inputs().next().ok_or("the network has no input")?.name.clone();
        Ok(Self { model, input, row: array("input")?.rows(0..1), class: usize::try_from(target)? })
    }
}

fn measure(folder: &Path, file: &str) -> Result<()> {
    let record = folder.join(RECORD);
    let mut found: Found = match fs::read_to_string(&record) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Found { file: file.to_owned(), ..Found::default() },
    };
    if found.file != file {
        return Err(format!("{} is of {}: delete it to measure {file}", record.display(), found.file).into());
    }
    let subject = Subject::open(folder, file)?;
    found.nodes = subject.model.graph().nodes().len();
    for method in measured() {
        if !found.covered.contains_key(method) {
            let share = pellucid::coverage(&subject.model, &Options::new(method))?.share();
            found.covered.insert(method.to_owned(), share);
        }
        let mut names: Vec<&str> = engines().map(Engine::name).collect();
        names.extend((method == "deeplift").then_some(INTERPRETER));
        for name in names {
            let runs = found.runs.entry(method.to_owned()).or_default();
            if runs.contains_key(name) {
                continue;
            }
            let start = Instant::now();
            let run = match engines().find(|engine| engine.name() == name) {
                Some(engine) => run(&subject, method, engine),
                None => exactly(&subject, method),
            };
            let mut run =
                run.unwrap_or_else(|error| Run { problem: Some(error.to_string()), ..Run::default() });
            run.seconds = start.elapsed().as_secs_f64();
            println!("{} {method} {name}: {run:?}", folder.display());
            runs.insert(name.to_owned(), run);
            fs::write(&record, serde_json::to_string_pretty(&found)?)?;
        }
    }
    Ok(())
}

/// A method on an engine, twice: the same bits, finite, not all zero.
fn run(subject: &Subject, method: &str, engine: Engine) -> Result<Run> {
    let mut options = Options::new(method);
    options.targets = vec![TargetChoice::Index(subject.class)];
    options.limits.engine = engine;
    let model = &subject.model;
    let inputs = || -> Result<Inputs> {
        let inputs = Inputs::from_arrays(vec![(subject.input.clone(), subject.row.clone())])?;
        Ok(model.check_inputs(inputs)?)
    };
    let mut explainer = Explainer::new(model, &inputs()?.shapes(), &options, &Silent)?;
    let (first, again) = (explainer.explain(inputs()?)?, explainer.explain(inputs()?)?);
    let attribution = &first.explained[0].attribution;
    let values = &attribution.values[0].1;
    let sum = |of: fn(f32) -> f32| values.iter().map(|value| f64::from(of(*value))).sum::<f64>();
    let mut run = Run {
        score: f64::from(attribution.score[0]),
        sum: sum(|value| value),
        absolute: sum(f32::abs),
        gap: attribution.gap.as_ref().map(|gap| f64::from(gap[0])),
        ..Run::default()
    };
    // Not a number is never equal to itself, so bits are compared.
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
    if !values.iter().all(|value| value.is_finite()) {
        run.problem = Some("values that are not finite".to_owned());
    } else if run.absolute == 0.0 {
        run.problem = Some("nothing but zeros".to_owned());
    } else if !values.iter().zip(&again.explained[0].attribution.values[0].1).all(same) {
        run.problem = Some("a second run gives other bits".to_owned());
    }
    Ok(run)
}

/// The same graph in the interpreter, in float64 from end to end, once.
fn exactly(subject: &Subject, method: &str) -> Result<Run> {
    let definition = find_compiled(method).ok_or("the method does not compile")?;
    let method = definition.method(&Settings::new(definition, &[])?)?.ok_or("the method does not compile")?;
    let request = Request { target: Target::Index(subject.class), ..Request::default() };
    let program = program(subject.model.graph(), &method, &request)?;
    let graph = &program.graph;
    let find = |name: &str| graph.find(name).ok_or_else(|| format!("the program has no {name}"));
    let x = subject.row.to_f64();
    let mut given = vec![(find(&subject.input)?, Exact::Float(x.clone()))];
    for (_, name) in &program.baselines {
        given.push((find(name)?, Exact::Float(x.mapv(|_| 0.0))));
    }
    let baseline_score = program.baseline_score.as_deref().ok_or("the program has no baseline score")?;
    let wanted = [find(&program.score)?, find(baseline_score)?, find(&program.attributions[0].1)?];
    let results = interpret(graph, &given, &wanted)?;
    let float = |index: usize| results[index].as_float().ok_or("a result is no float");
    let (score, start, values) = (float(0)?.sum(), float(1)?.sum(), float(2)?);
    let (sum, absolute) = (values.sum(), values.iter().map(|value| value.abs()).sum());
    Ok(Run { score, sum, absolute, gap: Some(score - start - sum), ..Run::default() })
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
        let share = |name: &str| {
            let run = runs.get(name)?;
            Some(run.gap.map_or(f64::NAN, |gap| gap.abs() / run.absolute))
        };
        let bounds = [("rten", ADDITIVE), ("onnxruntime", ADDITIVE), (INTERPRETER, EXACTLY_ADDITIVE)];
        let shares = bounds.map(|(name, bound)| (share(name), bound));
        let text: Vec<String> = shares
            .iter()
            .map(|(share, _)| share.map_or_else(|| "–".to_owned(), |share| format!("{share:.0e}")))
            .collect();
        return (
            text.join(", "),
            shares.iter().all(|(share, bound)| share.is_some_and(|share| share <= *bound)),
        );
    }
    let change = |name: &str| runs.get(name).map(|run| 100.0 * (run.sum / run.score - 1.0));
    match change("rten") {
        Some(change) => {
            let text =
                if change.abs() < 1e6 { format!("{change:+.1} %") } else { format!("{change:+.0e} %") };
            (text, runs.len() > 1 && change.is_finite())
        }
        None => ("not measured".to_owned(), false),
    }
}

fn table(work: &Path) -> Result<String> {
    let methods = measured();
    let (mut rows, mut failures, mut cells, mut networks) = (String::new(), 0, 0, 0);
    // Drawn, but not measured yet.
    let mut missing = Vec::new();
    for folder in &folders(work, &[])? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let Ok(text) = fs::read_to_string(folder.join(RECORD)) else {
            missing.push(name.into_owned());
            continue;
        };
        let found: Found = serde_json::from_str(&text)?;
        networks += 1;
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
    if !missing.is_empty() {
        writeln!(text, "**Not measured yet**: {}.\n", missing.join(", "))?;
    }
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
file a network, with its normalisations as nodes of their own where the exporter leaves them; one photograph-sized row.

A cell holds where `coverage` is 100 %, the values are finite and not all zero, and a second run gives the same bits, on
rten and on onnxruntime. Of layer-wise relevance propagation it says how much relevance there is at the input beyond the
score, on rten, in percent of the score: biases and rules without conservation take and make relevance, and no claim is
made that it be zero. Of `deeplift` it says |score − baseline score − Σ values| / Σ|values|, the baseline being zero: on rten
and on onnxruntime in float32, where it may be 1e-5 at most, and of the same graph in the interpreter in float64, where it may
be 1e-9.

";
