//! Inference of element types, sizes and small integer contents, one file a family of operators.
//!
//! A node that contradicts its operator's definition is an error here, so no later stage meets one. What cannot be
//! known becomes a fresh symbol: `?NAME.AXIS` for a size, `!NAME.INDEX` for a number in a tensor, both named from the
//! output that has them; a rank that cannot be known is `None`. Arithmetic is checked throughout.

mod contents;
mod control;
mod elementwise;
mod layout;
mod matrix;
mod normalise;
mod reduce;
mod select;
mod spatial;

use std::borrow::Cow;

use crate::dim::{Dim, Shape, display_shape};
use crate::element::ElementType;
use crate::graph::{Graph, Value, ValueId};
use crate::node::Node;
use crate::operators;
use contents::Block;

/// What is known of one output before anything runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) element: Option<ElementType>,
    pub(crate) shape: Option<Shape>,
    pub(crate) contents: Option<Vec<Dim>>,
}

/// A computed value of more elements than this is refused: 2³¹, which is 8 GiB of `float32`.
pub(crate) const ELEMENT_LIMIT: i64 = 1 << 31;

/// Integer tensors up to this many elements have known contents.
pub(crate) const CONTENTS_LIMIT: usize = 1024;

/// Values of more axes than this are refused: rules may then look at every pair of axes.
const RANK_LIMIT: usize = 64;

/// Names longer than this are cut where symbols are named after them, so that symbols stay small.
const NAME_LIMIT: usize = 256;

/// Why a node is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It contradicts its operator's definition.
    Wrong(String),
    /// Its output would be too large.
    TooLarge(String),
}

impl From<String> for Refusal {
    fn from(problem: String) -> Self {
        Self::Wrong(problem)
    }
}

/// Facts of every output of `node`, whose outputs will be called `names`.
pub(crate) fn infer(graph: &Graph, node: &Node, names: &[String]) -> Result<Vec<Facts>, Refusal> {
    let operator = operators::lookup(&node.operator).ok_or_else(|| "the operator is not known".to_owned())?;
    if !operator.inputs.allows(node.inputs.len()) {
        return Err(format!("found {} inputs, expected {}", node.inputs.len(), operator.inputs).into());
    }
    if !operator.outputs.allows(names.len()) {
        return Err(format!("found {} outputs, expected {}", names.len(), operator.outputs).into());
    }
    for value in node.inputs.iter().flatten().map(|input| graph.value(*input)) {
        check_rank(value.shape.as_deref())?;
    }
    let rule = rule(&node.operator).ok_or_else(|| "the operator has no inference".to_owned())?;
    let mut facts = rule(&Scope { graph, node, names })?;
    facts.resize_with(names.len(), Facts::default);
    for facts in &mut facts {
        check(facts)?;
    }
    Ok(facts)
}

fn check_rank(shape: Option<&[Dim]>) -> Result<(), String> {
    match shape.map(<[Dim]>::len) {
        Some(rank) if rank > RANK_LIMIT => Err(format!("a value of {rank} axes has more than {RANK_LIMIT}")),
        _ => Ok(()),
    }
}

/// Sizes are not negative and not beyond the limit; contents are as many as the sizes say, or dropped.
fn check(facts: &mut Facts) -> Result<(), Refusal> {
    let Some(shape) = &facts.shape else {
        return Ok(());
    };
    check_rank(Some(shape))?;
    let known: Vec<i64> = shape.iter().filter_map(Dim::value).collect();
    if known.iter().any(|size| *size < 0) {
        return Err(format!("the output's shape {} has a negative size", display_shape(shape)).into());
    }
    // A symbol stands for one element at least, so the known sizes alone may already be too many.
    let count = known.iter().try_fold(1i64, |count, size| count.checked_mul(*size));
    if !known.contains(&0) && count.is_none_or(|count| count > ELEMENT_LIMIT) {
        return Err(Refusal::TooLarge(format!(
            "the output's shape {} has more than {ELEMENT_LIMIT} elements",
            display_shape(shape)
        )));
    }
    if let Some(contents) = &facts.contents {
        let whole = known.len() == shape.len() && count == i64::try_from(contents.len()).ok();
        let integer = facts.element.is_some_and(|element| !element.is_float());
        if !whole || !integer || contents.len() > CONTENTS_LIMIT {
            facts.contents = None;
        }
    }
    Ok(())
}

