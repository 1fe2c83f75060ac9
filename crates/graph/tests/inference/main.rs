//! Inference, family by family: a node as text, the facts of its outputs as text.

#![expect(clippy::unwrap_used, reason = "a test whose graph cannot be built has failed")]

mod changed;
mod hostile;
mod layout;
mod operations;
mod spatial;
mod table;
