//! The page of a summary, and that of a difference.

use std::fmt::Write as _;

use super::chart::{Chart, charts};
use super::{figure, shape, terminal, times, told, what};
use crate::error::Error;
use crate::render::plot::{small_curve, small_histogram};
use crate::render::scene::{Theme, data_uri, escape, png};
use crate::render::template::{Page, fill};
use crate::render::words::{bytes, count, number, percent, to_f32};
use crate::summary::{Difference, Layer, Moved, Row, Summary, Unmatched, WeightStatistics};

/// Levels of modules that are open at first.
const OPEN: usize = 1;

/// Rows that are shown at first at most: a browser takes seconds for tens of thousands.
const SHOWN: usize = 500;

/// Rows that are all shown at first.
const FEW: usize = 40;

/// The page of a summary.
pub(super) fn summary(summary: &Summary) -> Result<String, Error> {
    let mut body = facts(summary);
    body += &remarks(summary);
    body += &graph(summary)?;
    body += &layers(summary);
    body += &weights(summary)?;
    let inputs: Vec<String> = summary
        .inputs
        .iter()
        .map(|input| format!("{} {}", input.name, input.shape.as_deref().map_or_else(String::new, shape)))
        .collect();
    let rows = if summary.rows == 1 { "one row".to_owned() } else { format!("{} rows", summary.rows) };
    let lead =
        format!("{} layers, counted for {rows} of {}", count(summary.layers.len() as u64), inputs.join(", "));
    let foot = "Counted from the file alone: multiply-adds are those of convolutions and matrix products, activations those \
                of a pass that lets go of every value after its last use.";
    Ok(Page {
        headline: &summary.model,
        lead: &lead,
        style: include_str!("../report/summary.css"),
        script: include_str!("../report/summary.js"),
        body: &body,
        foot,
    }
    .html())
}

/// Every text in an element of its own.
fn wrapped<S: AsRef<str>>(open: &str, close: &str, texts: &[S]) -> String {
    let mut html = String::new();
    for text in texts {
        let _ = write!(html, "<{open}>{}</{close}>", escape(text.as_ref()));
    }
    html
}

fn fact(name: &str, value: &str, more: &str) -> String {
    format!(
        "<div><dt>{}</dt><dd>{}{}</dd></div>",
        escape(name),
        escape(value),
        if more.is_empty() {
            String::new()
        } else {
            format!("<span class=\"soft small\">{}</span>", escape(more))
        }
    )
}

fn facts(summary: &Summary) -> String {
    let statistics = match summary.parameters.statistics {
        0 => String::new(),
        statistics => format!("and {} running statistics", count(statistics)),
    };
    let unknown = || "unknown".to_owned();
    let mut facts = vec![
        fact("Parameters", &count(summary.parameters.trainable), &statistics),
        fact("Multiply-adds", &summary.multiply_adds.map_or_else(unknown, count), ""),
        fact("Weights", &bytes(summary.memory.weights), ""),
        fact("Activations at the peak", &summary.memory.peak_activations.map_or_else(unknown, bytes), ""),
    ];
    if let Some(profile) = &summary.profile {
        facts.push(fact(
            "Time",
            &format!("{:.1} ms", 1e3 * profile.whole),
            &format!("on {}", profile.engine),
        ));
    }
    format!(
        "<section class=\"card\" aria-label=\"Sums\"><dl class=\"facts\">{}</dl></section>\n",
        facts.concat()
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| format!("<li>{item}</li>")).collect();
    if items.is_empty() { String::new() } else { format!("<ul class=\"notes\">{}</ul>", items.concat()) }
}

