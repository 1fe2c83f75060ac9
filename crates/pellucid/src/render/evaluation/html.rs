//! The page of an evaluation.

use std::fmt::Write as _;

use image::RgbImage;
use ndarray::Array2;

use super::{compared, cost_name, difference, figure, lead, measures, range, said, tested, told};
use crate::error::Error;
use crate::evaluate::{Evaluation, Mistake, Report, Task};
use crate::input::Inputs;
use crate::render::colour::ColourMap;
use crate::render::figure as of_explanation;
use crate::render::heat::{Drawn, HeatMap, draw_row};
use crate::render::picture::Ground;
use crate::render::scene::{Theme, data_uri, escape, png};
use crate::render::template::{Page, fill};
use crate::render::words::{count, number, percent, to_f32};
use crate::resample::{self, Interpolation};
use crate::space::Spaces;

/// Longest side of a picture of a mistake.
const PICTURE: u32 = 224;

/// The page.
pub(super) fn page(evaluation: &Evaluation) -> Result<String, Error> {
    let mut body = whole(evaluation);
    for (at, report) in evaluation.reports.iter().enumerate() {
        body += &drawings(evaluation, report, at)?;
        body += &parts(evaluation, report, at);
    }
    body += &mistakes(evaluation)?;
    body += &about(evaluation);
    let headline = match evaluation.reports.as_slice() {
        [one] => format!("How good {} is", one.model),
        _ => "Two models on the same rows".to_owned(),
    };
    Ok(Page {
        headline: &headline,
        lead: &format!("{}, {}.", lead(evaluation), evaluation.task.name()),
        style: include_str!("../report/evaluation.css"),
        script: include_str!("../report/report.js"),
        body: &body,
        foot: "Measures follow scikit-learn's conventions. Intervals are percentiles of a Poisson bootstrap of the rows: they \
               tell how much another test set of as many rows would change a number, not what other data would.",
    }
    .html())
}

fn cells(open: &str, texts: &[String]) -> String {
    let name = open.split(' ').next().unwrap_or(open);
    let mut html = String::new();
    for text in texts {
        let _ = write!(html, "<{open}>{}</{name}>", escape(text));
    }
    html
}

/// The first measure large, then all of them as a table.
fn whole(evaluation: &Evaluation) -> String {
    let interval = format!("{} interval", percent(to_f32(evaluation.level)));
    let two = evaluation.reports.len() > 1;
    let mut heads = vec!["measure".to_owned()];
    for report in &evaluation.reports {
        heads.extend([if two { report.model.clone() } else { "value".to_owned() }, interval.clone()]);
    }
    if two {
        heads.extend(["difference".to_owned(), interval, "p".to_owned()]);
    }
    let mut rows = String::new();
    for (measure, all) in measures(evaluation) {
        let mut row = Vec::new();
        for found in all {
            row.push(told(found.and_then(|found| found.value), measure.is_share));
            row.push(range(found.and_then(|found| found.interval), measure.is_share));
        }
        row.extend(difference(evaluation, &measure.name).map(compared).into_iter().flatten());
        let _ =
            write!(rows, "<tr><th scope=\"row\">{}</th>{}</tr>", escape(&measure.name), cells("td", &row));
    }
    let test = tested(evaluation)
        .map_or_else(String::new, |test| format!("<p class=\"test\">{}</p>", escape(&test)));
    format!(
        "<section class=\"card\" aria-labelledby=\"measures\"><h2 id=\"measures\">Measures</h2><div class=\"scroll\" \
         tabindex=\"0\" role=\"region\" aria-labelledby=\"measures\"><table class=\"numbers\"><thead><tr>{}</tr></thead>\
         <tbody>{rows}</tbody></table></div>{test}</section>\n",
        cells("th scope=\"col\"", &heads)
    )
}

