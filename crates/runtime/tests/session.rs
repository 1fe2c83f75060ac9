//! Sessions: what may be asked for and fed, errors, determinism, memory.
#![expect(clippy::unwrap_used, clippy::unnecessary_wraps, reason = "helpers of tests")]

mod engines;

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};
use pellucid_runtime::{Array, Device, Engine, Options, RuntimeError, Session, largest_batch, open};

fn floats(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 32768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn random(shape: &[usize]) -> Array {
    Array::from_f32(shape, floats(shape.iter().product())).unwrap()
}

fn weight(graph: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
    let values: Vec<f32> = floats(shape.iter().product()).iter().map(|value| value * 0.2).collect();
    graph.add_constant(name, Tensor::from_f32(shape.to_vec(), &values).unwrap()).unwrap()
}

fn shape(sizes: &[i64]) -> Option<Vec<Dim>> {
    Some(sizes.iter().map(|size| if *size < 0 { Dim::symbol("n") } else { Dim::known(*size) }).collect())
}

/// Two convolutions, a pool, a product: enough for blocking and threads to matter.
fn network() -> Graph {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, shape(&[-1, 3, 32, 32])).unwrap();
    let w1 = weight(&mut graph, "w1", &[16, 3, 3, 3]);
    let w2 = weight(&mut graph, "w2", &[32, 16, 3, 3]);
    let w3 = weight(&mut graph, "w3", &[32, 10]);
    let pads = || Attribute::Ints(vec![1, 1, 1, 1]);
    let y = graph.push_one(NewNode::new("Conv", &[x, w1], "conv1").with("pads", pads())).unwrap();
    let y = graph.push_one(NewNode::new("Relu", &[y], "relu1")).unwrap();
    let strides = Attribute::Ints(vec![2, 2]);
    let y = graph
        .push_one(NewNode::new("Conv", &[y, w2], "conv2").with("pads", pads()).with("strides", strides))
        .unwrap();
    let y = graph.push_one(NewNode::new("Sigmoid", &[y], "sigmoid")).unwrap();
    let y = graph.push_one(NewNode::new("GlobalAveragePool", &[y], "pooled")).unwrap();
    let y = graph.push_one(NewNode::new("Flatten", &[y], "flat")).unwrap();
    let y = graph.push_one(NewNode::new("MatMul", &[y, w3], "logits")).unwrap();
    let y = graph.push_one(NewNode::new("Softmax", &[y], "y")).unwrap();
    graph.add_output(y).unwrap();
    graph
}

fn session(graph: &Graph) -> Box<dyn Session> {
    on(Engine::default(), graph)
}

fn on(engine: Engine, graph: &Graph) -> Box<dyn Session> {
    open(graph, &Options { engine, ..Options::default() }).unwrap()
}

fn error(result: Result<impl Sized, RuntimeError>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error.to_string(),
    }
}

fn assert_near(computed: &Array, expected: &Array) {
    assert_eq!(computed.shape(), expected.shape());
    let (computed, expected) = (computed.to_f64(), expected.to_f64());
    let scale = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    assert!(scale > 0.0, "the reference is zero");
    for (x, y) in computed.iter().zip(&expected) {
        assert!((x - y).abs() <= 1e-5 * scale, "{x}, expected {y}");
    }
}

#[test]
fn any_value_may_be_asked_for_and_fed() {
    for engine in engines::tested() {
        any_value_of(engine);
    }
}

fn any_value_of(engine: Engine) {
    let graph = network();
    let (engine, reference) = (on(engine, &graph), on(Engine::Reference, &graph));
    let x = random(&[2, 3, 32, 32]);
    let names = ["relu1", "y", "sigmoid", "conv1", "y", "x", "w1", "logits"];
    let computed = engine.run(&[("x", &x)], &names).unwrap();
    let expected = reference.run(&[("x", &x)], &names).unwrap();
    for (computed, expected) in computed.iter().zip(&expected) {
        assert_near(computed, expected);
    }
    // What is fed stands in place of what would compute it, so the input is not needed.
    let fed = engine.run(&[("sigmoid", &computed[2])], &["y", "sigmoid"]).unwrap();
    assert_near(&fed[0], &expected[1]);
    assert_eq!(fed[1], computed[2]);
    let zero = Array::from_f32(&[2, 32, 16, 16], vec![0.0; 2 * 32 * 256]).unwrap();
    let fed = engine.run(&[("x", &x), ("sigmoid", &zero)], &["logits"]).unwrap();
    assert!(fed[0].to_f32().iter().all(|value| *value == 0.0));
}

