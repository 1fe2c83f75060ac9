//! How long forms of a convolution's weight derivative take on rten: processor seconds of one thread, so that a busy
//! machine changes little.
//!
//!     cargo run --release -p pellucid-runtime --example weight_derivative
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]

use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};
use pellucid_runtime::{Array, Options, open};

/// A layer: rows, channels in and out, places a side, stride.
#[derive(Debug, Clone, Copy)]
struct Layer {
    n: i64,
    c: i64,
    o: i64,
    side: i64,
    stride: i64,
}

struct Maker {
    graph: Graph,
    count: usize,
}

impl Maker {
    fn op(&mut self, new: NewNode) -> ValueId {
        self.count += 1;
        let name = format!("v{}", self.count);
        self.graph.push_one(NewNode { outputs: vec![name], ..new }).unwrap()
    }

    fn ints(&mut self, values: &[i64]) -> ValueId {
        self.count += 1;
        self.graph.add_constant(format!("c{}", self.count), Tensor::integers(values)).unwrap()
    }

    fn transpose(&mut self, x: ValueId, order: &[i64]) -> ValueId {
        self.op(NewNode::new("Transpose", &[x], "").with("perm", Attribute::Ints(order.to_vec())))
    }

    fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.ints(shape);
        self.op(NewNode::new("Reshape", &[x, shape], ""))
    }

    fn pad(&mut self, x: ValueId, pads: &[i64]) -> ValueId {
        let pads = self.ints(pads);
        self.op(NewNode::new("Pad", &[x, pads], ""))
    }

    fn slice(&mut self, x: ValueId, axes: [i64; 2], starts: [i64; 2], out: i64, stride: i64) -> ValueId {
        let ends = starts.map(|start| start + stride * (out - 1) + 1);
        let parts =
            [starts.to_vec(), ends.to_vec(), axes.to_vec(), vec![stride; 2]].map(|list| self.ints(&list));
        self.op(NewNode::new("Slice", &[x, parts[0], parts[1], parts[2], parts[3]], ""))
    }
}

