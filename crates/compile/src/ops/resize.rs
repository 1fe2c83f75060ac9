//! Resize: a linear map along each axis.

use pellucid_graph::interpolation;

use super::{Operator, pool};
use crate::build::{Var, signed};
use crate::error::{CompileError, Result};
use crate::step::{MADE_ELEMENTS, Signals, Step, countable};

pub(super) const OPERATORS: &[Operator] = &[Operator::new("Resize", pool, resize)
    .convention("the linear map's transpose, as the mode defines the map")];

/// y = A·x along each resized axis: dx = Aᵀ·dy
fn resize<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let mut signal = s.dy()?;
    for (axis, map) in maps(s, x)?.into_iter().enumerate() {
        if map.is_identity() {
            continue;
        }
        countable([signed(map.output), signed(map.input)], MADE_ELEMENTS, "weights of an axis")?;
        let weights = x.builder().values(signal.element(), vec![map.output, map.input], &map.matrix());
        signal = along(signal, weights, axis)?;
    }
    Ok(s.only_first(signal))
}

/// Multiplies `axis` of `v` by `weights` [size of the axis, new size].
fn along<'g>(v: Var<'g>, weights: Var<'g>, axis: usize) -> Result<Var<'g>> {
    let rank = v.rank()?;
    if axis + 1 == rank {
        return Ok(v.matmul(weights));
    }
    if axis + 2 == rank {
        return Ok(weights.transpose(&[1, 0]).matmul(v));
    }
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(axis, rank - 1);
    Ok(v.transpose(&order).matmul(weights).transpose(&order))
}

/// The maps of a Resize node. An axis whose size is not known must stay as it is; 1 stands for its size.
fn maps(s: &Step<'_>, x: Var<'_>) -> Result<Vec<interpolation::Axis>> {
    let shape = x.shape()?;
    let known: Vec<usize> = shape.iter().map(|dim| dim.size().unwrap_or(1)).collect();
    let floats = |index: usize| match s.input(index) {
        None => Ok(None),
        Some(input) => input
            .constant()
            .map(|tensor| Some(tensor.to_f64()))
            .ok_or_else(|| CompileError::Model(format!("input {index} of this Resize must be a constant"))),
    };
    let sizes = match s.input(3) {
        None => None,
        Some(input) => {
            let output = s.y()?.shape()?;
            let contents = input.builder().graph().value(input.id()).contents.clone();
            let contents = contents
                .ok_or_else(|| CompileError::Model("the sizes of this Resize must be known".to_owned()))?;
            let mut sizes = Vec::new();
            for (position, size) in contents.iter().enumerate() {
                let unchanged = contents.len() == shape.len() && shape[position] == output[position];
                sizes.push(match size.value() {
                    Some(size) => size,
                    None if unchanged => signed(known[position]),
                    None => {
                        return Err(CompileError::Model(format!(
                            "size {size} of this Resize must be known: give the sizes of the inputs"
                        )));
                    }
                });
            }
            Some(sizes)
        }
    };
    let (roi, scales) = (floats(1)?, if sizes.is_some() { None } else { floats(2)? });
    interpolation::axes(&s.node, &known, roi.as_deref(), scales.as_deref(), sizes.as_deref())
        .map_err(CompileError::Model)
}
