//! Implementations of operators: one file a family, each with a table of its operators' names.

pub(crate) mod activation;
pub(crate) mod binary;
pub(crate) mod broadcast;
pub(crate) mod cast;
pub(crate) mod control;
pub(crate) mod convolution;
pub(crate) mod einsum;
pub(crate) mod gather;
pub(crate) mod generate;
pub(crate) mod linear;
pub(crate) mod normalization;
pub(crate) mod order;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod quantize;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod scatter;
pub(crate) mod shape;
pub(crate) mod softmax;
pub(crate) mod unary;
pub(crate) mod window;

#[cfg(test)]
mod tests {
    use crate::Array;
    use crate::testing::{Tested, ints, node};

    /// No integer, however large, stops the process: each result wraps or is an error.
    #[test]
    fn integers_wrap_and_do_not_panic() {
        const LOW: i64 = i64::MIN;
        const HIGH: i64 = i64::MAX;
        let pair = |a: i64, b: i64| [ints(&[1], &[a]), ints(&[1], &[b])];
        let row = || [ints(&[1, 2], &[HIGH, HIGH])];
        let square = || [ints(&[1, 2], &[HIGH, HIGH]), ints(&[2, 1], &[HIGH, 3])];
        let axis = || [ints(&[2], &[HIGH, 1]), ints(&[1], &[0])];
        let cases: Vec<(Tested, Vec<Array>, i64)> = vec![
            (node("Add"), pair(HIGH, 1).into(), LOW),
            (node("Sub"), pair(LOW, 1).into(), HIGH),
            (node("Mul"), pair(HIGH, 2).into(), -2),
            (node("Div"), pair(LOW, -1).into(), LOW),
            (node("Mod"), pair(LOW, -1).into(), 0),
            (node("Mod").int("fmod", 1), pair(LOW, -1).into(), 0),
            (node("Pow"), pair(2, 64).into(), 0),
            (node("Neg"), vec![ints(&[1], &[LOW])], LOW),
            (node("Abs"), vec![ints(&[1], &[LOW])], LOW),
            (node("MatMul"), square().into(), HIGH.wrapping_mul(HIGH).wrapping_add(HIGH.wrapping_mul(3))),
            (
                node("Einsum").string("equation", "ij,jk->ik"),
                square().into(),
                HIGH.wrapping_mul(HIGH).wrapping_add(HIGH.wrapping_mul(3)),
            ),
            (node("ReduceSum"), row().into(), -2),
            (node("ReduceProd"), row().into(), 1),
            (node("ReduceSumSquare"), row().into(), 2),
            (node("ReduceL1"), row().into(), -2),
            (node("CumSum").int("reverse", 1), axis().into(), LOW),
        ];
        for (tested, inputs, expected) in cases {
            let name = tested.operator().to_owned();
            let found = tested.run(&inputs);
            assert_eq!(found.as_int().and_then(|x| x.first()), Some(&expected), "{name}");
        }
    }
}
