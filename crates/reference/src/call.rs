//! One call of an operator: its node, its inputs and what it may spend.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{ElementType, Graph, Node, ValueId};

use crate::Array;
use crate::error::Problem;

/// What an operator returns: its outputs in order.
pub(crate) type Outcome = Result<Vec<Array>, Problem>;

/// An operator's implementation.
pub(crate) type Operator = fn(&Call<'_>) -> Outcome;

/// What an evaluation may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Elements of one array; each costs 8 bytes.
    pub elements: usize,
    /// Iterations of one `Loop`.
    pub iterations: u64,
}

impl Default for Limits {
    /// 2²⁸ elements (2 GiB) an array, 2²⁰ iterations.
    fn default() -> Self {
        Self { elements: 1 << 28, iterations: 1 << 20 }
    }
}

impl Limits {
    /// Number of elements of `shape`, where an array of it may be made.
    ///
    /// Zero sizes do not hide absurd others: the product of the rest is checked.
    pub(crate) fn allow(self, shape: &[usize]) -> Result<usize, Problem> {
        let product = shape
            .iter()
            .filter(|size| **size != 0)
            .try_fold(1usize, |product, size| product.checked_mul(*size))
            .filter(|product| *product <= self.elements);
        match product {
            Some(_) if shape.contains(&0) => Ok(0),
            Some(product) => Ok(product),
            None => {
                Err(format!("an array of shape {shape:?} is past the limit of {} elements", self.elements)
                    .into())
            }
        }
    }

    /// An array of `shape`, every element `value`.
    pub(crate) fn filled<T: Clone>(self, shape: &[usize], value: T) -> Result<ArrayD<T>, Problem> {
        self.allow(shape)?;
        Ok(ArrayD::from_elem(IxDyn(shape), value))
    }

    /// An array of `shape` over `values` in row-major order.
    pub(crate) fn array<T>(self, shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, Problem> {
        self.allow(shape)?;
        Ok(ArrayD::from_shape_vec(IxDyn(shape), values)?)
    }
}

/// One call of an operator. Every input is in row-major order.
pub(crate) struct Call<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) node: &'a Node,
    pub(crate) inputs: &'a [Option<&'a Array>],
    pub(crate) limits: Limits,
    /// Values of `graph` that the node's bodies capture.
    pub(crate) captured: &'a dyn Outside,
}

/// The values around a body.
pub(crate) trait Outside {
    /// The array of a value, where it is computed already.
    fn array(&self, id: ValueId) -> Option<&Array>;
}

impl Outside for [Option<Cow<'_, Array>>] {
    fn array(&self, id: ValueId) -> Option<&Array> {
        self.get(id.index()).and_then(Option::as_deref)
    }
}

impl Outside for Vec<Option<Cow<'_, Array>>> {
    fn array(&self, id: ValueId) -> Option<&Array> {
        self.as_slice().array(id)
    }
}

impl Outside for BTreeMap<ValueId, Array> {
    fn array(&self, id: ValueId) -> Option<&Array> {
        self.get(&id)
    }
}

