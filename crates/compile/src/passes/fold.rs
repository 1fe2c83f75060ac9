//! Folding: what depends on constants alone is computed once, here.
//!
//! The reference interpreter computes in float64; results are rounded to the declared element type, node by node.
//! Only moves, casts and elementwise arithmetic are folded, and only up to a size: a product of matrices belongs to
//! an engine.

use pellucid_graph::{Attribute, Dim, ElementType, Graph, Node, Tensor, ValueId, element_count};
use pellucid_reference::{Array, evaluate};

use crate::build::Var;
use crate::error::Result;
use crate::passes::rewrite::{Prune, Replace, Site, rewrite};

/// Largest result that [`fold`] computes unless told otherwise, in elements.
pub const DEFAULT_LIMIT_ELEMENTS: usize = 16 << 20;

/// Operators that are folded: each result element comes from a fixed number of operands.
const FOLDED: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "CastLike",
    "Ceil",
    "Clip",
    "Concat",
    "ConstantOfShape",
    "DequantizeLinear",
    "Div",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pad",
    "Pow",
    "Range",
    "Reciprocal",
    "Relu",
    "Reshape",
    "Round",
    "Shape",
    "Sigmoid",
    "Sign",
    "Size",
    "Slice",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// The same function, constants computed where every input of a node is one.
///
/// A node is folded where its operator moves, casts or is elementwise and each of its results has at most
/// `limit_elements` elements of known sizes; a node that the interpreter refuses stays. Small integer tensors whose
/// contents follow from known sizes become constants too. Names of values stay; constants that nothing takes any more
/// go. Values captured by bodies of control flow are not looked through.
pub fn fold(graph: &Graph, limit_elements: usize) -> Result<Graph> {
    rewrite(graph, "folded", Prune::Unreachable, &mut Fold { limit_elements })
}

struct Fold {
    limit_elements: usize,
}

impl Replace for Fold {
    fn replace<'g>(&mut self, site: &Site<'g, '_>) -> Result<Option<Vec<Var<'g>>>> {
        let tensors = known_contents(site).or_else(|| self.computed(site));
        Ok(tensors.map(|tensors| tensors.into_iter().map(|tensor| site.builder.constant(tensor)).collect()))
    }
}

impl Fold {
    fn computed(&self, site: &Site<'_, '_>) -> Option<Vec<Tensor>> {
        let node = site.node();
        if !FOLDED.contains(&node.operator.as_str()) || !self.is_small(site.source, node) {
            return None;
        }
        let graph = site.builder.graph();
        // Of the value that gives a CastLike its type nothing else matters.
        let cast = as_cast(site.source, node);
        let (node, given) = match &cast {
            Some(cast) => (cast, &site.inputs[..1]),
            None => (node, site.inputs),
        };
        let constants = given
            .iter()
            .map(|input| match input {
                None => Some(None),
                Some(id) => graph.constant(*id).map(Some),
            })
            .collect::<Option<Vec<Option<&Tensor>>>>()?;
        if let ("Reshape" | "Identity", Some(Some(stored))) = (node.operator.as_str(), constants.first()) {
            // The bytes are shared, not computed.
            let shape = site.source.value(node.output(0)?).static_shape()?;
            return stored.reshaped(shape).ok().map(|tensor| vec![tensor]);
        }
        let arrays = constants
            .into_iter()
            .map(|tensor| tensor.map(Array::try_from).transpose().ok())
            .collect::<Option<Vec<Option<Array>>>>()?;
        let inputs: Vec<Option<&Array>> = arrays.iter().map(Option::as_ref).collect();
        let results = evaluate(site.source, node, &inputs).ok()?;
        node.outputs
            .iter()
            .zip(results)
            .map(|(output, array)| {
                // What nobody takes has no element type; anything stands for it.
                let element = match output {
                    Some(output) => site.source.value(*output).element?,
                    None => return Some(Tensor::scalar(ElementType::F32, 0.0)),
                };
                array.to_tensor(element).ok()
            })
            .collect()
    }

