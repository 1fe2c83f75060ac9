//! Passes: a graph in, an equivalent graph out.
//!
//! [`raise()`] is applied when a model is loaded: it finds the pieces into which exporters break activations and
//! normalisations and puts one canonical node in their place. [`lower()`] is applied before a file is written: it
//! expands what opset 18 lacks. [`fold()`] computes what depends on constants alone, and
//! [`fold_batch_normalization()`] moves a normalisation into the weights before it; neither is applied unless asked
//! for, so that a compiled method appends to the graph that was loaded. What an engine wants is the engine's business
//! and is not here.

pub mod fold;
pub mod lower;
pub mod raise;
pub mod rewrite;

pub use fold::{DEFAULT_LIMIT_ELEMENTS, batch_normalizations, fold, fold_batch_normalization};
pub use lower::lower;
pub use raise::raise;
pub use rewrite::{Prune, Replace, Site, rewrite};
