//! How one number came to be: what it sums, the function it passes, and the error that comes back to it.

mod sums;

use pellucid_compile::{Kind, Method, Neuron, Request, layer, ops, program};
use pellucid_graph::{Dim, ElementType, Graph, NewNode, Node, NodeId, ValueId};
use serde::Serialize;

use super::InspectOptions;
use super::look::Looked;
use super::pass::unravel;
use super::plan::dependent;
use crate::array::Array;
use crate::error::Error;
use crate::input::Inputs;
use crate::model::Model;

/// How a neuron's number came to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// The model's name.
    pub model: String,
    /// The example's name.
    pub example: String,
    /// The neuron, as it was asked for.
    pub neuron: String,
    /// Name of the value that holds it.
    pub value: String,
    /// Its number.
    pub number: f64,
    /// What it is made of, where that is a sum of inputs times weights.
    pub sum: Option<Sum>,
    /// The window that it is the largest of.
    pub winner: Option<Winner>,
    /// What happens to the sum, in order: up to the neuron, and the activation function behind it.
    pub links: Vec<Link>,
    /// What came back, where the model was judged.
    pub back: Option<Back>,
}

/// A sum of inputs times weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sum {
    /// The operator that sums.
    pub kind: String,
    /// Name of the value that it takes, and of the weight.
    pub takes: String,
    /// Name of the weight; empty where all weights are equal by definition.
    pub weight: String,
    /// Of a convolution: first and last position that it looked at along each axis of space, those in the padding left out.
    pub window: Vec<(usize, usize)>,
    /// What is added.
    pub bias: Option<f64>,
    /// Terms, the largest product first.
    pub terms: Vec<Term>,
    /// Bias and all products.
    pub total: f64,
    /// The same, as the engine computed it.
    pub computed: f64,
}

/// An input times a weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Term {
    /// The input's place, behind the row.
    pub place: Vec<usize>,
    /// The weight's place.
    pub weight_place: Vec<usize>,
    /// The input.
    pub input: f64,
    /// The weight.
    pub weight: f64,
    /// Their product.
    pub product: f64,
    /// δ · input: what this neuron adds to the weight's gradient on this example. Of a fully connected layer, all of it.
    pub gradient: Option<f64>,
}

/// The largest of a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Winner {
    /// Name of the value that the window lies in.
    pub takes: String,
    /// Its numbers, each with its place behind the row, the largest first.
    pub window: Vec<(Vec<usize>, f64)>,
}

/// What happens to a number.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "link", rename_all = "kebab-case")]
pub enum Link {
    /// scale · (before − mean) / √(variance + epsilon) + shift.
    Normalised {
        /// Before.
        before: f64,
        /// Running mean.
        mean: f64,
        /// Running variance.
        variance: f64,
        /// Added to the variance.
        epsilon: f64,
        /// γ.
        scale: f64,
        /// β.
        shift: f64,
        /// After.
        after: f64,
    },
    /// An activation function.
    Activation {
        /// Name of the value that it computes.
        value: String,
        /// The operator.
        function: String,
        /// Its formula, of z.
        formula: String,
        /// The pre-activation.
        z: f64,
        /// The activation.
        a: f64,
        /// f′(z), by the compiler's derivative; `None` where the function is not of one number alone.
        slope: Option<f64>,
    },
}

/// What came back to a neuron.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Back {
    /// `loss` or `score`.
    pub by: &'static str,
    /// What that is.
    pub objective: f64,
    /// ∂objective/∂a of the last activation among the links.
    pub activation: Option<f64>,
    /// δ = ∂objective/∂z: of what the activation function takes, else of the neuron itself.
    pub delta: f64,
    /// ∂objective/∂sum; the same as δ where nothing stands between the sum and the function.
    pub sum: Option<f64>,
}

