//! What an engine leaves to be gained in training steps, computed here between runs of the engine: convolutions whose
//! weights are fed, their derivatives, and chains of element-wise operators with sums by channel.
//!
//! Engines take no operators from outside, so the graph is cut where a kernel stands: [`staged`] tells stretches of nodes
//! that the engine runs from kernels, and `stage.rs` runs them in turn. Nothing here knows an engine.

mod convolution;
mod depthwise;
mod group;
mod operation;
mod planes;
mod program;
mod stage;
mod tile;

use std::collections::BTreeSet;

use pellucid_graph::{ElementType, Graph, Node, NodeId, ValueId};

use crate::Kernels;
use planes::{Geometry, Sizes, of_input};
use program::Program;
pub(crate) use stage::{Stages, Storage};

/// What is computed here.
#[derive(Debug)]
enum Work {
    /// Of x, weights and perhaps a bias.
    Convolution(Geometry),
    /// Of the signal and weights, for an input of these sizes.
    InputDerivative(Geometry, Sizes),
    /// Of x and the signal; `[c, o, k_y, k_x]`, as the convolution of their transposes has it.
    WeightDerivative(Geometry),
    /// The same with a kernel for each channel.
    DepthwiseConvolution(Geometry),
    DepthwiseInputDerivative(Geometry, Sizes),
    /// `[1, c, k_y, k_x]`, as the convolution of the transposes has it.
    DepthwiseWeightDerivative(Geometry),
    Program(Program),
}

/// A kernel and the nodes that it stands for.
#[derive(Debug)]
struct Kernel {
    work: Work,
    nodes: BTreeSet<NodeId>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    /// Elements of each output.
    lengths: Vec<usize>,
}

/// How much there must be to compute.
#[derive(Debug, Clone, Copy)]
struct Least {
    /// Products of a convolution.
    products: usize,
    /// Numbers of a space in which two nodes are a program.
    pair: usize,
    /// Numbers of a space in which one node is.
    alone: usize,
    /// Numbers of a channel's plane over which sums are taken.
    plane: usize,
}

impl Least {
    fn of(when: Kernels) -> Option<Self> {
        match when {
            Kernels::Never => None,
            Kernels::Worthwhile => Some(Self { products: 1 << 18, pair: 1 << 12, alone: 1 << 18, plane: 8 }),
            Kernels::Always => Some(Self { products: 1, pair: 1, alone: 1, plane: 1 }),
        }
    }
}

/// The kernels of a lowered graph, where sizes are known.
fn kernels(graph: &Graph, when: Kernels) -> Vec<Kernel> {
    let Some(least) = Least::of(when) else { return Vec::new() };
    let mut kernels = Vec::new();
    let mut taken = BTreeSet::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        let found = match node.operator.as_str() {
            "Conv" => weight_derivative(graph, node, least)
                .or_else(|| depthwise_weight_derivative(graph, node, least))
                .or_else(|| convolution(graph, node, least)),
            "ConvTranspose" => input_derivative(graph, node, least),
            _ => None,
        };
        let Some((work, inputs)) = found else { continue };
        taken.insert(id);
        kernels.push((
            work,
            BTreeSet::from([id]),
            inputs,
            node.outputs.iter().flatten().copied().collect::<Vec<_>>(),
        ));
    }
    for group in group::groups(graph, &taken, least) {
        kernels.push((Work::Program(group.program), group.nodes, group.inputs, group.outputs));
    }
    let length = |id: &ValueId| graph.value(*id).static_shape().map_or(0, |shape| shape.iter().product());
    kernels
        .into_iter()
        .map(|(work, nodes, inputs, outputs)| {
            let lengths = outputs.iter().map(length).collect();
            Kernel { work, nodes, inputs, outputs, lengths }
        })
        .collect()
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

fn enough(least: Least, sizes: &[usize]) -> bool {
    sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size)).is_some_and(|all| all >= least.products)
}

/// A convolution whose weights are no constant: an engine lays out constants once, which kernels here do in every run.
fn convolution(graph: &Graph, node: &Node, least: Least) -> Option<(Work, Vec<ValueId>)> {
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
    let fits = graph.constant(weights).is_none()
        && can_be_laid_out(&geometry, inside, [high, wide], [down, across])
        && enough(least, &[rows, inside, outputs, height, width, down, across]);
    let inputs = [x, weights].into_iter().chain(node.input(2)).collect();
    fits.then_some((work, inputs))
}