/// Confusion matrix, reliability diagram, truth and prediction.
fn drawings(evaluation: &Evaluation, report: &Report, at: usize) -> Result<String, Error> {
    let scenes = figure::drawings(evaluation, report);
    if scenes.is_empty() {
        return Ok(String::new());
    }
    let mut html = String::new();
    for scene in scenes {
        let _ = write!(html, "<figure class=\"drawing\">{}</figure>", scene.to_svg(Theme::Page)?);
    }
    let words = report.confusion.as_ref().map_or_else(String::new, |confusion| {
        format!("<p class=\"soft small\">{}</p>", escape(&figure::in_words(confusion, &evaluation.names)))
    });
    Ok(format!(
        "<section class=\"card\" aria-labelledby=\"drawn-{at}\"><h2 id=\"drawn-{at}\">{}</h2><div class=\"drawings\">{html}\
         </div>{words}</section>\n",
        escape(&titled(
            evaluation,
            report,
            if evaluation.task == Task::Regression {
                "Truth and prediction"
            } else {
                "What is mistaken, and how sure it is"
            }
        ))
    ))
}

/// With two models, whose it is.
fn titled(evaluation: &Evaluation, report: &Report, title: &str) -> String {
    if evaluation.reports.len() > 1 { format!("{title}: {}", report.model) } else { title.to_owned() }
}

/// Measures by class, label or output.
fn parts(evaluation: &Evaluation, report: &Report, at: usize) -> String {
    let Some(first) = report.parts.first().filter(|_| report.parts.len() > 1) else { return String::new() };
    let (what, title) = match evaluation.task {
        Task::Classification => ("class", "By class"),
        Task::MultiLabel => ("label", "By label"),
        Task::Regression => ("output", "By output"),
    };
    let mut heads = vec![what.to_owned(), "rows".to_owned()];
    heads.extend(first.predicted.map(|_| "predicted".to_owned()));
    heads.extend(first.measures.iter().map(|measure| measure.name.clone()));
    let mut rows = String::new();
    for part in &report.parts {
        let mut row = vec![count(part.rows)];
        row.extend(part.predicted.map(count));
        let _ = write!(rows, "<tr><th scope=\"row\">{}</th>{}", escape(&part.name), cells("td", &row));
        for measure in &part.measures {
            let interval = range(measure.interval, measure.is_share);
            let value = escape(&told(measure.value, measure.is_share));
            let _ = write!(rows, "<td>{value} <span class=\"soft small\">{}</span></td>", escape(&interval));
        }
        rows += "</tr>";
    }
    let table = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"parts-{at}\"><table class=\"numbers\"><thead><tr>\
         {}</tr></thead><tbody>{rows}</tbody></table></div>",
        cells("th scope=\"col\"", &heads)
    );
    format!(
        "<section class=\"card\" aria-labelledby=\"parts-{at}\"><h2 id=\"parts-{at}\">{}</h2>{table}</section>\n",
        escape(&titled(evaluation, report, title))
    )
}

/// The worst mistakes, with pictures and what spoke for them.
fn mistakes(evaluation: &Evaluation) -> Result<String, Error> {
    if evaluation.mistakes.is_empty() {
        return Ok(String::new());
    }
    let mut items = String::new();
    for (at, mistake) in evaluation.mistakes.iter().enumerate() {
        items += &item(evaluation, mistake, at)?;
    }
    let how = evaluation.explanation.as_ref().map_or_else(
        || "Those that cost most, worst first. With --explain METHOD each is shown with what spoke for it.".to_owned(),
        |explanation| {
            format!(
                "Those that cost most, worst first. Beside each row what {} says speaks for what was predicted{}: red for it, \
                 blue against it (yellow is much where nothing can be against).",
                explanation.method.name,
                if explanation.explained.len() > 1 { ", and for what is right" } else { "" }
            )
        },
    );
    let report = evaluation.reports.first().filter(|_| evaluation.reports.len() > 1);
    let title = report
        .map_or_else(|| "Worst mistakes".to_owned(), |report| format!("Worst mistakes of {}", report.model));
    Ok(format!(
        "<section class=\"card\" aria-labelledby=\"mistakes\"><h2 id=\"mistakes\">{}</h2><p class=\"soft\">{}</p><ol \
         class=\"mistakes\">{items}</ol></section>\n",
        escape(&title),
        escape(&how)
    ))
}