type Outcome = Result<Vec<Facts>, String>;

fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    elementwise::rule(operator)
        .or_else(|| layout::rule(operator))
        .or_else(|| select::rule(operator))
        .or_else(|| matrix::rule(operator))
        .or_else(|| reduce::rule(operator))
        .or_else(|| normalise::rule(operator))
        .or_else(|| spatial::rule(operator))
        .or_else(|| control::rule(operator))
}

/// The node whose outputs are inferred, in its graph.
struct Scope<'a> {
    graph: &'a Graph,
    node: &'a Node,
    names: &'a [String],
}

/// What elements an operator takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Any,
    /// All but `bool`.
    Number,
    /// Floats and signed integers.
    Signed,
    Float,
    Integer,
    Bool,
}

impl Class {
    fn holds(self, element: ElementType) -> bool {
        use ElementType::{Bool, U8, U16, U32, U64};
        match self {
            Self::Any => true,
            Self::Number => element != Bool,
            Self::Signed => !matches!(element, Bool | U8 | U16 | U32 | U64),
            Self::Float => element.is_float(),
            Self::Integer => element != Bool && !element.is_float(),
            Self::Bool => element == Bool,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any => "any type",
            Self::Number => "numbers",
            Self::Signed => "floats or signed integers",
            Self::Float => "floats",
            Self::Integer => "integers",
            Self::Bool => "bool",
        }
    }
}

