//! Inference of element types, sizes and small integer contents.

use crate::dim::{Dim, Shape};
use crate::element::ElementType;
use crate::graph::Graph;
use crate::node::Node;

/// What is known of one output before anything runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) element: Option<ElementType>,
    pub(crate) shape: Option<Shape>,
    pub(crate) contents: Option<Vec<Dim>>,
}

/// Facts of every output of `node`, whose outputs will be called `names`.
pub(crate) fn infer(_graph: &Graph, _node: &Node, names: &[String]) -> Result<Vec<Facts>, String> {
    Ok(vec![Facts::default(); names.len()])
}
