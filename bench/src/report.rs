//! The table: what was measured, as Markdown.

use std::fmt::Write;

use serde_json::Value;

use crate::Race;
use crate::cases::{Case, title};
use crate::equal_error::{Reached, TOLERANCE};
use crate::error::Error;
use crate::machine::locked_version;
use crate::statistics::Spread;

/// Everything that a race found.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) threads: usize,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) lines: Vec<Line>,
    pub(crate) calibration: Vec<(String, f64)>,
    pub(crate) equal_error: Vec<EqualError>,
    pub(crate) programs: Vec<Program>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) seconds: f64,
    pub(crate) load: Option<f64>,
    pub(crate) load_after: Option<f64>,
}

impl Results {
    /// Whether a method was raced on a network.
    pub(crate) fn has(&self, network: &str, method: &str) -> bool {
        self.lines.iter().any(|line| line.network == network && line.case.method == method)
    }
}

/// One method on one network at one batch; PyTorch's seconds first, then each engine's.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) network: String,
    pub(crate) case: Case,
    pub(crate) batch: usize,
    pub(crate) layout: &'static str,
    pub(crate) chunk: usize,
    pub(crate) engines: Vec<String>,
    pub(crate) seconds: Vec<Vec<f64>>,
    pub(crate) distances: Vec<f64>,
    pub(crate) own: f64,
}

/// Integrated gradients to equal error, Captum's seconds first.
#[derive(Debug)]
pub(crate) struct EqualError {
    pub(crate) network: String,
    pub(crate) engine: String,
    pub(crate) ours: Reached,
    /// Captum with its default of 50 points.
    pub(crate) default: Reached,
    /// Captum with the fewest points, if some number is enough.
    pub(crate) theirs: Option<Reached>,
    pub(crate) seconds: Vec<Vec<f64>>,
}

/// From the start of a program to its heatmap, Python's seconds first.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) network: String,
    pub(crate) method: &'static str,
    pub(crate) seconds: Vec<Vec<f64>>,
}

/// Peaks of fresh processes in bytes, PyTorch's first.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) network: String,
    pub(crate) case: Case,
    pub(crate) batch: usize,
    pub(crate) bytes: Vec<f64>,
}

/// PyTorch's seconds over each engine's, round by round: above 1 the engine is faster.
pub(crate) fn ratios(seconds: &[Vec<f64>]) -> Vec<Spread> {
    let Some((theirs, ours)) = seconds.split_first() else { return Vec::new() };
    ours.iter()
        .filter_map(|ours| Spread::of(&theirs.iter().zip(ours).map(|(a, b)| a / b).collect::<Vec<f64>>()))
        .collect()
}

fn ratio(spread: Option<&Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |s| format!("**{:.2}** ({:.2}–{:.2})", s.median, s.low, s.high))
}

/// Seconds for people: three digits, milliseconds below one second.
fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 10.0 => format!("{s:.1} s"),
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.1 => format!("{:.0} ms", s * 1e3),
        s => format!("{:.1} ms", s * 1e3),
    }
}

fn medians(seconds: &[Vec<f64>]) -> Vec<String> {
    seconds.iter().map(|all| Spread::of(all).map_or_else(|| "–".to_owned(), |s| time(s.median))).collect()
}

fn plain(what: &str, engines: &[String], seconds: &[Vec<f64>]) -> String {
    let medians = medians(seconds);
    let mut text = format!("{what}: PyTorch {}", medians.first().map_or("–", String::as_str));
    for ((engine, median), ratio) in engines.iter().zip(&medians[1..]).zip(ratios(seconds)) {
        let _ = write!(text, ", {engine} {median} ({:.2}, {:.2}–{:.2})", ratio.median, ratio.low, ratio.high);
    }
    text
}

impl Line {
    pub(crate) fn plain(&self) -> String {
        plain(&format!("{}, batch {}", self.case.title, self.batch), &self.engines, &self.seconds)
    }
}

impl EqualError {
    pub(crate) fn plain(&self) -> String {
        let theirs =
            self.theirs.map_or_else(|| "more than were tried".to_owned(), |t| t.evaluations.to_string());
        let what = format!("equal error: {} evaluations, Captum {theirs}", self.ours.evaluations);
        plain(&what, std::slice::from_ref(&self.engine), &self.seconds)
    }
}

impl Program {
    pub(crate) fn plain(&self, engines: &[String]) -> String {
        plain(&format!("start to heatmap, {}", self.method), engines, &self.seconds)
    }
}

