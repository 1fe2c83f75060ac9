//! Two models, such as one before and after fine-tuning: which weights moved, where, and by how much.

use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{Graph, Tensor};
use serde::Serialize;

use super::parameters;
use super::weights::numbers::part_in_full;
use super::weights::{Place, Role};
use crate::error::Error;
use crate::model::Model;

/// Elements that are compared at a time.
const PIECE: usize = 1 << 14;

/// Channels that are named.
const CHANNELS: usize = 3;

/// How a weight of one model was found in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// By its name.
    Name,
    /// By its place among those of the same kind of layer, role and shape, of which both have as many.
    Order,
}

/// A weight that both models have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    /// Name in the first.
    pub name: String,
    /// Name in the second, where it differs.
    pub other_name: Option<String>,
    /// How it was found.
    pub matching: Matching,
    /// What it is to its layer.
    pub role: Role,
    /// Its shape.
    pub shape: Vec<usize>,
    /// ‖after − before‖.
    pub change: f64,
    /// ‖before‖.
    pub before: f64,
    /// ‖after‖.
    pub after: f64,
    /// ‖after − before‖ / ‖before‖; `None` where that is 0.
    pub relative: Option<f64>,
    /// before · after / (‖before‖ ‖after‖); `None` where one is 0.
    pub cosine: Option<f64>,
    /// The largest |after − before|, and where it is.
    pub largest: f64,
    /// Where that is.
    pub largest_at: Vec<usize>,
    /// Share of numbers that are not the same bits.
    pub changed: f64,
    /// Output channels that moved most, with their ‖after − before‖ / ‖before‖.
    pub channels: Vec<(usize, f64)>,
}

/// A weight that only one model has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    /// Name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Its shape in the other model, where a weight of this name has another.
    pub other_shape: Option<Vec<usize>>,
}

/// How far a module moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModuleMoved {
    /// First level of the weights' names.
    pub name: String,
    /// Weights in it.
    pub weights: usize,
    /// ‖after − before‖ / ‖before‖ over all of them.
    pub relative: f64,
}

/// What differs between two models' weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Name of the first model.
    pub first: String,
    /// Name of the second.
    pub second: String,
    /// Weights of both, in the order of the first's layers.
    pub weights: Vec<Moved>,
    /// Modules of both, by the first level of the names.
    pub modules: Vec<ModuleMoved>,
    /// Weights of the first alone.
    pub only_first: Vec<Unmatched>,
    /// Weights of the second alone.
    pub only_second: Vec<Unmatched>,
    /// What it comes to, a sentence each.
    pub words: Vec<String>,
}

/// A parameter and how its layer takes it.
struct Weight<'g> {
    name: &'g str,
    operator: &'g str,
    tensor: &'g Tensor,
    place: Place,
}

fn weights(graph: &Graph) -> Vec<Weight<'_>> {
    let found = parameters::find(graph);
    let mut weights = Vec::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        for parameter in found.of.get(&id.index()).into_iter().flatten().filter(|parameter| !parameter.again)
        {
            let value = graph.value(parameter.constant);
            let Some(tensor) = value.constant() else { continue };
            let place = Place::of(node, parameter, tensor.shape().len());
            weights.push(Weight { name: &value.name, operator: &node.operator, tensor, place });
        }
    }
    weights
}

/// What differs between the weights of `first` and `second`.
///
/// A weight is looked for by its name and shape; what is left, by its place among those of the same operator, role and
/// shape, where both models have as many of them, as exporters name some weights by number.
///
/// # Errors
/// Models that have no weight in common.
pub fn difference(first: &Model, second: &Model) -> Result<Difference, Error> {
    let (before, after) = (weights(first.graph()), weights(second.graph()));
    let pairs = matched(&before, &after);
    if pairs.is_empty() {
        return Err(Error::Model {
            place: second.name().to_owned(),
            problem: format!(
                "it has no weight in common with {}, by name or by shape: nothing can be compared",
                first.name()
            ),
        });
    }
    let moved: Vec<Moved> =
        pairs.iter().map(|(a, b, matching)| moved(&before[*a], &after[*b], *matching)).collect();
    let taken: (BTreeSet<usize>, BTreeSet<usize>) = pairs.iter().map(|(a, b, _)| (*a, *b)).unzip();
    let only_first = unmatched(&before, &taken.0, &after);
    let only_second = unmatched(&after, &taken.1, &before);
    let mut difference = Difference {
        first: first.name().to_owned(),
        second: second.name().to_owned(),
        modules: modules(&moved),
        weights: moved,
        only_first,
        only_second,
        words: Vec::new(),
    };
    difference.words = words(&difference);
    Ok(difference)
}

