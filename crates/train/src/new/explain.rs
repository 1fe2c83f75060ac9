//! What a network costs before anything is trained.

use std::collections::BTreeMap;
use std::fmt;

use pellucid::Error;
use pellucid_compile::training::training_step;
use pellucid_graph::{Dim, Graph, Tensor};
use pellucid_runtime::live_bytes;

use crate::settings::{LossName, Settings};

/// Memory of a training step, from sizes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepMemory {
    /// Rows of the step.
    pub rows: usize,
    /// Bytes at its peak: rows, what is computed, derivatives, weights and what the optimizer carries. Engines' workspace
    /// comes on top. `None` where a size is not known.
    pub bytes: Option<u64>,
    /// Bytes of them that are carried from step to step: weights and the optimizer's means.
    pub carried: u64,
}

impl fmt::Display for StepMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.rows == 1 { "1 row".to_owned() } else { format!("{} rows", self.rows) };
        let peak = self.bytes.map_or_else(|| "an unknown size".to_owned(), mebibytes);
        let carried = mebibytes(self.carried);
        write!(
            f,
            "a training step of {rows} with AdamW takes {peak} at its peak, {carried} of it carried to the next"
        )
    }
}

fn mebibytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 10.0 { format!("{mebibytes:.2} MiB") } else { format!("{mebibytes:.0} MiB") }
}

/// What a training step of `rows` rows takes with AdamW; the step is compiled, and not run.
///
/// # Errors
/// Networks that cannot be trained.
pub fn step_memory(graph: &Graph, rows: usize) -> Result<StepMemory, Error> {
    let input = graph.inputs().first().map(|id| graph.value(*id));
    let symbol = input.and_then(|input| input.shape.as_ref()?.first().and_then(Dim::as_symbol));
    let sizes: BTreeMap<String, i64> = symbol
        .map(|symbol| (symbol.to_owned(), i64::try_from(rows).unwrap_or(i64::MAX)))
        .into_iter()
        .collect();
    let bound = graph.bind(&sizes)?;
    let outputs = bound.outputs().first().and_then(|id| bound.value(*id).static_shape());
    let classes = outputs.and_then(|shape| shape.last().copied()).unwrap_or(1);
    let loss = if classes > 1 { LossName::CrossEntropy } else { LossName::Mse };
    let step = training_step(&bound, &Settings::default().config(loss, &[]))?;
    let bytes = |tensor: &Tensor| u64::try_from(tensor.bytes().len()).unwrap_or(u64::MAX);
    let carried = step.state.iter().map(|carried| bytes(&carried.start)).sum();
    Ok(StepMemory { rows, bytes: live_bytes(&step.graph), carried })
}

#[cfg(test)]
mod tests {
    use super::super::{Design, design};
    use super::*;

    #[test]
    fn a_step_holds_weights_their_means_and_what_grows_with_rows() {
        let made = Design {
            family: "mlp".to_owned(),
            input: Some(vec![16]),
            outputs: Some(4),
            widths: Some(vec![8]),
            ..Design::default()
        };
        let graph = design(&made).unwrap();
        let one = step_memory(&graph, 1).unwrap();
        let many = step_memory(&graph, 1001).unwrap();
        let parameters = 16 * 8 + 8 + 8 * 4 + 4;
        assert!(one.carried >= 3 * 4 * parameters, "{one:?}: weights and two means");
        assert_eq!(one.carried, many.carried);
        // At least the rows, and what the rectifier takes.
        let grown = many.bytes.unwrap() - one.bytes.unwrap();
        assert!(grown >= 1000 * 4 * (16 + 8), "{one:?} {many:?}");
    }
}
