//! Measures networks that `goldens/zoo/prepare.py` made, and writes the table of `docs/zoo.md`:
//! `zoo measure FOLDER…` for folders of one network each, then `zoo table WORK docs/zoo.md`. `goldens/zoo/run` does all
//! of it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis};
use pellucid::{Array, Engine, Inputs, Model, Options, Silent, TargetChoice, npy};
use serde::{Deserialize, Serialize};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// What a gradient's error may be, in units of PyTorch's own in `float32`.
const MOST: f64 = 2.0;

/// Errors of each row: ‖found − wanted‖₂ / ‖wanted‖₂.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Errors {
    logits: Vec<f64>,
    gradient: Vec<f64>,
}

/// `reference.json`.
#[derive(Debug, Deserialize)]
struct Reference {
    network: String,
    parameters: u64,
    scales: BTreeMap<String, f64>,
    float32: Errors,
    /// The same with every parameter off by a rounding, as after an exporter's folding.
    rounded: Vec<Errors>,
    /// Units of each input that rounding turns, to be expected.
    units_in_doubt: Vec<f64>,
    versions: BTreeMap<String, String>,
}

impl Reference {
    /// PyTorch's own error in `float32`: the largest of the medians.
    fn own(&self, of: fn(&Errors) -> &Vec<f64>) -> f64 {
        std::iter::once(&self.float32)
            .chain(&self.rounded)
            .map(|errors| median(of(errors)))
            .fold(0.0, f64::max)
    }
}

/// What an engine made of a file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Run {
    errors: Errors,
    /// |gap| / |score − baseline score| of integrated gradients, where they were asked for.
    gap: Option<f64>,
    /// Why there are no errors, or what else is wrong.
    problem: Option<String>,
}

/// `VARIANT.json`: what was found of one file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    nodes: usize,
    /// Share of the nodes on the way that the gradient passes.
    covered: f64,
    problems: Vec<String>,
    /// What `grad-cam` looks at where no layer is named, with its sizes.
    layer: Option<String>,
    engines: BTreeMap<String, Run>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["measure", folders @ ..] if !folders.is_empty() => {
            folders.iter().try_for_each(|folder| measure(Path::new(folder)))
        }
        ["table", work, document] => Ok(fs::write(document, table(Path::new(work))?)?),
        _ => Err("usage: zoo measure FOLDER… | zoo table WORK DOCUMENT".into()),
    }
}

/// Engines that compute in `float32`; the interpreter is thousands of times slower.
fn engines() -> impl Iterator<Item = Engine> {
    Engine::ALL.into_iter().filter(|engine| *engine != Engine::Reference)
}

