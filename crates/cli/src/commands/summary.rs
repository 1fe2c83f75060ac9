//! `pellucid summary`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use pellucid::summary::{Layer, WeightStatistics};
use pellucid::{Error, Model, SummaryOptions};

use crate::arguments::Summary;
use crate::console::print;

pub(crate) fn run(arguments: &Summary) -> Result<ExitCode, Error> {
    let model = Model::open(&arguments.model)?;
    let mut sizes = BTreeMap::new();
    for (name, text) in &arguments.size {
        let size = text.parse::<i64>().ok().filter(|size| *size > 0);
        let problem = || Error::Setting {
            name: "size".to_owned(),
            problem: format!("{name}={text}: expected a number of 1 or more"),
        };
        sizes.insert(name.clone(), size.ok_or_else(problem)?);
    }
    let options = SummaryOptions {
        rows: usize::try_from(arguments.batch).unwrap_or(usize::MAX),
        sizes,
        weights: arguments.weights || arguments.json,
    };
    let summary = pellucid::summary(&model, &options)?;
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&summary).map_err(|error| Error::Internal(error.to_string()))?;
        print(&text);
        return Ok(ExitCode::SUCCESS);
    }
    print_table(&summary, arguments.depth.map(usize::from));
    if arguments.weights {
        print_weights(&summary.layers);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_table(summary: &pellucid::Summary, depth: Option<usize>) {
    let inputs: Vec<String> = summary.inputs.iter().map(|(name, shape)| format!("{name} {shape}")).collect();
    print(&format!("{}: {}", summary.model, inputs.join(", ")));
    let total = summary.parameters.trainable.max(1) as f64;
    let mut table = vec![
        ["layer", "kind", "output", "kernel", "parameters", "share", "multiply-adds", "activations", "sees"]
            .map(str::to_owned),
    ];
    for row in grouped(&summary.layers, depth) {
        table.push([
            row.name,
            row.kind,
            row.output,
            row.kernel,
            count(row.parameters),
            if row.parameters == 0 {
                String::new()
            } else {
                format!("{:.1} %", 100.0 * row.parameters as f64 / total)
            },
            row.multiply_adds.map_or_else(|| "unknown".to_owned(), count),
            row.bytes.map_or_else(|| "unknown".to_owned(), bytes),
            row.sees,
        ]);
    }
    print_aligned(&table);
    let statistics = match summary.parameters.statistics {
        0 => String::new(),
        statistics => format!(", and {} running statistics", grouped_digits(statistics)),
    };
    print(&format!("parameters      {}{statistics}", grouped_digits(summary.parameters.trainable)));
    let unknown = || "unknown: a size is not known".to_owned();
    let rows = if summary.rows == 1 { "1 row".to_owned() } else { format!("{} rows", summary.rows) };
    print(&format!(
        "multiply-adds   {} for {rows}",
        summary.multiply_adds.map_or_else(unknown, grouped_digits)
    ));
    print(&format!("weights         {}", bytes(summary.memory.weights)));
    print(&format!(
        "activations     {} at the peak of {rows}",
        summary.memory.peak_activations.map_or_else(unknown, bytes)
    ));
    for note in &summary.notes {
        print(&format!("note: {note}"));
    }
}

/// One line of the table: a layer, or the layers of a module added up.
struct Row {
    name: String,
    kind: String,
    output: String,
    kernel: String,
    parameters: u64,
    multiply_adds: Option<u64>,
    bytes: Option<u64>,
    sees: String,
}

/// Layers in one line where they lie in the same module at `depth`.
fn grouped(layers: &[Layer], depth: Option<usize>) -> Vec<Row> {
    let mut rows: Vec<(Row, usize)> = Vec::new();
    for layer in layers {
        let parts: Vec<&str> = layer.name.split('.').collect();
        let name =
            depth.map_or_else(|| layer.name.clone(), |depth| parts[..parts.len().min(depth)].join("."));
        let row = Row {
            kind: layer.kind.clone(),
            output: layer.output_shape.clone().unwrap_or_default(),
            kernel: layer.kernel.as_ref().map_or_else(String::new, |kernel| times(kernel)),
            parameters: layer.parameters.trainable,
            multiply_adds: layer.multiply_adds,
            bytes: layer.activation_bytes,
            sees: layer.receptive_field.as_ref().map_or_else(String::new, |fields| {
                times(
                    &fields
                        .iter()
                        .map(|field| i64::try_from(field.size).unwrap_or(i64::MAX))
                        .collect::<Vec<_>>(),
                )
            }),
            name,
        };
        match rows.last_mut().filter(|(last, _)| depth.is_some() && last.name == row.name) {
            Some((last, count)) => {
                *count += 1;
                last.kind = format!("{count} layers");
                last.kernel.clear();
                last.parameters += row.parameters;
                last.multiply_adds = last.multiply_adds.zip(row.multiply_adds).map(|(a, b)| a + b);
                last.bytes = last.bytes.zip(row.bytes).map(|(a, b)| a + b);
                (last.output, last.sees) = (row.output, row.sees);
            }
            None => rows.push((row, 1)),
        }
    }
    rows.into_iter().map(|(row, _)| row).collect()
}

fn print_weights(layers: &[Layer]) {
    let mut table = vec![
        [
            "weight",
            "shape",
            "mean",
            "std",
            "std / He",
            "kurtosis",
            "1 %",
            "99 %",
            "zeros",
            "distribution",
            "remarkable",
        ]
        .map(str::to_owned),
    ];
    for weights in layers.iter().filter_map(|layer| layer.weights.as_ref()) {
        table.push([
            weights.name.clone(),
            times(
                &weights
                    .shape
                    .iter()
                    .map(|size| i64::try_from(*size).unwrap_or(i64::MAX))
                    .collect::<Vec<_>>(),
            ),
            format!("{:.2e}", weights.mean),
            format!("{:.2e}", weights.std),
            format!("{:.2}", weights.he_ratio),
            format!("{:.1}", weights.excess_kurtosis),
            format!("{:.2e}", weights.quantiles[1]),
            format!("{:.2e}", weights.quantiles[5]),
            format!("{:.1} %", 100.0 * weights.sparsity),
            bars(&weights.histogram),
            remarkable(weights),
        ]);
    }
    print("");
    print_aligned(&table);
}

/// What stands out, in words.
fn remarkable(weights: &WeightStatistics) -> String {
    let mut words = Vec::new();
    if weights.not_finite > 0 {
        words.push(format!("{} numbers are not finite", weights.not_finite));
    }
    if !weights.dead_channels.is_empty() {
        words.push(format!(
            "{} of {} channels are zero",
            weights.dead_channels.len(),
            weights.channel_norms.len()
        ));
    }
    if !weights.duplicate_channels.is_empty() {
        words.push(format!("{} channels repeat another", weights.duplicate_channels.len()));
    }
    if weights.std > 0.0 && weights.quantiles[6].abs().max(weights.quantiles[0].abs()) > 20.0 * weights.std {
        words.push("outliers above 20 standard deviations".to_owned());
    }
    words.join("; ")
}

/// A histogram in one line: pairs of bins, by the root of their counts, so that tails show.
fn bars(histogram: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let pairs: Vec<f64> = histogram.chunks(2).map(|pair| (pair.iter().sum::<u64>() as f64).sqrt()).collect();
    let most = pairs.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |height: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of eight")]
        let level = (height / most * 7.0).round() as usize;
        if height == 0.0 { ' ' } else { BARS[level.min(7)] }
    };
    pairs.into_iter().map(bar).collect()
}

/// Columns as wide as their widest cell.
fn print_aligned<const N: usize>(table: &[[String; N]]) {
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in table {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        print(cells.join("  ").trim_end());
    }
}

fn times(sizes: &[i64]) -> String {
    sizes.iter().map(i64::to_string).collect::<Vec<_>>().join("×")
}

/// 0 as nothing, thousands apart.
fn count(number: u64) -> String {
    if number == 0 { String::new() } else { grouped_digits(number) }
}

fn grouped_digits(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        b if b >= 1e9 => format!("{:.2} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.1} kB", b / 1e3),
        _ => format!("{bytes} B"),
    }
}
