//! Random graphs, golden vectors and table tests for Pellucid's own tests.

pub mod golden;
pub mod random_graph;