#[test]
fn bits_do_not_depend_on_threads_or_the_run() {
    let graph = network();
    let x = random(&[3, 3, 32, 32]);
    let names = ["conv2", "logits", "y"];
    let run = |threads| {
        let session = open(&graph, &Options { threads: Some(threads), ..Options::default() }).unwrap();
        (0..5).map(|_| session.run(&[("x", &x)], &names).unwrap()).collect::<Vec<_>>()
    };
    let runs = [run(1), run(2), run(3)].concat();
    for other in &runs[1..] {
        for (a, b) in runs[0].iter().zip(other) {
            let (a, b) = (a.to_f32(), b.to_f32());
            assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}

/// onnxruntime makes no promise over thread counts; over runs and sessions the bits are the same.
#[test]
fn bits_do_not_depend_on_the_run() {
    let graph = network();
    let x = random(&[3, 3, 32, 32]);
    let names = ["conv2", "logits", "y"];
    for engine in engines::tested() {
        for threads in [1, 2] {
            let open =
                || open(&graph, &Options { engine, threads: Some(threads), ..Options::default() }).unwrap();
            let (first, second) = (open(), open());
            let runs: Vec<Vec<Array>> = (0..6)
                .map(|k| if k < 3 { &first } else { &second }.run(&[("x", &x)], &names).unwrap())
                .collect();
            for other in &runs[1..] {
                for (a, b) in runs[0].iter().zip(other) {
                    let (a, b) = (a.to_f32(), b.to_f32());
                    assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", engine.name());
                }
            }
        }
    }
}

#[test]
fn inputs_are_checked_before_the_engine_sees_them() {
    let graph = network();
    for engine in engines::tested().into_iter().chain([Engine::Reference]) {
        let session = open(&graph, &Options { engine, ..Options::default() }).unwrap();
        let x = random(&[1, 3, 32, 32]);
        assert_eq!(
            error(session.run(&[("image", &x)], &["y"])),
            "the graph has no value \"image\" to feed; its inputs are x"
        );
        assert_eq!(error(session.run(&[("x", &x), ("x", &x)], &["y"])), "input \"x\" is given twice");
        assert_eq!(
            error(session.run(&[("x", &x)], &["z"])),
            "the graph has no value \"z\"; its outputs are y"
        );
        assert_eq!(
            error(session.run(&[("x", &random(&[1, 32, 32, 3]))], &["y"])),
            "input \"x\" has shape [1, 32, 32, 3], expected [n, 3, 32, 32]"
        );
        assert_eq!(
            error(session.run(&[("x", &random(&[3, 32, 32]))], &["y"])),
            "input \"x\" has shape [3, 32, 32], expected [n, 3, 32, 32]"
        );
        let integers = Array::from_i64(&[1, 3, 32, 32], vec![0; 3 * 1024]).unwrap();
        assert_eq!(
            error(session.run(&[("x", &integers)], &["y"])),
            "input \"x\" holds int64, expected float32"
        );
        let wide = Array::F64(x.to_f64());
        assert_eq!(
            error(session.run(&[("x", &wide)], &["y"])),
            "input \"x\" holds float64, expected float32"
        );
    }
    assert_eq!(
        error(session(&graph).run(&[], &["y"])),
        "input \"x\" is missing: expected float32 of shape [n, 3, 32, 32]"
    );
}

#[test]
fn inputs_must_agree_on_free_sizes() {
    let mut graph = Graph::new();
    let twice = Dim::symbol("n").scaled(2).unwrap();
    let a = graph.add_input("a", ElementType::F32, Some(vec![Dim::symbol("n")])).unwrap();
    let b = graph.add_input("b", ElementType::F32, Some(vec![Dim::symbol("n")])).unwrap();
    let c = graph.add_input("c", ElementType::F32, Some(vec![twice])).unwrap();
    let y = graph.push_one(NewNode::new("Add", &[a, b], "y")).unwrap();
    let z = graph.push_one(NewNode::new("Relu", &[c], "z")).unwrap();
    graph.set_outputs(vec![y, z]);
    let session = session(&graph);
    let (two, three) = (random(&[2]), random(&[3]));
    assert_eq!(
        error(session.run(&[("a", &two), ("b", &three)], &["y"])),
        "input \"b\" makes n 3, but another input made it 2"
    );
    assert_eq!(
        error(session.run(&[("a", &two), ("c", &three)], &["z"])),
        "input \"c\" has shape [3], expected [2*n]"
    );
}

#[test]
fn every_unsupported_node_is_named_when_the_session_is_opened() {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, shape(&[2, 3])).unwrap();
    let i = graph.add_input("i", ElementType::U8, shape(&[2, 3])).unwrap();
    let k = graph.add_input("k", ElementType::I64, shape(&[2])).unwrap();
    let big = Tensor::from_i64(vec![], &[1 << 40]).unwrap();
    let big = graph.add_constant("big", big).unwrap();
    let mut push = |operator: &str, inputs: &[ValueId], name: &str| {
        let mut node = NewNode::new(operator, inputs, format!("{name}_out"));
        name.clone_into(&mut node.name);
        graph.push_one(node).unwrap()
    };
    let sum = push("Add", &[i, i], "wraps");
    let long = push("Abs", &[sum], "dependent");
    let fine = push("Relu", &[x], "fine");
    let product = push("Mul", &[k, big], "too_big");
    let dead = push("Add", &[i, i], "dead");
    let _ = dead;
    graph.set_outputs(vec![fine, long, product]);
    let message = error(open(&graph, &Options::default()));
    assert!(message.starts_with("rten cannot run this graph; "), "{message}");
    for part in [
        "Add node \"wraps\": arithmetic in uint8 wraps around",
        "Mul node \"too_big\": constant \"big\" holds 1099511627776, outside rten's 32-bit integers",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("dead"), "what no output needs is no obstacle: {message}");
}

#[test]
fn integers_past_32_bits_are_refused_and_not_cut() {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::I64, shape(&[1])).unwrap();
    let y = graph.push_one(NewNode::new("Neg", &[x], "y")).unwrap();
    graph.add_output(y).unwrap();
    let big = Array::from_i64(&[1], vec![3_000_000_000]).unwrap();
    assert_eq!(
        error(session(&graph).run(&[("x", &big)], &["y"])),
        "\"x\" holds 3000000000, outside the 32-bit range in which rten computes with integers"
    );
}