fn read_reference(folder: &Path) -> Result<Reference> {
    let path = folder.join("reference.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// The files of a folder with an ending, sorted.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    found.sort();
    Ok(found)
}

/// Measures every file of a folder that was not measured on every engine.
fn measure(folder: &Path) -> Result<()> {
    let arrays: BTreeMap<String, Array> =
        npy::read_arrays(&folder.join("reference.npz"))?.into_iter().collect();
    let reference = read_reference(folder)?;
    for file in files(folder, "onnx")? {
        let record = file.with_extension("json");
        let mut found: Found = match fs::read_to_string(&record) {
            Ok(text) => serde_json::from_str(&text)?,
            Err(_) => Found::default(),
        };
        // An engine that is not installed is not a failure of the network.
        let missing: Vec<Engine> = engines()
            .filter(|engine| engine.available().is_ok() && !found.engines.contains_key(engine.name()))
            .collect();
        if missing.is_empty() {
            continue;
        }
        let model = match Model::open(&file) {
            Ok(model) => model,
            Err(error) => {
                println!("{}: {error}", file.display());
                found.problems = vec![error.to_string()];
                fs::write(&record, serde_json::to_string_pretty(&found)?)?;
                continue;
            }
        };
        inspect(&model, &mut found);
        // Fifty passes take their time: one file of the networks that are known for large gaps will do.
        let integrated = reference.network.starts_with("efficientnet") && file.ends_with("torchscript.onnx");
        for engine in missing {
            let run = run(&model, integrated, &arrays, engine);
            report(&file, &reference, engine, &found, &run);
            found.engines.insert(engine.name().to_owned(), run);
        }
        fs::write(&record, serde_json::to_string_pretty(&found)?)?;
    }
    Ok(())
}

fn report(file: &Path, reference: &Reference, engine: Engine, found: &Found, run: &Run) {
    println!(
        "{} {}: coverage {:.0} %, {:?}, logits {:.2}, gradient {:.2} ({:.1e}) {}{}",
        file.display(),
        engine.name(),
        100.0 * found.covered,
        found.layer.as_deref().unwrap_or("no layer"),
        median(&run.errors.logits) / reference.own(|errors| &errors.logits),
        median(&run.errors.gradient) / reference.own(|errors| &errors.gradient),
        median(&run.errors.gradient),
        run.gap.map_or_else(String::new, |gap| format!("gap {gap:.1e} ")),
        run.problem.iter().chain(&found.problems).cloned().collect::<Vec<_>>().join("; "),
    );
}

/// What is known before anything runs.
fn inspect(model: &Model, found: &mut Found) {
    found.nodes = model.graph().nodes().len();
    found.problems.clear();
    match pellucid::coverage(model, &Options::new("gradient")) {
        Ok(coverage) => {
            found.covered = coverage.share();
            found.problems.extend(coverage.offences().map(|met| {
                format!("{} {:?}: {}", met.operator, met.output, met.problem.as_deref().unwrap_or(""))
            }));
        }
        Err(error) => found.problems.push(error.to_string()),
    }
    match pellucid::coverage(model, &Options::new("grad-cam")) {
        Ok(coverage) => found.layer = coverage.layer,
        Err(error) => found.problems.push(format!("grad-cam: {error}")),
    }
}

fn run(model: &Model, integrated: bool, arrays: &BTreeMap<String, Array>, engine: Engine) -> Run {
    let mut run = Run::default();
    if let Err(error) = evaluate(model, integrated, arrays, engine, &mut run) {
        run.problem = Some(error.to_string());
    }
    run
}

fn evaluate(
    model: &Model,
    integrated: bool,
    arrays: &BTreeMap<String, Array>,
    engine: Engine,
    run: &mut Run,
) -> Result<()> {
    let array = |name: &str| arrays.get(name).ok_or_else(|| format!("reference.npz holds no {name}"));
    let name = model.inputs().next().ok_or("the network has no input")?.name.clone();
    let inputs =
        |rows| Inputs::from_arrays(vec![(name.clone(), array("input")?.rows(0..rows))]).map_err(Box::from);
    let Array::I64(targets) = array("target")? else { return Err("targets are not int64".into()) };
    let targets: Vec<usize> =
        targets.iter().map(|target| usize::try_from(*target)).collect::<Result<_, _>>()?;
    let options = |method: &str, rows: usize| {
        let mut options = Options::new(method);
        options.targets = vec![TargetChoice::Rows(targets[..rows].to_vec())];
        options.limits.engine = engine;
        options
    };
    let explanation = explain(model, inputs(targets.len()), &options("gradient", targets.len()))?;
    let scores = explanation.prediction.scores.mapv(f64::from).into_dyn();
    run.errors.logits = relative(&scores, &array("logits")?.to_f64())?;
    let gradient = explanation.explained[0].attribution.values[0].1.mapv(f64::from);
    run.errors.gradient = relative(&gradient, &array("gradient")?.to_f64())?;
    let map = explain(model, inputs(1), &options("grad-cam", 1))?;
    let map = &map.explained[0].attribution.values[0].1;
    if !(map.iter().all(|value| value.is_finite()) && map.shape()[2..].iter().all(|size| *size > 1)) {
        run.problem = Some(format!("grad-cam: a map of shape {:?}", map.shape()));
    }
    if integrated {
        let path = options("integrated-gradients", 1).set("quadrature", "gauss-legendre").set("steps", 50);
        let found = explain(model, inputs(1), &path)?;
        let attribution = &found.explained[0].attribution;
        if let (Some(gap), Some(start)) = (&attribution.gap, &attribution.baseline_score) {
            run.gap = Some(f64::from((gap[0] / (attribution.score[0] - start[0])).abs()));
        }
    }
    Ok(())
}

fn explain(model: &Model, inputs: Result<Inputs>, options: &Options) -> Result<pellucid::Explanation> {
    let inputs = model.check_inputs(inputs?)?;
    Ok(pellucid::explain(model, inputs, options, &Silent)?)
}

/// ‖found − wanted‖₂ / ‖wanted‖₂ of each row.
fn relative(found: &ArrayD<f64>, wanted: &ArrayD<f64>) -> Result<Vec<f64>> {
    let rows = wanted.shape()[0];
    if found.len() != wanted.len() || found.shape()[0] != rows {
        return Err(format!("shape {:?}, expected {:?}", found.shape(), wanted.shape()).into());
    }
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    Ok((0..rows)
        .map(|row| {
            let (found, wanted) = (found.index_axis(Axis(0), row), wanted.index_axis(Axis(0), row));
            norm(&mut found.iter().zip(&wanted).map(|(f, w)| f - w)) / norm(&mut wanted.iter().copied())
        })
        .collect())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// One network: what it is compared with, and what was found of its files.
type Network = (Reference, Vec<(String, Found)>);

/// Every network of which a file was measured.
fn networks(work: &Path) -> Result<Vec<Network>> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(work)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    folders.sort();
    let mut networks = Vec::new();
    for folder in folders.iter().filter(|folder| folder.join("reference.json").is_file()) {
        let mut found = Vec::new();
        for record in files(folder, "json")? {
            let name = record.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if name != "reference" {
                found.push((name, serde_json::from_str(&fs::read_to_string(&record)?)?));
            }
        }
        if !found.is_empty() {
            networks.push((read_reference(folder)?, found));
        }
    }
    Ok(networks)
}

fn table(work: &Path) -> Result<String> {
    let networks = networks(work)?;
    let has = |name: &str| {
        networks.iter().flat_map(|(_, found)| found).any(|(_, found)| found.engines.contains_key(name))
    };
    let names: Vec<&str> = engines().map(Engine::name).filter(|name| has(name)).collect();
    let (mut rows, mut gaps, mut failures, mut files) = (String::new(), String::new(), Vec::new(), 0);
    for (reference, found) in &networks {
        rows.push_str(&heading(reference, names.len()));
        for (variant, found) in found {
            files += 1;
            let (row, right) = row(reference, variant, found, &names);
            rows.push_str(&row);
            if !right {
                failures.push(failure(&reference.network, variant, found));
            }
            for (engine, run) in &found.engines {
                if let Some(gap) = run.gap {
                    writeln!(gaps, "| {} | {variant} | {engine} | {gap:.1e} |", reference.network)?;
                }
            }
        }
    }
    let mut text = String::from(OPENING);
    writeln!(
        text,
        "{} networks, {files} files, engines {}: {} of {files} files pass.\n",
        networks.len(),
        names.join(" and "),
        files - failures.len(),
    )?;
    writeln!(
        text,
        "| network, file | millions of parameters | logits | gradient | in doubt | PyTorch float32 | nodes | coverage | layer of `grad-cam` | {} | passes |",
        names.join(" | "),
    )?;
    writeln!(text, "|---|--:|--:|--:|--:|---|--:|--:|---|{}---|", "---|".repeat(names.len()))?;
    text.push_str(&rows);
    if !failures.is_empty() {
        writeln!(text, "\n## What does not pass\n\n{}", failures.join("\n"))?;
    }
    if !gaps.is_empty() {
        writeln!(text, "{GAPS}{}", gaps.trim_end())?;
    }
    if let Some((reference, _)) = networks.first() {
        let versions: Vec<String> =
            reference.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        writeln!(text, "\nReferences: {}.", versions.join(", "))?;
    }
    Ok(text)
}

/// The line of a network, above its files.
fn heading(reference: &Reference, engines: usize) -> String {
    format!(
        "| **{}** | {:.1} | {:.2} | {:.2} | {} | {} | | | |{}\n",
        reference.network,
        reference.parameters as f64 / 1e6,
        reference.scales["logits"],
        reference.scales["gradient_norm"],
        match median(&reference.units_in_doubt) {
            units if units < 0.1 => "0".to_owned(),
            units => format!("{units:.1}"),
        },
        format_args!(
            "{} ({:.1e}, {:.1e})",
            median_of(&reference.float32),
            reference.own(|errors| &errors.logits),
            reference.own(|errors| &errors.gradient)
        ),
        " |".repeat(engines + 1),
    )
}

/// The line of a file, and whether all of it is right.
fn row(reference: &Reference, variant: &str, found: &Found, engines: &[&str]) -> (String, bool) {
    let verdicts: Vec<(String, bool)> =
        engines.iter().map(|name| judge(found.engines.get(*name), reference)).collect();
    let right = found.problems.is_empty() && found.covered >= 1.0 && verdicts.iter().all(|(_, right)| *right);
    let row = format!(
        "| {variant} | | | | | | {} | {:.0} % | `{}` | {} | {} |\n",
        found.nodes,
        100.0 * found.covered,
        found.layer.as_deref().unwrap_or("none"),
        verdicts.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(" | "),
        if right { "yes" } else { "**no**" },
    );
    (row, right)
}

/// Medians of the logits' and the gradient's errors.
fn median_of(errors: &Errors) -> String {
    format!("{:.1e}, {:.1e}", median(&errors.logits), median(&errors.gradient))
}

/// Errors of an engine with their ratios to PyTorch's, and whether they pass.
fn judge(run: Option<&Run>, reference: &Reference) -> (String, bool) {
    let Some(run) = run else { return ("not run".to_owned(), true) };
    if run.errors.gradient.is_empty() {
        return ("fails".to_owned(), false);
    }
    let logits = median(&run.errors.logits) / reference.own(|errors| &errors.logits);
    let gradient = median(&run.errors.gradient) / reference.own(|errors| &errors.gradient);
    let text = format!("{} ({logits:.2}, {gradient:.2})", median_of(&run.errors));
    (text, logits <= MOST && gradient <= MOST && run.problem.is_none())
}

fn failure(network: &str, variant: &str, found: &Found) -> String {
    let mut reasons = found.problems.clone();
    for (engine, run) in &found.engines {
        reasons.extend(run.problem.iter().map(|problem| format!("{engine}: {problem}")));
    }
    if reasons.is_empty() {
        reasons.push(format!("an error above {MOST} times PyTorch's"));
    }
    format!("- {network}, {variant}: {}", reasons.join("; "))
}

const OPENING: &str = "\
# The convolutional zoo

Generated by `goldens/zoo/run`; do not edit. Convolutional classifiers of each of torchvision's families, from both of
PyTorch's exporters, and the `light_*.onnx` of the onnx package, their constant weights replaced. *Every* parameter and
buffer is drawn at random with a seed, so that logits are of order one and vary from input to input
(`goldens/zoo/networks.py` refuses a network otherwise).

A file is named after its exporter: `torchscript` (`dynamo=False`) or `dynamo`; `dynamic` takes any number of rows, the
others one; `unfolded` was exported without folding and optimising. Inputs have the network's own size. *logits* is
the root mean square of the logits, *gradient* the median norm of the gradient of the highest logit in the input. Errors
are ‖found − float64‖₂ / ‖float64‖₂ with PyTorch's float64, the median of the inputs: of the logits, of the
gradient. That of PyTorch's float32 is given for the module as it is and, in brackets, as the largest of five: also with
every parameter off by about a rounding, as exporters' folding leaves them, four times (`goldens/zoo/README.md`). An
engine's ratios in brackets are to the largest, and may be 2 at most. *coverage* is the share of
nodes on the way of the gradient that a rule passes; the layer is what `grad-cam` looks at where none is named.

The gradient of a network with rectifiers jumps: where rounding takes a unit to the other side of its kink, a right
program's gradient differs by 10⁻³ to 10⁻², any other time by 10⁻⁶. *in doubt* is how many units of an input rounding
is expected to turn, the median; the inputs are, of the first 48 images, the eight with the fewest, by PyTorch's float32 and
float64 alone (`goldens/zoo/README.md`).

";

const GAPS: &str = "
## Integrated gradients

50 Gauss-Legendre points from zero to the first input: |score − baseline score − Σ values| / |score − baseline score|.

| network | file | engine | gap |
|---|---|---|--:|
";