impl Memory {
    pub(crate) fn plain(&self, engines: &[String]) -> String {
        let mut text = format!("memory, {}, batch {}:", self.case.title, self.batch);
        let names = std::iter::once("PyTorch").chain(engines.iter().map(String::as_str));
        for (name, bytes) in names.zip(&self.bytes) {
            let _ = write!(text, " {name} {:.0} MB", bytes / 1e6);
        }
        text
    }
}

/// Versions in an answer.
pub(crate) fn versions(answer: &Value) -> Vec<(String, String)> {
    let fields = answer.as_object().into_iter().flatten().filter(|(key, _)| *key != "done");
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Writes the table, and after it what bench/notes.md says of it.
pub(crate) fn write(options: &Race, results: &Results) -> Result<(), Error> {
    let mut text = document(options, results);
    let notes = options.bench.join("notes.md");
    if notes.exists() {
        text.push('\n');
        text.push_str(&std::fs::read_to_string(&notes).map_err(Error::file(&notes))?);
    }
    if options.output.as_os_str() == "-" {
        println!("{text}");
        return Ok(());
    }
    std::fs::write(&options.output, text).map_err(Error::file(&options.output))?;
    eprintln!("wrote {}", options.output.display());
    Ok(())
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn head(first: &[&str], engines: &[String], last: &[&str]) -> String {
    let mut cells: Vec<String> = first.iter().map(|cell| (*cell).to_owned()).collect();
    cells.push("PyTorch".to_owned());
    for engine in engines {
        cells.extend([engine.clone(), "ratio".to_owned()]);
    }
    cells.extend(last.iter().map(|cell| (*cell).to_owned()));
    let rule = vec!["---".to_owned(); cells.len()];
    row(&cells) + &row(&rule)
}

fn timed(first: Vec<String>, seconds: &[Vec<f64>]) -> Vec<String> {
    let (medians, ratios) = (medians(seconds), ratios(seconds));
    let mut cells = first;
    let mut medians = medians.into_iter();
    cells.extend(medians.next());
    for (number, median) in medians.enumerate() {
        cells.extend([median, ratio(ratios.get(number))]);
    }
    cells
}

fn document(options: &Race, results: &Results) -> String {
    let engines = &options.engines;
    let mut text = opening(options, results);
    text.push_str("\n## Time\n\nOf one call for all rows of the batch.\n\n");
    text += &head(&["network", "method", "batch"], engines, &["rounds", "PyTorch's form", "apart"]);
    for line in &results.lines {
        let first = vec![title(&line.network).to_owned(), line.case.title.to_owned(), line.batch.to_string()];
        let mut cells = timed(first, &line.seconds);
        let chunk = if line.case.evaluations > 1.0 {
            format!(", {} rows at once", line.chunk)
        } else {
            String::new()
        };
        let apart: Vec<String> = line.distances.iter().map(|distance| format!("{distance:.0e}")).collect();
        cells.push(line.seconds.first().map_or(0, Vec::len).to_string());
        cells.push(format!("{}{chunk}", line.layout));
        cells.push(format!("{} ({:.0e})", apart.join(", "), line.own));
        text += &row(&cells);
    }
    text += "\n*Apart*: relative L2 distance of each engine's result from PyTorch's, median of the rows; in brackets \
             that of PyTorch's float32 from its own float64.\n";
    equal_error(&mut text, results);
    if !results.programs.is_empty() {
        text.push_str("\n## From the start of the program to a written heatmap\n\n");
        text += &head(&["network", "method"], engines, &["rounds"]);
        for line in &results.programs {
            let first = vec![title(&line.network).to_owned(), line.method.to_owned()];
            let mut cells = timed(first, &line.seconds);
            cells.push(line.seconds.first().map_or(0, Vec::len).to_string());
            text += &row(&cells);
        }
        text += "\n`pellucid explain NETWORK.onnx chelsea.png --method METHOD -o heat.png` against `heatmap.py`, \
                 which does the same with PyTorch, Captum and Pillow.\n";
    }
    memory(&mut text, engines, results);
    calibration(&mut text, results);
    text
}

fn opening(options: &Race, results: &Results) -> String {
    let lock = std::fs::read_to_string(options.bench.join("../Cargo.lock")).unwrap_or_default();
    let mut versions = vec![("pellucid".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    for engine in ["rten", "ort"] {
        versions.extend(locked_version(&lock, engine).map(|version| (engine.to_owned(), version)));
    }
    versions.extend(results.versions.clone());
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let load = |load: Option<f64>| load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.1}"));
    format!(
        "# Pellucid against Captum on PyTorch\n\nWritten by `bench/run`; `bench/README.md` says what is compared, and \
         how.\n\n- Processor: {}; {} threads on either side\n- Versions: {}\n- The race took {:.0} s{}; load average \
         before it {}, after it {}\n\nMedians. A *ratio* is PyTorch's time over the engine's in the same round, above \
         1 where Pellucid is faster: its median and, in brackets, its quartiles.\n",
        results.machine,
        results.threads,
        versions.join(", "),
        results.seconds,
        if options.quick { " in its quick form, whose figures mean little" } else { "" },
        load(results.load),
        load(results.load_after),
    )
}

fn equal_error(text: &mut String, results: &Results) {
    if results.equal_error.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## Integrated gradients to equal error\n\nOne row. Gap at most {:.0} % of the score's difference and \
         quadrature error at most {:.0} % of Σ|values| on either side: Pellucid by its adaptive rule, Captum by the \
         fewest Gauss-Legendre points that reach it, the time of finding that number not counted.\n\n",
        100.0 * TOLERANCE,
        100.0 * TOLERANCE
    );
    let cells = [
        "network",
        "engine",
        "evaluations",
        "gap",
        "error",
        "Captum: evaluations",
        "gap",
        "error",
        "Captum",
        "Pellucid",
        "ratio",
        "Captum's default of 50: gap",
        "error",
    ];
    text.push_str(&row(&cells.map(str::to_owned)));
    text.push_str(&row(&cells.map(|_| "---".to_owned())));
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    for line in &results.equal_error {
        let theirs = match &line.theirs {
            Some(theirs) => [theirs.evaluations.to_string(), percent(theirs.gap), percent(theirs.error)],
            None => ["not reached".to_owned(), "–".to_owned(), "–".to_owned()],
        };
        let mut cells = vec![title(&line.network).to_owned(), line.engine.clone()];
        cells.extend([line.ours.evaluations.to_string(), percent(line.ours.gap), percent(line.ours.error)]);
        cells.extend(theirs);
        cells.extend(medians(&line.seconds));
        cells.push(if line.theirs.is_some() {
            ratio(ratios(&line.seconds).first())
        } else {
            "–".to_owned()
        });
        cells.extend([percent(line.default.gap), percent(line.default.error)]);
        text.push_str(&row(&cells));
    }
}

fn memory(text: &mut String, engines: &[String], results: &Results) {
    if results.memory.is_empty() {
        return;
    }
    text.push_str("\n## Peak memory\n\nOf a fresh process that loads the network and runs the method once (`VmHWM`); a ratio is the engine's over PyTorch's.\n\n");
    text.push_str(&head(&["network", "method", "batch"], engines, &[]));
    for line in &results.memory {
        let mut cells =
            vec![title(&line.network).to_owned(), line.case.title.to_owned(), line.batch.to_string()];
        let theirs = line.bytes.first().copied().unwrap_or(f64::NAN);
        cells.push(format!("{:.0} MB", theirs / 1e6));
        for bytes in line.bytes.iter().skip(1) {
            cells.extend([format!("{:.0} MB", bytes / 1e6), format!("**{:.2}**", bytes / theirs)]);
        }
        text.push_str(&row(&cells));
    }
}

fn calibration(text: &mut String, results: &Results) {
    text.push_str("\n## PyTorch's forms\n\nBest of a few runs, by image. The fastest one is raced.\n\n| | time |\n| --- | --- |\n");
    for (what, seconds) in &results.calibration {
        let _ = writeln!(text, "| {what} | {} |", time(*seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_by_round() {
        let found = ratios(&[vec![2.0, 4.0, 6.0], vec![1.0, 2.0, 3.0], vec![4.0, 8.0, 12.0]]);
        assert_eq!(found.iter().map(|ratio| ratio.median).collect::<Vec<_>>(), [2.0, 0.5]);
        assert!(found.iter().all(|ratio| ratio.width() == 0.0));
    }

    #[test]
    fn times_have_three_digits() {
        assert_eq!([0.0123, 0.123, 1.234, 12.34].map(time), ["12.3 ms", "123 ms", "1.23 s", "12.3 s"]);
    }

    #[test]
    fn a_table_has_as_many_cells_in_every_row() {
        let engines = vec!["a".to_owned(), "b".to_owned()];
        let head = head(&["x", "y"], &engines, &["z"]);
        let cells = timed(vec![String::new(); 2], &[vec![1.0], vec![1.0], vec![2.0]]);
        let line = row(&[cells, vec![String::new()]].concat());
        assert!(head.lines().all(|h| h.matches('|').count() == line.matches('|').count()), "{head}{line}");
    }
}