/// Takes the neuron `neuron`, `LAYER[…]` with a place for every axis, of `example`, one row, apart.
///
/// The sum is taken apart where a convolution, a fully connected layer, a global average or a sum of values makes it, through
/// batch normalisation, activation functions and what only moves numbers.
///
/// # Errors
/// Neurons that do not exist or are a mean of several; operators that are not taken apart; as
/// [`inspect`](super::inspect).
pub fn trace(
    model: &Model,
    example: &Inputs,
    neuron: &str,
    options: &InspectOptions,
) -> Result<Trace, Error> {
    let asked: Neuron = neuron.parse()?;
    let mut wanted = Vec::new();
    let looked = Looked::new(model, example, options, |graph| {
        let depends = dependent(graph);
        let float =
            |id: &ValueId| graph.value(*id).element.is_some_and(ElementType::is_float) && depends[id.index()];
        wanted = layer::find(graph, &asked.layer).map(|id| around(graph, id)).unwrap_or_default();
        wanted.retain(float);
        wanted.iter().map(|id| graph.value(*id).name.clone()).collect()
    })?;
    let start = layer::find(&looked.graph, &asked.layer)?;
    Tracer { looked: &looked, options }.run(model, example, &asked, start)
}

/// A value, what it is computed of up to a sum, and the function behind it.
fn around(graph: &Graph, start: ValueId) -> Vec<ValueId> {
    let mut found = vec![start];
    found.extend(function_behind(graph, start).and_then(|id| graph.node(id).output(0)));
    let mut waiting = vec![start];
    while let Some(value) = waiting.pop() {
        let Some(id) = graph.producer_of(value) else { continue };
        for input in graph.node(id).inputs.iter().flatten() {
            if !found.contains(input) {
                found.push(*input);
            }
        }
        if passes(graph, id) {
            waiting.extend(graph.node(id).inputs.iter().flatten());
        }
    }
    found
}

fn kind(graph: &Graph, id: NodeId) -> Option<Kind> {
    let node = graph.node(id);
    ops::lookup(&node.operator).map(|operator| (operator.kind)(graph, node))
}

/// Whether a node stands between a sum and a neuron.
fn passes(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    matches!(kind(graph, id), Some(Kind::Elementwise(_)))
        || node.operator == "BatchNormalization"
        || REORDERS.contains(&node.operator.as_str())
        || added_constant(graph, id).is_some()
}

/// Operators that give the same numbers in the same order.
const REORDERS: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"];

/// The constant that an Add adds, and what it is added to.
fn added_constant(graph: &Graph, id: NodeId) -> Option<(ValueId, ValueId)> {
    let node = graph.node(id);
    let (a, b) = (node.input(0)?, node.input(1)?);
    if node.operator != "Add" {
        return None;
    }
    match (graph.constant(a), graph.constant(b)) {
        (None, Some(_)) => Some((b, a)),
        (Some(_), None) => Some((a, b)),
        _ => None,
    }
}

/// The activation function that alone takes a value.
fn function_behind(graph: &Graph, value: ValueId) -> Option<NodeId> {
    if let Some(id) = graph.producer_of(value)
        && matches!(kind(graph, id), Some(Kind::Elementwise(_)))
    {
        return None;
    }
    match graph.consumers()[value.index()].as_slice() {
        [only] if matches!(kind(graph, *only), Some(Kind::Elementwise(_))) => Some(*only),
        _ => None,
    }
}

struct Tracer<'a> {
    looked: &'a Looked,
    options: &'a InspectOptions,
}