impl<'a> Scope<'a> {
    /// An input that must be there.
    fn value(&self, input: usize) -> Result<&'a Value, String> {
        self.maybe(input).ok_or_else(|| format!("input {input} is missing"))
    }

    /// An input, where it is given.
    fn maybe(&self, input: usize) -> Option<&'a Value> {
        self.node.input(input).map(|id| self.graph.value(id))
    }

    /// The shape of an input, where it is given and its rank is known.
    fn shape(&self, input: usize) -> Option<&'a [Dim]> {
        self.maybe(input)?.shape.as_deref()
    }

    /// Numbers in an input, some of which may be symbols, where it is given.
    fn contents(&self, input: usize) -> Option<&'a [Dim]> {
        self.maybe(input)?.contents.as_deref()
    }

    /// Numbers in an input, where every one is known.
    fn numbers(&self, input: usize) -> Option<Vec<i64>> {
        self.contents(input)?.iter().map(Dim::value).collect()
    }

    /// Numbers of a small constant of any element type, or of constants joined as unfolded exports join them.
    fn floats(&self, input: usize) -> Option<Vec<f64>> {
        numbers_of(self.graph, self.node.input(input)?, 2)
    }

    /// Contents and sizes of an input, where both are known.
    fn block(&self, input: usize) -> Option<Block<'a>> {
        let value = self.maybe(input)?;
        Some(Block { sizes: value.static_shape()?, data: value.contents.as_deref()? })
    }

    /// A size of output `output` that is not known.
    fn fresh(&self, output: usize, axis: usize) -> Dim {
        Dim::symbol(format!("?{}.{axis}", self.label(output)))
    }

    /// A number in output `output` that is not known.
    fn fresh_number(&self, output: usize, index: usize) -> Dim {
        Dim::symbol(format!("!{}.{index}", self.label(output)))
    }

    /// What symbols of an output are named after. A name too long is told apart by the value's position.
    fn label(&self, output: usize) -> Cow<'_, str> {
        match self.names.get(output) {
            Some(name) if name.len() > NAME_LIMIT => {
                let start: String = name.chars().take(NAME_LIMIT / 4).collect();
                Cow::Owned(format!("{start}#{}", self.graph.values().len().saturating_add(output)))
            }
            Some(name) if !name.is_empty() => Cow::Borrowed(name),
            _ => Cow::Borrowed(&self.node.operator),
        }
    }

    /// A shape of `rank` sizes that are not known.
    fn fresh_shape(&self, output: usize, rank: usize) -> Shape {
        (0..rank).map(|axis| self.fresh(output, axis)).collect()
    }

    /// The one element type of several inputs; left-out ones do not count.
    fn element(
        &self,
        inputs: impl IntoIterator<Item = usize>,
        class: Class,
    ) -> Result<Option<ElementType>, String> {
        let mut found: Option<(usize, ElementType)> = None;
        for input in inputs {
            let Some(element) = self.maybe(input).and_then(|value| value.element) else {
                continue;
            };
            if !class.holds(element) {
                return Err(format!("input {input} is {element}, expected {}", class.name()));
            }
            match found {
                Some((first, other)) if other != element => {
                    return Err(format!(
                        "input {first} is {other} and input {input} is {element}, expected one type"
                    ));
                }
                Some(_) => {}
                None => found = Some((input, element)),
            }
        }
        Ok(found.map(|(_, element)| element))
    }

    /// Refuses an input of known rank other than `rank`.
    fn expect_rank(&self, input: usize, rank: usize) -> Result<(), String> {
        match self.shape(input) {
            Some(shape) if shape.len() != rank => {
                Err(format!("input {input} has the shape {}, expected {rank} axes", display_shape(shape)))
            }
            _ => Ok(()),
        }
    }

    /// Refuses an input of known rank below `rank`.
    fn expect_rank_from(&self, input: usize, rank: usize) -> Result<(), String> {
        match self.shape(input) {
            Some(shape) if shape.len() < rank => Err(format!(
                "input {input} has the shape {}, expected at least {rank} axes",
                display_shape(shape)
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a one-dimensional input that evidently has not `size` elements.
    fn expect_vector(&self, input: usize, size: &Dim) -> Result<(), String> {
        self.expect_rank(input, 1)?;
        match self.shape(input) {
            Some([found]) if differ(found, size) => {
                Err(format!("input {input} has the shape [{found}], expected [{size}]"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses an input that has more than one element.
    fn expect_single(&self, input: usize) -> Result<(), String> {
        match self.shape(input) {
            Some(shape) if shape.len() > 1 || shape.iter().any(|size| differ(size, &Dim::known(1))) => {
                Err(format!("input {input} has the shape {}, expected one element", display_shape(shape)))
            }
            _ => Ok(()),
        }
    }

    /// A size that must be there unless arithmetic failed: an error where `known`, else a fresh symbol.
    fn size(&self, size: Option<Dim>, known: bool, output: usize, axis: usize) -> Result<Dim, String> {
        match size {
            Some(size) => Ok(size),
            None if known => Err(format!("the size of the output's axis {axis} overflows")),
            None => Ok(self.fresh(output, axis)),
        }
    }

    /// Shape of two operands joined as ONNX broadcasts.
    fn broadcast(&self, a: &[Dim], b: &[Dim], output: usize) -> Result<Shape, String> {
        join(a, b, |axis, _, _| self.fresh(output, axis))
    }

    /// Facts of one output.
    #[expect(clippy::unnecessary_wraps, reason = "rules end with it")]
    fn one(&self, element: Option<ElementType>, shape: Option<Shape>) -> Outcome {
        debug_assert!(!self.names.is_empty(), "arity is checked");
        Ok(vec![Facts { element, shape, contents: None }])
    }
}

/// Numbers of a value made of constants by at most `depth` nodes.
fn numbers_of(graph: &Graph, id: ValueId, depth: u32) -> Option<Vec<f64>> {
    let value = graph.value(id);
    if let Some(tensor) = value.constant() {
        return (tensor.len() <= CONTENTS_LIMIT).then(|| tensor.to_f64());
    }
    let node = graph.node(graph.producer_of(id)?);
    let flat = value.shape.as_ref()?.len() <= 1;
    if depth == 0 || !flat || node.inputs.len() > 16 {
        return None;
    }
    let parts = match &*node.operator {
        "Concat" => &node.inputs[..],
        "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" => &node.inputs[..1],
        _ => return None,
    };
    let mut numbers = Vec::new();
    for part in parts {
        numbers.extend(numbers_of(graph, (*part)?, depth - 1)?);
        if numbers.len() > CONTENTS_LIMIT {
            return None;
        }
    }
    Some(numbers)
}

/// An axis counted from the front; negative ones count from the end.
fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let signed = i64::try_from(rank).map_err(|_| "too many axes".to_owned())?;
    let wrapped = if axis < 0 { axis.checked_add(signed) } else { Some(axis) };
    wrapped
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("axis {axis} is outside the {rank} axes"))
}

/// Axes counted from the front, each at most once.
fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut found = Vec::with_capacity(axes.len().min(rank));
    for axis in axes {
        let axis = axis_of(*axis, rank)?;
        if found.contains(&axis) {
            return Err(format!("axis {axis} is listed twice in {axes:?}"));
        }
        found.push(axis);
    }
    Ok(found)
}

/// Whether two sizes can never be equal.
fn differ(a: &Dim, b: &Dim) -> bool {
    let below = |a: &Dim, b: &Dim| {
        b.minus(a).and_then(|difference| difference.lower_bound()).is_some_and(|bound| bound > 0)
    };
    a != b && (below(a, b) || below(b, a))
}

/// One expression for two sizes that must be equal: a number rather than symbols.
fn unify(a: &Dim, b: &Dim) -> Option<Dim> {
    if differ(a, b) {
        None
    } else if b.value().is_some() {
        Some(b.clone())
    } else {
        Some(a.clone())
    }
}

/// Product of sizes; zero where one is zero. `None` where it overflows or cannot be expressed.
fn product(dims: &[Dim]) -> Option<Dim> {
    if dims.iter().any(|dim| dim.value() == Some(0)) {
        return Some(Dim::known(0));
    }
    dims.iter().try_fold(Dim::known(1), |product, dim| product.times(dim))
}

/// Whether every size is a number.
fn all_known<'d>(dims: impl IntoIterator<Item = &'d Dim>) -> bool {
    dims.into_iter().all(|dim| dim.value().is_some())
}

/// Shape of two operands joined as ONNX broadcasts: axes are aligned at the end, and a size of 1 repeats.
///
/// A known size above 1 wins over a symbol, which must then be 1 or equal. Two sizes that may differ give a symbol
/// named after both, so that the same pair always gives the same one.
///
/// # Errors
/// Where two sizes are neither equal nor 1.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Shape, String> {
    join(a, b, |_, x, y| {
        let (first, second) = if x <= y { (x, y) } else { (y, x) };
        Dim::symbol(format!("?max({first}, {second})"))
    })
}

fn join(a: &[Dim], b: &[Dim], unknown: impl Fn(usize, &Dim, &Dim) -> Dim) -> Result<Shape, String> {
    let rank = a.len().max(b.len());
    let one = Dim::known(1);
    let at = |shape: &[Dim], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or_else(|| one.clone(), |axis| shape[axis].clone())
    };
    (0..rank)
        .map(|axis| {
            let (x, y) = (at(a, axis), at(b, axis));
            if x == y || y == one {
                return Ok(x);
            }
            if x == one {
                return Ok(y);
            }
            if differ(&x, &y) && differ(&x, &one) && differ(&y, &one) {
                return Err(format!("cannot broadcast {} with {}", display_shape(a), display_shape(b)));
            }
            // One that cannot be 1 decides.
            Ok(match (x.value(), y.value()) {
                (Some(_), _) => x,
                (_, Some(_)) => y,
                _ if differ(&x, &one) => x,
                _ if differ(&y, &one) => y,
                _ => unknown(axis, &x, &y),
            })
        })
        .collect()
}