#[test]
fn failures_inside_the_engine_are_errors() {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, shape(&[3])).unwrap();
    let i = graph.add_input("i", ElementType::I64, shape(&[1])).unwrap();
    let y = graph.push_one(NewNode::new("Gather", &[x, i], "y")).unwrap();
    let z = graph.push_one(NewNode::new("Div", &[i, i], "z")).unwrap();
    graph.set_outputs(vec![y, z]);
    let x = random(&[3]);
    let far = Array::from_i64(&[1], vec![7]).unwrap();
    for engine in engines::tested() {
        let message = error(on(engine, &graph).run(&[("x", &x), ("i", &far)], &["y"]));
        assert!(message.starts_with(&format!("{} failed: ", engine.name())), "{message}");
    }
    let zero = Array::from_i64(&[1], vec![0]).unwrap();
    let message = error(session(&graph).run(&[("i", &zero)], &["z"]));
    assert!(message.starts_with("rten failed: "), "{message}");
}

#[test]
fn memory_is_computed_before_the_run() {
    let graph = network();
    let free = session(&graph);
    let at = |n: i64| free.peak_bytes(&BTreeMap::from([("n".to_owned(), n)]), &["y"]).unwrap();
    // 16 maps of 32² live on both sides of the first activation, beside the input and the weights; rten's buffers
    // count twice.
    let weights = 4 * (16 * 27 + 32 * 144 + 320);
    assert_eq!(at(1), weights + 4 * 1024 * (3 + 2 * (16 + 16)));
    assert_eq!(at(8) - weights, 8 * (at(1) - weights));
    let allowed = at(5);
    let session = open(&graph, &Options { memory: Some(allowed), ..Options::default() }).unwrap();
    assert!(session.run(&[("x", &random(&[5, 3, 32, 32]))], &["y"]).is_ok());
    assert_eq!(
        error(session.run(&[("x", &random(&[6, 3, 32, 32]))], &["y"])),
        format!(
            "the run needs {} bytes, more than the {allowed} allowed: lower the batch size or raise the limit",
            at(6)
        )
    );
    let sizes = BTreeMap::new();
    assert_eq!(largest_batch(session.as_ref(), "n", &sizes, &["y"], 64).unwrap(), 5);
    assert_eq!(largest_batch(session.as_ref(), "n", &sizes, &["y"], 3).unwrap(), 3);
    assert_eq!(largest_batch(free.as_ref(), "n", &sizes, &["y"], 64).unwrap(), 64);
    let tight = open(&graph, &Options { memory: Some(1000), ..Options::default() }).unwrap();
    assert!(matches!(
        largest_batch(tight.as_ref(), "n", &sizes, &["y"], 64),
        Err(RuntimeError::Memory { allowed: 1000, .. })
    ));
}