/// Operator, role and shape: what two weights have in common that may be each other's.
type Alike<'a> = (&'a str, &'static str, &'a [usize]);

fn key<'a>(weight: &Weight<'a>) -> Alike<'a> {
    (weight.operator, weight.place.role.name(), weight.tensor.shape())
}

/// Positions in both, in the order of the first.
fn matched(before: &[Weight<'_>], after: &[Weight<'_>]) -> Vec<(usize, usize, Matching)> {
    let named: BTreeMap<&str, usize> =
        after.iter().enumerate().map(|(position, weight)| (weight.name, position)).collect();
    let mut pairs = Vec::new();
    let mut taken = BTreeSet::new();
    let mut left: BTreeMap<Alike<'_>, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (position, weight) in before.iter().enumerate() {
        match named.get(weight.name) {
            Some(other) if after[*other].tensor.shape() == weight.tensor.shape() => {
                taken.insert(*other);
                pairs.push((position, *other, Matching::Name));
            }
            _ => left.entry(key(weight)).or_default().0.push(position),
        }
    }
    for (position, weight) in after.iter().enumerate().filter(|(position, _)| !taken.contains(position)) {
        left.entry(key(weight)).or_default().1.push(position);
    }
    for (before, after) in left.into_values().filter(|(before, after)| before.len() == after.len()) {
        pairs.extend(before.into_iter().zip(after).map(|(a, b)| (a, b, Matching::Order)));
    }
    pairs.sort_unstable_by_key(|(position, _, _)| *position);
    pairs
}

fn unmatched(of: &[Weight<'_>], taken: &BTreeSet<usize>, others: &[Weight<'_>]) -> Vec<Unmatched> {
    let named: BTreeMap<&str, &Tensor> = others.iter().map(|other| (other.name, other.tensor)).collect();
    let left = of.iter().enumerate().filter(|(position, _)| !taken.contains(position));
    left.map(|(_, weight)| Unmatched {
        name: weight.name.to_owned(),
        shape: weight.tensor.shape().to_vec(),
        other_shape: named.get(weight.name).map(|tensor| tensor.shape().to_vec()),
    })
    .collect()
}

/// Sums over two tensors of one shape.
#[derive(Debug, Default)]
struct Sums {
    change: f64,
    before: f64,
    after: f64,
    product: f64,
    largest: (f64, usize),
    changed: u64,
}

fn moved(before: &Weight<'_>, after: &Weight<'_>, matching: Matching) -> Moved {
    let shape = before.tensor.shape().to_vec();
    let (count, axis) = (before.tensor.len(), before.place.axis);
    let channels = if shape.len() >= 2 { shape[axis] } else { 0 };
    let inner: usize = shape.get(axis + 1..).map_or(1, |sizes| sizes.iter().product::<usize>().max(1));
    let mut by_channel = vec![(0f64, 0f64); channels];
    let mut sums = Sums::default();
    for start in (0..count).step_by(PIECE) {
        let length = PIECE.min(count - start);
        let [old, new] = [before, after].map(|weight| part_in_full(weight.tensor, start, length));
        for (at, (a, b)) in (start..).zip(old.into_iter().zip(new)) {
            sums.changed += u64::from(a.to_bits() != b.to_bits());
            let apart = (b - a).abs();
            sums.change += apart * apart;
            sums.before += a * a;
            sums.after += b * b;
            sums.product += a * b;
            if apart > sums.largest.0 {
                sums.largest = (apart, at);
            }
            if let Some(channel) = by_channel.get_mut((at / inner).checked_rem(channels).unwrap_or(0)) {
                channel.0 += apart * apart;
                channel.1 += a * a;
            }
        }
    }
    let norms = sums.before.sqrt() * sums.after.sqrt();
    let mut ranked: Vec<(usize, f64)> = by_channel
        .iter()
        .enumerate()
        .filter(|(_, (change, before))| *change > 0.0 && *before > 0.0)
        .map(|(channel, (change, before))| (channel, (change / before).sqrt()))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(CHANNELS);
    Moved {
        name: before.name.to_owned(),
        other_name: (before.name != after.name).then(|| after.name.to_owned()),
        matching,
        role: before.place.role,
        change: sums.change.sqrt(),
        before: sums.before.sqrt(),
        after: sums.after.sqrt(),
        relative: (sums.before > 0.0).then(|| (sums.change / sums.before).sqrt()),
        cosine: (norms > 0.0).then(|| (sums.product / norms).clamp(-1.0, 1.0)),
        largest: sums.largest.0,
        largest_at: place(&shape, sums.largest.1),
        changed: sums.changed as f64 / count.max(1) as f64,
        channels: ranked,
        shape,
    }
}