/// Groups that a convolution's channels are split into; 0 where a file's number is none.
fn groups(node: &Node) -> usize {
    usize::try_from(node.int("group", 1)).unwrap_or(0)
}

/// Whether each channel is made of one by a kernel of its own.
fn is_depthwise(groups: usize, channels: usize, outputs: usize, inside: usize) -> bool {
    groups == channels && outputs == channels && inside == 1
}

fn input_derivative(graph: &Graph, node: &Node, least: Least) -> Option<(Work, Vec<ValueId>)> {
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
        && graph.constant(weights).is_none()
        && geometry.output(0, input.space[0]) == Some(down)
        && geometry.output(1, input.space[1]) == Some(across)
        && enough(least, &[rows, channels, inside, height, width, down, across]);
    fits.then_some((work, vec![dy, weights]))
}

/// A convolution of an input's transpose with a signal's: the derivative for the weights of one whose strides are this one's
/// dilations. What was cut off the input's end, no window of that one saw.
fn weight_derivative(graph: &Graph, node: &Node, least: Least) -> Option<(Work, Vec<ValueId>)> {
    let x = transposed(graph, node.input(0)?)?;
    let dy = transposed(graph, node.input(1)?)?;
    let x = uncut(graph, node, x)?;
    let ([_, channels, ..], [_, outputs, ..]) = (sizes(graph, x)?, sizes(graph, dy)?);
    let [inside, outside, ..] = sizes(graph, node.output(0)?)?;
    let fits = groups(node) == 1 && (inside, outside) == (channels, outputs);
    let geometry = seen_from_weights(graph, node, least, [x, dy]).filter(|_| fits)?;
    Some((Work::WeightDerivative(geometry), vec![x, dy]))
}

/// The same of a kernel for each channel: rows of a channel lie side by side as the channels of a group.
fn depthwise_weight_derivative(graph: &Graph, node: &Node, least: Least) -> Option<(Work, Vec<ValueId>)> {
    let side_by_side = graph.producer_of(node.input(0)?).map(|node| graph.node(node))?;
    let x = transposed(graph, side_by_side.input(0).filter(|_| side_by_side.operator == "Reshape")?)?;
    let dy = transposed(graph, node.input(1)?)?;
    let x = uncut(graph, node, x)?;
    let ([rows, channels, ..], [_, outputs, ..]) = (sizes(graph, x)?, sizes(graph, dy)?);
    let [one, outside, ..] = sizes(graph, node.output(0)?)?;
    let fits = is_depthwise(outside, channels, outputs, one)
        && groups(node) == channels
        && sizes(graph, node.input(0)?)?[..2] == [1, channels * rows];
    let geometry = seen_from_weights(graph, node, least, [x, dy]).filter(|_| fits)?;
    Some((Work::DepthwiseWeightDerivative(geometry), vec![x, dy]))
}

