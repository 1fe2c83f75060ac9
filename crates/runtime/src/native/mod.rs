//! What an engine leaves to be gained, computed here between runs of the engine: convolutions whose weights are fed, their
//! derivatives, depthwise convolutions on rten, and chains of element-wise operators with sums by channel.
//!
//! Engines take no operators from outside, so the graph is cut where a kernel stands: [`Stages`] tells stretches of nodes
//! that the engine runs from kernels, and runs them in turn. Of engines nothing is known here but what each is slow
//! at.

mod candidates;
mod convolution;
mod depthwise;
mod group;
mod operation;
mod planes;
mod program;
mod stage;
mod tile;

use std::collections::BTreeSet;

use pellucid_graph::{Graph, NodeId, ValueId};

use crate::{Engine, Kernels};
use candidates::{Candidates, is_slow_at_depthwise, may_be_depthwise};
use planes::{Geometry, Sizes};
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
            // Whatever the number of rows, so that it has no say in a row's bits. One operator alone is not worth a cut.
            Kernels::Depthwise => Some(Self { products: 1, pair: 1, alone: usize::MAX, plane: 8 }),
            Kernels::Worthwhile => Some(Self { products: 1 << 18, pair: 1 << 12, alone: 1 << 18, plane: 8 }),
            Kernels::Always => Some(Self { products: 1, pair: 1, alone: 1, plane: 1 }),
        }
    }
}

/// Whether kernels would compute some of a lowered graph once its sizes are known.
pub(crate) fn wait_for_sizes(graph: &Graph, when: Kernels, engine: Engine) -> bool {
    when == Kernels::Depthwise
        && is_slow_at_depthwise(engine)
        && graph.node_ids().any(|id| may_be_depthwise(graph, graph.node(id)))
}

