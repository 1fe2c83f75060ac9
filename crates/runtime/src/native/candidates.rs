//! Which convolutions of a lowered graph kernels compute.

use std::collections::BTreeSet;

use pellucid_graph::{ElementType, Graph, Node, ValueId};

use super::planes::{Geometry, Sizes, of_input};
use super::{Least, Work};
use crate::{Engine, Kernels};

/// A lowered graph that is looked through for kernels.
pub(super) struct Candidates<'a> {
    pub(super) graph: &'a Graph,
    /// Inputs that are the same numbers in every run.
    pub(super) held: &'a BTreeSet<ValueId>,
    pub(super) when: Kernels,
    pub(super) engine: Engine,
    pub(super) least: Least,
}

impl Candidates<'_> {
    /// What a node is and reads, where kernels take it.
    pub(super) fn work(&self, node: &Node) -> Option<(Work, Vec<ValueId>)> {
        match node.operator.as_str() {
            "Conv" => self
                .weight_derivative(node)
                .or_else(|| self.depthwise_weight_derivative(node))
                .or_else(|| self.convolution(node)),
            "ConvTranspose" => self.input_derivative(node),
            _ => None,
        }
    }

    /// Whether kernels take a convolution with these weights: an engine lays out numbers that stay once, which kernels here
    /// do in every run.
    fn takes(&self, weights: ValueId, depthwise: bool) -> bool {
        let stay = self.graph.constant(weights).is_some() || self.held.contains(&weights);
        (depthwise && is_slow_at_depthwise(self.engine)) || (!stay && self.when != Kernels::Depthwise)
    }

    /// Whether there are products enough.
    fn enough(&self, sizes: &[usize]) -> bool {
        let products = sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
        products.is_some_and(|products| products >= self.least.products)
    }

    /// A convolution.
    fn convolution(&self, node: &Node) -> Option<(Work, Vec<ValueId>)> {
        let graph = self.graph;
        let (x, weights) = (node.input(0)?, node.input(1)?);
        let ([rows, channels, high, wide], [outputs, inside, height, width]) =
            (sizes(graph, x)?, sizes(graph, weights)?);
        let [_, _, down, across] = sizes(graph, node.output(0)?)?;
        let geometry = geometry(node, [height, width])?;
        let work = match groups(node) {
            1 if channels == inside => Work::Convolution(geometry),
            count if is_depthwise(count, channels, outputs, inside) => Work::DepthwiseConvolution(geometry),
            _ => return None,
        };
        let fits = self.takes(weights, groups(node) != 1)
            && can_be_laid_out(&geometry, inside, [high, wide], [down, across])
            && self.enough(&[rows, inside, outputs, height, width, down, across]);
        let inputs = [x, weights].into_iter().chain(node.input(2)).collect();
        fits.then_some((work, inputs))
    }

    /// A convolution's transpose.
    fn input_derivative(&self, node: &Node) -> Option<(Work, Vec<ValueId>)> {
        let graph = self.graph;
        let (dy, weights) = (node.input(0)?, node.input(1)?);
        let ([rows, channels, down, across], [outside, inside, height, width]) =
            (sizes(graph, dy)?, sizes(graph, weights)?);
        let input = Sizes::of(&sizes(graph, node.output(0)?)?)?;
        let geometry = geometry(node, [height, width])?;
        let work = match groups(node) {
            1 => Work::InputDerivative(geometry, input),
            count if is_depthwise(count, channels, input.channels, inside) => {
                Work::DepthwiseInputDerivative(geometry, input)
            }
            _ => return None,
        };
        let fits = channels == outside
            && node.input(2).is_none()
            && self.takes(weights, groups(node) != 1)
            && geometry.output(0, input.space[0]) == Some(down)
            && geometry.output(1, input.space[1]) == Some(across)
            && self.enough(&[rows, channels, inside, height, width, down, across]);
        fits.then_some((work, vec![dy, weights]))
    }

    /// A convolution of an input's transpose with a signal's: the derivative for the weights of one whose strides are this one's
    /// dilations. What was cut off the input's end, no window of that one saw.
    fn weight_derivative(&self, node: &Node) -> Option<(Work, Vec<ValueId>)> {
        let graph = self.graph;
        let x = transposed(graph, node.input(0)?)?;
        let dy = transposed(graph, node.input(1)?)?;
        let x = uncut(graph, node, x)?;
        let ([_, channels, ..], [_, outputs, ..]) = (sizes(graph, x)?, sizes(graph, dy)?);
        let [inside, outside, ..] = sizes(graph, node.output(0)?)?;
        let fits = groups(node) == 1 && (inside, outside) == (channels, outputs);
        let geometry = self.seen_from_weights(node, [x, dy]).filter(|_| fits)?;
        Some((Work::WeightDerivative(geometry), vec![x, dy]))
    }

    /// The same of a kernel for each channel: rows of a channel lie side by side as the channels of a group.
    fn depthwise_weight_derivative(&self, node: &Node) -> Option<(Work, Vec<ValueId>)> {
        let graph = self.graph;
        let side_by_side = graph.producer_of(node.input(0)?).map(|node| graph.node(node))?;
        let x = transposed(graph, side_by_side.input(0).filter(|_| side_by_side.operator == "Reshape")?)?;
        let dy = transposed(graph, node.input(1)?)?;
        let x = uncut(graph, node, x)?;
        let ([rows, channels, ..], [_, outputs, ..]) = (sizes(graph, x)?, sizes(graph, dy)?);
        let [one, outside, ..] = sizes(graph, node.output(0)?)?;
        let fits = is_depthwise(outside, channels, outputs, one)
            && groups(node) == channels
            && sizes(graph, node.input(0)?)?[..2] == [1, channels * rows];
        let geometry = self.seen_from_weights(node, [x, dy]).filter(|_| fits)?;
        Some((Work::DepthwiseWeightDerivative(geometry), vec![x, dy]))
    }

    /// The geometry of the convolution of `x` for whose weights this node is the derivative, `dy` being its signal.
    fn seen_from_weights(&self, node: &Node, [x, dy]: [ValueId; 2]) -> Option<Geometry> {
        let graph = self.graph;
        let ([rows, channels, height, width], [same, outputs, down, across]) =
            (sizes(graph, x)?, sizes(graph, dy)?);
        let [inside, _, high, wide] = sizes(graph, node.output(0)?)?;
        let plain = node.input(2).is_none()
            && node.ints("strides").is_none_or(|strides| strides.iter().all(|stride| *stride == 1));
        let stride = match node.ints("dilations") {
            None => [1, 1],
            Some(list) => unsigned(<[i64; 2]>::try_from(list).ok()?)?,
        };
        let pads = match node.ints("pads") {
            None => [0; 4],
            Some(list) => unsigned(<[i64; 4]>::try_from(list).ok()?)?,
        };
        let geometry =
            Geometry { kernel: [high, wide], stride, before: [pads[0], pads[1]], after: [pads[2], pads[3]] };
        let fits = plain
            && self.when != Kernels::Depthwise
            && rows == same
            && channels >= inside
            && high > 0
            && wide > 0
            && moderate(&geometry)
            && geometry.output(0, height) == Some(down)
            && geometry.output(1, width) == Some(across)
            && can_be_laid_out(&geometry, inside, [height, width], [down, across])
            && self.enough(&[rows, inside, outputs, high, wide, down, across]);
        fits.then_some(geometry)
    }
}

