//! Inference, family by family: a node as text, the facts of its outputs as text.

mod changed;
mod hostile;
mod layout;
mod operations;
mod spatial;
mod table;
