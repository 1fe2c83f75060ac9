//! Matrix products.

use std::num::Wrapping;

use ndarray::{ArrayD, ArrayView2, Ix2, LinalgScalar};

use crate::Array;
use crate::call::{Call, Operator, Outcome, flat};
use crate::error::Problem;
use crate::ops::broadcast;
use crate::ops::cast::truncate;

pub(crate) const OPERATORS: &[(&str, Operator)] = &[("Gemm", gemm), ("MatMul", matmul)];

fn matmul(call: &Call<'_>) -> Outcome {
    let result = match (call.input(0)?, call.input(1)?) {
        (Array::Float(a), Array::Float(b)) => Array::Float(product(call, a, b)?),
        (Array::Int(a), Array::Int(b)) => {
            let wrapped = product(call, &a.mapv(Wrapping), &b.mapv(Wrapping))?;
            Array::Int(wrapped.mapv(|Wrapping(value)| value))
        }
        (a, b) => {
            return Err(format!(
                "its inputs are {} and {} arrays, numbers of one kind were expected",
                a.kind(),
                b.kind()
            )
            .into());
        }
    };
    Ok(vec![result])
}

/// NumPy's `matmul`: of the last two axes, the others broadcast; a vector is a row before or a column after.
fn product<T: LinalgScalar>(call: &Call<'_>, a: &ArrayD<T>, b: &ArrayD<T>) -> Result<ArrayD<T>, Problem> {
    let (shape_a, shape_b) = (a.shape(), b.shape());
    let refuse = || Problem::from(format!("shapes {shape_a:?} and {shape_b:?} cannot be multiplied"));
    let (batch_a, m, k) = match shape_a {
        [] => return Err(refuse()),
        [k] => (&[][..], 1, *k),
        [batch @ .., m, k] => (batch, *m, *k),
    };
    let (batch_b, k_b, n) = match shape_b {
        [] => return Err(refuse()),
        [k] => (&[][..], *k, 1),
        [batch @ .., k, n] => (batch, *k, *n),
    };
    if k != k_b {
        return Err(refuse());
    }
    let batch = broadcast::shape(batch_a, batch_b)?;
    let mut shape = batch.clone();
    shape.extend([m, n]);
    let count = call.limits.allow(&shape)?;
    // Where each batch's matrix starts: positions of the matrices, broadcast.
    let starts = |own: &[usize]| -> Result<Vec<usize>, Problem> {
        let numbers = (0..own.iter().product()).collect();
        let numbered = ArrayD::from_shape_vec(own, numbers)?;
        Ok(broadcast::view(&numbered, &batch)?.iter().copied().collect())
    };
    let mut values = Vec::with_capacity(count);
    for (at, bt) in starts(batch_a)?.into_iter().zip(starts(batch_b)?) {
        let left = ArrayView2::from_shape((m, k), &flat(a)[at * m * k..(at + 1) * m * k])?;
        let right = ArrayView2::from_shape((k, n), &flat(b)[bt * k * n..(bt + 1) * k * n])?;
        values.extend(left.dot(&right).iter().copied());
    }
    if shape_a.len() == 1 {
        shape.remove(batch.len());
    }
    if shape_b.len() == 1 {
        shape.pop();
    }
    call.limits.array(&shape, values)
}

/// `alpha · A' · B' + beta · C`. Integers go through floats and are cut off at the end.
fn gemm(call: &Call<'_>) -> Outcome {
    let whole = matches!(call.input(0)?, Array::Int(_));
    let matrix = |index: usize, flag: &str| -> Result<_, Problem> {
        let array = call.input(index)?;
        if array.rank() != 2 {
            return Err(format!("input {index} has shape {:?}, a matrix was expected", array.shape()).into());
        }
        let matrix = array.to_floats().into_dimensionality::<Ix2>()?;
        Ok(if call.node.int(flag, 0) == 0 { matrix } else { matrix.reversed_axes() })
    };
    let (a, b) = (matrix(0, "transA")?, matrix(1, "transB")?);
    if a.ncols() != b.nrows() {
        return Err(format!("matrices of {:?} and {:?} cannot be multiplied", a.shape(), b.shape()).into());
    }
    let shape = [a.nrows(), b.ncols()];
    call.limits.allow(&shape)?;
    let mut y = (a.dot(&b) * f64::from(call.node.float("alpha", 1.0))).into_dyn();
    if let Some(c) = call.optional(2) {
        let c = c.to_floats();
        let beta = f64::from(call.node.float("beta", 1.0));
        y.zip_mut_with(&broadcast::view(&c, &shape)?, |y, c| *y += beta * c);
    }
    Ok(vec![if whole { Array::Int(y.mapv(truncate)) } else { Array::Float(y) }])
}

#[cfg(test)]
mod tests {
    use crate::testing::{counted, floats, ints, node};

    #[test]
    fn batches_broadcast() {
        let a = counted(&[2, 1, 1, 2]);
        let b = counted(&[3, 2, 1]);
        let found = node("MatMul").run(&[a, b]);
        assert_eq!(found, floats(&[2, 3, 1, 1], &[1.0, 3.0, 5.0, 3.0, 13.0, 23.0]));
    }

    #[test]
    fn vectors_lose_their_axis() {
        let (row, matrix) = (floats(&[2], &[1.0, 2.0]), counted(&[2, 3]));
        assert_eq!(node("MatMul").run(&[row.clone(), matrix.clone()]), floats(&[3], &[6.0, 9.0, 12.0]));
        assert_eq!(node("MatMul").run(&[row.clone(), row.clone()]), floats(&[], &[5.0]));
        assert!(node("MatMul").fail(&[matrix, row]).contains("cannot be multiplied"));
        assert_eq!(
            node("MatMul").run(&[ints(&[1, 2], &[2, 3]), ints(&[2, 1], &[4, 5])]),
            ints(&[1, 1], &[23])
        );
    }

    #[test]
    fn an_empty_inner_axis_gives_zeros() {
        let found = node("MatMul").run(&[floats(&[2, 0], &[]), floats(&[0, 2], &[])]);
        assert_eq!(found, floats(&[2, 2], &[0.0; 4]));
    }

    #[test]
    fn gemm_transposes_scales_and_adds() {
        let (a, b) = (floats(&[2, 1], &[1.0, 2.0]), floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let found = node("Gemm")
            .int("transA", 1)
            .int("transB", 1)
            .float("alpha", 2.0)
            .float("beta", 0.5)
            .run(&[a, b, floats(&[1], &[2.0])]);
        assert_eq!(found, floats(&[1, 3], &[11.0, 23.0, 35.0]));
    }
}