    fn is_small(&self, graph: &Graph, node: &Node) -> bool {
        node.outputs.iter().flatten().all(|output| {
            let count = graph.value(*output).static_shape().as_deref().and_then(element_count);
            count.is_some_and(|count| count <= self.limit_elements)
        })
    }
}

/// The Cast that a `CastLike` is.
fn as_cast(graph: &Graph, node: &Node) -> Option<Node> {
    let element = graph.value(node.output(0)?).element?;
    (node.operator == "CastLike").then(|| Node {
        operator: "Cast".to_owned(),
        inputs: vec![node.input(0)],
        attributes: [("to".to_owned(), Attribute::Int(i64::from(element.onnx_code())))].into(),
        ..node.clone()
    })
}

/// The one output of a node, where inference knows every element of it.
fn known_contents(site: &Site<'_, '_>) -> Option<Vec<Tensor>> {
    let [Some(output)] = site.node().outputs[..] else { return None };
    let value = site.source.value(output);
    let numbers: Vec<i64> = value.contents.as_ref()?.iter().map(Dim::value).collect::<Option<_>>()?;
    let (shape, element) = (value.static_shape()?, value.element?);
    let tensor = Tensor::from_i64(shape.clone(), &numbers).ok()?;
    if element == ElementType::I64 {
        return Some(vec![tensor]);
    }
    // Within f64's exact integers: contents are sizes, axes and the like.
    let values = tensor.to_f64();
    Tensor::from_values(element, shape, &values)
        .ok()
        .filter(|tensor| tensor.to_f64() == values)
        .map(|t| vec![t])
}

/// The same function, each `BatchNormalization` after a Conv, `ConvTranspose` or Gemm, or in front of a Conv or Gemm, folded
/// into its weights.
///
/// A normalisation after a product is folded where nothing else takes the product and the weights and statistics are constants. It
/// computes W' = W·s and b' = (b − μ)·s + β with s = γ/√(σ² + ε) by output channel, in float64, rounded to the
/// weights' element type. The product takes the name of the normalisation's value; its own goes.
///
/// One that is left in front of a product, which alone takes it, becomes W' = W·s and b' = b + W·(β − μ·s) with s by input
/// channel. With padding that is not the same function, since what is padded is 0 behind the normalisation: there it is
/// folded only where β = μ·s.
pub fn fold_batch_normalization(graph: &Graph) -> Result<Graph> {
    let behind = rewrite(graph, "folded", Prune::Unreachable, &mut FoldBatchNormalization)?;
    rewrite(&behind, "folded", Prune::Unreachable, &mut FoldInFront)
}

/// How many batch normalisations a graph has.
pub fn batch_normalizations(graph: &Graph) -> usize {
    graph.nodes().iter().filter(|node| node.operator == "BatchNormalization").count()
}

struct FoldBatchNormalization;

impl Replace for FoldBatchNormalization {
    fn replace<'g>(&mut self, site: &Site<'g, '_>) -> Result<Option<Vec<Var<'g>>>> {
        let Some(folded) = Folded::of(site) else { return Ok(None) };
        let Some(x) = folded.linear.input(0).and_then(|x| site.stand_in(x)) else { return Ok(None) };
        let weight = site.builder.constant(folded.weight);
        let bias = site.builder.constant(folded.bias);
        let mut attributes = folded.linear.attributes.clone();
        if folded.linear.operator == "Gemm" {
            attributes.remove("beta");
        }
        let output = site.emit(&folded.linear.operator, &[Some(x), Some(weight), Some(bias)], attributes)?;
        let mut outputs = vec![output];
        outputs.resize(site.node().outputs.len(), output);
        Ok(Some(outputs))
    }
}

struct Folded<'s> {
    linear: &'s Node,
    weight: Tensor,
    bias: Tensor,
}