/// The kernels of a lowered graph, where sizes are known; `held` are inputs that are the same numbers in every run.
fn kernels(graph: &Graph, held: &BTreeSet<ValueId>, when: Kernels, engine: Engine) -> Vec<Kernel> {
    let Some(least) = Least::of(when) else { return Vec::new() };
    let candidates = Candidates { graph, held, when, engine, least };
    let mut kernels = Vec::new();
    let mut taken = BTreeSet::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        let Some((work, inputs)) = candidates.work(node) else { continue };
        taken.insert(id);
        kernels.push((
            work,
            BTreeSet::from([id]),
            inputs,
            node.outputs.iter().flatten().copied().collect::<Vec<_>>(),
        ));
    }
    // On onnxruntime results are copied where the graph is cut: of a step without convolutions that takes more than programs
    // save (an MLP's step 0.87 of PyTorch's time with them, 0.70 without).
    let costs_more = when == Kernels::Worthwhile && engine == Engine::Onnxruntime;
    if (when == Kernels::Depthwise || costs_more) && kernels.is_empty() {
        return Vec::new();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pellucid_compile::training::{Optimizer, TrainingConfig, TrainingStep, training_step};
    use pellucid_graph::{Attribute, Dim, ElementType, NewNode, Tensor};

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
        let limit = |graph: &mut Graph, name: &str, value: f32| {
            graph.add_constant(name, Tensor::from_f32(vec![], &[value]).unwrap()).unwrap()
        };
        let limits = [limit(&mut graph, "low", 0.0), limit(&mut graph, "high", 0.5)];
        let y = graph.push_one(NewNode::new("Clip", &[y, limits[0], limits[1]], "depthwise.clip")).unwrap();
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
            let kernels = kernels(&lowered.graph, &BTreeSet::new(), Kernels::Always, engine);
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
            assert!(super::kernels(&lowered.graph, &BTreeSet::new(), Kernels::Never, engine).is_empty());
        }
    }

    /// Two depthwise convolutions of stride 1 and 2 between others, rows free, and what brings a signal back through them.
    fn depthwise_network() -> Graph {
        let mut graph = Graph::new();
        let size = |size: i64| Dim::known(size);
        let shape = vec![Dim::symbol("n"), size(3), size(9), size(8)];
        let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
        let constant = |graph: &mut Graph, name: &str, shape: &[usize], seed| {
            let values = numbers(shape.iter().product(), seed);
            graph.add_constant(name, Tensor::from_f32(shape.to_vec(), &values).unwrap()).unwrap()
        };
        let w = constant(&mut graph, "first", &[200, 3, 1, 1], 1);
        let y = graph.push_one(NewNode::new("Conv", &[x, w], "a")).unwrap();
        // Above and below what rten is fed, and with a bias.
        let [w, b] = [&[200, 1, 3, 3][..], &[200]]
            .map(|shape| constant(&mut graph, &format!("depthwise.{}", shape.len()), shape, shape.len()));
        let pads = Attribute::Ints(vec![1; 4]);
        let depthwise = |inputs: &[ValueId], name: &str, stride: i64| {
            NewNode::new("Conv", inputs, name)
                .with("group", Attribute::Int(200))
                .with("pads", pads.clone())
                .with("strides", Attribute::Ints(vec![stride; 2]))
        };
        let y = graph.push_one(depthwise(&[y, w, b], "b", 1)).unwrap();
        let [low, high] = [("low", -0.2), ("high", 0.3)].map(|(name, value)| {
            graph.add_constant(name, Tensor::from_f32(vec![], &[value]).unwrap()).unwrap()
        });
        let clipped = graph.push_one(NewNode::new("Clip", &[y, low, high], "c")).unwrap();
        let inside = graph.push_one(NewNode::new("Equal", &[y, clipped], "d")).unwrap();
        let number = Attribute::Int(i64::from(ElementType::F32.onnx_code()));
        let inside = graph.push_one(NewNode::new("Cast", &[inside], "e").with("to", number)).unwrap();
        let z = graph.push_one(depthwise(&[clipped, w, b], "f", 2)).unwrap();
        let back = NewNode::new("ConvTranspose", &[z, w], "g")
            .with("group", Attribute::Int(200))
            .with("pads", pads)
            .with("output_padding", Attribute::Ints(vec![0, 1]))
            .with("strides", Attribute::Ints(vec![2; 2]));
        let back = graph.push_one(back).unwrap();
        let signal = graph.push_one(NewNode::new("Mul", &[back, inside], "h")).unwrap();
        graph.add_output(z).unwrap();
        graph.add_output(signal).unwrap();
        graph
    }

    #[test]
    fn depthwise_convolutions_of_weights_that_stay_are_kernels_on_rten() {
        let graph = depthwise_network();
        assert!(wait_for_sizes(&graph, Kernels::Depthwise, Engine::Rten));
        assert!(!wait_for_sizes(&graph, Kernels::Depthwise, Engine::Onnxruntime));
        let bound = graph.bind(&BTreeMap::from([("n".to_owned(), 3)])).unwrap();
        let lowered = crate::lower::lower(&bound, Engine::Rten, false).unwrap();
        let kernels = |when, engine| super::kernels(&lowered.graph, &BTreeSet::new(), when, engine);
        let found = kernels(Kernels::Depthwise, Engine::Rten);
        let count = |is: fn(&Work) -> bool| found.iter().filter(|kernel| is(&kernel.work)).count();
        assert_eq!(count(|work| matches!(work, Work::DepthwiseConvolution(_))), 2);
        assert_eq!(count(|work| matches!(work, Work::DepthwiseInputDerivative(..))), 1);
        assert!(count(|work| matches!(work, Work::Program(_))) >= 1);
        assert_eq!(found.len() - count(|work| matches!(work, Work::Program(_))), 3);
        assert!(kernels(Kernels::Depthwise, Engine::Onnxruntime).is_empty());
        // Of weights that stay, engines' own convolutions are the faster ones.
        assert!(
            kernels(Kernels::Always, Engine::Onnxruntime)
                .iter()
                .all(|kernel| matches!(kernel.work, Work::Program(_)))
        );
    }

    /// The interpreter's numbers, and for each row the same bits in a batch of any size, on any number of threads.
    #[test]
    fn depthwise_kernels_give_rows_their_numbers() {
        let graph = depthwise_network();
        let run = |options: &Options, rows: std::ops::Range<usize>| {
            let values: Vec<f32> = rows.clone().flat_map(|row| numbers(216, row)).collect();
            let x = Array::from_f32(&[rows.len(), 3, 9, 8], values).unwrap();
            open(&graph, options).unwrap().run(&[("x", &x)], &["f", "h"]).unwrap()
        };
        let of = |engine, threads| Options {
            engine,
            threads: Some(threads),
            kernels: Kernels::Depthwise,
            ..Options::default()
        };
        let exact = run(&of(Engine::Reference, 1), 0..5);
        for engine in engines() {
            let found = run(&of(engine, 1), 0..5);
            for (found, exact) in found.iter().zip(&exact) {
                let (found, exact) = (found.to_f64(), exact.to_f64());
                let most = exact.iter().fold(0f64, |most, value| most.max(value.abs()));
                let error = (&found - &exact).iter().fold(0f64, |most, error| most.max(error.abs()));
                assert!(error <= 3e-6 * most, "{}: {error:e} of {most:e}", engine.name());
            }
        }
        let all = run(&of(Engine::Rten, 3), 0..5);
        assert_eq!(all, run(&of(Engine::Rten, 1), 0..5));
        for row in 0..5 {
            for (one, all) in run(&of(Engine::Rten, 1), row..row + 1).iter().zip(&all) {
                let (one, all) = (one.as_f32().unwrap(), all.as_f32().unwrap());
                assert_eq!(one.index_axis(ndarray::Axis(0), 0), all.index_axis(ndarray::Axis(0), row));
            }
        }
    }

    /// The interpreter's numbers, where kernels take all that they can.
    fn require_the_interpreters(graph: &Graph, fed: &[(&str, &Array)], wanted: &[&str]) {
        let run = |engine, kernels| {
            let options = Options { engine, kernels, threads: Some(1), ..Options::default() };
            open(graph, &options).unwrap().run(fed, wanted).unwrap()
        };
        let exact = run(Engine::Reference, Kernels::Never);
        for engine in engines() {
            for (found, exact) in run(engine, Kernels::Always).iter().zip(&exact) {
                let (found, exact) = (found.to_f64(), exact.to_f64());
                let most = exact.iter().fold(0f64, |most, value| most.max(value.abs()));
                let error = (&found - &exact).iter().fold(0f64, |most, error| most.max(error.abs()));
                assert!(most > 0.0 && error <= 3e-6 * most, "{}: {error:e} of {most:e}", engine.name());
            }
        }
    }

    /// Each of two programs needs what the other computes first, so that neither can run whole.
    #[test]
    fn programs_that_wait_for_each_other_are_dissolved() {
        let mut graph = Graph::new();
        let shape = [3, 40].map(Dim::known).to_vec();
        let [x, y] =
            ["x", "y"].map(|name| graph.add_input(name, ElementType::F32, Some(shape.clone())).unwrap());
        let mut push = |operator: &str, inputs: &[ValueId], name: &str| {
            graph.push_one(NewNode::new(operator, inputs, name)).unwrap()
        };
        let [a, b] = [("a", x), ("b", y)].map(|(name, input)| push("Abs", &[input], name));
        let after = push("Softmax", &[b], "c");
        let first = push("Add", &[a, after], "d");
        // Two nodes behind the end of the one program, whose other end they lead to the other.
        let after = push("Softmax", &[a], "e");
        let after = push("Softmax", &[after], "f");
        let results = [first, push("Add", &[b, after], "g")];
        for result in results {
            graph.add_output(result).unwrap();
        }
        let lowered = crate::lower::lower(&graph, Engine::Rten, true).unwrap();
        let kernels = kernels(&lowered.graph, &BTreeSet::new(), Kernels::Always, Engine::Rten);
        let programs: Vec<usize> = kernels.iter().map(|kernel| kernel.nodes.len()).collect();
        assert_eq!(programs, [2, 2], "they do not wait for each other");
        let [x, y] = [1, 2].map(|seed| Array::from_f32(&[3, 40], numbers(120, seed)).unwrap());
        require_the_interpreters(&graph, &[("x", &x), ("y", &y)], &["d", "g"]);
    }

    /// What was cut off the end of an input does not stand where the derivative for weights has padding.
    #[test]
    fn padding_behind_a_cut_is_zeros() {
        let mut graph = Graph::new();
        let known = |shape: [i64; 4]| Some(shape.map(Dim::known).to_vec());
        // Of stride 2 down: the last window of the tenth line is the padding's where that line is cut off.
        let x = graph.add_input("x", ElementType::F32, known([2, 3, 10, 8])).unwrap();
        let signal = graph.add_input("signal", ElementType::F32, known([2, 4, 5, 8])).unwrap();
        let list = |graph: &mut Graph, name: &str, value: i64| {
            graph.add_constant(name, Tensor::from_i64(vec![1], &[value]).unwrap()).unwrap()
        };
        let [from, to, axis] =
            [("from", 0), ("to", 9), ("axis", 2)].map(|(name, value)| list(&mut graph, name, value));
        let cut = graph.push_one(NewNode::new("Slice", &[x, from, to, axis], "cut")).unwrap();
        let [x, signal] = [("xt", cut), ("st", signal)].map(|(name, value)| {
            let new =
                NewNode::new("Transpose", &[value], name).with("perm", Attribute::Ints(vec![1, 0, 2, 3]));
            graph.push_one(new).unwrap()
        });
        let new = NewNode::new("Conv", &[x, signal], "w")
            .with("pads", Attribute::Ints(vec![1; 4]))
            .with("dilations", Attribute::Ints(vec![2, 1]));
        let w = graph.push_one(new).unwrap();
        graph.add_output(w).unwrap();
        let x = Array::from_f32(&[2, 3, 10, 8], numbers(480, 1)).unwrap();
        let signal = Array::from_f32(&[2, 4, 5, 8], numbers(320, 2)).unwrap();
        require_the_interpreters(&graph, &[("x", &x), ("signal", &signal)], &["w"]);
    }
}
