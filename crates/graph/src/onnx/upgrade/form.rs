//! The attributes of every operator in the form of opset 18: a node that has others, or of other kinds, is refused,
//! so that nothing in a file is silently ignored.

use crate::node::{Attribute, NewNode};
use crate::operators;

/// Kinds of attributes that operators of the table have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Float,
    Int,
    Ints,
    String,
    Tensor,
    Graph,
}

use Kind::{Float, Graph, Int, Ints, String, Tensor};

/// Operator, how many of its attributes, the first ones, are required, and all of them.
type Form = (&'static str, usize, &'static [(&'static str, Kind)]);

/// The forms of operators that have attributes, sorted by name.
static FORMS: [Form; 68] = [
    ("ArgMax", 0, &[("axis", Int), ("keepdims", Int), ("select_last_index", Int)]),
    ("ArgMin", 0, &[("axis", Int), ("keepdims", Int), ("select_last_index", Int)]),
    (
        "AveragePool",
        1,
        &[
            ("kernel_shape", Ints),
            ("auto_pad", String),
            ("ceil_mode", Int),
            ("count_include_pad", Int),
            ("pads", Ints),
            ("strides", Ints),
        ],
    ),
    ("BatchNormalization", 0, &[("epsilon", Float), ("momentum", Float), ("training_mode", Int)]),
    ("Cast", 1, &[("to", Int)]),
    ("Celu", 0, &[("alpha", Float)]),
    ("Concat", 1, &[("axis", Int)]),
    ("ConstantOfShape", 0, &[("value", Tensor)]),
    (
        "Conv",
        0,
        &[
            ("auto_pad", String),
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
    ),
    (
        "ConvTranspose",
        0,
        &[
            ("auto_pad", String),
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("output_padding", Ints),
            ("output_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
    ),
    ("CumSum", 0, &[("exclusive", Int), ("reverse", Int)]),
    ("DepthToSpace", 1, &[("blocksize", Int), ("mode", String)]),
    ("DequantizeLinear", 0, &[("axis", Int)]),
    ("Dropout", 0, &[("seed", Int)]),
    ("Einsum", 1, &[("equation", String)]),
    ("Elu", 0, &[("alpha", Float)]),
    ("EyeLike", 0, &[("dtype", Int), ("k", Int)]),
    ("Flatten", 0, &[("axis", Int)]),
    ("Gather", 0, &[("axis", Int)]),
    ("GatherElements", 0, &[("axis", Int)]),
    ("GatherND", 0, &[("batch_dims", Int)]),
    ("Gelu", 0, &[("approximate", String)]),
    ("Gemm", 0, &[("alpha", Float), ("beta", Float), ("transA", Int), ("transB", Int)]),
    ("GlobalLpPool", 0, &[("p", Int)]),
    ("GroupNormalization", 1, &[("num_groups", Int), ("epsilon", Float)]),
    ("HardSigmoid", 0, &[("alpha", Float), ("beta", Float)]),
    ("Hardmax", 0, &[("axis", Int)]),
    ("If", 2, &[("else_branch", Graph), ("then_branch", Graph)]),
    ("InstanceNormalization", 0, &[("epsilon", Float)]),
    ("IsInf", 0, &[("detect_negative", Int), ("detect_positive", Int)]),
    ("LRN", 1, &[("size", Int), ("alpha", Float), ("beta", Float), ("bias", Float)]),
    ("LayerNormalization", 0, &[("axis", Int), ("epsilon", Float), ("stash_type", Int)]),
    ("LeakyRelu", 0, &[("alpha", Float)]),
    ("LogSoftmax", 0, &[("axis", Int)]),
    ("Loop", 1, &[("body", Graph)]),
    ("LpNormalization", 0, &[("axis", Int), ("p", Int)]),
    (
        "LpPool",
        1,
        &[
            ("kernel_shape", Ints),
            ("auto_pad", String),
            ("ceil_mode", Int),
            ("dilations", Ints),
            ("p", Int),
            ("pads", Ints),
            ("strides", Ints),
        ],
    ),
    (
        "MaxPool",
        1,
        &[
            ("kernel_shape", Ints),
            ("auto_pad", String),
            ("ceil_mode", Int),
            ("dilations", Ints),
            ("pads", Ints),
            ("storage_order", Int),
            ("strides", Ints),
        ],
    ),
    ("MeanVarianceNormalization", 0, &[("axes", Ints)]),
    ("Mod", 0, &[("fmod", Int)]),
    ("OneHot", 0, &[("axis", Int)]),
    ("Pad", 0, &[("mode", String)]),
    ("QuantizeLinear", 0, &[("axis", Int)]),
    ("ReduceL1", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceL2", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceLogSum", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceLogSumExp", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceMax", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceMean", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceMin", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceProd", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceSum", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("ReduceSumSquare", 0, &[("keepdims", Int), ("noop_with_empty_axes", Int)]),
    ("Reshape", 0, &[("allowzero", Int)]),
    (
        "Resize",
        0,
        &[
            ("antialias", Int),
            ("axes", Ints),
            ("coordinate_transformation_mode", String),
            ("cubic_coeff_a", Float),
            ("exclude_outside", Int),
            ("extrapolation_value", Float),
            ("keep_aspect_ratio_policy", String),
            ("mode", String),
            ("nearest_mode", String),
        ],
    ),
    ("ScatterElements", 0, &[("axis", Int), ("reduction", String)]),
    ("ScatterND", 0, &[("reduction", String)]),
    ("Selu", 0, &[("alpha", Float), ("gamma", Float)]),
    ("Shape", 0, &[("end", Int), ("start", Int)]),
    ("Shrink", 0, &[("bias", Float), ("lambd", Float)]),
    ("Softmax", 0, &[("axis", Int)]),
    ("SpaceToDepth", 1, &[("blocksize", Int)]),
    ("Split", 0, &[("axis", Int), ("num_outputs", Int)]),
    ("Swish", 0, &[("alpha", Float)]),
    ("ThresholdedRelu", 0, &[("alpha", Float)]),
    ("TopK", 0, &[("axis", Int), ("largest", Int), ("sorted", Int)]),
    ("Transpose", 0, &[("perm", Ints)]),
    ("Trilu", 0, &[("upper", Int)]),
];

/// Checks a node's attributes and the counts of its inputs and outputs.
pub(in crate::onnx) fn check(node: &NewNode) -> Result<(), std::string::String> {
    let form =
        FORMS.binary_search_by(|form| form.0.cmp(node.operator.as_str())).ok().map(|index| FORMS[index]);
    let (_, required, attributes) = form.unwrap_or(("", 0, &[]));
    for (name, value) in &node.attributes {
        let Some((_, kind)) = attributes.iter().find(|(known, _)| known == name) else {
            return Err(format!("attribute {name:?} is not one that the operator has in opset 18"));
        };
        let given = match value {
            Attribute::Int(_) => Int,
            Attribute::Float(_) => Float,
            Attribute::String(_) => String,
            Attribute::Ints(_) => Ints,
            Attribute::Tensor(_) => Tensor,
            Attribute::Graph(_) => Graph,
            Attribute::Floats(_) | Attribute::Strings(_) => {
                return Err(format!("attribute {name:?} is a list where {kind:?} was expected"));
            }
        };
        if given != *kind {
            return Err(format!("attribute {name:?} is {given:?} where {kind:?} was expected"));
        }
    }
    if let Some((missing, _)) =
        attributes[..required].iter().find(|(name, _)| !node.attributes.contains_key(*name))
    {
        return Err(format!("attribute {missing:?} is missing"));
    }
    let Some(operator) = operators::lookup(&node.operator) else {
        return Err("the operator is not known".to_owned());
    };
    let inputs = node.inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    if !operator.inputs.allows(inputs) {
        return Err(format!("{inputs} inputs are given where {} were expected", operator.inputs));
    }
    if !operator.outputs.allows(node.outputs.len()) {
        return Err(format!(
            "{} outputs are named where {} were expected",
            node.outputs.len(),
            operator.outputs
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_of_known_operators() {
        assert!(FORMS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (name, required, attributes) in FORMS {
            assert!(operators::lookup(name).is_some(), "{name}");
            assert!(required <= attributes.len(), "{name}");
        }
    }

    #[test]
    fn messages_say_what_was_expected() {
        let node = |operator: &str| NewNode { operator: operator.to_owned(), ..NewNode::default() };
        let message = |node: NewNode| check(&node).unwrap_err();
        assert_eq!(
            message(node("Relu").with("slope", Attribute::Int(1))),
            "attribute \"slope\" is not one that the operator has in opset 18"
        );
        assert_eq!(
            message(node("Softmax").with("axis", Attribute::Float(1.0))),
            "attribute \"axis\" is Float where Int was expected"
        );
        assert_eq!(message(node("Concat")), "attribute \"axis\" is missing");
        assert_eq!(message(node("Relu")), "0 inputs are given where 1 were expected");
    }
}
