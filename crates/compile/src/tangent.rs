//! Directional derivatives of inner values: what a layer does as the inputs move along a direction.
//!
//! Forward mode is passing back twice: the derivative of u ↦ vjp(u), which is linear, along a direction v is J·v,
//! whatever u is. So every operator that passes a signal back also passes a direction on, and none knows of it.

use pellucid_graph::ValueId;

use crate::build::{Builder, Var};
use crate::error::Result;
use crate::rules::RuleMap;
use crate::walk::walk;

/// Σ over the inputs of ∂value/∂input · direction, of the value's shape; `directions` are inputs and vectors of their
/// shapes. In a graph that needs nothing else it costs about as much as the value itself.
///
/// Source: J. Townsend (2017), A new trick for calculating Jacobian vector products,
/// <https://j-towns.github.io/2017/06/12/A-new-trick.html>.
pub(crate) fn tangent<'g>(
    builder: &'g Builder,
    value: ValueId,
    directions: &[(ValueId, Var<'g>)],
) -> Result<Var<'g>> {
    let h = builder.var(value);
    let any = h.scalar(1.0).expand_like(h)?;
    let inputs: Vec<ValueId> = directions.iter().map(|(input, _)| *input).collect();
    let back = walk(builder, &[(value, any)], &inputs, &RuleMap::GRADIENT)?;
    let seeds: Vec<(ValueId, Var<'g>)> = directions
        .iter()
        .filter_map(|(input, direction)| back.get(input).map(|signal| (signal.id(), *direction)))
        .collect();
    match walk(builder, &seeds, &[any.id()], &RuleMap::GRADIENT)?.get(&any.id()) {
        Some(found) => Ok(*found),
        None => h.zeros_like(),
    }
}
