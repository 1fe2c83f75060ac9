//! Time and memory of a network of ResNet-50's shape, forward or with its gradient, on one engine; or how far the
//! engine's results are from the first engine's, relative to their maximum:
//! `cargo run --release -p pellucid-runtime --example resnet50 -- [batch] [threads] [gradient] [compare] [ENGINE]`.
#![expect(clippy::print_stdout, reason = "the figures are the program's result")]

use std::collections::BTreeMap;
use std::time::Instant;

use pellucid_compile::methods::{ALL, Form, Settings};
use pellucid_compile::{Request, Target};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};
use pellucid_runtime::{Array, Engine, Options, open};

/// A graph being built, its weights small and regular.
struct Network {
    graph: Graph,
    count: usize,
}

impl Network {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn weight(&mut self, shape: &[usize]) -> ValueId {
        let count: usize = shape.iter().product();
        let fan: usize = shape[1..].iter().product();
        let scale = (2.0 / fan.max(1) as f32).sqrt();
        let values: Vec<f32> =
            (0..count).map(|i| ((i * 7919 % 2003) as f32 / 1001.5 - 1.0) * scale).collect();
        let name = self.name();
        let tensor = Tensor::from_f32(shape.to_vec(), &values).expect("as many values as the shape says");
        self.graph.add_constant(name, tensor).expect("names are fresh")
    }

    fn push(&mut self, node: NewNode) -> ValueId {
        let outputs = vec![self.name()];
        self.graph.push_one(NewNode { outputs, ..node }).expect("the node is well formed")
    }

    fn conv(&mut self, x: ValueId, inputs: usize, outputs: usize, kernel: usize, stride: i64) -> ValueId {
        let weight = self.weight(&[outputs, inputs, kernel, kernel]);
        let bias = self.weight(&[outputs]);
        let pad = i64::try_from(kernel / 2).unwrap_or(0);
        self.push(
            NewNode::new("Conv", &[x, weight, bias], "")
                .with("strides", Attribute::Ints(vec![stride; 2]))
                .with("pads", Attribute::Ints(vec![pad; 4])),
        )
    }

    fn relu(&mut self, x: ValueId) -> ValueId {
        self.push(NewNode::new("Relu", &[x], ""))
    }

    fn bottleneck(&mut self, x: ValueId, inputs: usize, width: usize, stride: i64) -> ValueId {
        let y = self.conv(x, inputs, width, 1, 1);
        let y = self.relu(y);
        let y = self.conv(y, width, width, 3, stride);
        let y = self.relu(y);
        let y = self.conv(y, width, 4 * width, 1, 1);
        let skip =
            if stride == 1 && inputs == 4 * width { x } else { self.conv(x, inputs, 4 * width, 1, stride) };
        let y = self.push(NewNode::new("Add", &[y, skip], ""));
        self.relu(y)
    }
}

fn resnet50() -> Graph {
    let mut net = Network { graph: Graph::new(), count: 0 };
    let shape = [Dim::symbol("n"), Dim::known(3), Dim::known(224), Dim::known(224)];
    let x = net.graph.add_input("x", ElementType::F32, Some(shape.to_vec())).expect("the name is free");
    let y = net.conv(x, 3, 64, 7, 2);
    let y = net.relu(y);
    let mut y = net.push(
        NewNode::new("MaxPool", &[y], "")
            .with("kernel_shape", Attribute::Ints(vec![3, 3]))
            .with("strides", Attribute::Ints(vec![2, 2]))
            .with("pads", Attribute::Ints(vec![1; 4])),
    );
    let mut channels = 64;
    for (width, blocks, stride) in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)] {
        for block in 0..blocks {
            y = net.bottleneck(y, channels, width, if block == 0 { stride } else { 1 });
            channels = 4 * width;
        }
    }
    let y = net.push(NewNode::new("GlobalAveragePool", &[y], ""));
    let y = net.push(NewNode::new("Flatten", &[y], ""));
    let weight = net.weight(&[2048, 1000]);
    let y = net.push(NewNode::new("MatMul", &[y, weight], ""));
    net.graph.add_output(y).expect("it is the first output");
    net.graph
}

/// The network with the gradient of one class, and the name of what is asked for.
fn program(gradient: bool) -> (Graph, String) {
    let graph = resnet50();
    if !gradient {
        let name = graph.value(graph.outputs()[0]).name.clone();
        return (graph, name);
    }
    let definition = ALL.iter().find(|method| method.name == "gradient").expect("it is in the registry");
    let settings = Settings::new(definition, &[]).expect("nothing is set");
    let Form::Compiled(build) = definition.form else { unreachable!("the gradient is compiled") };
    let method = build(&settings).expect("the defaults are right");
    let request = Request { target: Target::Index(3), ..Request::default() };
    let program = pellucid_compile::program(&graph, &method, &request).expect("every node has a derivative");
    let name = program.attributions[0].1.clone();
    (program.graph, name)
}

fn main() {
    let gradient = std::env::args().any(|argument| argument == "gradient");
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (batch, threads) = (arguments.next().unwrap_or(1).max(1), arguments.next());
    let (graph, output) = program(gradient);
    let start = Instant::now();
    let engine = std::env::args().find_map(|name| Engine::named(&name)).unwrap_or_default();
    let options = Options { engine, threads, ..Options::default() };
    let session = open(&graph, &options).expect("every node is supported");
    let count = batch * 3 * 224 * 224;
    let values = (0..count).map(|i| (i * 104_729 % 1009) as f32 / 504.5 - 1.0).collect();
    let x = Array::from_f32(&[batch, 3, 224, 224], values).expect("as many values as the shape says");
    let run = || session.run(&[("x", &x)], &[&output]).expect("the run succeeds");
    let first = run();
    println!("open and first run: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    if std::env::args().any(|argument| argument == "compare") {
        let other =
            open(&graph, &Options { threads, ..Options::default() }).expect("every node is supported");
        let other = other.run(&[("x", &x)], &[&output]).expect("the run succeeds")[0].to_f64();
        let scale = other.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let apart = first[0].to_f64() - &other;
        let furthest = apart.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        println!("furthest apart: {:.1e} of the maximum", furthest / scale);
    }
    let mut times: Vec<f64> = (0..10)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3 / batch as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("per image: median {:.1} ms, best {:.1} ms", times[times.len() / 2], times[0]);
    let sizes = BTreeMap::from([("n".to_owned(), i64::try_from(batch).unwrap_or(i64::MAX))]);
    let peak = session.peak_bytes(&sizes, &[&output]).expect("it ran");
    println!("estimated peak: {} MB", peak >> 20);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(line) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("peak of the process: {}", line.trim_start_matches("VmHWM:").trim());
    }
}