impl<'a> Call<'a> {
    /// The input at `index`, where it is given.
    pub(crate) fn optional(&self, index: usize) -> Option<&'a Array> {
        self.inputs.get(index).copied().flatten()
    }

    /// The input at `index`.
    pub(crate) fn input(&self, index: usize) -> Result<&'a Array, Problem> {
        self.optional(index).ok_or_else(|| format!("input {index} is missing").into())
    }

    /// The floats at `index`.
    pub(crate) fn float(&self, index: usize) -> Result<&'a ArrayD<f64>, Problem> {
        let array = self.input(index)?;
        array.as_float().ok_or_else(|| wrong_kind(index, array, "float"))
    }

    /// The floats at `index`, where that input is given.
    pub(crate) fn optional_float(&self, index: usize) -> Result<Option<&'a ArrayD<f64>>, Problem> {
        self.optional(index).map(|_| self.float(index)).transpose()
    }

    /// The integers at `index`.
    pub(crate) fn int(&self, index: usize) -> Result<&'a ArrayD<i64>, Problem> {
        let array = self.input(index)?;
        array.as_int().ok_or_else(|| wrong_kind(index, array, "int"))
    }

    /// The truth values at `index`.
    pub(crate) fn truth(&self, index: usize) -> Result<&'a ArrayD<bool>, Problem> {
        let array = self.input(index)?;
        array.as_bool().ok_or_else(|| wrong_kind(index, array, "bool"))
    }

    /// The integers at `index` as a list, where that input is given.
    pub(crate) fn list(&self, index: usize) -> Result<Option<Vec<i64>>, Problem> {
        match self.optional(index) {
            Some(_) => Ok(Some(self.int(index)?.iter().copied().collect())),
            None => Ok(None),
        }
    }

    /// The one element of the input at `index`, where that input is given.
    #[expect(clippy::unused_self, reason = "it reads as the other accessors do")]
    pub(crate) fn scalar<T: Copy>(&self, index: usize, array: &ArrayD<T>) -> Result<T, Problem> {
        match array.iter().next() {
            Some(value) if array.len() == 1 => Ok(*value),
            _ => Err(format!("input {index} has shape {:?}, one element was expected", array.shape()).into()),
        }
    }

    /// The axis that the integer attribute `name` gives for an array of `rank` axes.
    pub(crate) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, Problem> {
        axis(self.node.int(name, default), rank)
    }

    /// The element type that the graph declares for an output.
    pub(crate) fn output_element(&self, index: usize) -> Option<ElementType> {
        self.graph.value(self.node.output(index)?).element
    }

    /// The element type that the graph declares for an input.
    pub(crate) fn input_element(&self, index: usize) -> Option<ElementType> {
        self.graph.value(self.node.input(index)?).element
    }
}

/// The complaint that an input is not of the expected kind.
pub(crate) fn wrong_kind(index: usize, array: &Array, expected: &str) -> Problem {
    format!("input {index} is a {} array, a {expected} array was expected", array.kind()).into()
}

/// The position of axis `axis`, counted from the end where it is negative, among `rank` axes.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    position(axis, rank).ok_or_else(|| format!("axis {axis} is outside an array of {rank} axes").into())
}

/// The positions of several axes, each once.
pub(crate) fn axes(listed: &[i64], rank: usize) -> Result<Vec<usize>, Problem> {
    let mut found = Vec::with_capacity(listed.len());
    for entry in listed {
        let position = axis(*entry, rank)?;
        if found.contains(&position) {
            return Err(format!("axis {entry} is listed twice in {listed:?}").into());
        }
        found.push(position);
    }
    Ok(found)
}

/// An index into `size` elements, counted from the end where it is negative.
pub(crate) fn position(index: i64, size: usize) -> Option<usize> {
    let counted = if index < 0 { index.checked_add(signed(size))? } else { index };
    usize::try_from(counted).ok().filter(|index| *index < size)
}

/// A size as a signed number; arrays have fewer than 2⁶³ elements.
pub(crate) fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// How many elements lie before, on and after `axis` of `shape`: in row-major order the element at
/// `(o, k, i)` is the `((o · n + k) · inner + i)`-th.
pub(crate) fn lanes(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// The elements of an array that is in row-major order, as every input of a [`Call`] is.
pub(crate) fn flat<T>(array: &ArrayD<T>) -> &[T] {
    array.as_slice().expect("inputs of a call are in row-major order")
}

/// The index after `index` in row-major order of `shape`; `false` after the last one.
pub(crate) fn advance(index: &mut [usize], shape: &[usize]) -> bool {
    for (place, size) in index.iter_mut().zip(shape).rev() {
        *place += 1;
        if *place < *size {
            return true;
        }
        *place = 0;
    }
    false
}

/// Row-major strides of `shape`.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_limited() {
        let limits = Limits { elements: 1000, iterations: 1 };
        assert_eq!(limits.allow(&[10, 100]).unwrap(), 1000);
        assert_eq!(limits.allow(&[]).unwrap(), 1);
        assert_eq!(limits.allow(&[0, 5]).unwrap(), 0);
        assert!(limits.allow(&[10, 101]).is_err());
        assert!(limits.allow(&[0, usize::MAX, 2]).is_err(), "a zero must not hide an overflow");
        assert!(limits.allow(&[usize::MAX, usize::MAX]).is_err());
    }

    #[test]
    fn indices_count_from_the_end() {
        assert_eq!(position(-1, 3), Some(2));
        assert_eq!(position(-4, 3), None);
        assert_eq!(position(3, 3), None);
        assert_eq!(position(i64::MIN, 3), None);
        assert!(axes(&[0, -2], 2).is_err(), "both are axis 0");
    }
}
