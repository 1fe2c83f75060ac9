//! The table of operators that a [`crate::Graph`] may hold, with how many inputs and outputs each takes.
//!
//! Every operator is of the `ai.onnx` domain in the form that opset 18 gives it. Two later functions, `Gelu` and
//! `Swish`, stand for themselves in a graph and are expanded before a file is written. Here is no shape, derivative
//! or engine: other tables refer to this one by name.

/// An operator: its name and how many inputs and outputs it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// Name, as ONNX writes it.
    pub name: &'static str,
    /// The opset of `ai.onnx` in which the form used here appeared.
    pub since: u32,
    /// How many inputs, counting left-out optional ones that stand before a given one.
    pub inputs: Arity,
    /// How many outputs, counting unused ones that stand before a used one.
    pub outputs: Arity,
}

/// How many inputs or outputs an operator takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arity {
    /// Fewest.
    pub min: usize,
    /// Most; `None` where there is no bound.
    pub max: Option<usize>,
}

impl Arity {
    /// Whether `count` is allowed.
    pub const fn allows(self, count: usize) -> bool {
        count >= self.min
            && match self.max {
                Some(max) => count <= max,
                None => true,
            }
    }
}

impl std::fmt::Display for Arity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.max {
            Some(max) if max == self.min => write!(f, "{max}"),
            Some(max) => write!(f, "{} to {max}", self.min),
            None => write!(f, "at least {}", self.min),
        }
    }
}

/// The operator named `name`.
pub fn lookup(name: &str) -> Option<&'static Operator> {
    OPERATORS.binary_search_by(|operator| operator.name.cmp(name)).ok().map(|index| &OPERATORS[index])
}

/// Every operator, sorted by name.
pub fn all() -> &'static [Operator] {
    &OPERATORS
}

const fn op(
    name: &'static str,
    since: u32,
    min_inputs: usize,
    max_inputs: Option<usize>,
    min_outputs: usize,
    max_outputs: Option<usize>,
) -> Operator {
    Operator {
        name,
        since,
        inputs: Arity { min: min_inputs, max: max_inputs },
        outputs: Arity { min: min_outputs, max: max_outputs },
    }
}

