//! The examples that excite a unit most, with the part of each that did.
//!
//! Source: M. D. Zeiler, R. Fergus (2014), Visualizing and Understanding Convolutional Networks, arXiv:1311.2901.

use image::RgbImage;
use pellucid_compile::{Neuron, layer};
use pellucid_graph::Graph;

use super::pass::{numbers, unravel};
use super::pictures::picture;
use super::plan::{has_rows, sizes, unit_axes};
use super::{Examples, InspectOptions};
use crate::error::Error;
use crate::explain::{Progress, Runner, bound};
use crate::model::Model;
use crate::space::channel_axis;
use crate::stream::ByRows;
use crate::summary::{Field, SummaryOptions, summary};

/// Units that are looked at where a layer is named without one.
const UNITS: usize = 12;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct StrongestOptions {
    /// A layer, `LAYER`; channels or units of it, `LAYER[3]` or `LAYER[3,17,20]`; or a class by its label.
    pub of: String,
    /// Examples a unit.
    pub count: usize,
    /// Engine, threads, memory; the output that classes are of.
    pub inspect: InspectOptions,
}

/// The examples that excite units of a layer most.
#[derive(Debug, Clone)]
pub struct Strongest {
    /// The model's name.
    pub model: String,
    /// Name of the layer's value.
    pub layer: String,
    /// How many examples were looked at.
    pub rows: usize,
    /// Units, each with its examples.
    pub units: Vec<StrongestUnit>,
}

/// A unit and the examples that excite it most.
#[derive(Debug, Clone)]
pub struct StrongestUnit {
    /// Its place among the layer's channels or units.
    pub unit: usize,
    /// The class, where the layer is what classes are read from and they have labels.
    pub label: Option<String>,
    /// Examples, the strongest first; none at which the unit is not above 0.
    pub examples: Vec<StrongExample>,
}

/// An example that excites a unit.
#[derive(Debug, Clone)]
pub struct StrongExample {
    /// Its row.
    pub row: usize,
    /// Its name.
    pub name: String,
    /// The unit's largest number on it.
    pub value: f32,
    /// Where in the layer's map that is; empty without space.
    pub position: Vec<usize>,
    /// What the unit sees of the input from there: left, top, width, height; `None` where that is all of it.
    pub patch: Option<(u32, u32, u32, u32)>,
    /// The example, as the model was given it; `None` where it is no picture.
    pub picture: Option<RgbImage>,
}

/// A number and where it is.
#[derive(Debug, Clone, Copy)]
struct Found {
    value: f32,
    row: usize,
    place: usize,
}

/// The examples that excite a layer's units most; one pass over the examples, and one look at those that are shown. What is
/// held does not grow with the number of examples.
///
/// # Errors
/// Layers and units that do not exist; as [`inspect`](super::inspect()).
pub fn strongest(
    model: &Model,
    examples: &Examples<'_>,
    options: &StrongestOptions,
    progress: &dyn Progress,
) -> Result<Strongest, Error> {
    let graph = bound(model.graph(), examples.shapes())?;
    let (value, units) = sought(model, &graph, options)?;
    let id = layer::find(&graph, &value)?;
    let name = graph.value(id).name.clone();
    let wrong = |problem: String| Error::Setting { name: "strongest".to_owned(), problem };
    if !has_rows(&graph, id) {
        return Err(wrong(format!("the first axis of {name:?} is not the rows; name another layer")));
    }
    let axis = unit_axes(&graph)[id.index()];
    let quiet = ByRows(progress);
    let mut runner = Runner::new(&graph, &[&name], &options.inspect.limits, &quiet)?;
    let mut found: Vec<(usize, Vec<Found>)> = Vec::new();
    let mut shape = Vec::new();
    let (all, step) = (examples.len(), runner.wave().max(1));
    for start in (0..all).step_by(step) {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let rows = start..all.min(start + step);
        let inputs = examples.read(rows.clone())?;
        let arrays = runner.run(inputs.arrays(), rows.len(), &[&name])?;
        let Some(array) = arrays.first() else { continue };
        shape = array.shape().to_vec();
        let count = shape.get(axis).copied().filter(|_| axis > 0).unwrap_or(0);
        if found.is_empty() {
            let chosen = units.clone().unwrap_or_else(|| (0..count).collect());
            if let Some(unit) = chosen.iter().find(|unit| **unit >= count) {
                return Err(wrong(format!("unit {unit} does not exist: {name:?} has {count}, from 0")));
            }
            found = chosen.into_iter().map(|unit| (unit, Vec::new())).collect();
        }
        see(&mut found, &numbers(array), &shape, axis, (start, options.count));
        progress.rows(rows.end as u64, all as u64);
    }
    if units.is_none() {
        // Of a whole layer the units that are excited most, in their order.
        let best =
            |found: &(usize, Vec<Found>)| found.1.first().map_or(f32::NEG_INFINITY, |found| found.value);
        found.sort_by(|a, b| best(b).total_cmp(&best(a)).then(a.0.cmp(&b.0)));
        found.truncate(UNITS);
        found.sort_by_key(|(unit, _)| *unit);
    }
    let fields = field_of(model, examples, &name)?;
    let space: Vec<usize> =
        shape.iter().enumerate().skip(1).filter(|(at, _)| *at != axis).map(|(_, size)| *size).collect();
    let is_output = graph.outputs().iter().any(|id| graph.value(*id).name == name);
    let mut told = Vec::new();
    for (unit, best) in found {
        let label =
            model.labels().filter(|_| is_output).and_then(|labels| labels.get(unit)).map(str::to_owned);
        let shown = best.iter().map(|found| shown(model, examples, found, &space, fields.as_deref()));
        told.push(StrongestUnit { unit, label, examples: shown.collect::<Result<_, _>>()? });
    }
    Ok(Strongest { model: model.name().to_owned(), layer: name, rows: all, units: told })
}

