//! Ablation-CAM: a layer's channels, each weighted by what the score loses without it.

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayD, Axis};
use pellucid_graph::{Graph, ValueId};

use super::evaluator::{Arrays, Evaluator, join};
use super::layer::{activations, name, repeated, stacked, weighted};
use super::targets::Aim;
use crate::array::Array;
use crate::error::Error;

/// Maps `[n, 1, …]`, one a target: `aims` are by target, then by row. What comes before the layer is evaluated once a
/// row; what follows it once for each channel that is not 0 everywhere.
pub(super) fn ablation_cam(
    evaluator: &mut Evaluator<'_>,
    inputs: &Arrays,
    scores: &Array2<f32>,
    aims: &[Vec<Aim>],
) -> Result<Vec<ArrayD<f32>>, Error> {
    let layer = name(evaluator)?;
    let besides = read_besides(evaluator, &layer);
    let kept: Arrays = inputs.iter().filter(|(name, _)| besides.contains(name)).cloned().collect();
    let given = activations(evaluator, inputs)?;
    let found = given.to_f32();
    let alive: Vec<Vec<usize>> = found.axis_iter(Axis(0)).map(|row| not_zero(&row)).collect();
    evaluator.expect(alive.iter().map(Vec::len).sum());
    let mut maps = vec![Vec::new(); aims.len()];
    for (row, channels) in alive.iter().enumerate() {
        let activation = found.index_axis(Axis(0), row);
        let mut weights = vec![vec![0.0; activation.shape()[0]]; aims.len()];
        for some in channels.chunks(evaluator.wave().max(1)) {
            let mut arrays = repeated(&kept, row, some.len())?;
            arrays.push((layer.clone(), without(&given, row, some)?));
            let ablated = evaluator.scores(&arrays, some.len())?;
            for (aims, weights) in aims.iter().zip(&mut weights) {
                let whole = f64::from(aims[row].score(&scores.row(row)));
                // By the magnitude: divided by a negative score the map would show what speaks against the target.
                let share = if whole.abs() > 0.0 { whole.abs() } else { 1.0 };
                for (channel, scores) in some.iter().zip(ablated.rows()) {
                    weights[*channel] = (whole - f64::from(aims[row].score(&scores))) / share;
                }
            }
        }
        for (maps, weights) in maps.iter_mut().zip(&weights) {
            maps.push(weighted(&activation, weights));
        }
    }
    maps.iter().map(|rows| stacked(rows)).collect()
}

fn not_zero(activation: &ndarray::ArrayViewD<'_, f32>) -> Vec<usize> {
    let alive =
        |channel: &usize| activation.index_axis(Axis(0), *channel).iter().any(|value| value.abs() > 0.0);
    (0..activation.shape()[0]).filter(alive).collect()
}

/// One row of a layer, once for each of some channels, with that channel 0.
fn without(given: &Array, row: usize, channels: &[usize]) -> Result<Array, Error> {
    let one = given.rows(row..row + 1);
    let cut: Vec<Array> = channels
        .iter()
        .map(|channel| {
            let mut copy = one.clone();
            match &mut copy {
                Array::F32(values) => values.index_axis_mut(Axis(1), *channel).fill(0.0),
                Array::F64(values) => values.index_axis_mut(Axis(1), *channel).fill(0.0),
                Array::I64(values) => values.index_axis_mut(Axis(1), *channel).fill(0),
                Array::Bool(values) => values.index_axis_mut(Axis(1), *channel).fill(false),
            }
            copy
        })
        .collect();
    join(&cut.iter().collect::<Vec<_>>())
}

/// Names of the model's inputs that the score still needs where the layer is fed.
fn read_besides(evaluator: &Evaluator<'_>, layer: &str) -> BTreeSet<String> {
    let program = &evaluator.program;
    let graph: &Graph = &program.graph;
    let Some(layer) = graph.find(layer) else { return BTreeSet::new() };
    let mut seen: BTreeSet<ValueId> = BTreeSet::from([layer]);
    let mut left: Vec<ValueId> = graph.find(evaluator.explained()).into_iter().collect();
    while let Some(id) = left.pop() {
        if seen.insert(id)
            && let Some(node) = graph.producer_of(id)
        {
            left.extend(graph.dependencies(node));
        }
    }
    seen.remove(&layer);
    graph
        .inputs()
        .iter()
        .filter(|input| seen.contains(input))
        .map(|input| graph.value(*input).name.clone())
        .collect()
}
