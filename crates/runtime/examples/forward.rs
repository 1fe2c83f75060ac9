//! Time of a forward pass of a network of ResNet-50's shape: `cargo run --release -p pellucid-runtime --example
//! forward -- [batch] [threads]`.
#![expect(clippy::print_stdout, reason = "the figures are the program's result")]

use std::time::Instant;

use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};
use pellucid_runtime::{Array, Options, open};

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

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (batch, threads) = (arguments.next().unwrap_or(1).max(1), arguments.next());
    let graph = resnet50();
    let start = Instant::now();
    let session = open(&graph, &Options { threads, ..Options::default() }).expect("every node is supported");
    let output = session.outputs()[0].name.clone();
    let count = batch * 3 * 224 * 224;
    let values = (0..count).map(|i| (i * 104_729 % 1009) as f32 / 504.5 - 1.0).collect();
    let x = Array::from_f32(&[batch, 3, 224, 224], values).expect("as many values as the shape says");
    let run = || session.run(&[("x", &x)], &[&output]).expect("the run succeeds");
    run();
    println!("open and first run: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let mut times: Vec<f64> = (0..10)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3 / batch as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("per image: median {:.1} ms, best {:.1} ms", times[times.len() / 2], times[0]);
}