/// Whether an engine goes through convolutions with a kernel for each channel without vectors.
pub(super) fn is_slow_at_depthwise(engine: Engine) -> bool {
    engine == Engine::Rten
}

/// Whether a node may be a convolution with a kernel for each channel, or its transpose: its weights look like it.
pub(super) fn may_be_depthwise(graph: &Graph, node: &Node) -> bool {
    let weights = || node.input(1).and_then(|weights| graph.value(weights).shape.as_ref());
    matches!(node.operator.as_str(), "Conv" | "ConvTranspose")
        && groups(node) > 1
        && weights().is_some_and(|shape| shape.len() == 4 && shape[1].value() == Some(1))
}

fn sizes(graph: &Graph, id: ValueId) -> Option<[usize; 4]> {
    let value = graph.value(id);
    (value.element == Some(ElementType::F32)).then(|| value.static_shape()).flatten()?.try_into().ok()
}

/// Strides, pads and kernel of a node over two axes, dilated by one.
fn geometry(node: &Node, kernel: [usize; 2]) -> Option<Geometry> {
    let pair = |name: &str, default: usize| match node.ints(name) {
        None => Some([default; 2]),
        Some(list) => <[i64; 2]>::try_from(list).ok().and_then(unsigned),
    };
    let pads = match node.ints("pads") {
        None => [0; 4],
        Some(list) => unsigned(<[i64; 4]>::try_from(list).ok()?)?,
    };
    let plain = pair("dilations", 1)? == [1, 1] && kernel.iter().all(|size| *size > 0);
    let stride = pair("strides", 1).filter(|stride| stride.iter().all(|step| *step > 0))?;
    let geometry = Geometry { kernel, stride, before: [pads[0], pads[1]], after: [pads[2], pads[3]] };
    (plain && (0..2).all(|axis| geometry.before[axis] < kernel[axis]) && moderate(&geometry))
        .then_some(geometry)
}