/// The layer's name, and the units that are named.
fn sought(
    model: &Model,
    graph: &Graph,
    options: &StrongestOptions,
) -> Result<(String, Option<Vec<usize>>), Error> {
    let of = &options.of;
    if let Ok(neuron) = of.parse::<Neuron>()
        && let Ok(id) = layer::find(graph, &neuron.layer)
    {
        return Ok((graph.value(id).name.clone(), Some(neuron.index)));
    }
    if let Some(class) = model.labels().and_then(|labels| labels.find(of).ok()) {
        let scored = pellucid_compile::score::find(graph, options.inspect.score.as_deref())?;
        return Ok((graph.value(scored.value).name.clone(), Some(vec![class])));
    }
    let id = layer::find(graph, of)?;
    Ok((graph.value(id).name.clone(), None))
}

/// Keeps each unit's best rows: of each row its largest number.
fn see(
    found: &mut [(usize, Vec<Found>)],
    values: &[f32],
    shape: &[usize],
    axis: usize,
    (first, count): (usize, usize),
) {
    let units = shape[axis].max(1);
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[1..axis].iter().product();
    let by_row = units * inner * outer;
    for (row, values) in values.chunks(by_row.max(1)).enumerate() {
        for (unit, best) in found.iter_mut() {
            let mut top: Option<Found> = None;
            for block in 0..outer {
                let from = (block * units + *unit) * inner;
                for (within, value) in values[from..from + inner].iter().enumerate() {
                    if *value > top.map_or(0.0, |top| top.value) {
                        top = Some(Found { value: *value, row: first + row, place: block * inner + within });
                    }
                }
            }
            let Some(top) = top else { continue };
            let at = best.partition_point(|known| known.value >= top.value);
            if at < count {
                best.insert(at, top);
                best.truncate(count);
            }
        }
    }
}

/// What an element of the layer sees of the input, where that has two axes of space and channels first.
fn field_of(model: &Model, examples: &Examples<'_>, name: &str) -> Result<Option<Vec<Field>>, Error> {
    let [(input, shape)] = examples.shapes().as_slice() else { return Ok(None) };
    if shape.len() != 4 || channel_axis(model, input, shape) != Some(1) {
        return Ok(None);
    }
    let options = SummaryOptions {
        sizes: sizes(model.graph(), examples.shapes()),
        weights: false,
        ..SummaryOptions::default()
    };
    let layers = summary(model, &options)?.layers;
    Ok(layers.into_iter().find(|layer| layer.value == name).and_then(|layer| layer.receptive_field))
}

fn shown(
    model: &Model,
    examples: &Examples<'_>,
    found: &Found,
    space: &[usize],
    fields: Option<&[Field]>,
) -> Result<StrongExample, Error> {
    let example = examples.read(found.row..found.row + 1)?;
    let picture = picture(model, &example);
    let position = unravel(found.place, space);
    let patch = match (fields, &picture, position.as_slice()) {
        (Some([down, across]), Some(picture), [row, column]) => {
            let (left, width) = seen(*across, *column, picture.width());
            let (top, height) = seen(*down, *row, picture.height());
            Some((left, top, width, height)).filter(|_| (width, height) != picture.dimensions())
        }
        _ => None,
    };
    Ok(StrongExample {
        row: found.row,
        name: example.rows().first().map(|row| row.name.clone()).unwrap_or_default(),
        value: found.value,
        position,
        patch,
        picture,
    })
}

/// Where a field begins in a picture, and how long it is within it.
fn seen(field: Field, place: usize, size: u32) -> (u32, u32) {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let place = i64::try_from(place).unwrap_or(i64::MAX);
    let start = field.start.saturating_add(signed(field.stride).saturating_mul(place));
    let end = start.saturating_add(signed(field.size)).clamp(1, i64::from(size));
    let start = start.clamp(0, end - 1);
    (u32::try_from(start).unwrap_or(0), u32::try_from(end - start).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_rows_of_a_unit_are_kept_in_order() {
        let mut found = vec![(1, Vec::new())];
        // Two rows of two units with two places: the second unit has 3 and 4, then 9 and −1.
        see(&mut found, &[0.0, 0.0, 3.0, 4.0, 7.0, 7.0, 9.0, -1.0], &[2, 2, 2], 1, (0, 2));
        see(&mut found, &[0.0, 0.0, 5.0, 4.0, 7.0, 7.0, -9.0, -1.0], &[2, 2, 2], 1, (2, 2));
        let kept: Vec<(f32, usize, usize)> = found[0].1.iter().map(|f| (f.value, f.row, f.place)).collect();
        assert_eq!(kept, [(9.0, 1, 0), (5.0, 2, 0)]);
        // Units last: row 0 has 1 at its first place and 6 at its second.
        let mut found = vec![(0, Vec::new())];
        see(&mut found, &[1.0, 0.0, 6.0, 0.0], &[1, 2, 2], 2, (0, 2));
        assert_eq!((found[0].1[0].value, found[0].1[0].place), (6.0, 1));
    }

    #[test]
    fn a_field_is_cut_at_the_edges() {
        let field = Field { size: 5, stride: 2, start: -2 };
        assert_eq!(seen(field, 0, 28), (0, 3));
        assert_eq!(seen(field, 3, 28), (4, 5));
        assert_eq!(seen(field, 13, 28), (24, 4));
    }
}
