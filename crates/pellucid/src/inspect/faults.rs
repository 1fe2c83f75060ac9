//! What is wrong, in words.

use pellucid_graph::Graph;
use serde::Serialize;

use super::plan::Watched;
use super::{Inspection, LayerInspection};
use crate::error::Error;
use crate::model::Model;
use crate::render::words::number;
use crate::summary::{SummaryOptions, WeightStatistics, summary};

/// Fewest examples from which units are called dead: a unit may well not fire for a few.
const ENOUGH: usize = 32;

/// A layer is dead where this share of its units never fires.
const DEAD: f64 = 0.5;

/// A layer is saturated where this share of its numbers is; of gates between 0 and 1, which may be meant to be shut, more.
const SATURATED: (f64, f64) = (0.5, 0.9);

/// A layer explodes where it makes numbers this many times as large.
const EXPLODES: f64 = 100.0;

/// Errors vanish or explode where the first layer's are this much smaller or larger than the last layer's.
const ERRORS: f64 = 1e3;

/// A step that changes more of a weight than this is too large.
const STEP: f64 = 0.1;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Rectifiers that never fire.
    DeadLayer,
    /// Bounded functions that are at their limits.
    SaturatedLayer,
    /// Filters that are the same.
    DuplicateFilters,
    /// Numbers that grow out of proportion, or are not finite.
    ExplodingLayer,
    /// Errors that hardly reach the first layers.
    VanishingErrors,
    /// Errors that grow out of proportion on their way back.
    ExplodingErrors,
    /// A step that would change too much.
    LargeStep,
    /// Inputs that were not prepared as the network's were.
    UnnormalisedInput,
    /// Channels in another order than the network's.
    SwappedChannels,
}

impl FaultKind {
    /// Name, as JSON holds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DeadLayer => "dead-layer",
            Self::SaturatedLayer => "saturated-layer",
            Self::DuplicateFilters => "duplicate-filters",
            Self::ExplodingLayer => "exploding-layer",
            Self::VanishingErrors => "vanishing-errors",
            Self::ExplodingErrors => "exploding-errors",
            Self::LargeStep => "large-step",
            Self::UnnormalisedInput => "unnormalised-input",
            Self::SwappedChannels => "swapped-channels",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where: a layer, weight or input.
    pub place: Option<String>,
    /// It in a sentence, with the numbers that show it.
    pub text: String,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, place: Option<&str>, text: String) -> Self {
        Self { kind, place: place.map(str::to_owned), text }
    }
}

/// What an inspection shows to be wrong; `moments` are mean and variance of each layer's units.
pub(crate) fn find(
    model: &Model,
    graph: &Graph,
    watched: &[Watched],
    inspection: &Inspection,
    moments: &[Vec<(f64, f64)>],
) -> Result<Vec<Fault>, Error> {
    let mut faults = Vec::new();
    // Behind a layer that is dead altogether everything is constant, and nothing that is told of it helps.
    let mut alive = true;
    for ((watched, layer), moments) in watched.iter().zip(&inspection.layers).zip(moments) {
        if alive {
            faults.extend(dead(layer, inspection.rows));
        }
        let silent = layer.units.as_ref().and_then(|units| units.never_firing);
        alive = alive && silent.is_none_or(|silent| silent < 1.0);
        faults.extend(saturated(graph, watched, layer));
        faults.extend(explodes(watched, layer, inspection, moments));
    }
    faults.extend(duplicates(model, watched)?);
    faults.extend(errors(watched, inspection));
    faults.extend(steps(inspection));
    faults.extend(unnormalised(model, graph, watched, inspection, moments));
    Ok(faults)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn dead(layer: &LayerInspection, rows: usize) -> Option<Fault> {
    let units = layer.units.as_ref()?;
    let silent = units.never_firing?;
    if silent < DEAD || (rows < ENOUGH && silent < 1.0) {
        return None;
    }
    Some(Fault::new(
        FaultKind::DeadLayer,
        Some(&layer.name),
        format!(
            "{} ({}) is dead: {} of its {} units never fire on {rows} examples, so that no error passes them; a large \
             negative bias or too large a learning rate does that",
            layer.name,
            layer.kind,
            if silent < 1.0 { percent(silent) } else { "all".to_owned() },
            units.count
        ),
    ))
}

fn saturated(graph: &Graph, watched: &Watched, layer: &LayerInspection) -> Option<Fault> {
    let units = layer.units.as_ref()?;
    let share = units.saturated?;
    let (low, high) = watched.limits?;
    let is_output = graph.outputs().iter().any(|id| graph.value(*id).name == layer.value);
    let most = if low < 0.0 { SATURATED.0 } else { SATURATED.1 };
    if share < most || is_output {
        return None;
    }
    Some(Fault::new(
        FaultKind::SaturatedLayer,
        Some(&layer.name),
        format!(
            "{} ({}) is saturated: {} of its numbers lie within 1 % of {} or {}, where its slope is nearly 0; what it is \
             applied to is too large",
            layer.name,
            layer.kind,
            percent(share),
            short(f64::from(low)),
            short(f64::from(high))
        ),
    ))
}

fn short(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "for people")]
    number(value as f32)
}

