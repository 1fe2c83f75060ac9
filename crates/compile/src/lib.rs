//! The explanation compiler: graph in, graph with prediction and attribution out.
