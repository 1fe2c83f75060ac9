//! Blocks on [n, width].

use pellucid_graph::{Attribute, ValueId};

use super::maker::{Maker, signed};

impl Maker<'_> {
    /// One of all blocks.
    pub(super) fn vector_block(&mut self, x: ValueId) -> ValueId {
        match self.random.below(10) {
            0 => {
                let width = self.random.whole(3, 6);
                self.dense(x, width)
            }
            1 | 2 => {
                let width = self.random.whole(3, 6);
                let y = self.dense(x, width);
                self.activation(y)
            }
            3 => {
                let y = self.dense(x, 5);
                let y = self.batch_normalization(y);
                self.activation(y)
            }
            4 => {
                let y = self.dense(x, 4);
                self.layer_normalization(y)
            }
            5 => {
                let x = self.narrow(x);
                let width = self.sizes(x)[0];
                let y = self.activation(x);
                let y = self.dense(y, width);
                self.node("Add", &[y, x], &[])
            }
            6 => {
                let x = self.narrow(x);
                let width = self.sizes(x)[0];
                let y = self.dense(x, width);
                let gate = self.gate(y);
                self.node("Mul", &[gate, x], &[])
            }
            7 => self.halves_of_vector(x),
            8 => self.mixed(x),
            _ => self.arithmetic(x),
        }
    }

    /// At most 6 numbers a row.
    fn narrow(&mut self, x: ValueId) -> ValueId {
        if self.sizes(x)[0] > 6 { self.dense(x, 6) } else { x }
    }

    /// An affine map, as Gemm or as `MatMul` and Add.
    pub(super) fn dense(&mut self, x: ValueId, outputs: usize) -> ValueId {
        let inputs = self.sizes(x)[0];
        let form = self.random.below(3);
        let shape = if form == 0 { [outputs, inputs] } else { [inputs, outputs] };
        let weights = self.weights(&shape, inputs);
        let bias = self.random_parameter(&[outputs], -0.6, 0.6);
        match form {
            0 => self.node("Gemm", &[x, weights, bias], &[("transB", Attribute::Int(1))]),
            1 => {
                let factors = [("alpha", Attribute::Float(0.75)), ("beta", Attribute::Float(1.25))];
                self.node("Gemm", &[x, weights, bias], &factors)
            }
            _ => {
                let product = self.node("MatMul", &[x, weights], &[]);
                self.node("Add", &[product, bias], &[])
            }
        }
    }

    /// Two overlapping slices, one changed, joined.
    fn halves_of_vector(&mut self, x: ValueId) -> ValueId {
        let width = self.sizes(x)[0];
        if width < 2 {
            return self.dense(x, 3);
        }
        let cut = self.random.whole(1, width - 1);
        let axis = self.integers(&[1]);
        let (zero, end, cut) =
            (self.integers(&[0]), self.integers(&[signed(width)]), self.integers(&[signed(cut)]));
        let first = self.node("Slice", &[x, zero, cut, axis], &[]);
        let second = self.node("Slice", &[x, cut, end, axis], &[]);
        let changed = self.activation(second);
        let joined = self.node("Concat", &[changed, first], &[("axis", Attribute::Int(-1))]);
        self.narrow(joined)
    }

    /// Attention of the six numbers of a row, as three tokens of two, to themselves.
    fn mixed(&mut self, x: ValueId) -> ValueId {
        let x = self.dense(x, 6);
        let shape = self.integers(&[-1, 3, 2]);
        let tokens = self.node("Reshape", &[x, shape], &[]);
        let weights = self.weights(&[2, 2], 2);
        let keys = self.node("MatMul", &[tokens, weights], &[]);
        let turned = self.node("Transpose", &[keys], &[("perm", Attribute::Ints(vec![0, 2, 1]))]);
        let scores = self.node("MatMul", &[tokens, turned], &[]);
        let attention = self.node("Softmax", &[scores], &[("axis", Attribute::Int(2))]);
        let mixed = self.node("MatMul", &[attention, tokens], &[]);
        self.node("Flatten", &[mixed], &[])
    }

    /// x / √(1 + x²) − e^(−x²), or a maximum with a parameter.
    fn arithmetic(&mut self, x: ValueId) -> ValueId {
        let x = self.narrow(x);
        if !self.smooth() && self.random.chance(0.4) {
            let width = self.sizes(x)[0];
            let limit = self.random_parameter(&[width], -0.5, 0.5);
            let operator = self.random.pick(&["Max", "Min"]);
            return self.node(operator, &[x, limit], &[]);
        }
        let (one, two) = (self.parameter(&[], &[1.0]), self.parameter(&[], &[2.0]));
        let square = self.node("Pow", &[x, two], &[]);
        let sum = self.node("Add", &[square, one], &[]);
        let root = self.node("Sqrt", &[sum], &[]);
        let bounded = self.node("Div", &[x, root], &[]);
        let negative = self.node("Neg", &[square], &[]);
        let bell = self.node("Exp", &[negative], &[]);
        self.node("Sub", &[bounded, bell], &[])
    }
}
