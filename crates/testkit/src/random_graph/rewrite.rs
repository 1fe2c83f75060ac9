//! Rewrites that do not change the function a graph computes.
//!
//! Each takes a graph of [`network`](super::network), or one with the same habits, and returns it with other nodes but
//! the same input and output names; `None` where it finds nothing to rewrite.

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, ElementType, Graph, NewNode, Node, NodeId, Origin, Tensor, ValueId};

use super::Random;

/// A rewrite and its name.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite {
    /// Name, in kebab-case.
    pub name: &'static str,
    /// Rewrites every place it finds; random where there is a choice.
    pub apply: fn(&Graph, &mut Random) -> Option<Graph>,
}

/// Every rewrite.
pub const REWRITES: &[Rewrite] = &[
    Rewrite { name: "fold-batch-normalization", apply: fold_batch_normalization },
    Rewrite { name: "unfold-batch-normalization", apply: unfold_batch_normalization },
    Rewrite { name: "split-gemm", apply: split_gemm },
    Rewrite { name: "halve-gemm", apply: halve_gemm },
    Rewrite { name: "insert-moves", apply: insert_moves },
    Rewrite { name: "commute", apply: commute },
    Rewrite { name: "rectifier-as-maximum", apply: rectifier_as_maximum },
    Rewrite { name: "rectifier-as-mirror", apply: rectifier_as_mirror },
    Rewrite { name: "expand-swish", apply: expand_swish },
];

/// A graph that is copied node by node, some of them as others.
struct Copy<'a> {
    source: &'a Graph,
    target: Graph,
    stands_for: BTreeMap<ValueId, ValueId>,
}

/// What a rewrite makes of a node: `None` leaves it as it is, otherwise what stands for its first output.
type Replacement<'r> = dyn FnMut(&mut Copy<'_>, NodeId, &Node) -> Option<ValueId> + 'r;

impl Copy<'_> {
    /// What stands for an input that must be there.
    fn input(&self, node: &Node, index: usize) -> ValueId {
        self.stands_for[&node.input(index).expect("the rewrite asked for an input that its node has")]
    }

    /// Name of the node's first output, which the last node of the replacement takes.
    fn output_name(&self, node: &Node) -> String {
        let output = node.output(0).expect("nodes of random networks name their first output");
        self.source.value(output).name.clone()
    }

    fn push(&mut self, new: NewNode) -> ValueId {
        match self.target.push_one(new) {
            Ok(id) => id,
            Err(error) => panic!("a rewrite's node was refused: {error}"),
        }
    }

    /// An inner node with a fresh name.
    fn inner(&mut self, operator: &str, inputs: &[ValueId], attributes: &[(&str, Attribute)]) -> ValueId {
        let name = self.target.fresh_name(&format!("rewritten.{}", self.target.values().len()));
        let mut new = NewNode::new(operator, inputs, name);
        for (name, value) in attributes {
            new = new.with(name, value.clone());
        }
        self.push(new)
    }

    fn constant(&mut self, element: ElementType, shape: &[usize], values: &[f64]) -> ValueId {
        let tensor = Tensor::from_values(element, shape.to_vec(), values).expect("values fill the shape");
        let name = self.target.fresh_name(&format!("rewritten.{}", self.target.values().len()));
        self.target.add_constant(name, tensor).expect("a fresh name is free")
    }

    /// The numbers of an input that is a constant.
    fn numbers(&self, node: &Node, index: usize) -> Option<Vec<f64>> {
        node.input(index).and_then(|id| self.source.constant(id)).map(Tensor::to_f64)
    }
}

/// Copies `source`, with what `replace` says in place of nodes.
fn rewrite(source: &Graph, replace: &mut Replacement<'_>) -> Option<Graph> {
    let mut copy = Copy { source, target: Graph::new(), stands_for: BTreeMap::new() };
    let mut changed = false;
    for id in source.value_ids() {
        let value = source.value(id);
        let here = match &value.origin {
            Origin::Input => copy.target.add_input(
                value.name.clone(),
                value.element.expect("inputs have an element type"),
                value.shape.clone(),
            ),
            Origin::Constant(tensor) => copy.target.add_constant(value.name.clone(), tensor.clone()),
            Origin::Node(node, 0) => {
                changed |= copy_node(&mut copy, *node, replace);
                continue;
            }
            Origin::Node(..) | Origin::Captured(_) => continue,
        };
        copy.stands_for.insert(id, here.expect("names of the source are unique"));
    }
    let outputs = source.outputs().iter().map(|id| copy.stands_for[id]).collect();
    copy.target.set_outputs(outputs);
    changed.then_some(copy.target)
}