/// Name, opset, fewest and most inputs, fewest and most outputs; sorted by name for [`lookup`].
static OPERATORS: [Operator; 132] = [
    op("Abs", 13, 1, Some(1), 1, Some(1)),
    op("Acos", 7, 1, Some(1), 1, Some(1)),
    op("Acosh", 9, 1, Some(1), 1, Some(1)),
    op("Add", 14, 2, Some(2), 1, Some(1)),
    op("And", 7, 2, Some(2), 1, Some(1)),
    op("ArgMax", 13, 1, Some(1), 1, Some(1)),
    op("ArgMin", 13, 1, Some(1), 1, Some(1)),
    op("Asin", 7, 1, Some(1), 1, Some(1)),
    op("Asinh", 9, 1, Some(1), 1, Some(1)),
    op("Atan", 7, 1, Some(1), 1, Some(1)),
    op("Atanh", 9, 1, Some(1), 1, Some(1)),
    op("AveragePool", 11, 1, Some(1), 1, Some(1)),
    op("BatchNormalization", 15, 5, Some(5), 1, Some(3)),
    op("Cast", 13, 1, Some(1), 1, Some(1)),
    op("CastLike", 15, 2, Some(2), 1, Some(1)),
    op("Ceil", 13, 1, Some(1), 1, Some(1)),
    op("Celu", 12, 1, Some(1), 1, Some(1)),
    op("Clip", 13, 1, Some(3), 1, Some(1)),
    op("Concat", 13, 1, None, 1, Some(1)),
    op("ConstantOfShape", 9, 1, Some(1), 1, Some(1)),
    op("Conv", 11, 2, Some(3), 1, Some(1)),
    op("ConvTranspose", 11, 2, Some(3), 1, Some(1)),
    op("Cos", 7, 1, Some(1), 1, Some(1)),
    op("Cosh", 9, 1, Some(1), 1, Some(1)),
    op("CumSum", 14, 2, Some(2), 1, Some(1)),
    op("DepthToSpace", 13, 1, Some(1), 1, Some(1)),
    op("DequantizeLinear", 13, 2, Some(3), 1, Some(1)),
    op("Div", 14, 2, Some(2), 1, Some(1)),
    op("Dropout", 13, 1, Some(3), 1, Some(2)),
    op("Einsum", 12, 1, None, 1, Some(1)),
    op("Elu", 6, 1, Some(1), 1, Some(1)),
    op("Equal", 13, 2, Some(2), 1, Some(1)),
    op("Erf", 13, 1, Some(1), 1, Some(1)),
    op("Exp", 13, 1, Some(1), 1, Some(1)),
    op("Expand", 13, 2, Some(2), 1, Some(1)),
    op("EyeLike", 9, 1, Some(1), 1, Some(1)),
    op("Flatten", 13, 1, Some(1), 1, Some(1)),
    op("Floor", 13, 1, Some(1), 1, Some(1)),
    op("Gather", 13, 2, Some(2), 1, Some(1)),
    op("GatherElements", 13, 2, Some(2), 1, Some(1)),
    op("GatherND", 13, 2, Some(2), 1, Some(1)),
    op("Gelu", 20, 1, Some(1), 1, Some(1)),
    op("Gemm", 13, 2, Some(3), 1, Some(1)),
    op("GlobalAveragePool", 1, 1, Some(1), 1, Some(1)),
    op("GlobalLpPool", 2, 1, Some(1), 1, Some(1)),
    op("GlobalMaxPool", 1, 1, Some(1), 1, Some(1)),
    op("Greater", 13, 2, Some(2), 1, Some(1)),
    op("GreaterOrEqual", 16, 2, Some(2), 1, Some(1)),
    op("GroupNormalization", 18, 3, Some(3), 1, Some(1)),
    op("HardSigmoid", 6, 1, Some(1), 1, Some(1)),
    op("HardSwish", 14, 1, Some(1), 1, Some(1)),
    op("Hardmax", 13, 1, Some(1), 1, Some(1)),
    op("Identity", 16, 1, Some(1), 1, Some(1)),
    op("If", 16, 1, Some(1), 1, None),
    op("InstanceNormalization", 6, 3, Some(3), 1, Some(1)),
    op("IsInf", 10, 1, Some(1), 1, Some(1)),
    op("IsNaN", 13, 1, Some(1), 1, Some(1)),
    op("LRN", 13, 1, Some(1), 1, Some(1)),
    op("LayerNormalization", 17, 2, Some(3), 1, Some(3)),
    op("LeakyRelu", 16, 1, Some(1), 1, Some(1)),
    op("Less", 13, 2, Some(2), 1, Some(1)),
    op("LessOrEqual", 16, 2, Some(2), 1, Some(1)),
    op("Log", 13, 1, Some(1), 1, Some(1)),
    op("LogSoftmax", 13, 1, Some(1), 1, Some(1)),
    op("Loop", 16, 2, None, 1, None),
    op("LpNormalization", 1, 1, Some(1), 1, Some(1)),
    op("LpPool", 18, 1, Some(1), 1, Some(1)),
    op("MatMul", 13, 2, Some(2), 1, Some(1)),
    op("Max", 13, 1, None, 1, Some(1)),
    op("MaxPool", 12, 1, Some(1), 1, Some(2)),
    op("Mean", 13, 1, None, 1, Some(1)),
    op("MeanVarianceNormalization", 13, 1, Some(1), 1, Some(1)),
    op("Min", 13, 1, None, 1, Some(1)),
    op("Mish", 18, 1, Some(1), 1, Some(1)),
    op("Mod", 13, 2, Some(2), 1, Some(1)),
    op("Mul", 14, 2, Some(2), 1, Some(1)),
    op("Neg", 13, 1, Some(1), 1, Some(1)),
    op("NonZero", 13, 1, Some(1), 1, Some(1)),
    op("Not", 1, 1, Some(1), 1, Some(1)),
    op("OneHot", 11, 3, Some(3), 1, Some(1)),
    op("Or", 7, 2, Some(2), 1, Some(1)),
    op("PRelu", 16, 2, Some(2), 1, Some(1)),
    op("Pad", 18, 2, Some(4), 1, Some(1)),
    op("Pow", 15, 2, Some(2), 1, Some(1)),
    op("QuantizeLinear", 13, 2, Some(3), 1, Some(1)),
    op("Range", 11, 3, Some(3), 1, Some(1)),
    op("Reciprocal", 13, 1, Some(1), 1, Some(1)),
    op("ReduceL1", 18, 1, Some(2), 1, Some(1)),
    op("ReduceL2", 18, 1, Some(2), 1, Some(1)),
    op("ReduceLogSum", 18, 1, Some(2), 1, Some(1)),
    op("ReduceLogSumExp", 18, 1, Some(2), 1, Some(1)),
    op("ReduceMax", 18, 1, Some(2), 1, Some(1)),
    op("ReduceMean", 18, 1, Some(2), 1, Some(1)),
    op("ReduceMin", 18, 1, Some(2), 1, Some(1)),
    op("ReduceProd", 18, 1, Some(2), 1, Some(1)),
    op("ReduceSum", 13, 1, Some(2), 1, Some(1)),
    op("ReduceSumSquare", 18, 1, Some(2), 1, Some(1)),
    op("Relu", 14, 1, Some(1), 1, Some(1)),
    op("Reshape", 14, 2, Some(2), 1, Some(1)),
    op("Resize", 18, 1, Some(4), 1, Some(1)),
    op("Round", 11, 1, Some(1), 1, Some(1)),
    op("ScatterElements", 18, 3, Some(3), 1, Some(1)),
    op("ScatterND", 18, 3, Some(3), 1, Some(1)),
    op("Selu", 6, 1, Some(1), 1, Some(1)),
    op("Shape", 15, 1, Some(1), 1, Some(1)),
    op("Shrink", 9, 1, Some(1), 1, Some(1)),
    op("Sigmoid", 13, 1, Some(1), 1, Some(1)),
    op("Sign", 13, 1, Some(1), 1, Some(1)),
    op("Sin", 7, 1, Some(1), 1, Some(1)),
    op("Sinh", 9, 1, Some(1), 1, Some(1)),
    op("Size", 13, 1, Some(1), 1, Some(1)),
    op("Slice", 13, 3, Some(5), 1, Some(1)),
    op("Softmax", 13, 1, Some(1), 1, Some(1)),
    op("Softplus", 1, 1, Some(1), 1, Some(1)),
    op("Softsign", 1, 1, Some(1), 1, Some(1)),
    op("SpaceToDepth", 13, 1, Some(1), 1, Some(1)),
    op("Split", 18, 1, Some(2), 1, None),
    op("Sqrt", 13, 1, Some(1), 1, Some(1)),
    op("Squeeze", 13, 1, Some(2), 1, Some(1)),
    op("Sub", 14, 2, Some(2), 1, Some(1)),
    op("Sum", 13, 1, None, 1, Some(1)),
    op("Swish", 24, 1, Some(1), 1, Some(1)),
    op("Tan", 7, 1, Some(1), 1, Some(1)),
    op("Tanh", 13, 1, Some(1), 1, Some(1)),
    op("ThresholdedRelu", 10, 1, Some(1), 1, Some(1)),
    op("Tile", 13, 2, Some(2), 1, Some(1)),
    op("TopK", 11, 2, Some(2), 2, Some(2)),
    op("Transpose", 13, 1, Some(1), 1, Some(1)),
    op("Trilu", 14, 1, Some(2), 1, Some(1)),
    op("Unsqueeze", 13, 2, Some(2), 1, Some(1)),
    op("Where", 16, 3, Some(3), 1, Some(1)),
    op("Xor", 7, 2, Some(2), 1, Some(1)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
        for operator in all() {
            assert_eq!(lookup(operator.name), Some(operator));
        }
        assert_eq!(lookup("LSTM"), None);
        assert_eq!(lookup("relu"), None, "names are case-sensitive");
    }

    #[test]
    fn arities_are_bounds() {
        let clip = lookup("Clip").unwrap();
        assert!(clip.inputs.allows(1) && clip.inputs.allows(3));
        assert!(!clip.inputs.allows(0) && !clip.inputs.allows(4));
        assert!(lookup("Concat").unwrap().inputs.allows(1000));
        assert_eq!(clip.inputs.to_string(), "1 to 3");
        assert_eq!(lookup("Concat").unwrap().inputs.to_string(), "at least 1");
    }

    #[test]
    fn later_forms_are_the_canonical_functions_alone() {
        let later: Vec<&str> = all().iter().filter(|operator| operator.since > 18).map(|o| o.name).collect();
        assert_eq!(later, ["Gelu", "Swish"]);
    }
}
