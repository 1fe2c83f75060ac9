//! An evaluation as text for a terminal.

use std::fmt::Write as _;

use super::{compared, cost_name, difference, lead, measures, range, said, tested, told};
use crate::evaluate::{Calibration, Confusion, Evaluation, Report, Task};
use crate::render::table::{Align, aligned};
use crate::render::terminal::{Style, bar, clean, strong};
use crate::render::words::{count, number, percent, to_f32};

/// Classes that are listed one by one, the worst ones where there are more.
const PARTS: usize = 20;
/// Classes of which the whole confusion matrix is printed.
const MATRIX: usize = 12;
/// Pairs of classes that are listed.
const PAIRS: usize = 10;

/// Everything that was measured, as tables.
pub fn evaluation(evaluation: &Evaluation, style: Style) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\n", strong(&clean(&lead(evaluation)), style));
    whole(&mut text, evaluation);
    if let Some(test) = tested(evaluation) {
        let _ = writeln!(text, "{}", clean(&test));
    }
    for report in &evaluation.reports {
        if evaluation.reports.len() > 1 {
            let _ = writeln!(text, "\n{}", strong(&clean(&report.model), style));
        }
        parts(&mut text, evaluation.task, report);
        if let Some(confusion) = &report.confusion {
            mistaken(&mut text, confusion, &evaluation.names, style);
        }
        if let Some(calibration) = &report.calibration {
            reliability(&mut text, calibration, evaluation.task, style);
        }
    }
    worst(&mut text, evaluation, style);
    for note in &evaluation.notes {
        let _ = writeln!(text, "note: {}", clean(note));
    }
    text
}

/// Measures of the whole; of two models their difference too.
fn whole(text: &mut String, evaluation: &Evaluation) {
    let interval = format!("{} interval", percent(to_f32(evaluation.level)));
    let names: Vec<String> = evaluation.reports.iter().map(|report| clean(&report.model)).collect();
    let two = names.len() > 1;
    let mut heads = vec![("measure", Align::Left)];
    for name in &names {
        heads.push((if two { name } else { "value" }, Align::Right));
        heads.push((&interval, Align::Left));
    }
    if two {
        heads.extend([("difference", Align::Right), (interval.as_str(), Align::Left), ("p", Align::Right)]);
    }
    let rows: Vec<Vec<String>> = measures(evaluation)
        .into_iter()
        .map(|(measure, all)| {
            let mut row = vec![measure.name.clone()];
            for found in all {
                row.push(told(found.and_then(|found| found.value), measure.is_share));
                row.push(range(found.and_then(|found| found.interval), measure.is_share));
            }
            row.extend(difference(evaluation, &measure.name).map(compared).into_iter().flatten());
            row
        })
        .collect();
    text.push_str(&aligned(&heads, &rows));
}

/// Measures by class, label or output.
fn parts(text: &mut String, task: Task, report: &Report) {
    let Some(first) = report.parts.first().filter(|_| report.parts.len() > 1) else { return };
    let mut listed: Vec<&crate::evaluate::PartReport> = report.parts.iter().collect();
    let last = first.measures.len().saturating_sub(1);
    let of_values = first.predicted.is_none();
    if listed.len() > PARTS {
        let score =
            |at: usize| listed[at].measures[if of_values { 2 } else { last }].value.unwrap_or(f64::MAX);
        let mut order: Vec<usize> = (0..listed.len()).filter(|at| listed[*at].rows > 0).collect();
        order.sort_by(|a, b| score(*a).total_cmp(&score(*b)).then(a.cmp(b)));
        listed = order.into_iter().take(PARTS).map(|at| listed[at]).collect();
        let _ = writeln!(text, "\nthe {} worst of {}", listed.len(), report.parts.len());
    } else {
        text.push('\n');
    }
    let what = match task {
        Task::Classification => "class",
        Task::MultiLabel => "label",
        Task::Regression => "output",
    };
    let mut heads = vec![(what, Align::Left), ("rows", Align::Right)];
    if !of_values {
        heads.push(("predicted", Align::Right));
    }
    heads.extend(first.measures.iter().map(|measure| (measure.name.as_str(), Align::Right)));
    let rows: Vec<Vec<String>> = listed
        .into_iter()
        .map(|part| {
            let mut row = vec![clean(&part.name), count(part.rows)];
            row.extend(part.predicted.map(count));
            row.extend(part.measures.iter().map(|measure| told(measure.value, measure.is_share)));
            row
        })
        .collect();
    text.push_str(&aligned(&heads, &rows));
}