/// Whether the node was replaced.
fn copy_node(copy: &mut Copy<'_>, id: NodeId, replace: &mut Replacement<'_>) -> bool {
    let source = copy.source;
    let node = source.node(id);
    if let Some(stands_for) = replace(copy, id, node) {
        let output = node.output(0).expect("nodes of random networks name their first output");
        copy.stands_for.insert(output, stands_for);
        return true;
    }
    let new = NewNode {
        operator: node.operator.clone(),
        name: node.name.clone(),
        inputs: node.inputs.iter().map(|input| input.map(|input| copy.stands_for[&input])).collect(),
        outputs: node
            .outputs
            .iter()
            .map(|output| output.map_or_else(String::new, |id| source.value(id).name.clone()))
            .collect(),
        attributes: node.attributes.clone(),
        metadata: node.metadata.clone(),
    };
    let pushed = copy.target.push(new).expect("the source accepted this node");
    let outputs = copy.target.node(pushed).outputs.clone();
    for (old, new) in node.outputs.iter().zip(outputs) {
        if let (Some(old), Some(new)) = (old, new) {
            copy.stands_for.insert(*old, new);
        }
    }
    false
}

/// Factor and offset by channel: y = factor · x + offset.
fn affine(graph: &Graph, node: &Node) -> Option<(Vec<f64>, Vec<f64>)> {
    let numbers = |index: usize| node.input(index).and_then(|id| graph.constant(id)).map(Tensor::to_f64);
    let (scale, bias, mean, variance) = (numbers(1)?, numbers(2)?, numbers(3)?, numbers(4)?);
    let epsilon = f64::from(node.float("epsilon", 1e-5));
    let factor: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let offset = bias.iter().zip(&mean).zip(&factor).map(|((b, m), f)| b - m * f).collect();
    Some((factor, offset))
}

/// Conv and `BatchNormalization` become one Conv.
fn fold_batch_normalization(graph: &Graph, _: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        if node.operator != "BatchNormalization" {
            return None;
        }
        let convolution = copy.source.node(copy.source.producer_of(node.input(0)?)?);
        if convolution.operator != "Conv" {
            return None;
        }
        let (factor, offset) = affine(copy.source, node)?;
        scaled_convolution(copy, convolution, &factor, &offset, &copy.output_name(node))
    })
}

/// The convolution whose output is `factor` times that of `node`, plus `offset`, by channel.
fn scaled_convolution(
    copy: &mut Copy<'_>,
    node: &Node,
    factor: &[f64],
    offset: &[f64],
    name: &str,
) -> Option<ValueId> {
    let weights = node.input(1).and_then(|id| copy.source.constant(id))?;
    let (element, shape) = (weights.element(), weights.shape().to_vec());
    let by_channel = weights.len() / factor.len();
    let scaled: Vec<f64> =
        weights.to_f64().iter().enumerate().map(|(index, w)| w * factor[index / by_channel]).collect();
    let bias = copy.numbers(node, 2).unwrap_or_else(|| vec![0.0; factor.len()]);
    let bias: Vec<f64> =
        bias.iter().zip(factor).zip(offset).map(|((bias, factor), offset)| bias * factor + offset).collect();
    let weights = copy.constant(element, &shape, &scaled);
    let bias = copy.constant(element, &[factor.len()], &bias);
    let mut new = NewNode::new("Conv", &[copy.input(node, 0), weights, bias], name);
    new.attributes.clone_from(&node.attributes);
    Some(copy.push(new))
}

/// A `BatchNormalization` of random statistics follows each Conv, whose weights undo it beforehand.
fn unfold_batch_normalization(graph: &Graph, random: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        if node.operator != "Conv" {
            return None;
        }
        let weights = node.input(1).and_then(|id| copy.source.constant(id))?;
        let (element, channels) = (weights.element(), weights.shape()[0]);
        let scale: Vec<f64> = (0..channels).map(|_| random.signed(0.5, 1.5)).collect();
        let bias = random.numbers(channels, -0.8, 0.8);
        let mean = random.numbers(channels, -0.6, 0.6);
        let variance = random.numbers(channels, 0.4, 1.8);
        let epsilon = 0.003_f32;
        let factor: Vec<f64> =
            scale.iter().zip(&variance).map(|(s, v)| (v + f64::from(epsilon)).sqrt() / s).collect();
        let offset: Vec<f64> = bias.iter().zip(&mean).zip(&factor).map(|((b, m), f)| m - b * f).collect();
        let name = format!("{}.unfolded", copy.output_name(node));
        let before = scaled_convolution(copy, node, &factor, &offset, &name)?;
        let statistics = [scale, bias, mean, variance].map(|v| copy.constant(element, &[channels], &v));
        let inputs = [before, statistics[0], statistics[1], statistics[2], statistics[3]];
        let new = NewNode::new("BatchNormalization", &inputs, copy.output_name(node));
        Some(copy.push(new.with("epsilon", Attribute::Float(epsilon))))
    })
}

/// A Gemm's matrix as [inputs, outputs] with α in it, and its row of β · C.
struct Dense {
    element: ElementType,
    inputs: usize,
    outputs: usize,
    weights: Vec<f64>,
    bias: Vec<f64>,
}