/// Root mean square of what a layer takes: a layer's activation, or an input.
fn rms_of(inspection: &Inspection, value: &str) -> Option<f64> {
    let layer = inspection.layers.iter().find(|layer| layer.value == value);
    let of_layer = layer.and_then(|layer| layer.activation.as_ref());
    let input = || inspection.inputs.iter().find(|input| input.name == value)?.values.as_ref();
    of_layer.or_else(input).map(|distribution| distribution.rms)
}

fn explodes(
    watched: &Watched,
    layer: &LayerInspection,
    inspection: &Inspection,
    moments: &[(f64, f64)],
) -> Option<Fault> {
    let fault = |text: String| Some(Fault::new(FaultKind::ExplodingLayer, Some(&layer.name), text));
    if let Some(count) = watched.not_finite(inspection) {
        return fault(format!(
            "{} ({}) gives {count} numbers that are not finite, and is the first that does",
            layer.name, layer.kind
        ));
    }
    if !watched.is_weighted() || moments.is_empty() {
        return None;
    }
    // How far units vary: a bias moves numbers, and does not enlarge them.
    let spread = (moments.iter().map(|(_, variance)| variance).sum::<f64>() / moments.len() as f64).sqrt();
    let before = rms_of(inspection, watched.source.as_deref()?)?;
    if before <= 0.0 || spread <= EXPLODES * before {
        return None;
    }
    fault(format!(
        "{} ({}) explodes: its units vary {:.0} times as far as what it takes is large (standard deviation {} after a root \
         mean square of {}); its weights are too large",
        layer.name,
        layer.kind,
        spread / before,
        short(spread),
        short(before)
    ))
}

fn duplicates(model: &Model, watched: &[Watched]) -> Result<Vec<Fault>, Error> {
    let layers = summary(model, &SummaryOptions { singular_values: 0, ..SummaryOptions::default() })?.layers;
    let mut faults = Vec::new();
    for layer in layers {
        let of_products = |weight: &&WeightStatistics| weight.role.is_product();
        let Some(weights) = layer.weights.iter().find(of_products) else { continue };
        let is_weighted = watched.iter().any(|known| known.layer.value == layer.value && known.is_weighted());
        if weights.duplicate_channels.is_empty() || !is_weighted {
            continue;
        }
        let count = weights.duplicate_channels.len();
        let pairs: Vec<String> = weights
            .duplicate_channels
            .iter()
            .take(4)
            .map(|(channel, of)| format!("{channel} and {of}"))
            .collect();
        let more = if count > 4 { format!(" and {} more", count - 4) } else { String::new() };
        faults.push(Fault::new(
            FaultKind::DuplicateFilters,
            Some(&layer.name),
            format!(
                "{} ({}) has duplicate filters: {}{more} are the same; equal units learn the same, so one of each does \
                 nothing",
                layer.name,
                layer.kind,
                pairs.join(", ")
            ),
        ));
    }
    Ok(faults)
}

/// Errors of the first layer with weights against those of the last.
fn errors(watched: &[Watched], inspection: &Inspection) -> Option<Fault> {
    let layers = watched.iter().zip(&inspection.layers).filter(|(watched, _)| watched.is_weighted());
    let norms: Vec<(&str, f64)> =
        layers.filter_map(|(_, layer)| Some((layer.name.as_str(), layer.error.as_ref()?.norm?))).collect();
    let ((first, early), (last, late)) = (norms.first()?, norms.last()?);
    if norms.len() < 3 || *late <= 0.0 {
        return None;
    }
    let ratio = early / late;
    let (kind, word) = match ratio {
        ratio if ratio < 1.0 / ERRORS => (FaultKind::VanishingErrors, "vanish"),
        ratio if ratio > ERRORS => (FaultKind::ExplodingErrors, "explode"),
        _ => return None,
    };
    let step = ratio.max(f64::MIN_POSITIVE).powf(1.0 / (norms.len() - 1) as f64);
    Some(Fault::new(
        kind,
        Some(first),
        format!(
            "errors {word} on their way back: {first} gets a norm of {}, {last} {}: a factor of {} a layer over {} layers",
            short(*early),
            short(*late),
            short(step),
            norms.len()
        ),
    ))
}