fn remarks(summary: &Summary) -> String {
    let read = summary.layers.iter().any(|layer| !layer.weights.is_empty());
    let found = list(summary.findings.iter().map(|finding| {
        format!("<b>{}</b>: {}", escape(&finding.weights.join(", ")), escape(&finding.remark))
    }));
    let found = match (read, found.is_empty()) {
        (true, true) => "<p class=\"soft\">Nothing remarkable in the weights.</p>".to_owned(),
        _ => found,
    };
    let notes = list(summary.notes.iter().map(|note| escape(note)));
    if found.is_empty() && notes.is_empty() {
        return String::new();
    }
    format!(
        "<section class=\"card\" aria-labelledby=\"remarks\"><h2 id=\"remarks\">What to know</h2>{found}{notes}</section>\n"
    )
}

/// The charts: the first as it is, all of them for what opens.
fn graph(summary: &Summary) -> Result<String, Error> {
    let charts = charts(summary);
    let data: Vec<serde_json::Value> = charts
        .iter()
        .map(|chart| {
            serde_json::json!({
                "title": chart.title,
                "parent": chart.parent,
                "size": [chart.size.0.ceil(), chart.size.1.ceil()],
                "left": chart.left_out,
                "markup": chart.markup(),
            })
        })
        .collect();
    let data = serde_json::to_string(&data).map_err(|error| Error::Internal(error.to_string()))?;
    let first: &Chart = &charts[0];
    Ok(fill(
        include_str!("../report/graph.html"),
        &[
            ("width", &format!("{:.0}", first.size.0.ceil() + 40.0)),
            ("height", &format!("{:.0}", first.size.1.ceil() + 40.0)),
            ("markup", &first.markup()),
            // A name may hold what would end the script.
            ("data", &data.replace("</", "<\\/").replace("<!--", "<\\!--")),
        ],
    ))
}

/// The share of time in a row.
#[derive(Debug, Clone, Copy)]
enum Time {
    /// Nothing was run, and there is no column.
    Unasked,
    /// The layer could not be run by itself.
    Unknown,
    Share(f32),
}

fn layers(summary: &Summary) -> String {
    let timed = summary.profile.is_some();
    let heads = [
        "Layer",
        "Kind",
        "Input",
        "Output",
        "Kernel",
        "Parameters",
        "Share",
        "Multiply-adds",
        "Activations",
        "Sees",
    ];
    let mut head = wrapped("th scope=\"col\"", "th", &heads);
    if timed {
        head += "<th scope=\"col\">Time</th>";
    }
    let all = summary.parameters.trainable.max(1) as f64;
    let time: f64 = summary.profile.iter().flat_map(|profile| profile.seconds.iter().flatten()).sum();
    let more = if summary.modules.rows.iter().skip(SHOWN).any(|row| row.depth <= OPEN) {
        "<p class=\"soft small\">Only the first rows are shown; open all for the rest.</p>"
    } else {
        ""
    };
    let few = summary.modules.rows.len() <= FEW;
    let mut rows = String::new();
    for (number, row) in summary.modules.rows.iter().enumerate() {
        let share = match row.seconds {
            _ if !timed => Time::Unasked,
            None => Time::Unknown,
            Some(seconds) => Time::Share(to_f32(seconds / time)),
        };
        rows += &layer(summary, number, row, all, share, few || (row.depth <= OPEN && number < SHOWN));
    }
    format!(
        "<section class=\"card wide\" aria-labelledby=\"layers\"><div class=\"bar\"><h2 id=\"layers\">Layers</h2>\
         <span class=\"tools\"><button type=\"button\" id=\"open-all\">Open all</button>\
         <button type=\"button\" id=\"close-all\">Close all</button></span></div>\
         {more}<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of layers\"><table id=\"tree\">\
         <thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div></section>\n"
    )
}