impl Tracer<'_> {
    fn graph(&self) -> &Graph {
        &self.looked.graph
    }

    fn name(&self, id: ValueId) -> &str {
        &self.graph().value(id).name
    }

    fn number(&self, id: ValueId, place: &[usize]) -> Result<f64, Error> {
        self.looked.number(self.name(id), place).ok_or_else(|| {
            let shape = self.looked.value(self.name(id)).map(|array| array.shape().to_vec()).unwrap_or_default();
            wrong(format!(
                "{:?} has shape {shape:?}, and place {place:?} is none of it; give a place for every axis behind the row",
                self.name(id)
            ))
        })
    }

    fn run(&self, model: &Model, example: &Inputs, asked: &Neuron, start: ValueId) -> Result<Trace, Error> {
        let graph = self.graph();
        let number = self.number(start, &asked.index)?;
        let mut links = Vec::new();
        let (mut value, mut place) = (start, asked.index.clone());
        let mut bias = None;
        let mut delta = None;
        while let Some(id) = graph.producer_of(value).filter(|id| passes(graph, *id)) {
            let node = graph.node(id);
            if let Some((constant, before)) = added_constant(graph, id) {
                bias = Some(bias.unwrap_or(0.0) + self.broadcast(constant, value, &place)?);
                value = before;
                continue;
            }
            let before = node.input(0).ok_or_else(|| wrong(format!("{} takes nothing", node.operator)))?;
            if matches!(kind(graph, id), Some(Kind::Elementwise(_))) {
                links.push(self.activation(node, value, before, &place)?);
                delta = delta.or_else(|| self.looked.error(self.name(before), &place));
            } else if node.operator == "BatchNormalization" {
                links.push(self.normalised(node, value, before, &place)?);
            } else {
                place = self.reordered(value, before, &place)?;
            }
            value = before;
        }
        links.reverse();
        if let Some(id) = function_behind(graph, start) {
            let node = graph.node(id);
            if let Some(output) = node.output(0) {
                links.push(self.activation(node, output, start, &asked.index)?);
            }
        }
        let (sum, winner) = self.made(value, &place, bias)?;
        Ok(Trace {
            model: model.name().to_owned(),
            example: example.rows().first().map(|row| row.name.clone()).unwrap_or_default(),
            neuron: asked.to_string(),
            value: self.name(start).to_owned(),
            number,
            back: self.back(start, asked, &links, delta, value, &place),
            sum,
            winner,
            links,
        })
    }

    fn back(
        &self,
        start: ValueId,
        asked: &Neuron,
        links: &[Link],
        delta: Option<f64>,
        sum: ValueId,
        place: &[usize],
    ) -> Option<Back> {
        let (by, objective) = self.looked.judged?;
        let own = self.looked.error(self.name(start), &asked.index);
        let last = links.iter().rev().find_map(|link| match link {
            Link::Activation { value, .. } => Some(value.as_str()),
            Link::Normalised { .. } => None,
        });
        Some(Back {
            by,
            objective,
            activation: last.and_then(|value| self.looked.error(value, &asked.index)),
            delta: delta.or(own)?,
            sum: self.looked.error(self.name(sum), place),
        })
    }

    /// A constant's number where it is added to `value` at `place`.
    fn broadcast(&self, constant: ValueId, value: ValueId, place: &[usize]) -> Result<f64, Error> {
        let tensor = self.graph().constant(constant);
        let rank = self.looked.value(self.name(value)).map_or(0, |array| array.shape().len());
        let tensor = tensor.filter(|tensor| tensor.shape().len() <= rank);
        let tensor = tensor.ok_or_else(|| wrong("what is added is no constant".to_owned()))?;
        let whole: Vec<usize> = std::iter::once(0).chain(place.iter().copied()).collect();
        let at = &whole[rank - tensor.shape().len()..];
        let flat = tensor.shape().iter().zip(at).fold(0, |sum, (size, at)| sum * size + at.min(&(size - 1)));
        tensor.to_f64().get(flat).copied().ok_or_else(|| wrong("what is added is empty".to_owned()))
    }

    fn activation(
        &self,
        node: &Node,
        value: ValueId,
        before: ValueId,
        place: &[usize],
    ) -> Result<Link, Error> {
        let z = self.number(before, place)?;
        Ok(Link::Activation {
            value: self.name(value).to_owned(),
            function: node.operator.clone(),
            formula: formula(self.graph(), node),
            a: self.number(value, place)?,
            slope: self.slope(node, z)?,
            z,
        })
    }

    /// f′(z): the compiler's derivative of the function alone.
    fn slope(&self, node: &Node, z: f64) -> Result<Option<f64>, Error> {
        let mut graph = Graph::new();
        let element = node.input(0).and_then(|id| self.graph().value(id).element).unwrap_or(ElementType::F32);
        let mut inputs = vec![Some(graph.add_input("z", element, Some(vec![Dim::known(1)]))?)];
        for input in node.inputs.iter().skip(1) {
            let constant = match input {
                None => None,
                Some(id) => match self.graph().constant(*id).filter(|tensor| tensor.len() == 1) {
                    Some(tensor) => Some(graph.add_constant(self.name(*id), tensor.clone())?),
                    None => return Ok(None),
                },
            };
            inputs.push(constant);
        }
        let attributes = node.attributes.clone();
        let mut alone = NewNode::new(&node.operator, &[], "a");
        (alone.inputs, alone.attributes) = (inputs, attributes);
        let a = graph.push_one(alone)?;
        graph.add_output(a)?;
        let compiled = program(&graph, &Method::GRADIENT, &Request::default())?;
        let session = pellucid_runtime::open(&compiled.graph, &self.options.limits.engine_options())?;
        #[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
        let z = match element {
            ElementType::F64 => Array::F64(ndarray::arr1(&[z]).into_dyn()),
            _ => Array::F32(ndarray::arr1(&[z as f32]).into_dyn()),
        };
        let found = session.run(&[("z", &z)], &[compiled.attributions[0].1.as_str()])?;
        Ok(found[0].to_f64().iter().next().copied())
    }

    fn normalised(
        &self,
        node: &Node,
        value: ValueId,
        before: ValueId,
        place: &[usize],
    ) -> Result<Link, Error> {
        let channel = place.first().copied().unwrap_or(0);
        let of = |position: usize| {
            let tensor = node.input(position).and_then(|id| self.graph().constant(id));
            let number = tensor.and_then(|tensor| tensor.to_f64().get(channel).copied());
            number
                .ok_or_else(|| wrong("a batch normalisation without constants is not taken apart".to_owned()))
        };
        Ok(Link::Normalised {
            before: self.number(before, place)?,
            scale: of(1)?,
            shift: of(2)?,
            mean: of(3)?,
            variance: of(4)?,
            epsilon: f64::from(node.float("epsilon", 1e-5)),
            after: self.number(value, place)?,
        })
    }

    /// The place of the same number before a reshape.
    fn reordered(&self, value: ValueId, before: ValueId, place: &[usize]) -> Result<Vec<usize>, Error> {
        let shape = |id: ValueId| self.looked.value(self.name(id)).map(|array| array.shape()[1..].to_vec());
        let (Some(new), Some(old)) = (shape(value), shape(before)) else {
            return Err(wrong(format!("{:?} has no place before it was reshaped", self.name(value))));
        };
        if new.iter().product::<usize>() != old.iter().product::<usize>() {
            return Err(wrong(format!(
                "{:?} mixes rows, so that its numbers are not traced",
                self.name(value)
            )));
        }
        let flat = new.iter().zip(place).fold(0, |sum, (size, at)| sum * size + at);
        Ok(unravel(flat, &old))
    }
}

