//! Models whose declared sizes are absurd: compiling them is an error or a graph, soon and in little memory, never a
//! panic. Files are bounded by their bytes; sizes that a file merely declares are not.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use pellucid_compile::methods::{ALL, Form, Settings};
use pellucid_compile::{
    Builder, CompileError, Keep, Options, Request, TrainingConfig, Var, artefact, program, training_step,
};
use pellucid_compile::{coverage, lower, passes};
use pellucid_graph::onnx::{EncodeError, EncodeOptions, Limits, decode, encode};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, Shape};
use pellucid_testkit::golden;
use pellucid_testkit::random_graph::Random;

const HUGE: i64 = 1 << 40;

/// The largest side of a square, and the largest row, whose two copies inference accepts.
const SIDE: i64 = 32_000;
const WIDTH: i64 = 1 << 29;

fn known(sizes: &[i64]) -> Shape {
    sizes.iter().map(|size| Dim::known(*size)).collect()
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// A model of one step between its input of `sizes` and a mean by row; `None` where inference refuses the step.
fn model(sizes: &[i64], step: impl for<'g> Fn(&'g Builder, Var<'g>) -> Var<'g>) -> Option<Graph> {
    let builder = Builder::new(Graph::new());
    let x = builder.input("x", ElementType::F32, known(sizes));
    let y = step(&builder, x);
    builder.check().ok()?;
    let rank = y.rank().ok()?;
    let mean = y.mean(&(1..rank).collect::<Vec<_>>(), Keep::None).id();
    let mut graph = builder.finish().ok()?;
    graph.set_outputs(vec![mean]);
    Some(graph)
}

/// Compiles with every method; the error is what each of them says.
fn compile(what: &str, graph: &Graph) -> Vec<CompileError> {
    let begin = Instant::now();
    let mut errors = Vec::new();
    for definition in ALL {
        let Form::Compiled(build) = definition.form else { continue };
        let quadrature = definition.parameters.iter().any(|parameter| parameter.name == "quadrature");
        let given: Vec<(String, String)> =
            quadrature.then(|| ("quadrature".to_owned(), "gauss-legendre".to_owned())).into_iter().collect();
        let method = build(&Settings::new(definition, &given).unwrap()).unwrap();
        let _ = coverage(graph, &method, &Request::default());
        errors.extend(program(graph, &method, &Request::default()).err());
        match artefact(graph, &method, &Options::default()) {
            Ok(made) => match encode(&lower(&made.graph).unwrap(), &EncodeOptions::default()) {
                Ok(_) | Err(EncodeError::Unknown(_) | EncodeError::Unnamed) => {}
                Err(error) => panic!("{what}, {}: {error}", definition.name),
            },
            Err(error) => errors.push(error),
        }
    }
    errors.extend(training_step(graph, &TrainingConfig::default()).err());
    let spent = begin.elapsed();
    assert!(spent < Duration::from_secs(20), "{what}: compiling took {spent:?}");
    for error in &errors {
        assert!(error.is_user_error(), "{what}: {error}\n{}", graph.text());
    }
    errors
}

/// The step is refused, by inference or by the compiler with `message`.
fn refused(what: &str, sizes: &[i64], message: &str, step: impl for<'g> Fn(&'g Builder, Var<'g>) -> Var<'g>) {
    let Some(graph) = model(sizes, step) else {
        panic!("{what}: inference refuses it, so this checks nothing")
    };
    let errors = compile(what, &graph);
    assert!(errors.iter().any(|error| error.to_string().contains(message)), "{what}: {errors:?}");
}

/// The step compiles, is refused by inference, or is a user's error.
fn survives(what: &str, sizes: &[i64], step: impl for<'g> Fn(&'g Builder, Var<'g>) -> Var<'g>) {
    if let Some(graph) = model(sizes, step) {
        compile(what, &graph);
    }
}

#[test]
fn windows_of_absurd_kernels() {
    let pool = |operator: &'static str, kernel: [i64; 2], stride: [i64; 2]| {
        move |b: &Builder, x: Var<'_>| -> pellucid_graph::ValueId {
            b.op(operator, &[b.var(x.id())], &[("kernel_shape", ints(&kernel)), ("strides", ints(&stride))])
                .id()
        }
    };
    let run = |operator, kernel, stride| {
        let made = pool(operator, kernel, stride);
        move |b: &Builder, x: Var<'_>| made(b, x)
    };
    let big = [2, 1, SIDE, SIDE];
    for (operator, kernel, stride) in [
        ("MaxPool", [2000, 2000], [1, 1]),
        ("MaxPool", [SIDE / 2, 3], [1, 1]),
        ("AveragePool", [SIDE / 2, SIDE / 2], [SIDE / 2, SIDE / 2]),
        ("AveragePool", [1, 1], [1, 1]),
        ("AveragePool", [2, 2], [3, 3]),
    ] {
        let step = run(operator, kernel, stride);
        let what = format!("{operator} {kernel:?}");
        refused(&what, &big, "at most", move |b, x| b.var(step(b, x)));
    }
    refused("GlobalMaxPool", &big, "at most", |_, x| x.apply("GlobalMaxPool"));
    survives("GlobalAveragePool", &big, |_, x| x.apply("GlobalAveragePool"));
}

#[test]
fn weights_of_an_absurd_kernel() {
    refused("Conv with a kernel that is an input", &[1, 1, 5000, 5000], "at most", |b, x| {
        let w = b.input("w", ElementType::F32, known(&[1, 1, 3000, 3000]));
        b.op("Conv", &[x, w], &[])
    });
}