#[test]
fn weights_of_any_alignment_and_half_precision() {
    for engine in engines::tested() {
        weights_on(engine);
    }
}

fn weights_on(engine: Engine) {
    let half = Tensor::from_values(
        ElementType::F16,
        vec![64, 64],
        &floats(64 * 64).iter().map(|value| f64::from(*value)).collect::<Vec<_>>(),
    )
    .unwrap();
    let full = Tensor::from_f32(vec![64, 64], &half.to_f32()).unwrap();
    let mut padded = vec![0u8; 3];
    padded.extend(full.bytes());
    let slice = bytes::Bytes::from(padded).slice(3..);
    let unaligned = Tensor::new(ElementType::F32, vec![64, 64], slice).unwrap();
    let x = random(&[2, 64]);
    let results: Vec<Array> = [half, full, unaligned]
        .into_iter()
        .map(|tensor| {
            let mut graph = Graph::new();
            let x_id = graph.add_input("x", ElementType::F32, shape(&[2, 64])).unwrap();
            let half = tensor.element() == ElementType::F16;
            let mut w = graph.add_constant("w", tensor).unwrap();
            if half {
                w = graph.push_one(NewNode::new("Cast", &[w], "wide").with("to", Attribute::Int(1))).unwrap();
            }
            let y = graph.push_one(NewNode::new("MatMul", &[x_id, w], "y")).unwrap();
            graph.add_output(y).unwrap();
            on(engine, &graph).run(&[("x", &x)], &["y"]).unwrap().remove(0)
        })
        .collect();
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

/// `y = x` repeated `count` times through a loop that adds `x` and an outer constant, and a branch at the end.
fn controlled() -> Graph {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, shape(&[-1, 2])).unwrap();
    let count = graph.add_input("count", ElementType::I64, shape(&[])).unwrap();
    let condition = graph.add_input("condition", ElementType::Bool, shape(&[])).unwrap();
    let one = graph.add_constant("one", Tensor::scalar(ElementType::F32, 1.0)).unwrap();

    let mut body = Graph::new();
    let _ = body.add_input("iteration", ElementType::I64, shape(&[])).unwrap();
    let go = body.add_input("go", ElementType::Bool, shape(&[])).unwrap();
    let state = body.add_input("state", ElementType::F32, shape(&[-1, 2])).unwrap();
    let like = graph.value(x).clone();
    let outer = body.add_capture("outer_x", x, &like).unwrap();
    let like = graph.value(one).clone();
    let outer_one = body.add_capture("outer_one", one, &like).unwrap();
    let sum = body.push_one(NewNode::new("Add", &[state, outer], "sum")).unwrap();
    let next = body.push_one(NewNode::new("Add", &[sum, outer_one], "next")).unwrap();
    let keep = body.push_one(NewNode::new("Identity", &[go], "keep")).unwrap();
    let scanned = body.push_one(NewNode::new("Neg", &[next], "scanned")).unwrap();
    body.set_outputs(vec![keep, next, scanned]);
    let looped = NewNode {
        operator: "Loop".to_owned(),
        name: "loop".to_owned(),
        inputs: vec![Some(count), None, Some(x)],
        outputs: vec!["last".to_owned(), "all".to_owned()],
        attributes: BTreeMap::from([("body".to_owned(), Attribute::Graph(Box::new(body)))]),
        ..NewNode::default()
    };
    let id = graph.push(looped).unwrap();
    let last = graph.node(id).output(0).unwrap();
    let all = graph.node(id).output(1).unwrap();

    let branch = |graph: &Graph, operator: &str| {
        let mut body = Graph::new();
        let like = graph.value(last).clone();
        let outer = body.add_capture(format!("{operator}_x"), last, &like).unwrap();
        let y = body.push_one(NewNode::new(operator, &[outer], format!("{operator}_y"))).unwrap();
        body.add_output(y).unwrap();
        Attribute::Graph(Box::new(body))
    };
    let (then, otherwise) = (branch(&graph, "Sign"), branch(&graph, "Abs"));
    let node = NewNode::new("If", &[condition], "y").with("then_branch", then).with("else_branch", otherwise);
    let y = graph.push_one(node).unwrap();
    graph.set_outputs(vec![y, last, all]);
    graph
}

