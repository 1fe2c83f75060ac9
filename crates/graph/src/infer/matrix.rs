//! Matrix products.

use std::collections::{BTreeMap, BTreeSet};

use super::elementwise::one_way;
use super::{Class, Outcome, Scope, differ, unify};
use crate::dim::{Dim, Shape, display_shape};

pub(super) fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    Some(match operator {
        "MatMul" => matmul,
        "Gemm" => gemm,
        "Einsum" => einsum,
        _ => return None,
    })
}

fn matmul(scope: &Scope<'_>) -> Outcome {
    scope.value(0)?;
    scope.value(1)?;
    let element = scope.element([0, 1], Class::Number)?;
    scope.expect_rank_from(0, 1)?;
    scope.expect_rank_from(1, 1)?;
    let (Some(a), Some(b)) = (scope.shape(0), scope.shape(1)) else {
        return scope.one(element, None);
    };
    // A vector is a matrix of one row on the left, of one column on the right; that axis then goes again.
    let (a_batch, rows, a_inner) = match a {
        [inner] => (&a[..0], None, inner),
        [batch @ .., rows, inner] => (batch, Some(rows), inner),
        [] => return scope.one(element, None),
    };
    let (b_batch, b_inner, columns) = match b {
        [inner] => (&b[..0], inner, None),
        [batch @ .., inner, columns] => (batch, inner, Some(columns)),
        [] => return scope.one(element, None),
    };
    if differ(a_inner, b_inner) {
        return Err(format!(
            "cannot multiply {} with {}: {a_inner} columns meet {b_inner} rows",
            display_shape(a),
            display_shape(b)
        ));
    }
    let mut shape = scope.broadcast(a_batch, b_batch, 0)?;
    shape.extend(rows.into_iter().chain(columns).cloned());
    scope.one(element, Some(shape))
}

fn gemm(scope: &Scope<'_>) -> Outcome {
    scope.value(0)?;
    scope.value(1)?;
    let element = scope.element(0..3, Class::Number)?;
    scope.expect_rank(0, 2)?;
    scope.expect_rank(1, 2)?;
    let oriented = |input: usize, transposed: &str| match scope.shape(input) {
        Some([first, second]) if scope.node.int(transposed, 0) != 0 => Some([second.clone(), first.clone()]),
        Some([first, second]) => Some([first.clone(), second.clone()]),
        _ => None,
    };
    let (a, b) = (oriented(0, "transA"), oriented(1, "transB"));
    if let (Some(a), Some(b)) = (&a, &b)
        && differ(&a[1], &b[0])
    {
        return Err(format!(
            "cannot multiply {} with {}: {} columns meet {} rows",
            display_shape(a),
            display_shape(b),
            a[1],
            b[0]
        ));
    }
    let rows = a.map_or_else(|| scope.fresh(0, 0), |[rows, _]| rows);
    let columns = b.map_or_else(|| scope.fresh(0, 1), |[_, columns]| columns);
    let shape = vec![rows, columns];
    if let Some(bias) = scope.shape(2) {
        one_way(scope, &shape, bias, "the bias")?;
    }
    scope.one(element, Some(shape))
}

/// Labels of one operand or of the result: those before an ellipsis, whether there is one, those after.
struct Labels {
    before: Vec<char>,
    ellipsis: bool,
    after: Vec<char>,
}

impl Labels {
    fn parse(text: &str) -> Result<Self, String> {
        let compact: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (before, after) = match compact.split_once("...") {
            Some((before, after)) => (before, Some(after)),
            None => (compact.as_str(), None),
        };
        let letters = |text: &str| -> Result<Vec<char>, String> {
            match text.chars().find(|letter| !letter.is_ascii_alphabetic()) {
                Some(other) => Err(format!("the equation has {other:?} where a letter is expected")),
                None => Ok(text.chars().collect()),
            }
        };
        Ok(Self {
            before: letters(before)?,
            ellipsis: after.is_some(),
            after: letters(after.unwrap_or_default())?,
        })
    }

    fn letters(&self) -> impl Iterator<Item = char> + '_ {
        self.before.iter().chain(&self.after).copied()
    }
}

fn einsum(scope: &Scope<'_>) -> Outcome {
    let count = scope.node.inputs.len();
    let element = scope.element(0..count, Class::Number)?;
    let equation = scope.node.string("equation", "");
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(Labels::parse(right)?)),
        None => (equation, None),
    };
    let operands = left.split(',').map(Labels::parse).collect::<Result<Vec<_>, _>>()?;
    if operands.len() != count {
        return Err(format!(
            "the equation {equation:?} has {} operands, found {count} inputs",
            operands.len()
        ));
    }
    let mut sizes: BTreeMap<char, Dim> = BTreeMap::new();
    let mut batch: Option<Shape> = Some(Vec::new());
    for (input, labels) in operands.iter().enumerate() {
        scope.value(input)?;
        let Some(shape) = scope.shape(input) else {
            if labels.ellipsis {
                batch = None;
            }
            continue;
        };
        let named = labels.before.len() + labels.after.len();
        if shape.len() < named || (shape.len() > named && !labels.ellipsis) {
            return Err(format!(
                "the equation {equation:?} names {named} axes of input {input} of shape {}",
                display_shape(shape)
            ));
        }
        let tail = shape.len() - labels.after.len();
        let middle = &shape[labels.before.len()..tail];
        batch = match batch {
            Some(batch) => Some(scope.broadcast(&batch, middle, 0)?),
            None => None,
        };
        let own = labels.before.iter().zip(shape).chain(labels.after.iter().zip(&shape[tail..]));
        for (label, size) in own {
            let known = match sizes.get(label) {
                Some(other) => unify(other, size).ok_or_else(|| {
                    format!("the equation {equation:?} gives {label:?} the sizes {other} and {size}")
                })?,
                None => size.clone(),
            };
            sizes.insert(*label, known);
        }
    }
    let result = right.unwrap_or_else(|| implicit(&operands));
    let taken: BTreeSet<char> = operands.iter().flat_map(Labels::letters).collect();
    let mut given = BTreeSet::new();
    for label in result.letters() {
        if !taken.contains(&label) {
            return Err(format!("the equation {equation:?} has {label:?} in its result alone"));
        }
        if !given.insert(label) {
            return Err(format!("the equation {equation:?} has {label:?} twice in its result"));
        }
    }
    if result.ellipsis && batch.is_none() {
        return scope.one(element, None);
    }
    let size_of = |label: &char| sizes.get(label).cloned();
    let batch = if result.ellipsis { batch.unwrap_or_default() } else { Vec::new() };
    let before = result.before.iter().map(size_of);
    let shape = before.chain(batch.into_iter().map(Some)).chain(result.after.iter().map(size_of));
    let shape = shape.enumerate().map(|(axis, size)| size.unwrap_or_else(|| scope.fresh(0, axis)));
    scope.one(element, Some(shape.collect()))
}

/// The result of an equation without an arrow: the ellipsis, then the labels that appear once, sorted.
fn implicit(operands: &[Labels]) -> Labels {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for label in operands.iter().flat_map(Labels::letters) {
        *counts.entry(label).or_insert(0) += 1;
    }
    Labels {
        before: Vec::new(),
        ellipsis: operands.iter().any(|operand| operand.ellipsis),
        after: counts.into_iter().filter(|(_, count)| *count == 1).map(|(label, _)| label).collect(),
    }
}
