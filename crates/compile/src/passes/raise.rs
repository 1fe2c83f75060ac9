//! Raising: the pieces into which exporters break a function, back to one canonical node.
//!
//! A rule of explanation must see a SiLU, not a product whose relevance it would split. So where the last node of a
//! pattern stands, the canonical node is put in its place, under the same name of the value; pieces that nothing else
//! takes are dropped. One file a family of patterns, each a function of the graph before the node:
//!
//! | file | canonical node | pieces |
//! |---|---|---|
//! | `gate` | `Swish`, `Gelu`, `Mish`, `HardSwish`, `HardSigmoid`, `Softsign` | any product of x and a gate of x, in any order and association |
//! | `clip` | `Clip`, `HardSigmoid` | Min, Max, Relu, Clip with numbers, nested |
//! | `rectifier` | `LeakyRelu`, `Relu`, `Elu` | Where, Max; Elu of a product with 1, and 1 times it |
//! | `softplus` | `Softplus` | Where above a threshold; Log of Exp |
//! | `layer_norm` | `LayerNormalization` | mean, centring, variance, root, and the affine steps after |
//!
//! # Tolerance
//! A number need only be as near to the canonical one as its element type can hold: 2·10⁻⁵ relative for float32 and
//! float64 (0.7071 for √½ is accepted), 1.5·10⁻³ where a float16 is among the numbers, 6·10⁻³ for bfloat16. So the
//! raised function differs from the pieces by rounding of constants: about 2·10⁻⁸ of the value for numbers given in
//! float32. A Softplus that PyTorch cuts off above a threshold t loses the cut, a relative change below e⁻ᵗ/t; it is
//! raised where that is below the rounding of a float32.
//!
//! In a body of control flow, numbers captured from the graph around it are not seen.

mod clip;
mod gate;
mod layer_norm;
mod polynomial;
mod rectifier;
mod softplus;
mod view;

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, Graph, Tensor, ValueId};

use crate::build::Var;
use crate::error::Result;
use crate::passes::rewrite::{Prune, Replace, Site, rewrite};
use view::{Piece, View};

/// The same function with canonical nodes for what exporters broke into pieces.
///
/// Names of inputs, outputs and of the values that the canonical nodes compute stay; values inside a pattern that
/// nothing else takes go. Applied again, it changes nothing. A graph without patterns comes back as it was.
pub fn raise(graph: &Graph) -> Result<Graph> {
    let mut raise = Raise { raised: 0 };
    let raised = rewrite(graph, "raised", Prune::Unreachable, &mut raise)?;
    if raise.raised == 0 { Ok(graph.clone()) } else { Ok(raised) }
}

/// A canonical node for a pattern.
#[derive(Debug)]
struct Canonical {
    operator: &'static str,
    inputs: Vec<Operand>,
    attributes: BTreeMap<String, Attribute>,
}

/// An input of a canonical node.
#[derive(Debug)]
enum Operand {
    Value(ValueId),
    Constant(Tensor),
    Absent,
}

impl Canonical {
    fn new(operator: &'static str, x: ValueId) -> Self {
        Self { operator, inputs: vec![Operand::Value(x)], attributes: BTreeMap::new() }
    }

    fn with(mut self, name: &str, value: Attribute) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }

    fn and(mut self, operand: Operand) -> Self {
        self.inputs.push(operand);
        self
    }
}

/// Recognises a pattern by its last node.
type Pattern = fn(&View<'_>, &Piece<'_>) -> Option<Canonical>;

const PATTERNS: &[Pattern] =
    &[layer_norm::recognise, gate::recognise, clip::recognise, rectifier::recognise, softplus::recognise];

struct Raise {
    raised: usize,
}

impl Replace for Raise {
    fn replace<'g>(&mut self, site: &Site<'g, '_>) -> Result<Option<Vec<Var<'g>>>> {
        let node = site.node();
        if node.outputs.len() != 1 {
            return Ok(None);
        }
        let found = {
            let graph = site.builder.graph();
            let last = Piece { operator: &node.operator, inputs: site.inputs, attributes: &node.attributes };
            PATTERNS.iter().find_map(|pattern| pattern(&View::new(&graph), &last))
        };
        let Some(found) = found else { return Ok(None) };
        self.raised += 1;
        let inputs: Vec<Option<Var<'g>>> = found
            .inputs
            .into_iter()
            .map(|operand| match operand {
                Operand::Value(id) => Some(site.builder.var(id)),
                Operand::Constant(tensor) => Some(site.builder.constant(tensor)),
                Operand::Absent => None,
            })
            .collect();
        Ok(Some(vec![site.emit(found.operator, &inputs, found.attributes)?]))
    }
}