#[test]
fn bodies_run() {
    let graph = controlled();
    let x = Array::from_f32(&[2, 2], vec![-2.0, -0.25, 0.5, 3.0]).unwrap();
    let count = Array::from_i64(&[], vec![3]).unwrap();
    let engines = engines::tested();
    for (truth, engine) in engines.iter().flat_map(|engine| [(true, *engine), (false, *engine)]) {
        let condition = Array::Bool(ndarray::arr0(truth).into_dyn());
        let inputs = [("x", &x), ("count", &count), ("condition", &condition)];
        let names = ["y", "last", "all"];
        let computed = on(engine, &graph).run(&inputs, &names).unwrap();
        let expected = on(Engine::Reference, &graph).run(&inputs, &names).unwrap();
        for (computed, expected) in computed.iter().zip(&expected) {
            assert_near(computed, expected);
        }
    }
}

#[test]
fn division_is_exact_before_a_step() {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::F32, shape(&[-1])).unwrap();
    let d = graph.add_constant("d", Tensor::scalar(ElementType::F32, 61.0)).unwrap();
    let q = graph.push_one(NewNode::new("Div", &[x, d], "q")).unwrap();
    let y = graph.push_one(NewNode::new("Floor", &[q], "y")).unwrap();
    graph.add_output(y).unwrap();
    let values: Vec<f32> = (0u8..100).map(|k| f32::from(k) * 61.0).collect();
    let x = Array::from_f32(&[100], values).unwrap();
    for engine in engines::tested() {
        let y = on(engine, &graph).run(&[("x", &x)], &["y"]).unwrap();
        for (k, y) in y[0].to_f32().iter().enumerate() {
            assert!((f64::from(*y) - k as f64).abs() < 0.5, "{k}: {y} on {}", engine.name());
        }
    }
}

#[test]
fn long_chains_do_not_overflow_the_stack() {
    let mut graph = Graph::new();
    let mut y = graph.add_input("x", ElementType::F32, shape(&[2])).unwrap();
    for k in 0..50_000 {
        y = graph.push_one(NewNode::new("Neg", &[y], format!("y{k}"))).unwrap();
    }
    graph.add_output(y).unwrap();
    let x = random(&[2]);
    let y = session(&graph).run(&[("x", &x)], &["y49999"]).unwrap();
    assert_eq!(y[0], x);
}