fn item(evaluation: &Evaluation, mistake: &Mistake, at: usize) -> Result<String, Error> {
    let mut pictures = String::new();
    let mut figure = |picture: &RgbImage, alt: &str, caption: &str| -> Result<(), Error> {
        let _ = write!(
            pictures,
            "<figure><img width=\"{}\" height=\"{}\" alt=\"{}\" src=\"{}\"><figcaption>{}</figcaption></figure>",
            picture.width(),
            picture.height(),
            escape(alt),
            data_uri("image/png", &png(picture)?),
            escape(caption)
        );
        Ok(())
    };
    if let Some(picture) = evaluation.mistaken.as_ref().and_then(|inputs| {
        let spaces = evaluation.explanation.as_ref().map(|explanation| explanation.spaces.clone());
        seen(inputs, &spaces.unwrap_or_else(|| Spaces::guessed(&inputs.shapes())), at)
    }) {
        figure(&picture, &format!("The input {}", mistake.name), "the input")?;
    }
    let mut charts = String::new();
    for explained in evaluation.explanation.iter().flat_map(|explanation| &explanation.explained) {
        let Some(explanation) = &evaluation.explanation else { continue };
        let target = &explained.targets[at];
        for (index, (input, _)) in explained.attribution.values.iter().enumerate() {
            match draw_row(explanation, explained, index, at) {
                Drawn::Map(map) => {
                    let ground = Ground::new((&explanation.inputs, &explanation.spaces), at, input, &map);
                    let shown = reduced(&ground.with_overlay(&map), ground.keeps_edges());
                    let caption = format!("for {target}");
                    figure(&shown, &format!("What speaks for {target} in {}", mistake.name), &caption)?;
                }
                drawn => {
                    let chart = of_explanation::chart(explanation, explained, index, &drawn, at);
                    let _ = write!(charts, "<div class=\"chart\">{}</div>", chart.to_svg(Theme::Page)?);
                }
            }
        }
    }
    Ok(format!(
        "<li><p><strong>{}</strong>: predicted {}, is {} <span class=\"soft\">({} {})</span></p><div class=\"pictures\">\
         {pictures}</div>{charts}</li>",
        escape(&mistake.name),
        escape(&said(evaluation, mistake.predicted, false)),
        escape(&said(evaluation, mistake.truth, true)),
        escape(cost_name(evaluation)),
        escape(&number(to_f32(mistake.loss)))
    ))
}

/// The input as a picture, where it is like one.
fn seen(inputs: &Inputs, spaces: &Spaces, row: usize) -> Option<RgbImage> {
    let (name, array) = inputs.arrays().first()?;
    let is_picture = inputs.rows()[row].photograph.is_some() || array.shape().len() == 4;
    if !is_picture {
        return None;
    }
    let map = HeatMap { values: Array2::zeros((1, 1)), limit: 1.0, colours: ColourMap::Cividis, summed: "" };
    let ground = Ground::new((inputs, spaces), row, name, &map);
    Some(reduced(&ground.picture, ground.keeps_edges()))
}

/// As large as a page of many needs.
fn reduced(picture: &RgbImage, keep_edges: bool) -> RgbImage {
    let (width, height) = picture.dimensions();
    let side = |length: u32| (length * PICTURE / width.max(height).max(1)).max(1);
    let interpolation = if keep_edges { Interpolation::Nearest } else { Interpolation::Bicubic };
    resample::resize(picture, side(width), side(height), interpolation, true)
}

/// What should be known, and how it was done.
fn about(evaluation: &Evaluation) -> String {
    let notes: Vec<String> =
        evaluation.notes.iter().map(|note| format!("<li>{}</li>", escape(note))).collect();
    let notes =
        if notes.is_empty() { String::new() } else { format!("<ul class=\"notes\">{}</ul>", notes.concat()) };
    let command = match evaluation.command.as_str() {
        "" => String::new(),
        command => fill(include_str!("../report/command.html"), &[("command", command)]),
    };
    let settings = format!(
        "{} replicates, seed {}, engine {}",
        count(evaluation.replicates as u64),
        evaluation.seed,
        evaluation.engine
    );
    format!(
        "<section class=\"card about\" aria-labelledby=\"about\"><h2 id=\"about\">How it was measured</h2><p>{}</p>{notes}\
         {command}</section>\n",
        escape(&settings)
    )
}