/// Longest stride: each has phases of its own, which are laid out apart.
const LONGEST_STRIDE: usize = 64;

fn moderate(geometry: &Geometry) -> bool {
    geometry.stride.iter().all(|stride| (1..=LONGEST_STRIDE).contains(stride))
}

/// Whether a convolution's input of `channels` can be laid out.
fn can_be_laid_out(geometry: &Geometry, channels: usize, space: [usize; 2], output: [usize; 2]) -> bool {
    moderate(geometry) && of_input(geometry, Sizes { rows: 1, channels, space }, output).fits()
}

fn unsigned<const N: usize>(list: [i64; N]) -> Option<[usize; N]> {
    let mut sizes = [0; N];
    for (size, number) in sizes.iter_mut().zip(list) {
        *size = usize::try_from(number).ok()?;
    }
    Some(sizes)
}

/// Groups that a convolution's channels are split into; 0 where a file's number is none.
fn groups(node: &Node) -> usize {
    usize::try_from(node.int("group", 1)).unwrap_or(0)
}

/// Whether each channel is made of one by a kernel of its own.
fn is_depthwise(groups: usize, channels: usize, outputs: usize, inside: usize) -> bool {
    groups == channels && outputs == channels && inside == 1
}

/// What a value is, with its first two axes swapped.
fn transposed(graph: &Graph, id: ValueId) -> Option<ValueId> {
    let node = graph.producer_of(id).map(|node| graph.node(node))?;
    (node.operator == "Transpose" && node.ints("perm") == Some(&[1, 0, 2, 3]))
        .then(|| node.input(0))
        .flatten()
}

/// What a value is the beginning of, along spatial axes at whose end `node` pads nothing: where it does, zeros stand in place of
/// what was cut off. `None` where nothing can be said.
fn uncut(graph: &Graph, node: &Node, mut id: ValueId) -> Option<ValueId> {
    let after = match node.ints("pads") {
        None => [0; 2],
        Some(list) => <[i64; 4]>::try_from(list).ok().map(|[_, _, down, across]| [down, across])?,
    };
    while let Some(cut) = graph.producer_of(id).map(|node| graph.node(node)) {
        let list = |at: usize| {
            cut.input(at).and_then(|id| graph.constant(id)).and_then(pellucid_graph::Tensor::to_i64)
        };
        let (Some(starts), Some(axes)) = (list(1), list(3)) else { break };
        let unpadded = |axis: &i64| matches!(axis, 2 | 3) && after[usize::from(*axis == 3)] == 0;
        let plain = cut.operator == "Slice"
            && starts.iter().all(|start| *start == 0)
            && list(4).unwrap_or_default().iter().all(|step| *step == 1)
            && axes.iter().all(unpadded);
        let Some(x) = cut.input(0).filter(|_| plain) else { break };
        id = x;
    }
    Some(id)
}