impl<'s> Folded<'s> {
    fn of(site: &Site<'_, 's>) -> Option<Self> {
        let (graph, node) = (site.source, site.node());
        if !is_inference(node) {
            return None;
        }
        let product = node.input(0)?;
        let taken_once = site.consumers[product.index()].len() == 1 && !graph.outputs().contains(&product);
        let linear = graph.node(graph.producer_of(product)?);
        if !taken_once || !matches!(linear.operator.as_str(), "Conv" | "ConvTranspose" | "Gemm") {
            return None;
        }
        let (scale, shift) = affine(graph, node)?;
        let channels = scale.len();
        let stored = graph.constant(linear.input(1)?)?;
        let bias = match linear.input(2) {
            None => vec![0.0; channels],
            Some(id) => own_bias(linear, graph.constant(id)?, channels)?,
        };
        let bias: Vec<f64> = (0..channels).map(|c| bias[c] * scale[c] + shift[c]).collect();
        let weight = scaled(linear, stored, &scale)?;
        let bias = Tensor::from_values(stored.element(), vec![channels], &bias).ok()?;
        Some(Self { linear, weight, bias })
    }
}

/// Whether a node is a batch normalisation by statistics that are given.
fn is_inference(node: &Node) -> bool {
    let others_unused = node.outputs.iter().skip(1).all(Option::is_none);
    node.operator == "BatchNormalization" && node.int("training_mode", 0) == 0 && others_unused
}

/// By channel, what a batch normalisation of constants multiplies by, γ/√(σ² + ε), and then adds, β − μ·γ/√(σ² + ε).
fn affine(graph: &Graph, node: &Node) -> Option<(Vec<f64>, Vec<f64>)> {
    let numbers = |id: Option<ValueId>| graph.constant(id?).map(Tensor::to_f64);
    let (gamma, beta) = (numbers(node.input(1))?, numbers(node.input(2))?);
    let (mean, variance) = (numbers(node.input(3))?, numbers(node.input(4))?);
    let epsilon = f64::from(node.float("epsilon", 1e-5));
    if [beta.len(), mean.len(), variance.len()].iter().any(|length| *length != gamma.len()) {
        return None;
    }
    let scale: Vec<f64> =
        gamma.iter().zip(&variance).map(|(gamma, variance)| gamma / (variance + epsilon).sqrt()).collect();
    let shift = (0..gamma.len()).map(|c| beta[c] - mean[c] * scale[c]).collect();
    Some((scale, shift))
}

struct FoldInFront;

impl Replace for FoldInFront {
    fn replace<'g>(&mut self, site: &Site<'g, '_>) -> Result<Option<Vec<Var<'g>>>> {
        let Some((weight, bias, x)) = in_front(site) else { return Ok(None) };
        let Some(x) = site.stand_in(x) else { return Ok(None) };
        let (weight, bias) = (site.builder.constant(weight), site.builder.constant(bias));
        let mut attributes = site.node().attributes.clone();
        if site.node().operator == "Gemm" {
            attributes.remove("beta");
        }
        let output = site.emit(&site.node().operator, &[Some(x), Some(weight), Some(bias)], attributes)?;
        Ok(Some(vec![output]))
    }
}