fn build(form: &str, l: Layer) -> Graph {
    let out = (l.side - 1) / l.stride + 1;
    let mut m = Maker { graph: Graph::new(), count: 0 };
    let shape = |sizes: &[i64]| Some(sizes.iter().map(|size| Dim::known(*size)).collect());
    let x = m.graph.add_input("x", ElementType::F32, shape(&[l.n, l.c, l.side, l.side])).unwrap();
    let dy = m.graph.add_input("dy", ElementType::F32, shape(&[l.n, l.o, out, out])).unwrap();
    let positions = out * out;
    let offsets: Vec<[i64; 2]> = (0..3).flat_map(|y| (0..3).map(move |x| [y, x])).collect();
    let mut parts = Vec::new();
    let joined = |m: &mut Maker, parts: &[ValueId], axis| {
        m.op(NewNode::new("Concat", parts, "").with("axis", Attribute::Int(axis)))
    };
    let sum = |m: &mut Maker, x| {
        let axes = m.ints(&[0]);
        m.op(NewNode::new("ReduceSum", &[x, axes], "").with("keepdims", Attribute::Int(0)))
    };
    let result = match form {
        // As it is: [n, o, p] × [n, c, p]ᵀ, summed over n.
        "batched" => {
            let x = m.pad(x, &[0, 0, 1, 1, 0, 0, 1, 1]);
            let dy = m.reshape(dy, &[l.n, l.o, positions]);
            for offset in offsets {
                let seen = m.slice(x, [2, 3], offset, out, l.stride);
                let seen = m.reshape(seen, &[l.n, l.c, positions]);
                let seen = m.transpose(seen, &[0, 2, 1]);
                let product = m.op(NewNode::new("MatMul", &[dy, seen], ""));
                parts.push(sum(&mut m, product));
            }
            joined(&mut m, &parts, 1)
        }
        // Channels last once: [n, o, p] × [n, p, c], summed over n.
        "batched-last" => {
            let x = m.transpose(x, &[0, 2, 3, 1]);
            let x = m.pad(x, &[0, 1, 1, 0, 0, 1, 1, 0]);
            let dy = m.reshape(dy, &[l.n, l.o, positions]);
            for offset in offsets {
                let seen = m.slice(x, [1, 2], offset, out, l.stride);
                let seen = m.reshape(seen, &[l.n, positions, l.c]);
                let product = m.op(NewNode::new("MatMul", &[dy, seen], ""));
                parts.push(sum(&mut m, product));
            }
            joined(&mut m, &parts, 1)
        }
        // Channels last, one product an offset: [o, n·p] × [n·p, c].
        "offset-last" => {
            let x = m.transpose(x, &[0, 2, 3, 1]);
            let x = m.pad(x, &[0, 1, 1, 0, 0, 1, 1, 0]);
            let dy = m.transpose(dy, &[1, 0, 2, 3]);
            let dy = m.reshape(dy, &[l.o, l.n * positions]);
            for offset in offsets {
                let seen = m.slice(x, [1, 2], offset, out, l.stride);
                let seen = m.reshape(seen, &[l.n * positions, l.c]);
                parts.push(m.op(NewNode::new("MatMul", &[dy, seen], "")));
            }
            joined(&mut m, &parts, 1)
        }
        // Channels last, all offsets in one product: [o, n·p] × [n·p, 9·c].
        "columns-last" => {
            let x = m.transpose(x, &[0, 2, 3, 1]);
            let x = m.pad(x, &[0, 1, 1, 0, 0, 1, 1, 0]);
            let dy = m.transpose(dy, &[1, 0, 2, 3]);
            let dy = m.reshape(dy, &[l.o, l.n * positions]);
            for offset in offsets {
                let seen = m.slice(x, [1, 2], offset, out, l.stride);
                parts.push(m.reshape(seen, &[l.n * positions, l.c]));
            }
            let columns = joined(&mut m, &parts, 1);
            m.op(NewNode::new("MatMul", &[dy, columns], ""))
        }
        // Channels first of all, all offsets in one product: [o, n·p] × [9·c, n·p]ᵀ.
        "columns-first" => {
            let x = m.transpose(x, &[1, 0, 2, 3]);
            let x = m.pad(x, &[0, 0, 1, 1, 0, 0, 1, 1]);
            let dy = m.transpose(dy, &[1, 0, 2, 3]);
            let dy = m.reshape(dy, &[l.o, l.n * positions]);
            for offset in offsets {
                let seen = m.slice(x, [2, 3], offset, out, l.stride);
                parts.push(m.reshape(seen, &[l.c, l.n * positions]));
            }
            let columns = joined(&mut m, &parts, 0);
            m.op(NewNode::new("Gemm", &[dy, columns], "").with("transB", Attribute::Int(1)))
        }
        // A convolution: channels are the batch, the signal is the kernel.
        "conv" => {
            let x = m.transpose(x, &[1, 0, 2, 3]);
            let dy = m.transpose(dy, &[1, 0, 2, 3]);
            let conv = NewNode::new("Conv", &[x, dy], "")
                .with("dilations", Attribute::Ints(vec![l.stride; 2]))
                .with("pads", Attribute::Ints(vec![1; 4]));
            m.op(conv)
        }
        other => panic!("{other}"),
    };
    m.graph.set_outputs(vec![result]);
    m.graph
}

/// Processor seconds of this process, all threads, in hundredths.
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn main() {
    let layer = |c, o, side, stride| Layer { n: 128, c, o, side, stride };
    for l in [
        layer(1, 32, 28, 1),
        layer(32, 32, 28, 1),
        layer(32, 64, 28, 2),
        layer(64, 64, 14, 1),
        layer(64, 128, 14, 2),
        layer(128, 128, 7, 1),
    ] {
        for form in ["batched", "batched-last", "offset-last", "columns-last", "columns-first", "conv"] {
            let graph = build(form, l);
            let session = open(&graph, &Options { threads: Some(1), ..Options::default() }).unwrap();
            let out = (l.side - 1) / l.stride + 1;
            let array = |sizes: [i64; 4]| {
                let sizes = sizes.map(|size| usize::try_from(size).unwrap());
                let count: usize = sizes.iter().product();
                let values = (0..count).map(|k| ((k % 97) as f32 - 48.0) / 50.0).collect();
                Array::from_f32(&sizes, values).unwrap()
            };
            let (x, dy) = (array([l.n, l.c, l.side, l.side]), array([l.n, l.o, out, out]));
            let name = graph.value(graph.outputs()[0]).name.clone();
            let run = || session.run(&[("x", &x), ("dy", &dy)], &[&name]).unwrap();
            run();
            let (cpu, count) = (processor(), 8);
            (0..count).for_each(|_| drop(run()));
            println!("{l:?} {form:14} {:7.1} ms", (processor() - cpu) / f64::from(count) * 1e3);
        }
    }
}