fn dense(graph: &Graph, node: &Node) -> Option<Dense> {
    if node.operator != "Gemm" || node.int("transA", 0) != 0 {
        return None;
    }
    let tensor = node.input(1).and_then(|id| graph.constant(id))?;
    let transposed = node.int("transB", 0) != 0;
    let [first, second] = tensor.shape() else { return None };
    let (inputs, outputs) = if transposed { (*second, *first) } else { (*first, *second) };
    let values = tensor.to_f64();
    let alpha = f64::from(node.float("alpha", 1.0));
    let at = |i: usize, o: usize| values[if transposed { o * inputs + i } else { i * outputs + o }];
    let weights = (0..inputs).flat_map(|i| (0..outputs).map(move |o| alpha * at(i, o))).collect();
    let beta = f64::from(node.float("beta", 1.0));
    let bias = graph.constant(node.input(2)?)?.to_f64().iter().map(|c| beta * c).collect();
    Some(Dense { element: tensor.element(), inputs, outputs, weights, bias })
}

/// Gemm becomes `MatMul` and Add.
fn split_gemm(graph: &Graph, _: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        let dense = dense(copy.source, node)?;
        let weights = copy.constant(dense.element, &[dense.inputs, dense.outputs], &dense.weights);
        let bias = copy.constant(dense.element, &[dense.outputs], &dense.bias);
        let product = copy.inner("MatMul", &[copy.input(node, 0), weights], &[]);
        Some(copy.push(NewNode::new("Add", &[bias, product], copy.output_name(node))))
    })
}

/// Gemm becomes two, each of some outputs, joined.
fn halve_gemm(graph: &Graph, random: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        let dense = dense(copy.source, node)?;
        if dense.outputs < 2 {
            return None;
        }
        let cut = random.whole(1, dense.outputs - 1);
        let halves = [0..cut, cut..dense.outputs].map(|range| {
            let weights: Vec<f64> = (0..dense.inputs)
                .flat_map(|i| range.clone().map(move |o| (i, o)))
                .map(|(i, o)| dense.weights[i * dense.outputs + o])
                .collect();
            let weights = copy.constant(dense.element, &[dense.inputs, range.len()], &weights);
            let bias = copy.constant(dense.element, &[range.len()], &dense.bias[range]);
            copy.inner("Gemm", &[copy.input(node, 0), weights, bias], &[])
        });
        let new = NewNode::new("Concat", &halves, copy.output_name(node));
        Some(copy.push(new.with("axis", Attribute::Int(1))))
    })
}

/// A Dropout (which does nothing in evaluation), an Identity, or two Transposes stand after some nodes.
fn insert_moves(graph: &Graph, random: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        if node.outputs.len() != 1 || random.chance(0.4) {
            return None;
        }
        let rank = copy.source.value(node.output(0)?).shape.as_ref()?.len();
        let inputs: Vec<ValueId> = (0..node.inputs.len()).map(|index| copy.input(node, index)).collect();
        let attributes: Vec<(&str, Attribute)> =
            node.attributes.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let value = copy.inner(&node.operator, &inputs, &attributes);
        let name = copy.output_name(node);
        let last = match random.below(3) {
            0 => NewNode::new("Dropout", &[value], name),
            1 => NewNode::new("Identity", &[value], name),
            _ => {
                let turned: Vec<i64> = (0..i64::try_from(rank).ok()?).rev().collect();
                let perm = Attribute::Ints(turned);
                let there = copy.inner("Transpose", &[value], &[("perm", perm.clone())]);
                NewNode::new("Transpose", &[there], name).with("perm", perm)
            }
        };
        Some(copy.push(last))
    })
}

/// a + b becomes b + a, and a · b becomes b · a.
fn commute(graph: &Graph, _: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        if !matches!(node.operator.as_str(), "Add" | "Mul") {
            return None;
        }
        let swapped = [copy.input(node, 1), copy.input(node, 0)];
        Some(copy.push(NewNode::new(&node.operator, &swapped, copy.output_name(node))))
    })
}

/// Relu(x) becomes Max(x, 0).
fn rectifier_as_maximum(graph: &Graph, _: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        if node.operator != "Relu" {
            return None;
        }
        let element = copy.source.value(node.output(0)?).element?;
        let zero = copy.constant(element, &[], &[0.0]);
        Some(copy.push(NewNode::new("Max", &[copy.input(node, 0), zero], copy.output_name(node))))
    })
}

/// Relu(x) becomes x + Relu(−x).
fn rectifier_as_mirror(graph: &Graph, _: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        if node.operator != "Relu" {
            return None;
        }
        let x = copy.input(node, 0);
        let negative = copy.inner("Neg", &[x], &[]);
        let mirrored = copy.inner("Relu", &[negative], &[]);
        Some(copy.push(NewNode::new("Add", &[x, mirrored], copy.output_name(node))))
    })
}

/// Swish becomes x · Sigmoid(α · x).
fn expand_swish(graph: &Graph, _: &mut Random) -> Option<Graph> {
    rewrite(graph, &mut |copy, _, node| {
        if node.operator != "Swish" {
            return None;
        }
        let element = copy.source.value(node.output(0)?).element?;
        let alpha = copy.constant(element, &[], &[f64::from(node.float("alpha", 1.0))]);
        let x = copy.input(node, 0);
        let scaled = copy.inner("Mul", &[x, alpha], &[]);
        let gate = copy.inner("Sigmoid", &[scaled], &[]);
        Some(copy.push(NewNode::new("Mul", &[x, gate], copy.output_name(node))))
    })
}