/// The position of an element along every axis.
fn place(shape: &[usize], mut at: usize) -> Vec<usize> {
    let mut place = vec![0; shape.len()];
    for (position, size) in place.iter_mut().zip(shape).rev() {
        *position = at % size.max(&1);
        at /= size.max(&1);
    }
    place
}

/// The first level of a name; what has no levels is by itself.
fn first_level(name: &str) -> &str {
    name.split(['.', '/']).find(|part| !part.is_empty()).unwrap_or(name)
}

fn modules(moved: &[Moved]) -> Vec<ModuleMoved> {
    let mut modules: Vec<(ModuleMoved, f64, f64)> = Vec::new();
    for weight in moved.iter().filter(|weight| !weight.role.is_statistic()) {
        let name = first_level(&weight.name);
        let place = modules.iter().position(|(module, _, _)| module.name == name).unwrap_or_else(|| {
            modules.push((ModuleMoved { name: name.to_owned(), weights: 0, relative: 0.0 }, 0.0, 0.0));
            modules.len() - 1
        });
        let (module, change, before) = &mut modules[place];
        module.weights += 1;
        *change += weight.change * weight.change;
        *before += weight.before * weight.before;
        module.relative = if *before > 0.0 { (*change / *before).sqrt() } else { f64::from(*change > 0.0) };
    }
    modules.into_iter().map(|(module, _, _)| module).collect()
}

fn percent(share: f64) -> String {
    crate::render::words::percent(crate::render::words::to_f32(share))
}

/// What it comes to.
fn words(found: &Difference) -> Vec<String> {
    let mut words = Vec::new();
    let total = found.weights.len();
    let still = found.weights.iter().filter(|weight| weight.changed == 0.0).count();
    if still == total && found.only_first.is_empty() && found.only_second.is_empty() {
        words.push(format!("all {total} weights are the same, bit for bit"));
        return words;
    }
    if still > 0 {
        words.push(format!("{still} of {total} weights are the same, bit for bit: frozen, or never reached"));
    }
    let trained = found.weights.iter().filter(|weight| weight.changed > 0.0);
    let mut ranked: Vec<&Moved> = trained
        .filter(|weight| !weight.role.is_statistic() && weight.relative.is_some_and(f64::is_finite))
        .collect();
    ranked.sort_by(|a, b| b.relative.unwrap_or(0.0).total_cmp(&a.relative.unwrap_or(0.0)));
    if let Some(most) = ranked.first() {
        words.push(format!(
            "{} moved most: by {} of its norm, with cosine {:.3}",
            most.name,
            percent(most.relative.unwrap_or(0.0)),
            most.cosine.unwrap_or(0.0)
        ));
    }
    let mut modules: Vec<&ModuleMoved> =
        found.modules.iter().filter(|module| module.relative > 0.0).collect();
    modules.sort_by(|a, b| b.relative.total_cmp(&a.relative));
    if let [most, .., least] = modules[..] {
        words.push(format!(
            "of modules, {} moved most ({}) and {} least ({})",
            most.name,
            percent(most.relative),
            least.name,
            percent(least.relative)
        ));
    }
    let kept: usize =
        found.weights.iter().filter(|weight| weight.role.is_statistic() && weight.changed > 0.0).count();
    if kept > 0 {
        words.push(format!("{kept} running statistics changed: batch normalisation saw other data"));
    }
    let turned =
        found.weights.iter().filter(|weight| weight.cosine.is_some_and(|cosine| cosine < 0.5)).count();
    if turned > 0 {
        words.push(format!(
            "{turned} weights point elsewhere (cosine below 0.5): trained anew, or another model"
        ));
    }
    if found.weights.iter().any(|weight| weight.change.is_nan()) {
        words.push("some weights hold numbers that are not finite".to_owned());
    }
    let by_order = found.weights.iter().filter(|weight| weight.matching == Matching::Order).count();
    if by_order > 0 {
        words.push(format!("{by_order} weights were matched by shape and order, as their names differ"));
    }
    for weight in &found.only_first {
        if let Some(other) = &weight.other_shape {
            words.push(format!(
                "{} was replaced: shape {:?} before, {other:?} after",
                weight.name, weight.shape
            ));
        }
    }
    let gone = found.only_first.iter().filter(|weight| weight.other_shape.is_none()).count();
    let new = found.only_second.iter().filter(|weight| weight.other_shape.is_none()).count();
    if gone > 0 {
        words.push(format!("{gone} weights are in {} alone", found.first));
    }
    if new > 0 {
        words.push(format!("{new} weights are in {} alone", found.second));
    }
    words
}