fn layer(summary: &Summary, number: usize, row: &Row, all: f64, time: Time, shown: bool) -> String {
    let layer: Option<&Layer> = row.layer.map(|layer| &summary.layers[layer]);
    let plain = |number: u64| if number == 0 { String::new() } else { count(number) };
    let unknown = || "unknown".to_owned();
    let part = row.parameters as f64 / all;
    let few = summary.modules.rows.len() <= FEW;
    let name = match layer {
        None => format!(
            "<button type=\"button\" aria-expanded=\"{}\">{}</button>",
            few || row.depth < OPEN,
            escape(&row.label)
        ),
        Some(layer) => format!("<span title=\"{}\">{}</span>", escape(&layer.value), escape(&row.label)),
    };
    let mut cells = vec![
        what(row),
        layer.and_then(|layer| layer.input_shape.as_deref()).map_or_else(String::new, shape),
        row.output_shape.as_deref().map_or_else(unknown, shape),
        layer.and_then(|layer| layer.kernel.as_deref()).map_or_else(String::new, times),
        plain(row.parameters),
        if row.parameters == 0 { String::new() } else { percent(to_f32(part)) },
        row.multiply_adds.map_or_else(unknown, plain),
        row.activation_bytes.map_or_else(unknown, bytes),
        layer.map_or_else(String::new, terminal::sees),
    ];
    match time {
        Time::Unasked => {}
        Time::Unknown => cells.push(String::new()),
        Time::Share(share) => cells.push(percent(share)),
    }
    let cells = wrapped("td", "td", &cells);
    format!(
        "<tr id=\"row-{number}\"{}{}{}><th scope=\"row\" style=\"--level:{}\">{name}</th>{cells}</tr>\n",
        row.parent.map_or_else(String::new, |parent| format!(" data-in=\"{parent}\"")),
        if layer.is_none() { " class=\"module\"" } else { "" },
        if shown { "" } else { " hidden" },
        row.depth - 1
    )
}

fn weights(summary: &Summary) -> Result<String, Error> {
    let all: Vec<&WeightStatistics> = summary.layers.iter().flat_map(|layer| &layer.weights).collect();
    if all.is_empty() {
        return Ok(String::new());
    }
    let mut section = String::new();
    if let Some(filters) = &summary.filters {
        let (picture, told) = figure::filter_grid(filters);
        let _ = writeln!(
            section,
            "<section class=\"card\" aria-labelledby=\"filters\"><h2 id=\"filters\">What the first layer looks for</h2>\
             <p class=\"soft\">{}: {}</p><img class=\"filters\" src=\"{}\" width=\"{}\" height=\"{}\" alt=\"Filters of the \
             first layer as small pictures\"></section>",
            escape(&filters.name),
            escape(&told),
            data_uri("image/png", &png(&picture)?),
            picture.width(),
            picture.height()
        );
    }
    let heads = [
        "Weight",
        "Distribution",
        "Mean",
        "Std",
        "Of usual",
        "Kurtosis",
        "1 %",
        "99 %",
        "Zeros",
        "Norms",
        "Singular values",
        "Rank",
    ];
    let head = wrapped("th scope=\"col\"", "th", &heads);
    let rows: String = all.iter().map(|weight| weight_row(weight)).collect();
    let _ = writeln!(
        section,
        "<section class=\"card wide\" aria-labelledby=\"weights\"><h2 id=\"weights\">Weights</h2>\
         <p class=\"soft\">Heights by the root of counts, from the smallest to the largest number. <b>Of usual</b>: standard \
         deviation, of that which the kind is usually initialised with (He for kernels and matrices). <b>Rank</b>: effective \
         rank, of that which the shape allows; singular values of larger matrices are computed on demand.</p>\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of weights\"><table class=\"weights\">\
         <thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div></section>"
    );
    Ok(section)
}

