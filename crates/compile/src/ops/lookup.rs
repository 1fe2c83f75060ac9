//! Looking elements up by several coordinates, putting them there, and picking the largest.

use pellucid_graph::{Attribute, Tensor};

use super::{Operator, moves, selects};
use crate::build::{Var, signed};
use crate::error::{CompileError, Result};
use crate::step::{MADE_ELEMENTS, Signals, Step, countable};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("GatherND", moves, gather),
    Operator::new("ScatterND", moves, scatter),
    Operator::new("TopK", selects, top)
        .convention("of tied elements those that TopK picks take the signal: the ones of lowest index"),
];

/// A looked-up element gets the sum of the signals of all its copies.
fn gather<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, indices) = (s.x(0)?, s.x(1)?);
    let whole = match usize::try_from(s.node.int("batch_dims", 0)) {
        Ok(0) => indices,
        Ok(batch) => with_batch(indices, batch)?,
        Err(_) => return Err(CompileError::Model("batch_dims is negative".to_owned())),
    };
    let add = [("reduction", Attribute::String("add".to_owned()))];
    let dx = s.builder().op("ScatterND", &[s.zeros_for(x)?, whole, s.dy()?], &add);
    Ok(vec![Some(dx), None])
}

/// Indices that count in all axes, from those that count in the axes after the first `batch`.
fn with_batch(indices: Var<'_>, batch: usize) -> Result<Var<'_>> {
    let rank = indices.rank()?;
    let sizes = (0..rank - 1).map(|axis| indices.size(axis)).collect::<Result<Vec<_>>>()?;
    let count = sizes.iter().map(|size| signed(*size)).chain([signed(batch)]);
    countable(count, MADE_ELEMENTS, "indices of a batch")?;
    let mut places: Vec<Vec<i64>> = vec![Vec::new()];
    for size in &sizes {
        let further = |place: &Vec<i64>| {
            (0..signed(*size)).map(|at| [place.as_slice(), &[at]].concat()).collect::<Vec<_>>()
        };
        places = places.iter().flat_map(further).collect();
    }
    let values: Vec<i64> = places.iter().flat_map(|place| place[..batch].iter().copied()).collect();
    let shape = sizes.into_iter().chain([batch]).collect();
    let tensor =
        Tensor::from_i64(shape, &values).map_err(|error| CompileError::Emitted(error.to_string()))?;
    let builder = indices.builder();
    let own = indices.cast(pellucid_graph::ElementType::I64);
    Ok(builder.concat(&[builder.constant(tensor), own], rank - 1))
}

/// With addition, dx = dy and updates get dy at their place; without, overwritten elements get nothing.
fn scatter<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (indices, dy) = (s.x(1)?, s.dy()?);
    let updates = s.wants(2).then(|| s.builder().op("GatherND", &[dy, indices], &[]));
    let dx = match s.node.string("reduction", "none") {
        "add" => dy,
        "none" => s.builder().op("ScatterND", &[dy, indices, s.zeros_for(s.x(2)?)?], &[]),
        other => {
            return Err(CompileError::Model(format!(
                "reduction {other:?} has no derivative here; none and add have"
            )));
        }
    };
    Ok(vec![Some(dx), None, updates])
}

/// The values' signals, put back where the values were.
fn top<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let axis = Attribute::Int(signed(s.axis("axis", -1, x.rank()?)?));
    let indices = if let Some(indices) = s.output(1) {
        indices
    } else {
        let named = |name: &'static str| (name, Attribute::Int(s.node.int(name, 1)));
        let attributes = [("axis", axis.clone()), named("largest"), named("sorted")];
        s.builder().ops("TopK", &[Some(x), Some(s.x(1)?)], &attributes, 2)[1]
    };
    let inputs = [s.zeros_for(x)?, indices, s.dy()?];
    Ok(s.only_first(s.builder().op("ScatterElements", &inputs, &[("axis", axis)])))
}
