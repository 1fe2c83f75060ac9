//! What a pattern sees of the graph: nodes as pieces, one-element constants as numbers.

use std::cell::Cell;
use std::collections::BTreeMap;

use pellucid_graph::{Attribute, Dim, ElementType, Graph, Node, ValueId};

/// Copies, casts and changes of shape between a value and where it is used. Exporters write two or three; without a
/// bound, a long chain of them with many uses would take quadratic time.
pub(super) const MAX_STEPS: usize = 8;

/// A node, pushed or about to be.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) operator: &'a str,
    pub(super) inputs: &'a [Option<ValueId>],
    pub(super) attributes: &'a BTreeMap<String, Attribute>,
}

impl<'a> Piece<'a> {
    fn of(node: &'a Node) -> Self {
        Self { operator: &node.operator, inputs: &node.inputs, attributes: &node.attributes }
    }

    pub(super) fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Both inputs of a node with two.
    pub(super) fn pair(&self) -> Option<(ValueId, ValueId)> {
        match self.inputs {
            [Some(a), Some(b)] => Some((*a, *b)),
            _ => None,
        }
    }

    /// Both orders of the inputs of a node with two.
    pub(super) fn orders(&self) -> Vec<(ValueId, ValueId)> {
        self.pair().map_or_else(Vec::new, |(a, b)| vec![(a, b), (b, a)])
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        match self.attributes.get(name) {
            Some(Attribute::Int(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        match self.attributes.get(name) {
            Some(Attribute::Float(value)) => *value,
            _ => default,
        }
    }
}

/// The graph before a node. Remembers how coarse and how wide the numbers are that a pattern used, so each attempt
/// takes a view of its own.
pub(super) struct View<'a> {
    pub(super) graph: &'a Graph,
    tolerance: Cell<f64>,
    widest: Cell<usize>,
}

impl<'a> View<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        Self { graph, tolerance: Cell::new(tolerance(ElementType::F32)), widest: Cell::new(0) }
    }

    /// The node that computes a value.
    pub(super) fn piece(&self, id: ValueId) -> Option<Piece<'a>> {
        self.graph.producer_of(id).map(|node| Piece::of(self.graph.node(node)))
    }

    /// The node that computes a value, where it is of `operator`.
    pub(super) fn of(&self, id: ValueId, operator: &str) -> Option<Piece<'a>> {
        self.piece(self.resolve(id)).filter(|piece| piece.operator == operator)
    }

    /// The same value before copies and casts that change nothing.
    pub(super) fn resolve(&self, mut id: ValueId) -> ValueId {
        for _ in 0..MAX_STEPS {
            let Some(piece) = self.piece(id) else { break };
            let Some(input) = piece.input(0) else { break };
            let same = match piece.operator {
                "Identity" => true,
                "Cast" | "CastLike" => {
                    let element = self.graph.value(input).element;
                    element.is_some() && element == self.graph.value(id).element
                }
                _ => false,
            };
            if !same {
                break;
            }
            id = input;
        }
        id
    }

    /// The number, where the value is a constant of one element, cast or reshaped.
    pub(super) fn number(&self, id: ValueId) -> Option<f64> {
        let rank = self.graph.value(id).shape.as_ref()?.len();
        let mut coarsest = 0.0_f64;
        let mut source = id;
        for _ in 0..MAX_STEPS {
            let element = self.graph.value(source).element?;
            coarsest = coarsest.max(tolerance(element));
            if let Some(tensor) = self.graph.constant(source) {
                if tensor.len() != 1 || element == ElementType::Bool {
                    return None;
                }
                self.tolerance.set(self.tolerance.get().max(coarsest));
                self.widest.set(self.widest.get().max(rank));
                return tensor.to_f64().first().copied();
            }
            let piece = self.piece(source)?;
            let cast = matches!(piece.operator, "Cast" | "CastLike") && element.is_float();
            let moved = matches!(piece.operator, "Identity" | "Reshape" | "Unsqueeze" | "Squeeze");
            if !cast && !moved {
                return None;
            }
            source = piece.input(0)?;
        }
        None
    }

    /// Whether a number is the wanted one, within what the numbers' element types can hold.
    pub(super) fn near(&self, found: f64, wanted: f64) -> bool {
        // A wanted zero is one of structure, so it is met exactly but for cancellation.
        (found - wanted).abs() <= (self.tolerance.get() * wanted.abs()).max(1e-12)
    }

    /// Whether `x` is a float that no number used so far broadcasts to more axes.
    pub(super) fn fits(&self, x: ValueId) -> bool {
        let value = self.graph.value(x);
        let wide = match &value.shape {
            Some(shape) => self.widest.get() <= shape.len(),
            None => self.widest.get() == 0,
        };
        wide && value.element.is_none_or(ElementType::is_float)
    }

    /// Sizes of a value, where the rank is known.
    pub(super) fn shape(&self, id: ValueId) -> Option<&'a [Dim]> {
        self.graph.value(id).shape.as_deref()
    }

    /// Contents of an integer tensor.
    pub(super) fn contents(&self, id: ValueId) -> Option<Vec<i64>> {
        self.graph.value(id).contents.as_ref()?.iter().map(Dim::value).collect()
    }
}

/// How far from the wanted number, relatively, a number of `element` may be: two roundings, or five written digits.
fn tolerance(element: ElementType) -> f64 {
    match element {
        ElementType::F16 => 1.5e-3,
        ElementType::BF16 => 6e-3,
        _ => 2e-5,
    }
}