#[test]
fn absurdly_many_classes() {
    let builder = Builder::new(Graph::new());
    let y = builder.input("x", ElementType::F32, known(&[2, WIDTH])).relu().id();
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![y]);
    let errors = compile("classes", &graph);
    assert!(errors.iter().all(|error| error.to_string().contains("at most")), "{errors:?}");
    assert!(errors.len() > 6, "{errors:?}");
}

#[test]
fn absurd_layouts() {
    refused("Resize", &[1, 1, 1 << 20, 4], "at most", |b, x| {
        let sizes = b.integers(&[1, 1, 1 << 21, 4]);
        b.ops(
            "Resize",
            &[Some(x), None, None, Some(sizes)],
            &[("mode", Attribute::String("linear".into()))],
            1,
        )[0]
    });
    refused("Pad by edges", &[2, 3], "at most", |b, x| {
        let mode = Attribute::String("edge".into());
        b.op("Pad", &[x, b.integers(&[0, WIDTH, 0, 0])], &[("mode", mode)])
    });
    survives("Pad by a constant", &[2, 3], |b, x| b.op("Pad", &[x, b.integers(&[0, HUGE, 0, 0])], &[]));
    survives("Pad away", &[2, 3], |b, x| b.op("Pad", &[x, b.integers(&[0, i64::MIN, 0, i64::MAX])], &[]));
    for step in [i64::MIN, i64::MIN + 1, -1, i64::MAX] {
        for (start, end) in [(i64::MAX, i64::MIN), (i64::MIN, i64::MAX), (2, 0), (0, 3)] {
            survives("Slice", &[2, 3], |_, x| x.slice(1, start, end, step));
            survives("Slice of much", &[2, i64::MAX / 4], |_, x| x.slice(1, start, end, step));
        }
    }
    survives("Concat", &[2, i64::MAX / 3], |b, x| b.concat(&[x, x, x, x], 1));
    survives("Tile", &[2, 3], |b, x| b.op("Tile", &[x, b.integers(&[1, i64::MAX / 2])], &[]));
    survives("Expand", &[2, 1], |b, x| b.op("Expand", &[x, b.integers(&[2, i64::MAX])], &[]));
    survives("Gather", &[2, i64::MAX / 2], |b, x| {
        b.op("Gather", &[x, b.integers(&[i64::MIN, i64::MAX])], &[("axis", Attribute::Int(1))])
    });
    survives("DepthToSpace", &[1, HUGE, 2, 2], |b, x| {
        b.op("DepthToSpace", &[x], &[("blocksize", Attribute::Int(1 << 20))])
    });
    survives("SpaceToDepth", &[1, 2, HUGE, HUGE], |b, x| {
        b.op("SpaceToDepth", &[x], &[("blocksize", Attribute::Int(1 << 20))])
    });
}

#[test]
fn absurd_convolutions() {
    let conv = |operator: &'static str, attributes: Vec<(&'static str, Attribute)>| {
        move |b: &Builder, x: Var<'_>| -> pellucid_graph::ValueId {
            let w = b.values(ElementType::F32, vec![1, 1, 3], &[1.0, 2.0, 3.0]);
            b.op(operator, &[b.var(x.id()), w], &attributes).id()
        }
    };
    for operator in ["Conv", "ConvTranspose"] {
        for (name, value) in [
            ("strides", ints(&[i64::MAX])),
            ("dilations", ints(&[i64::MAX / 4])),
            ("pads", ints(&[i64::MAX / 2, i64::MAX / 2])),
            ("pads", ints(&[HUGE, HUGE])),
            ("strides", ints(&[HUGE])),
            ("group", Attribute::Int(i64::MAX)),
            ("output_padding", ints(&[i64::MAX / 2])),
        ] {
            for size in [5, HUGE, i64::MAX] {
                let step = conv(operator, vec![(name, value.clone())]);
                survives(operator, &[2, 1, size], |b, x| b.var(step(b, x)));
            }
        }
    }
}

/// Real files with some bytes changed, most of them in what describes the graph rather than in its weights.
#[test]
fn changed_files() {
    let limits = Limits { memory_bytes: 1 << 26, nodes: 1000, ..Limits::default() };
    let mut random = Random::new(7);
    let (mut read, mut compiled) = (0, 0);
    for name in ["mlp", "squeeze_excite", "pooling", "padding", "resize", "layer_norm", "expression"] {
        for variant in golden::load_one(name).variants.iter().take(3) {
            let file = variant.bytes();
            for _ in 0..25 {
                let mut bytes = file.clone();
                for _ in 0..random.whole(1, 3) {
                    let place = random.below(bytes.len().min(6000));
                    bytes[place] = if random.chance(0.5) {
                        u8::try_from(random.below(256)).unwrap()
                    } else {
                        bytes[place].wrapping_add(1)
                    };
                }
                let Ok(graph) = decode(bytes.into(), &limits) else { continue };
                read += 1;
                let Ok(graph) = passes::fold(&graph, 1024).and_then(|graph| passes::raise(&graph)) else {
                    continue;
                };
                let errors = compile(&format!("{} changed", variant.file), &graph);
                compiled += usize::from(errors.len() < 8);
            }
        }
    }
    assert!(read > 100 && compiled > 50, "{read} of 525 could be read, {compiled} compiled");
}