fn weight_row(weight: &WeightStatistics) -> String {
    let number = |value: f64| number(to_f32(value));
    let ratio = weight.initialisation.as_ref().and_then(|initial| initial.ratio);
    let (curve, rank) = match &weight.spectrum {
        None => (String::new(), String::new()),
        Some(spectrum) => {
            let values = &spectrum.singular_values;
            let first = values.first().copied().unwrap_or(0.0);
            let told = format!(
                "singular values falling from {} to {}",
                number(first),
                number(values.last().copied().unwrap_or(0.0))
            );
            (small_curve(values, &told), format!("{:.0} of {}", spectrum.effective_rank, values.len()))
        }
    };
    let cells = [
        number(weight.mean),
        number(weight.std),
        ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        number((10.0 * weight.excess_kurtosis).round() / 10.0),
        number(weight.quantiles[1]),
        number(weight.quantiles[5]),
        if weight.sparsity == 0.0 { String::new() } else { percent(to_f32(weight.sparsity)) },
        terminal::norms(weight),
    ];
    let cells = wrapped("td", "td", &cells);
    format!(
        "<tr><th scope=\"row\">{}<span class=\"soft small\">{} {}</span>{}</th><td>{}</td>{cells}<td>{curve}</td><td>{rank}</td></tr>\n",
        escape(&weight.title()),
        weight.role.name(),
        times(&weight.shape),
        wrapped("span class=\"remark small\"", "span", &weight.remarks),
        small_histogram(&weight.histogram, &told(weight))
    )
}

/// The page of a difference.
pub(super) fn difference(difference: &Difference) -> Result<String, Error> {
    let headline = format!("{} → {}", difference.first, difference.second);
    let words = list(difference.words.iter().map(|words| escape(words)));
    let picture = figure::moved(difference).to_svg(Theme::Page)?;
    let heads = [
        "Weight",
        "Shape",
        "Moved by",
        "Cosine",
        "Largest change",
        "At",
        "Numbers changed",
        "Channels that moved most",
        "Matched by",
    ];
    let head = wrapped("th scope=\"col\"", "th", &heads);
    let rows: String = difference.weights.iter().map(moved_row).collect();
    let mut body = format!(
        "<section class=\"card\" aria-labelledby=\"words\"><h2 id=\"words\">What it comes to</h2>{words}</section>\n\
         <section class=\"card wide chart\" aria-label=\"How far weights moved\">{picture}</section>\n\
         <section class=\"card wide\" aria-labelledby=\"moved\"><h2 id=\"moved\">Weights of both</h2>\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of moved\"><table class=\"weights\"><thead><tr>{head}</tr></thead>\
         <tbody>\n{rows}</tbody></table></div></section>\n"
    );
    for (name, left) in
        [(&difference.first, &difference.only_first), (&difference.second, &difference.only_second)]
    {
        if !left.is_empty() {
            let item =
                |weight: &Unmatched| format!("<b>{}</b> {}", escape(&weight.name), times(&weight.shape));
            let _ = writeln!(
                body,
                "<section class=\"card\"><h2>Only in {}</h2>{}</section>",
                escape(name),
                list(left.iter().map(item))
            );
        }
    }
    Ok(Page {
        headline: &headline,
        lead: &format!(
            "{} weights that both models have, compared number by number",
            difference.weights.len()
        ),
        style: include_str!("../report/summary.css"),
        script: "",
        body: &body,
        foot: "Moved by: ‖after − before‖ / ‖before‖.",
    }
    .html())
}

fn moved_row(weight: &Moved) -> String {
    let at: Vec<String> = weight.largest_at.iter().map(ToString::to_string).collect();
    let channels: Vec<String> = weight
        .channels
        .iter()
        .map(|(channel, relative)| format!("{channel} ({})", percent(to_f32(*relative))))
        .collect();
    let cells = [
        times(&weight.shape),
        weight.relative.map_or_else(String::new, |relative| percent(to_f32(relative))),
        weight.cosine.map_or_else(String::new, |cosine| format!("{cosine:.4}")),
        number(to_f32(weight.largest)),
        at.join(", "),
        percent(to_f32(weight.changed)),
        channels.join(", "),
        match &weight.other_name {
            Some(other) => format!("order: {other}"),
            None => "name".to_owned(),
        },
    ];
    let cells = wrapped("td", "td", &cells);
    format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(&weight.name))
}