/// Weights and bias of a product with the normalisation in front of it in them, and what that takes.
fn in_front(site: &Site<'_, '_>) -> Option<(Tensor, Tensor, ValueId)> {
    let (graph, linear) = (site.source, site.node());
    let is_gemm = linear.operator == "Gemm" && linear.int("transA", 0) == 0;
    if linear.operator != "Conv" && !is_gemm {
        return None;
    }
    let normalised = linear.input(0)?;
    let normalization = graph.node(graph.producer_of(normalised)?);
    let taken_once = site.consumers[normalised.index()].len() == 1 && !graph.outputs().contains(&normalised);
    if !is_inference(normalization) || !taken_once {
        return None;
    }
    let (scale, shift) = affine(graph, normalization)?;
    let moves = shift.iter().any(|shift| shift.abs() > 0.0);
    if linear.operator == "Conv" && moves && pads(linear) {
        return None;
    }
    let stored = graph.constant(linear.input(1)?)?;
    let shape = stored.shape();
    let transposed = linear.operator == "Conv" || linear.int("transB", 0) != 0;
    let (outputs, inputs) =
        if transposed { (*shape.first()?, *shape.get(1)?) } else { (*shape.get(1)?, *shape.first()?) };
    let groups = usize::try_from(linear.int("group", 1)).ok().filter(|groups| *groups > 0)?;
    if inputs.checked_mul(groups)? != scale.len() {
        return None;
    }
    let own = match linear.input(2) {
        None => vec![0.0; outputs],
        Some(id) => own_bias(linear, graph.constant(id)?, outputs)?,
    };
    let factor = if is_gemm { f64::from(linear.float("alpha", 1.0)) } else { 1.0 };
    let kernel: usize = shape.get(2..)?.iter().product();
    let (mut bias, mut weight) = (own, stored.to_f64());
    for (place, value) in weight.iter_mut().enumerate() {
        let (output, input) = match (transposed, place / kernel) {
            (true, row) => (row / inputs, row % inputs),
            (false, row) => (row % outputs, row / outputs),
        };
        let channel = output / (outputs / groups).max(1) * inputs + input;
        bias[output] += factor * *value * shift.get(channel)?;
        *value *= scale.get(channel)?;
    }
    let weight = Tensor::from_values(stored.element(), shape.to_vec(), &weight).ok()?;
    let bias = Tensor::from_values(stored.element(), vec![outputs], &bias).ok()?;
    Some((weight, bias, normalization.input(0)?))
}

/// Whether a convolution may see zeros around its input.
fn pads(node: &Node) -> bool {
    let given = node.attributes.get("pads");
    let automatic = node.string("auto_pad", "NOTSET");
    matches!(given, Some(Attribute::Ints(pads)) if pads.iter().any(|pad| *pad != 0))
        || automatic.starts_with("SAME")
}

/// The bias by channel, with Gemm's factor in it.
fn own_bias(linear: &Node, stored: &Tensor, channels: usize) -> Option<Vec<f64>> {
    let values = stored.to_f64();
    let by_column = stored.shape().last().is_none_or(|last| *last == stored.len());
    let factor = if linear.operator == "Gemm" { f64::from(linear.float("beta", 1.0)) } else { 1.0 };
    let values = if values.len() == 1 { vec![values[0]; channels] } else { values };
    (by_column && values.len() == channels).then(|| values.into_iter().map(|value| value * factor).collect())
}

/// The weights, each times the factor of the output channel it belongs to.
fn scaled(linear: &Node, stored: &Tensor, scale: &[f64]) -> Option<Tensor> {
    let shape = stored.shape();
    let inner = |from: usize| shape[from..].iter().product::<usize>().max(1);
    let (first, second) = (*shape.first()?, *shape.get(1)?);
    // Which channel the weight at a place of the row-major order belongs to.
    let channel: Box<dyn Fn(usize) -> usize> = match linear.operator.as_str() {
        "Gemm" if linear.int("transB", 0) == 0 => Box::new(move |place| place % second),
        "ConvTranspose" => {
            let groups = usize::try_from(linear.int("group", 1)).ok().filter(|groups| *groups > 0)?;
            let (kernel, by_group) = (inner(2), first / groups);
            Box::new(move |place| {
                let (input, output) = (place / kernel / second, place / kernel % second);
                input / by_group.max(1) * second + output
            })
        }
        _ => {
            let filter = inner(1);
            Box::new(move |place| place / filter)
        }
    };
    let values = stored
        .to_f64()
        .into_iter()
        .enumerate()
        .map(|(place, value)| scale.get(channel(place)).map(|factor| value * factor))
        .collect::<Option<Vec<f64>>>()?;
    Tensor::from_values(stored.element(), shape.to_vec(), &values).ok()
}
