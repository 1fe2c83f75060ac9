//! Einstein summation: one loop over every label.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::Array;
use crate::call::{Call, Operator, Outcome, advance, flat, strides};
use crate::error::Problem;

pub(crate) const OPERATORS: &[(&str, Operator)] = &[("Einsum", einsum)];

/// A label of an axis: a letter, or a place under the ellipsis counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// Labels of one term for an array of `rank` axes; `rank` is `None` for an output.
fn labels(term: &str, rank: Option<usize>, ellipsis: usize) -> Result<Vec<Label>, Problem> {
    let refuse = |what: &str| Problem::from(format!("term {term:?} of the equation {what}"));
    let letters = term.chars().filter(char::is_ascii_alphabetic).count();
    let dots = term.matches("...").count();
    if term.chars().count() != letters + 3 * dots || dots > 1 {
        return Err(refuse("is not made of letters and at most one ellipsis"));
    }
    let covered = match (rank, dots) {
        (None, _) => ellipsis * dots,
        (Some(rank), 0) if rank == letters => 0,
        (Some(rank), 1) if rank >= letters => rank - letters,
        (Some(rank), _) => return Err(refuse(&format!("does not fit an array of {rank} axes"))),
    };
    let before = term.split("...").next().unwrap_or(term).chars().count();
    let mut labels: Vec<Label> = term.chars().filter(char::is_ascii_alphabetic).map(Label::Letter).collect();
    labels.splice(before..before, (0..covered).rev().map(Label::Ellipsis));
    Ok(labels)
}

/// What an equation says of given arrays.
struct Plan {
    /// Labels of every operand.
    operands: Vec<Vec<Label>>,
    /// Labels of the output, then those summed over.
    order: Vec<Label>,
    /// How many of `order` are the output's.
    kept: usize,
    /// Size of every label.
    sizes: BTreeMap<Label, usize>,
}

fn plan(equation: &str, shapes: &[&[usize]]) -> Result<Plan, Problem> {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != shapes.len() {
        return Err(format!("the equation has {} terms for {} inputs", terms.len(), shapes.len()).into());
    }
    let mut operands = Vec::new();
    let mut sizes: BTreeMap<Label, usize> = BTreeMap::new();
    let mut uses: BTreeMap<Label, usize> = BTreeMap::new();
    for (term, shape) in terms.iter().zip(shapes) {
        let own = labels(term, Some(shape.len()), 0)?;
        for (label, size) in own.iter().zip(*shape) {
            let known = sizes.entry(*label).or_insert(*size);
            if *known == 1 {
                *known = *size;
            } else if *known != *size && *size != 1 {
                return Err(format!("sizes {known} and {size} of one label of {equation:?} differ").into());
            }
            *uses.entry(*label).or_default() += 1;
        }
        operands.push(own);
    }
    let ellipsis = sizes.keys().filter(|label| matches!(label, Label::Ellipsis(_))).count();
    let mut order = match right {
        Some(term) => labels(term, None, ellipsis)?,
        // Without an arrow: the ellipsis, then letters that occur once, in alphabetical order.
        None => (0..ellipsis)
            .rev()
            .map(Label::Ellipsis)
            .chain(
                uses.iter()
                    .filter(|(label, count)| **count == 1 && matches!(label, Label::Letter(_)))
                    .map(|(label, _)| *label),
            )
            .collect(),
    };
    let kept = order.len();
    for (position, label) in order.iter().enumerate() {
        if !sizes.contains_key(label) || order[..position].contains(label) {
            return Err(
                format!("the output of {equation:?} repeats a label or has one that no input has").into()
            );
        }
    }
    let summed: Vec<Label> = sizes.keys().filter(|label| !order.contains(label)).copied().collect();
    order.extend(summed);
    Ok(Plan { operands, order, kept, sizes })
}

impl Plan {
    /// How far one step of every label of `order` moves within an operand; labels of size 1 stand still.
    fn steps(&self, operand: usize, shape: &[usize]) -> Vec<usize> {
        let strides = strides(shape);
        self.order
            .iter()
            .map(|label| {
                let own = self.operands[operand].iter().enumerate().filter(|(_, other)| *other == label);
                own.filter(|(axis, _)| shape[*axis] != 1).map(|(axis, _)| strides[axis]).sum()
            })
            .collect()
    }

