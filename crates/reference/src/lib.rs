//! A plain interpreter of every operator that a [`Graph`](pellucid_graph::Graph) may hold.
//!
//! It is the oracle that engines and derivatives are measured against, it folds constants, and it is the engine for
//! those who ask for certainty rather than speed. It is written to be obviously right: loops over indices, the
//! formula of the ONNX text, no fusion, no threads.
//!
//! # Conventions
//! - Every float is an `f64`, whatever the value's declared type: a `Cast` to `float16` does not round.
//! - Every integer is an `i64`. A result wraps to the width that the graph declares for it; where the graph does not
//!   know the type, it does not wrap. A `Cast` from a float rounds toward zero, saturates at `i64` and then wraps;
//!   NaN becomes 0. Unsigned 64-bit constants past `i64::MAX` saturate.
//! - Integer division rounds toward zero, and division by zero is an error. `Mod` takes the divisor's sign, with
//!   `fmod` the dividend's. `Round` rounds halves to even.
//! - `Min`, `Max`, `ReduceMin`, `ReduceMax`, `Clip`, `Relu` and `MaxPool` propagate NaN. `ArgMax`, `ArgMin` and `TopK`
//!   hold NaN for larger than every number (`ArgMin` too picks the first NaN, as NumPy does).
//! - Ties: `ArgMax`, `ArgMin` and `Hardmax` take the first (the last with `select_last_index`), `TopK` the lowest
//!   index first, `MaxPool` the first in window order.
//! - Of elements that a scatter writes several times the last one stands.
//! - What a `Loop` stacks in no round at all has the body's declared sizes, 0 where they are not known.
//! - Every array and every `Loop` stays within [`Limits`]; past them is an error, before the memory is asked for.
//! - Nothing is random: a `Dropout` in training mode with a ratio other than 0 is an error.

mod array;
mod call;
mod error;
mod ops;
mod run;
mod table;
#[cfg(test)]
mod testing;

pub use array::Array;
pub use call::Limits;
pub use error::EvaluationError;
pub use run::{evaluate, evaluate_within, run, run_within};