fn wrong(problem: String) -> Error {
    Error::Setting { name: "neuron".to_owned(), problem }
}

/// An activation function's formula, of z.
pub(crate) fn formula(graph: &Graph, node: &Node) -> String {
    let constant = |position: usize| {
        let tensor = node.input(position).and_then(|id| graph.constant(id))?;
        tensor.to_f32().first().copied()
    };
    let alpha = |default: f32| node.float("alpha", default);
    match node.operator.as_str() {
        "Relu" => "max(0, z)".to_owned(),
        "LeakyRelu" => format!("z where z > 0, else {}·z", alpha(0.01)),
        "Elu" => format!("z where z > 0, else {}·(e^z − 1)", alpha(1.0)),
        "Sigmoid" => "1 / (1 + e^−z)".to_owned(),
        "Tanh" => "(e^z − e^−z) / (e^z + e^−z)".to_owned(),
        "Gelu" => "z·Φ(z), Φ the normal distribution's".to_owned(),
        "Swish" => "z / (1 + e^−z)".to_owned(),
        "HardSwish" => "z·min(max(z + 3, 0), 6) / 6".to_owned(),
        "HardSigmoid" => "min(max(α·z + β, 0), 1)".to_owned(),
        "Softplus" => "ln(1 + e^z)".to_owned(),
        "Exp" => "e^z".to_owned(),
        "Clip" => match (constant(1), constant(2)) {
            (Some(low), Some(high)) => format!("min(max(z, {low}), {high})"),
            (Some(low), None) => format!("max(z, {low})"),
            (None, Some(high)) => format!("min(z, {high})"),
            (None, None) => "z".to_owned(),
        },
        other => format!("{other}(z)"),
    }
}
