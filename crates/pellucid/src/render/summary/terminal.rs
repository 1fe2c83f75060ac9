//! Summaries and differences as text for a terminal.

use std::fmt::Write as _;

use super::{shape, times, what};
use crate::render::plot::sparkline;
use crate::render::table::{Align, aligned};
use crate::render::terminal::{Style, clean, strong};
use crate::render::words::{self, bytes, count, number, percent, to_f32};
use crate::summary::{Difference, Layer, Moved, Row, Summary, Unmatched, WeightStatistics};

/// Weights that a finding names.
const NAMED: usize = 4;

/// Findings that are listed.
const LISTED: usize = 12;

/// Weights of a difference that are listed.
const MOVED: usize = 20;

/// What a model is made of: modules and layers down to `depth`, sums, what is remarkable; with `weights`, how each weight
/// is distributed.
pub fn summary(summary: &Summary, depth: Option<usize>, weights: bool, style: Style) -> String {
    let mut text = String::new();
    let inputs: Vec<String> = summary
        .inputs
        .iter()
        .map(|input| {
            let sizes = input.shape.as_deref().map_or_else(|| "of unknown shape".to_owned(), shape);
            format!("{} {sizes}", clean(&input.name))
        })
        .collect();
    let _ = writeln!(text, "{}  {}\n", strong(&clean(&summary.model), style), inputs.join(", "));
    text += &layers(summary, depth);
    text.push('\n');
    totals(&mut text, summary);
    if weights {
        text.push('\n');
        text += &weight_table(&summary.layers);
    }
    findings(&mut text, summary, style);
    for note in &summary.notes {
        let _ = writeln!(text, "note: {}", clean(note));
    }
    text
}

fn layers(summary: &Summary, depth: Option<usize>) -> String {
    let heads = [
        ("layer", Align::Left),
        ("kind", Align::Left),
        ("output", Align::Left),
        ("kernel", Align::Left),
        ("parameters", Align::Right),
        ("share", Align::Right),
        ("multiply-adds", Align::Right),
        ("activations", Align::Right),
        ("sees", Align::Right),
        ("time", Align::Right),
    ];
    let all = summary.parameters.trainable.max(1) as f64;
    let time: f64 = summary.profile.iter().flat_map(|profile| profile.seconds.iter().flatten()).sum();
    let row = |row: &Row| {
        let layer: Option<&Layer> = row.layer.map(|layer| &summary.layers[layer]);
        let unknown = || "unknown".to_owned();
        let plain = |number: u64| if number == 0 { String::new() } else { count(number) };
        let share = row.parameters as f64 / all;
        vec![
            format!("{}{}", "  ".repeat(row.depth - 1), clean(&row.name)),
            clean(&what(row)),
            row.output_shape.as_deref().map_or_else(unknown, shape),
            layer.and_then(|layer| layer.kernel.as_deref()).map_or_else(String::new, times),
            plain(row.parameters),
            if row.parameters == 0 { String::new() } else { percent(to_f32(share)) },
            row.multiply_adds.map_or_else(unknown, plain),
            row.activation_bytes.map_or_else(unknown, bytes),
            layer.map_or_else(String::new, sees),
            row.seconds.map_or_else(String::new, |seconds| percent(to_f32(seconds / time))),
        ]
    };
    let rows: Vec<Vec<String>> = summary.modules.down_to(depth).map(row).collect();
    aligned(&heads, &rows)
}

/// The receptive field of a layer.
pub(super) fn sees(layer: &Layer) -> String {
    let sizes = layer.receptive_field.iter().flatten().map(|field| field.size).collect::<Vec<_>>();
    times(&sizes)
}

fn totals(text: &mut String, summary: &Summary) {
    let statistics = match summary.parameters.statistics {
        0 => String::new(),
        statistics => format!(", and {} running statistics", count(statistics)),
    };
    let rows = if summary.rows == 1 { "1 row".to_owned() } else { format!("{} rows", summary.rows) };
    let unknown = || "unknown: a size is not known".to_owned();
    let _ = writeln!(text, "parameters     {}{statistics}", count(summary.parameters.trainable));
    let _ = writeln!(text, "multiply-adds  {} for {rows}", summary.multiply_adds.map_or_else(unknown, count));
    let _ = writeln!(text, "weights        {}", bytes(summary.memory.weights));
    let peak = summary.memory.peak_activations.map_or_else(unknown, bytes);
    let _ = writeln!(text, "activations    {peak} at the peak, for {rows}");
    if let Some(profile) = &summary.profile {
        let _ = writeln!(text, "time           {:.1} ms on {}", 1e3 * profile.whole, profile.engine);
    }
}

fn weight_table(layers: &[Layer]) -> String {
    let heads = [
        ("weight", Align::Left),
        ("role", Align::Left),
        ("shape", Align::Left),
        ("mean", Align::Right),
        ("std", Align::Right),
        ("of usual", Align::Right),
        ("kurtosis", Align::Right),
        ("1 %", Align::Right),
        ("99 %", Align::Right),
        ("zeros", Align::Right),
        ("norms", Align::Right),
        ("rank", Align::Right),
        ("distribution", Align::Left),
    ];
    let row = |weight: &WeightStatistics| {
        let number = |value: f64| number(to_f32(value));
        vec![
            clean(&weight.title()),
            weight.role.name().to_owned(),
            times(&weight.shape),
            number(weight.mean),
            number(weight.std),
            weight
                .initialisation
                .as_ref()
                .and_then(|initial| initial.ratio)
                .map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            number((10.0 * weight.excess_kurtosis).round() / 10.0),
            number(weight.quantiles[1]),
            number(weight.quantiles[5]),
            if weight.sparsity == 0.0 { String::new() } else { percent(to_f32(weight.sparsity)) },
            norms(weight),
            weight.spectrum.as_ref().map_or_else(String::new, |spectrum| {
                format!("{:.0}/{}", spectrum.effective_rank, spectrum.singular_values.len())
            }),
            sparkline(&weight.histogram),
        ]
    };
    let rows: Vec<Vec<String>> = layers.iter().flat_map(|layer| &layer.weights).map(row).collect();
    aligned(&heads, &rows)
}