/// The geometry of the convolution of `x` for whose weights this node is the derivative, `dy` being its signal.
fn seen_from_weights(graph: &Graph, node: &Node, least: Least, [x, dy]: [ValueId; 2]) -> Option<Geometry> {
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
        && rows == same
        && channels >= inside
        && high > 0
        && wide > 0
        && moderate(&geometry)
        && geometry.output(0, height) == Some(down)
        && geometry.output(1, width) == Some(across)
        && can_be_laid_out(&geometry, inside, [height, width], [down, across])
        && enough(least, &[rows, inside, outputs, high, wide, down, across]);
    fits.then_some(geometry)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pellucid_compile::training::{Optimizer, TrainingConfig, TrainingStep, training_step};
    use pellucid_graph::{Attribute, Dim, NewNode, Tensor};

    use super::*;
    use crate::{Array, Engine, Options, open};

    const ROWS: usize = 5;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|k| ((k * 7919 + seed * 104_729) % 2003) as f32 / 2003.0 - 0.5).collect()
    }

    /// A convolution with batch normalisation, one with a kernel for each channel, one of two groups, one of stride 2 beside
    /// a shortcut, means of maps, a linear layer.
    fn step(optimizer: Optimizer) -> TrainingStep {
        let mut graph = Graph::new();
        let shape = [ROWS, 3, 9, 8].map(|size| Dim::known(i64::try_from(size).unwrap())).to_vec();
        let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
        let mut seed = 0;
        let mut weight = |graph: &mut Graph, name: &str, shape: &[usize]| {
            seed += 1;
            let values = numbers(shape.iter().product(), seed);
            graph.add_constant(name, Tensor::from_f32(shape.to_vec(), &values).unwrap()).unwrap()
        };
        let mut conv = |graph: &mut Graph, x, name: &str, shape: [usize; 4], stride: i64| {
            let w = weight(graph, &format!("{name}.weight"), &shape);
            let pad = i64::try_from(shape[2] / 2).unwrap();
            let group = i64::try_from(graph.value(x).static_shape().unwrap()[1] / shape[1]).unwrap();
            let new = NewNode::new("Conv", &[x, w], format!("{name}.out"))
                .with("group", Attribute::Int(group))
                .with("strides", Attribute::Ints(vec![stride; 2]))
                .with("pads", Attribute::Ints(vec![pad; 4]));
            let y = graph.push_one(new).unwrap();
            let mut inputs = vec![y];
            for what in ["scale", "bias", "mean", "variance"] {
                let values: Vec<f32> = match what {
                    "scale" | "variance" => vec![1.0; shape[0]],
                    _ => numbers(shape[0], 77),
                };
                let tensor = Tensor::from_f32(vec![shape[0]], &values).unwrap();
                inputs.push(graph.add_constant(format!("{name}.{what}"), tensor).unwrap());
            }
            graph.push_one(NewNode::new("BatchNormalization", &inputs, format!("{name}.normal"))).unwrap()
        };
        let y = conv(&mut graph, x, "first", [6, 3, 3, 3], 1);
        let y = graph.push_one(NewNode::new("Relu", &[y], "first.relu")).unwrap();
        let y = conv(&mut graph, y, "depthwise", [6, 1, 5, 5], 1);
        let y = graph.push_one(NewNode::new("Relu", &[y], "depthwise.relu")).unwrap();
        // A shift before two normalisations in a row would have no derivative but rounding.
        let y = conv(&mut graph, y, "grouped", [4, 3, 3, 3], 1);
        let y = graph.push_one(NewNode::new("Relu", &[y], "grouped.relu")).unwrap();
        let y = conv(&mut graph, y, "wide", [6, 4, 1, 1], 1);
        let y = graph.push_one(NewNode::new("Relu", &[y], "wide.relu")).unwrap();
        let a = conv(&mut graph, y, "second", [8, 6, 3, 3], 2);
        let b = conv(&mut graph, y, "shortcut", [8, 6, 1, 1], 2);
        let sum = graph.push_one(NewNode::new("Add", &[a, b], "sum")).unwrap();
        let y = graph.push_one(NewNode::new("Relu", &[sum], "relu")).unwrap();
        let y = graph.push_one(NewNode::new("GlobalAveragePool", &[y], "pool")).unwrap();
        let y = graph.push_one(NewNode::new("Flatten", &[y], "flat")).unwrap();
        let w = graph.add_constant("fc", Tensor::from_f32(vec![8, 4], &numbers(32, 9)).unwrap()).unwrap();
        let y = graph.push_one(NewNode::new("MatMul", &[y, w], "logits")).unwrap();
        graph.add_output(y).unwrap();
        training_step(&graph, &TrainingConfig { optimizer, weight_decay: 0.01, ..TrainingConfig::default() })
            .unwrap()
    }

    fn results(step: &TrainingStep, options: &Options) -> Vec<Array> {
        let session = open(&step.graph, options).unwrap();
        let mut fed: BTreeMap<String, Array> = BTreeMap::new();
        fed.insert("x".to_owned(), Array::from_f32(&[ROWS, 3, 9, 8], numbers(ROWS * 216, 5)).unwrap());
        fed.insert(step.targets.clone(), Array::from_i64(&[ROWS], vec![0, 1, 2, 3, 1]).unwrap());
        fed.insert(step.learning_rate.clone(), Array::from_f32(&[], vec![0.1]).unwrap());
        if let Some(momentum) = &step.momentum {
            fed.insert(momentum.clone(), Array::from_f32(&[], vec![0.9]).unwrap());
        }
        for carried in &step.state {
            fed.insert(carried.input.clone(), Array::from_tensor(&carried.start));
        }
        let mut wanted = vec![step.loss.as_str(), step.norm.as_str()];
        wanted.extend(step.weights.iter().map(|weight| weight.derivative.as_str()));
        wanted.extend(step.state.iter().map(|carried| carried.updated.as_str()));
        // Twice: the second run lies in what the first gave back.
        let mut last = Vec::new();
        for _ in 0..2 {
            let fed: Vec<(&str, &Array)> = fed.iter().map(|(name, array)| (name.as_str(), array)).collect();
            session.recycle(std::mem::take(&mut last));
            last = session.run(&fed, &wanted).unwrap();
        }
        last
    }

    fn engines() -> impl Iterator<Item = Engine> {
        Engine::ALL.into_iter().filter(|engine| *engine != Engine::Reference && engine.available().is_ok())
    }

    #[test]
    fn steps_are_those_of_the_interpreter() {
        for optimizer in [Optimizer::ADAM_W, Optimizer::Sgd { momentum: true, nesterov: true }] {
            let step = step(optimizer);
            let exact = results(&step, &Options { engine: Engine::Reference, ..Options::default() });
            for (engine, kernels) in
                engines().flat_map(|engine| [(engine, Kernels::Always), (engine, Kernels::Never)])
            {
                let options =
                    |threads| Options { engine, kernels, threads: Some(threads), ..Options::default() };
                let found = results(&step, &options(1));
                for (at, (found, exact)) in found.iter().zip(&exact).enumerate() {
                    let (found, exact) = (found.to_f64(), exact.to_f64());
                    assert_eq!(found.shape(), exact.shape());
                    let most = exact.iter().fold(1e-2f64, |most, value| most.max(value.abs()));
                    let error = (&found - &exact).iter().fold(0.0f64, |most, error| most.max(error.abs()));
                    // AdamW divides by what may be rounding alone.
                    let near = if optimizer == Optimizer::ADAM_W && at > step.weights.len() + 1 {
                        5e-3
                    } else {
                        2e-5
                    };
                    let engine = engine.name();
                    assert!(error <= near * most, "{engine}, {kernels:?}, {at}: {error:e} of {most:e}");
                }
                // Without kernels sums are the engine's, which on the second one may depend on threads.
                if kernels == Kernels::Always {
                    assert_eq!(found, results(&step, &options(3)), "{}", engine.name());
                }
            }
        }
    }

    /// Every convolution and both derivatives of each are kernels, and so are normalisations with what surrounds them.
    #[test]
    fn a_step_of_a_network_is_kernels() {
        let step = step(Optimizer::Sgd { momentum: true, nesterov: false });
        for engine in [Engine::Rten, Engine::Onnxruntime] {
            let lowered = crate::lower::lower(&step.graph, engine, true).unwrap();
            let kernels = kernels(&lowered.graph, Kernels::Always);
            let count = |is: fn(&Work) -> bool| kernels.iter().filter(|kernel| is(&kernel.work)).count();
            assert_eq!(count(|work| matches!(work, Work::Convolution(_))), 4);
            assert_eq!(count(|work| matches!(work, Work::WeightDerivative(_))), 4);
            assert_eq!(count(|work| matches!(work, Work::InputDerivative(..))), 3);
            assert_eq!(count(|work| matches!(work, Work::DepthwiseConvolution(_))), 1);
            assert_eq!(count(|work| matches!(work, Work::DepthwiseWeightDerivative(_))), 1);
            assert_eq!(count(|work| matches!(work, Work::DepthwiseInputDerivative(..))), 1);
            let programs: Vec<usize> = kernels
                .iter()
                .filter(|kernel| matches!(kernel.work, Work::Program(_)))
                .map(|kernel| kernel.nodes.len())
                .collect();
            assert!(programs.iter().filter(|nodes| **nodes >= 9).count() >= 4, "{programs:?}");
            assert!(super::kernels(&lowered.graph, Kernels::Never).is_empty());
        }
    }
}
