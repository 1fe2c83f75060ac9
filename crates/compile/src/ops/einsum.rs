//! Einstein summation: the derivative for one operand is another Einstein summation.

use std::collections::BTreeSet;

use pellucid_graph::{Attribute, Graph, Node, Tensor};

use super::{Operator, fixed};
use crate::build::{Var, signed};
use crate::error::{CompileError, Result};
use crate::kind::{Form, Kind};
use crate::step::{MADE_ELEMENTS, Signals, Step, countable};

pub(super) const OPERATORS: &[Operator] = &[Operator::new("Einsum", kind, einsum)];

/// Linear where all operands but one depend on no input of the model.
fn kind(graph: &Graph, node: &Node) -> Kind {
    let varying = (0..node.inputs.len()).filter(|index| !fixed(graph, node, *index)).count();
    match node.inputs.len() {
        1 => Kind::Linear(Form::Pool),
        _ if varying <= 1 => Kind::Linear(Form::Dense),
        _ => Kind::Bilinear,
    }
}

/// Labels of every operand and of the output; an ellipsis has become labels of its own.
struct Plan {
    operands: Vec<Vec<char>>,
    output: Vec<char>,
}

/// Labels that stand for the axes of an ellipsis, the last axis first: a file's own labels are ASCII letters, and an
/// equation with more axes than there are free letters is refused.
fn spare(equation: &str) -> Vec<char> {
    ('a'..='z').chain('A'..='Z').filter(|letter| !equation.contains(*letter)).collect()
}

impl Plan {
    fn of(equation: &str, ranks: &[usize]) -> Result<Self> {
        let wrong = |what: &str| CompileError::Model(format!("the equation {equation:?} {what}"));
        let compact: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match compact.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (compact.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(wrong("has another number of terms than there are inputs"));
        }
        let spare = spare(&compact);
        let expand = |term: &str, covered: usize| -> Result<Vec<char>> {
            let Some((before, after)) = term.split_once("...") else { return Ok(term.chars().collect()) };
            let dots = spare.get(..covered).ok_or_else(|| wrong("has too many axes"))?;
            Ok(before.chars().chain(dots.iter().rev().copied()).chain(after.chars()).collect())
        };
        let mut operands = Vec::new();
        let mut widest = 0;
        for (term, rank) in terms.iter().zip(ranks) {
            let letters = term.chars().filter(char::is_ascii_alphabetic).count();
            let covered = rank.checked_sub(letters).ok_or_else(|| wrong("does not fit the inputs"))?;
            widest = widest.max(covered);
            operands.push(expand(term, covered)?);
        }
        let output = if let Some(term) = right {
            expand(term, widest)?
        } else {
            let letters: BTreeSet<char> = left.chars().filter(char::is_ascii_alphabetic).collect();
            let once = letters.into_iter().filter(|letter| left.matches(*letter).count() == 1);
            let dots = spare.get(..widest).ok_or_else(|| wrong("has too many axes"))?;
            dots.iter().rev().copied().chain(once).collect()
        };
        Ok(Self { operands, output })
    }
}

/// A value and its labels without axes of size 1, which an ellipsis may broadcast.
fn without_units<'g>(v: Var<'g>, labels: &[char]) -> Result<(Var<'g>, Vec<char>)> {
    let shape = v.shape()?;
    let units: Vec<usize> = (0..labels.len())
        .filter(|axis| shape.get(*axis).is_some_and(|size| size.value() == Some(1)))
        .collect();
    let kept = (0..labels.len()).filter(|axis| !units.contains(axis)).map(|axis| labels[axis]).collect();
    Ok((v.squeeze(&units), kept))
}

/// dxₖ = the summation of dy and the other operands to the labels of xₖ
fn einsum<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let operands = (0..s.input_count()).map(|index| s.x(index)).collect::<Result<Vec<_>>>()?;
    let ranks = operands.iter().map(|x| x.rank()).collect::<Result<Vec<_>>>()?;
    let plan = Plan::of(s.node.string("equation", ""), &ranks)?;
    let mut signals = Vec::new();
    for (index, x) in operands.iter().enumerate() {
        let signal = if s.wants(index) { Some(signal_of(s, &plan, &operands, index, *x)?) } else { None };
        signals.push(signal);
    }
    Ok(signals)
}

fn signal_of<'g>(
    s: &Step<'g>,
    plan: &Plan,
    operands: &[Var<'g>],
    index: usize,
    x: Var<'g>,
) -> Result<Var<'g>> {
    let mut factors = vec![without_units(s.dy()?, &plan.output)?];
    for (at, (other, labels)) in operands.iter().zip(&plan.operands).enumerate() {
        if at != index {
            factors.push(without_units(*other, labels)?);
        }
    }
    let known: BTreeSet<char> = factors.iter().flat_map(|(_, labels)| labels.iter().copied()).collect();
    let own = &plan.operands[index];
    let shape = x.shape()?;
    // Labels that the sum leaves: each once, and none along which x is broadcast.
    let mut left: Vec<char> = Vec::new();
    for (axis, label) in own.iter().enumerate() {
        if known.contains(label) && !left.contains(label) && shape[axis].value() != Some(1) {
            left.push(*label);
        }
    }
    let sum = match &factors[..] {
        [(factor, labels)] if *labels == left => *factor,
        _ => {
            let terms: Vec<String> = factors.iter().map(|(_, labels)| labels.iter().collect()).collect();
            let equation = format!("{}->{}", terms.join(","), left.iter().collect::<String>());
            let inputs: Vec<Var<'g>> = factors.iter().map(|(factor, _)| *factor).collect();
            s.builder().op("Einsum", &inputs, &[("equation", Attribute::String(equation))])
        }
    };
    // Each of the sum's axes goes to the first place of its label; along the others it is copied, but where a label
    // comes again only the diagonal gets anything.
    let mut missing = Vec::new();
    let mut diagonals = Vec::new();
    for (axis, label) in own.iter().enumerate() {
        let first = own.iter().position(|other| other == label).unwrap_or(axis);
        if first < axis && shape[axis].value() != Some(1) {
            diagonals.push((first, axis));
        }
        if first < axis || !left.contains(label) {
            missing.push(axis);
        }
    }
    let mut signal = sum.unsqueeze(&missing);
    for (first, again) in diagonals {
        signal = signal * diagonal(x, first, again)?;
    }
    Ok(signal)
}

/// Ones where the positions along two axes of `x` are equal, zeros elsewhere.
fn diagonal(x: Var<'_>, first: usize, again: usize) -> Result<Var<'_>> {
    let size = x.size(first)?;
    countable([signed(size), signed(size)], MADE_ELEMENTS, "elements of a diagonal")?;
    let ones: Vec<f64> = (0..size * size).map(|at| f64::from(u8::from(at / size == at % size))).collect();
    let mut shape = vec![1; x.rank()?];
    (shape[first], shape[again]) = (size, size);
    let tensor = Tensor::from_values(x.element(), shape, &ones)
        .map_err(|error| CompileError::Emitted(error.to_string()))?;
    Ok(x.builder().constant(tensor))
}
