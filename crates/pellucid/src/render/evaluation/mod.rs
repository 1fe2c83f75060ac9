//! Evaluations as text, pages and pictures.

mod figure;
mod html;
mod terminal;

use crate::error::Error;
use crate::evaluate::{Difference, Evaluation, Measure, Report, Said, Task};
use crate::render::scene::Theme;
use crate::render::words::{count, number, to_f32};

pub use terminal::evaluation;

/// An evaluation as one HTML file that needs nothing else.
pub fn html(evaluation: &Evaluation) -> Result<Vec<u8>, Error> {
    Ok(html::page(evaluation)?.into_bytes())
}

/// What is mistaken for what, and whether probabilities can be believed, as one PNG.
pub fn png(evaluation: &Evaluation) -> Result<Vec<u8>, Error> {
    figure::all(evaluation).to_png()
}

/// The same as SVG, self-contained, with real text.
pub fn svg(evaluation: &Evaluation) -> Result<Vec<u8>, Error> {
    Ok(figure::all(evaluation).to_svg(Theme::White)?.into_bytes())
}

/// A measure as people read it: a share in percent, anything else as it is.
fn told(value: Option<f64>, is_share: bool) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.is_infinite() => if value > 0.0 { "∞" } else { "−∞" }.to_owned(),
        Some(value) if is_share => format!("{:.2} %", 100.0 * value).replace('-', "−"),
        Some(value) => number(to_f32(value)),
    }
}

/// An interval as people read it.
fn range(interval: Option<[f64; 2]>, is_share: bool) -> String {
    match interval {
        None => String::new(),
        Some([low, high]) if is_share => {
            format!("{:.2} to {:.2} %", 100.0 * low, 100.0 * high).replace('-', "−")
        }
        Some([low, high]) => format!("{} to {}", number(to_f32(low)), number(to_f32(high))),
    }
}

/// Measures that the first model has, each with those of all models by its name.
fn measures(evaluation: &Evaluation) -> Vec<(&Measure, Vec<Option<&Measure>>)> {
    let of = |report: &'_ Report, name: &str| report.measures.iter().position(|measure| measure.name == name);
    evaluation.reports[0]
        .measures
        .iter()
        .filter(|measure| measure.value.is_some())
        .map(|measure| {
            let all = evaluation.reports.iter();
            (measure, all.map(|report| of(report, &measure.name).map(|at| &report.measures[at])).collect())
        })
        .collect()
}

/// The difference of a measure between two models, where there are two.
fn difference<'a>(evaluation: &'a Evaluation, name: &str) -> Option<&'a Difference> {
    evaluation.paired.as_ref()?.differences.iter().find(|difference| difference.name == name)
}

/// A difference as people read it: of shares in points.
fn gained(value: f64, is_share: bool) -> String {
    let text = if is_share { format!("{:.2}", 100.0 * value) } else { number(to_f32(value)) };
    let text = text.replace('-', "−");
    if value > 0.0 { format!("+{text}") } else { text }
}

/// A difference with its interval and the probability of one as large by chance.
fn compared(difference: &Difference) -> [String; 3] {
    let unit = if difference.is_share { " points" } else { "" };
    let value =
        difference.value.map_or_else(|| "–".to_owned(), |value| gained(value, difference.is_share) + unit);
    let range = difference.interval.map_or_else(String::new, |[low, high]| {
        format!("{} to {}", gained(low, difference.is_share), gained(high, difference.is_share))
    });
    [value, range, difference.p.map_or_else(String::new, chance)]
}

/// A probability of a test.
fn chance(p: f64) -> String {
    if p < 1e-4 { format!("{p:.1e}").replace('-', "−") } else { format!("{p:.4}") }
}

/// What McNemar's test says, in words.
fn tested(evaluation: &Evaluation) -> Option<String> {
    let test = evaluation.paired.as_ref()?.test?;
    let [first, second] = [0, 1].map(|at| evaluation.reports[at].model.as_str());
    let verdict = if test.p < 1.0 - evaluation.level {
        "they are not equally good"
    } else {
        "they may well be equally good"
    };
    Some(format!(
        "{} rows are right in {first} alone, {} in {second} alone, {} in both, {} in neither; McNemar's exact test: p = {}, \
         {verdict}",
        count(test.first),
        count(test.second),
        count(test.both),
        count(test.neither),
        chance(test.p)
    ))
}

/// What a model said of a row, or what is right.
fn said(evaluation: &Evaluation, said: Said, is_truth: bool) -> String {
    let name = evaluation.names.get(said.index).map_or("?", String::as_str);
    match evaluation.task {
        Task::MultiLabel if is_truth => {
            if said.value > 0.5 {
                name.to_owned()
            } else {
                format!("not {name}")
            }
        }
        Task::Regression => format!("{name} = {}", number(to_f32(said.value))),
        _ if evaluation.reports[0].calibration.is_none() => {
            format!("{name} ({})", number(to_f32(said.value)))
        }
        _ => format!("{name} ({})", probability(said.value)),
    }
}

/// A probability with as many digits as it needs.
fn probability(p: f64) -> String {
    match p {
        p if p <= 0.0 => "0 %".to_owned(),
        p if p < 1e-4 => format!("{p:.0e}").replace('-', "−"),
        p if !(0.1..=0.99).contains(&p) => format!("{:.2} %", 100.0 * p),
        p => format!("{:.1} %", 100.0 * p),
    }
}

/// What was done, in a line.
fn lead(evaluation: &Evaluation) -> String {
    let models: Vec<&str> = evaluation.reports.iter().map(|report| report.model.as_str()).collect();
    format!("{} on {} rows of {}", models.join(" and "), count(evaluation.rows as u64), evaluation.data)
}

/// What the cost of a mistake is.
fn cost_name(evaluation: &Evaluation) -> &'static str {
    match evaluation.task {
        Task::Regression => "standard deviations off",
        _ if evaluation.reports[0].calibration.is_none() => "score behind",
        _ => "loss",
    }
}
