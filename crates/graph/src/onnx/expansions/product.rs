//! Products with what was fused into them.

use super::site::{Site, transposed};
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};

/// Attributes of `Conv`.
pub(super) const CONV: [&str; 6] = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/// Activations that are fused, with the names of their attributes in `ai.onnx`.
const ACTIVATIONS: &[(&str, &[&str])] = &[
    ("Elu", &["alpha"]),
    ("HardSigmoid", &["alpha", "beta"]),
    ("LeakyRelu", &["alpha"]),
    ("Relu", &[]),
    ("Sigmoid", &[]),
    ("Softplus", &[]),
    ("Softsign", &[]),
    ("Tanh", &[]),
    ("ThresholdedRelu", &["alpha"]),
];

/// Moves the attributes of `names` that are given from the node being read to `node`.
pub(super) fn keep(site: &mut Site<'_, '_>, mut node: NewNode, names: &[&str]) -> NewNode {
    for name in names {
        if let Some(value) = site.take(name) {
            node.attributes.insert((*name).to_owned(), value);
        }
    }
    node
}

/// Ends with the activation of that name, which may be none.
fn activated(
    site: &mut Site<'_, '_>,
    product: NewNode,
    activation: &str,
    parameters: &[f32],
) -> Result<(), String> {
    if activation.is_empty() {
        return site.finish(0, product).map(drop);
    }
    let y = site.add(product)?;
    if activation == "Clip" {
        let [low, high] = parameters[..] else {
            return Err(format!("Clip has {} parameters where two were expected", parameters.len()));
        };
        let (low, high) = (site.scalar(y, f64::from(low))?, site.scalar(y, f64::from(high))?);
        return site.done("Clip", &[y, low, high]);
    }
    let Some((_, names)) = ACTIVATIONS.iter().find(|(name, _)| *name == activation) else {
        return Err(format!("activation {activation:?} is not known"));
    };
    if parameters.len() > names.len() {
        return Err(format!(
            "{activation} has {} parameters, at most {} are known",
            parameters.len(),
            names.len()
        ));
    }
    let mut node = NewNode::new(activation, &[y], "");
    for (name, value) in names.iter().zip(parameters) {
        node.attributes.insert((*name).to_owned(), Attribute::Float(*value));
    }
    site.finish(0, node).map(drop)
}

/// activation(conv(x, w) + b + z)
pub(super) fn convolution(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (activation, parameters) = (site.string("activation")?, site.floats("activation_params")?);
    let mut inputs = vec![site.input(0)?, site.input(1)?];
    inputs.extend(site.maybe(2));
    let conv = keep(site, NewNode::new("Conv", &inputs, ""), &CONV);
    let product = match site.maybe(3) {
        None => conv,
        Some(z) => {
            let y = site.add(conv)?;
            NewNode::new("Add", &[y, z], "")
        }
    };
    activated(site, product, &activation, &parameters)
}

/// activation(α·a·b + β·c)
pub(super) fn gemm(site: &mut Site<'_, '_>) -> Result<(), String> {
    let activation = site.string("activation")?;
    let names = ACTIVATIONS.iter().find(|(name, _)| *name == activation).map_or(&[][..], |(_, names)| names);
    let mut parameters = Vec::new();
    for name in names {
        let default = match (activation.as_str(), *name) {
            ("LeakyRelu", _) => 0.01,
            ("HardSigmoid", "alpha") => 0.2,
            ("HardSigmoid", _) => 0.5,
            _ => 1.0,
        };
        parameters.push(site.float(&format!("activation_{name}"), default)?);
    }
    // Written whatever the activation, and read by none that has no such parameter.
    for unused in ["activation_alpha", "activation_beta", "activation_gamma"] {
        site.take(unused);
    }
    let mut inputs = vec![site.input(0)?, site.input(1)?];
    inputs.extend(site.maybe(2));
    let product = keep(site, NewNode::new("Gemm", &inputs, ""), &["alpha", "beta", "transA", "transB"]);
    activated(site, product, &activation, &parameters)
}

/// α · a′·b′, where a prime may transpose the last two axes, and may move the first axis behind the batch
pub(super) fn matrix_product(site: &mut Site<'_, '_>) -> Result<(), String> {
    let mut factors = Vec::new();
    for (position, of) in [(0, 'A'), (1, 'B')] {
        let x = site.input(position)?;
        let (turned, moved) =
            (site.int(&format!("trans{of}"), 0)? != 0, site.int(&format!("transBatch{of}"), 0)? != 0);
        factors.push(factor(site, x, turned, moved)?);
    }
    let alpha = site.float("alpha", 1.0)?;
    if (alpha - 1.0).abs() > 0.0 {
        let product = site.op("MatMul", &factors)?;
        let alpha = site.scalar(product, f64::from(alpha))?;
        return site.done("Mul", &[product, alpha]);
    }
    site.done("MatMul", &factors)
}

fn factor(site: &mut Site<'_, '_>, x: ValueId, turned: bool, moved: bool) -> Result<ValueId, String> {
    let rank = site.rank(x)?;
    let mut order: Vec<usize> = (0..rank).collect();
    if moved && rank > 2 {
        order[..rank - 1].rotate_left(1);
    }
    if turned && rank > 1 {
        order.swap(rank - 2, rank - 1);
    }
    if order.is_sorted() { Ok(x) } else { site.add(transposed(x, &order)?) }
}
