//! Random graphs, golden vectors and table tests for Pellucid's own tests.

pub mod archive;
pub mod golden;
pub mod random_graph;