/// Smallest and largest norm of an output channel.
pub(super) fn norms(weight: &WeightStatistics) -> String {
    let low = weight.channel_norms.iter().copied().fold(f64::INFINITY, f64::min);
    let high = weight.channel_norms.iter().copied().fold(0.0, f64::max);
    if weight.channel_norms.is_empty() { String::new() } else { format!("{low:.2}–{high:.2}") }
}

fn findings(text: &mut String, summary: &Summary, style: Style) {
    if summary.findings.is_empty() {
        if summary.layers.iter().any(|layer| !layer.weights.is_empty()) {
            let _ = writeln!(text, "\n{}", strong("nothing remarkable in the weights", style));
        }
        return;
    }
    let _ = writeln!(text, "\n{}", strong("remarkable in the weights", style));
    for finding in summary.findings.iter().take(LISTED) {
        let named: Vec<&str> = finding.weights.iter().take(NAMED).map(String::as_str).collect();
        let more = match finding.weights.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(text, "  {}{more}: {}", clean(&named.join(", ")), finding.remark);
    }
    if summary.findings.len() > LISTED {
        let _ = writeln!(
            text,
            "  and {} more, which --json and an HTML output list",
            summary.findings.len() - LISTED
        );
    }
}

/// What differs between two models: in words, by module, and the weights that moved most.
pub fn difference(difference: &Difference, style: Style) -> String {
    let mut text = String::new();
    let names = format!("{} → {}", clean(&difference.first), clean(&difference.second));
    let _ = writeln!(text, "{}", strong(&names, style));
    for words in &difference.words {
        let _ = writeln!(text, "  {}", clean(words));
    }
    let heads =
        [("module", Align::Left), ("weights", Align::Right), ("moved by", Align::Right), ("", Align::Left)];
    let most = difference.modules.iter().map(|module| module.relative).fold(f64::MIN_POSITIVE, f64::max);
    let rows: Vec<Vec<String>> = difference
        .modules
        .iter()
        .map(|module| {
            vec![
                clean(&module.name),
                module.weights.to_string(),
                percent(to_f32(module.relative)),
                crate::render::terminal::bar(to_f32(module.relative / most)),
            ]
        })
        .collect();
    let _ = writeln!(text, "\n{}", aligned(&heads, &rows).trim_end());
    text += &moved_table(difference);
    unmatched(&mut text, &difference.first, &difference.only_first);
    unmatched(&mut text, &difference.second, &difference.only_second);
    text
}

/// The weights that moved most.
pub(super) fn most_moved(difference: &Difference) -> Vec<&Moved> {
    let mut ranked: Vec<&Moved> = difference.weights.iter().filter(|weight| weight.changed > 0.0).collect();
    ranked.sort_by(|a, b| b.relative.unwrap_or(f64::MAX).total_cmp(&a.relative.unwrap_or(f64::MAX)));
    ranked
}

fn moved_table(difference: &Difference) -> String {
    let heads = [
        ("weight", Align::Left),
        ("shape", Align::Left),
        ("moved by", Align::Right),
        ("cosine", Align::Right),
        ("largest", Align::Right),
        ("at", Align::Left),
        ("numbers changed", Align::Right),
        ("channels that moved most", Align::Left),
    ];
    let ranked = most_moved(difference);
    let row = |weight: &&Moved| {
        let at: Vec<String> = weight.largest_at.iter().map(ToString::to_string).collect();
        let channels: Vec<String> = weight
            .channels
            .iter()
            .map(|(channel, relative)| format!("{channel} ({})", percent(to_f32(*relative))))
            .collect();
        vec![
            clean(&weight.name),
            times(&weight.shape),
            weight.relative.map_or_else(|| "from 0".to_owned(), |relative| percent(to_f32(relative))),
            weight.cosine.map_or_else(String::new, |cosine| format!("{cosine:.4}")),
            words::number(to_f32(weight.largest)),
            format!("[{}]", at.join(",")),
            percent(to_f32(weight.changed)),
            channels.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = ranked.iter().take(MOVED).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}", aligned(&heads, &rows));
    if ranked.len() > MOVED {
        let _ = writeln!(text, "and {} more, which --json and an HTML output list", ranked.len() - MOVED);
    }
    text
}

fn unmatched(text: &mut String, model: &str, weights: &[Unmatched]) {
    if weights.is_empty() {
        return;
    }
    let names: Vec<String> = weights
        .iter()
        .take(LISTED)
        .map(|weight| format!("{} {}", clean(&weight.name), times(&weight.shape)))
        .collect();
    let more = if weights.len() > names.len() {
        format!(" and {} more", weights.len() - names.len())
    } else {
        String::new()
    };
    let _ = writeln!(text, "only in {}: {}{more}", clean(model), names.join(", "));
}