    /// Sums the products over every label that the output lacks.
    fn evaluate<T: Copy>(
        &self,
        call: &Call<'_>,
        arrays: &[&ArrayD<T>],
        (zero, one): (T, T),
        add: fn(T, T) -> T,
        multiply: fn(T, T) -> T,
    ) -> Result<ArrayD<T>, Problem> {
        let sizes: Vec<usize> = self.order.iter().map(|label| self.sizes[label]).collect();
        let (kept, summed) = sizes.split_at(self.kept);
        let count = call.limits.allow(kept)?;
        // Sums longer than any array would take longer than anyone waits.
        call.limits.allow(summed)?;
        let steps: Vec<Vec<usize>> =
            arrays.iter().enumerate().map(|(operand, array)| self.steps(operand, array.shape())).collect();
        let place = |steps: &[usize], index: &[usize]| -> usize {
            steps.iter().zip(index).map(|(step, index)| step * index).sum()
        };
        let mut values = Vec::with_capacity(count);
        let mut output = vec![0; kept.len()];
        for _ in 0..count {
            let mut sum = zero;
            let starts: Vec<usize> = steps.iter().map(|steps| place(steps, &output)).collect();
            let mut inner = vec![0; summed.len()];
            let mut more = !summed.contains(&0);
            while more {
                let mut term = one;
                for ((array, steps), start) in arrays.iter().zip(&steps).zip(&starts) {
                    term = multiply(term, flat(array)[start + place(&steps[self.kept..], &inner)]);
                }
                sum = add(sum, term);
                more = advance(&mut inner, summed);
            }
            values.push(sum);
            advance(&mut output, kept);
        }
        call.limits.array(kept, values)
    }
}

fn einsum(call: &Call<'_>) -> Outcome {
    let mut shapes = Vec::new();
    for index in 0..call.inputs.len() {
        shapes.push(call.input(index)?.shape());
    }
    let plan = plan(call.node.string("equation", ""), &shapes)?;
    if let Array::Int(_) = call.input(0)? {
        let arrays: Vec<_> = (0..shapes.len()).map(|index| call.int(index)).collect::<Result<_, _>>()?;
        return Ok(vec![Array::Int(plan.evaluate(
            call,
            &arrays,
            (0, 1),
            i64::wrapping_add,
            i64::wrapping_mul,
        )?)]);
    }
    let arrays: Vec<_> = (0..shapes.len()).map(|index| call.float(index)).collect::<Result<_, _>>()?;
    Ok(vec![Array::Float(plan.evaluate(call, &arrays, (0.0, 1.0), |a, b| a + b, |a, b| a * b)?)])
}

#[cfg(test)]
mod tests {
    use crate::testing::{counted, floats, ints, node};

    #[test]
    fn products_sums_diagonals_and_transposes() {
        let a = counted(&[2, 3]);
        let run =
            |equation: &str, inputs: &[crate::Array]| node("Einsum").string("equation", equation).run(inputs);
        assert_eq!(run("ij->ji", std::slice::from_ref(&a)), floats(&[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        assert_eq!(run("ij -> i", std::slice::from_ref(&a)), floats(&[2], &[3.0, 12.0]));
        assert_eq!(
            run("ji", std::slice::from_ref(&a)),
            run("ij->ji", std::slice::from_ref(&a)),
            "letters come in alphabetical order"
        );
        assert_eq!(run("ii", &[counted(&[3, 3])]), floats(&[], &[12.0]));
        assert_eq!(run("ii->i", &[counted(&[3, 3])]), floats(&[3], &[0.0, 4.0, 8.0]));
        let squared = run("...ij,...kj->...ik", &[counted(&[2, 1, 2]), counted(&[1, 1, 2])]);
        assert_eq!(squared, floats(&[2, 1, 1], &[1.0, 3.0]));
        assert_eq!(run("i,i->", &[ints(&[2], &[3, 4]), ints(&[2], &[5, 6])]), ints(&[], &[39]));
    }

    #[test]
    fn equations_that_do_not_fit_are_errors() {
        let fail = |equation: &str| node("Einsum").string("equation", equation).fail(&[counted(&[2, 3])]);
        for equation in ["ijk->i", "ij,jk->ik", "ij->k", "i1->i", "ii->i", "ij->ii", "......->", ""] {
            let error = fail(equation);
            assert!(error.starts_with("Einsum node"), "{equation}: {error}");
        }
    }
}