fn steps(inspection: &Inspection) -> Option<Fault> {
    let large = inspection.weights.iter().filter(|weight| weight.shape.len() > 1);
    let worst = large
        .filter_map(|weight| Some((weight, weight.update?)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, update)| *update > STEP)?;
    Some(Fault::new(
        FaultKind::LargeStep,
        Some(&worst.0.name),
        format!(
            "one step would change {} by {} of its norm; about 0.1 % is usual: take a smaller learning rate",
            worst.0.name,
            percent(worst.1)
        ),
    ))
}

/// Inputs that are not what the model's description, or its first batch normalisation, was made for.
fn unnormalised(
    model: &Model,
    graph: &Graph,
    watched: &[Watched],
    inspection: &Inspection,
    moments: &[Vec<(f64, f64)>],
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for input in &inspection.inputs {
        let Some(values) = &input.values else { continue };
        let fault = |text| Fault::new(FaultKind::UnnormalisedInput, Some(&input.name), text);
        let (low, high) = (values.quantiles[0], values.quantiles[6]);
        if let Some(image) = model.description().preprocessing.get(&input.name) {
            let bounds = image.bounds();
            let least = bounds.iter().map(|(low, _)| f64::from(*low)).fold(f64::INFINITY, f64::min);
            let most = bounds.iter().map(|(_, high)| f64::from(*high)).fold(f64::NEG_INFINITY, f64::max);
            let margin = 0.01 * (most - least);
            let outside = low < least - margin || high > most + margin;
            let only_positive = least < -0.3 && low >= 0.0 && high <= 1.0 + 1e-6 && values.count >= 256;
            if outside || only_positive {
                faults.push(fault(format!(
                    "input {:?} is not normalised: its numbers lie between {} and {}, and the model's preprocessing makes \
                     {} of black and {} of white",
                    input.name,
                    short(low),
                    short(high),
                    short(least),
                    short(most)
                )));
                continue;
            }
        }
        if input.whole
            && high > 64.0
            && (0.0..=255.0).contains(&low)
            && high <= 255.0
            && !scales(graph, &input.name)
        {
            faults.push(fault(format!(
                "input {:?} is not normalised: it holds whole numbers from {} to {}, as pixels in a file, and the model \
                 does not scale them",
                input.name,
                short(low),
                short(high)
            )));
        }
    }
    if faults.is_empty() {
        faults.extend(unlike_training(graph, watched, inspection, moments));
    }
    faults
}

/// Whether the model itself subtracts, divides or normalises first.
fn scales(graph: &Graph, input: &str) -> bool {
    let Some(id) = graph.find(input) else { return true };
    let takers = graph.consumers();
    takers[id.index()].iter().any(|node| {
        matches!(
            graph.node(*node).operator.as_str(),
            "Sub"
                | "Div"
                | "Mul"
                | "Add"
                | "BatchNormalization"
                | "InstanceNormalization"
                | "LayerNormalization"
                | "Cast"
        )
    })
}

/// The first batch normalisation knows mean and variance of what it took in training.
fn unlike_training(
    graph: &Graph,
    watched: &[Watched],
    inspection: &Inspection,
    moments: &[Vec<(f64, f64)>],
) -> Option<Fault> {
    if inspection.rows < ENOUGH / 2 {
        return None;
    }
    let norm = watched.iter().find(|watched| watched.layer.kind == "BatchNormalization")?;
    let node = graph.node(graph.producer_of(graph.find(&norm.layer.value)?)?);
    let running = |position: usize| Some(graph.constant(node.input(position)?)?.to_f64());
    let (means, variances) = (running(3)?, running(4)?);
    let takes = norm.takes.as_deref()?;
    let position = watched.iter().position(|watched| watched.layer.value == takes)?;
    let found = moments.get(position).filter(|found| found.len() == means.len() && !found.is_empty())?;
    let n = found.len() as f64;
    let parts = found.iter().zip(means.iter().zip(&variances));
    let far: f64 =
        parts.clone().map(|((mean, _), (known, var))| (mean - known).powi(2) / var.max(1e-12)).sum::<f64>()
            / n;
    let mut ratios: Vec<f64> = parts
        .map(|((_, variance), (_, known))| (variance.max(1e-12) / known.max(1e-12)).ln().abs())
        .collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2].exp();
    if far.sqrt() <= 1.0 && ratio <= 4.0 {
        return None;
    }
    let input = inspection.inputs.first().map(|input| input.name.as_str());
    Some(Fault::new(
        FaultKind::UnnormalisedInput,
        input,
        format!(
            "the input is not what the network was trained on: what {} takes lies {} standard deviations from its running \
             means (root mean square over channels), and varies {} times as much or as little as it did; check the \
             normalisation",
            norm.layer.name,
            short(far.sqrt()),
            short(ratio)
        ),
    ))
}