/// What is taken for what.
fn mistaken(text: &mut String, confusion: &Confusion, names: &[String], style: Style) {
    let name = |class: usize| names.get(class).map_or_else(|| format!("class {class}"), |name| clean(name));
    if confusion.classes <= MATRIX {
        let _ = writeln!(
            text,
            "\n{}: rows by what they are, columns by what they are taken for",
            strong("confusion", style)
        );
        let columns: Vec<String> = (0..confusion.classes).map(|class| class.to_string()).collect();
        let mut heads = vec![("", Align::Left), ("", Align::Left)];
        heads.extend(columns.iter().map(|column| (column.as_str(), Align::Right)));
        let mut rows: Vec<Vec<String>> = (0..confusion.classes)
            .map(|class| {
                let mut row = vec![name(class), class.to_string()];
                row.extend((0..confusion.classes).map(|_| "·".to_owned()));
                row
            })
            .collect();
        for (truth, predicted, rows_of) in &confusion.counts {
            rows[*truth][2 + predicted] = rows_of.to_string();
        }
        text.push_str(&aligned(&heads, &rows));
    }
    let pairs = confusion.mistaken();
    if pairs.is_empty() {
        let _ = writeln!(text, "\nnothing is mistaken");
        return;
    }
    let _ = writeln!(text, "\n{}", strong("mistaken most", style));
    let truths = confusion.truths();
    let heads = [
        ("it is", Align::Left),
        ("taken for", Align::Left),
        ("rows", Align::Right),
        ("of its rows", Align::Right),
    ];
    let rows: Vec<Vec<String>> = pairs
        .into_iter()
        .take(PAIRS)
        .map(|(truth, predicted, rows)| {
            let share = rows as f64 / truths[truth].max(1) as f64;
            vec![name(truth), name(predicted), count(rows), percent(to_f32(share))]
        })
        .collect();
    text.push_str(&aligned(&heads, &rows));
}

/// Whether probabilities can be believed.
fn reliability(text: &mut String, calibration: &Calibration, task: Task, style: Style) {
    let what = if task == Task::MultiLabel { "set" } else { "right" };
    let _ = writeln!(
        text,
        "\n{}: of answers given with a probability, the share that is {what}",
        strong("calibration", style)
    );
    let heads = [
        ("probability", Align::Left),
        ("answers", Align::Right),
        ("mean", Align::Right),
        (what, Align::Right),
        ("", Align::Left),
    ];
    let rows: Vec<Vec<String>> = calibration
        .bins
        .iter()
        .filter_map(|bin| {
            let (confidence, accuracy) = (bin.confidence?, bin.accuracy?);
            Some(vec![
                format!("{:.2} to {:.2}", bin.low, bin.high),
                count(bin.count),
                format!("{confidence:.3}"),
                format!("{accuracy:.3}"),
                bar(to_f32(accuracy)),
            ])
        })
        .collect();
    text.push_str(&aligned(&heads, &rows));
    let _ = writeln!(
        text,
        "expected calibration error {}, at most {} in a bin",
        told(calibration.expected_error, true),
        told(calibration.maximum_error, true)
    );
}

fn worst(text: &mut String, evaluation: &Evaluation, style: Style) {
    if evaluation.mistakes.is_empty() {
        return;
    }
    let of = if evaluation.reports.len() > 1 {
        format!(" of {}", clean(&evaluation.reports[0].model))
    } else {
        String::new()
    };
    let _ = writeln!(text, "\n{}{of}", strong("worst mistakes", style));
    let cost = cost_name(evaluation);
    let heads =
        [("row", Align::Left), ("predicted", Align::Left), ("right", Align::Left), (cost, Align::Right)];
    let rows: Vec<Vec<String>> = evaluation
        .mistakes
        .iter()
        .map(|mistake| {
            vec![
                clean(&mistake.name),
                clean(&said(evaluation, mistake.predicted, false)),
                clean(&said(evaluation, mistake.truth, true)),
                number(to_f32(mistake.loss)),
            ]
        })
        .collect();
    text.push_str(&aligned(&heads, &rows));
}