/// 3 · 10⁹ past 32 bits is refused by rten alone.
#[test]
fn integers_are_64_bits_wide_on_onnxruntime() {
    let mut graph = Graph::new();
    let x = graph.add_input("x", ElementType::I64, shape(&[2])).unwrap();
    let y = graph.push_one(NewNode::new("Add", &[x, x], "y")).unwrap();
    let far = graph.add_constant("far", Tensor::integers(&[5_000_000_000])).unwrap();
    let z = graph.push_one(NewNode::new("Sub", &[y, far], "z")).unwrap();
    graph.add_output(z).unwrap();
    let x = Array::from_i64(&[2], vec![3_000_000_000, -4_000_000_000]).unwrap();
    for engine in engines::tested().into_iter().filter(|engine| *engine == Engine::Onnxruntime) {
        let z = on(engine, &graph).run(&[("x", &x)], &["z"]).unwrap();
        assert_eq!(z[0].as_i64().unwrap().as_slice().unwrap(), [1_000_000_000, -13_000_000_000]);
    }
}

#[test]
fn memory_on_onnxruntime_is_computed_before_the_run() {
    let graph = network();
    for engine in engines::tested().into_iter().filter(|engine| *engine == Engine::Onnxruntime) {
        let free = on(engine, &graph);
        let at = |n: i64| free.peak_bytes(&BTreeMap::from([("n".to_owned(), n)]), &["y"]).unwrap();
        assert!(at(1) < at(8) && at(8) < 8 * at(1));
        let allowed = at(5);
        let options = Options { engine, memory: Some(allowed), ..Options::default() };
        let session = open(&graph, &options).unwrap();
        assert!(session.run(&[("x", &random(&[5, 3, 32, 32]))], &["y"]).is_ok());
        let refused = session.run(&[("x", &random(&[6, 3, 32, 32]))], &["y"]);
        assert!(matches!(refused, Err(RuntimeError::Memory { .. })));
        assert_eq!(largest_batch(session.as_ref(), "n", &BTreeMap::new(), &["y"], 64).unwrap(), 5);
    }
}

#[test]
fn devices_are_refused_where_they_are_not() {
    let graph = network();
    let cuda = Options { device: Device::Cuda(1), ..Options::default() };
    assert_eq!(
        error(open(&graph, &cuda)),
        "device \"cuda:1\" cannot be used: rten computes on the processor alone; use engine onnxruntime"
    );
    for engine in engines::tested().into_iter().filter(|engine| *engine == Engine::Onnxruntime) {
        let message = error(open(&graph, &Options { engine, ..cuda.clone() }));
        assert!(message.starts_with("device \"cuda:1\" cannot be used: "), "{message}");
    }
}

/// What only passes a value on shares its place with it; what is fed for the one must not reach readers of the other.
#[test]
fn a_fed_value_reaches_its_own_readers_alone() {
    for operator in ["Identity", "Dropout", "Cast"] {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, shape(&[-1, 2])).unwrap();
        let c = graph.push_one(NewNode::new("Relu", &[x], "c")).unwrap();
        let mut new = NewNode::new(operator, &[c], "y");
        if operator == "Cast" {
            new = new.with("to", Attribute::Int(i64::from(ElementType::F32.onnx_code())));
        }
        let y = graph.push_one(new).unwrap();
        let sum = graph.push_one(NewNode::new("Sub", &[c, y], "sum")).unwrap();
        graph.set_outputs(vec![sum]);
        for engine in engines::tested() {
            let session = open(&graph, &Options { engine, ..Options::default() }).unwrap();
            let rows = |values: [f32; 2]| Array::from_f32(&[1, 2], values.to_vec()).unwrap();
            let (x, y) = (rows([3.0, -1.0]), rows([10.0, 20.0]));
            let found = session.run(&[("x", &x), ("y", &y)], &["sum", "c", "y"]).unwrap();
            let found: Vec<Vec<f32>> =
                found.iter().map(|array| array.to_f32().iter().copied().collect()).collect();
            assert_eq!(found, [[-7.0, -20.0], [3.0, 0.0], [10.0, 20.0]], "{operator}, {}", engine.name());
        }
    }
}
