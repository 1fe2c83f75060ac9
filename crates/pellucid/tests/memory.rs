//! What does not fit the memory allowed is split: every method, on every engine, with several targets, gives in the
//! least memory that it runs in, and in a little more, what it gives without a limit.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use pellucid::{Array, Engine, Error, Explanation, Inputs, Model, Options, Silent, TargetChoice, explain};
use pellucid_testkit::golden;

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn opened() -> (Model, Inputs) {
    let golden = golden::load_one("residual");
    let model = Model::open(golden.variants[0].path()).unwrap();
    let name = model.inputs().next().unwrap().name.clone();
    let array = Array::F32(golden.input().mapv(|value| value as f32));
    (model, Inputs::from_arrays(vec![(name, array)]).unwrap())
}

/// Few points, so that all methods take seconds together.
fn options(method: &str, engine: Engine, memory: Option<u64>) -> Options {
    let mut options = Options::new(method);
    let definition = pellucid::methods::find(method).unwrap();
    for (key, value) in [("samples", "4"), ("steps", "6"), ("quadrature", "gauss-legendre"), ("window", "8")]
    {
        if definition.parameters.iter().any(|parameter| parameter.name == key) {
            options = options.set(key, value);
        }
    }
    options.limits.engine = engine;
    options.limits.memory = memory;
    options.targets = vec![TargetChoice::Top, TargetChoice::Index(1)];
    options
}

/// The least memory that a method runs in: every limit below is refused with what it would take.
fn least(model: &Model, inputs: &Inputs, method: &str, engine: Engine) -> u64 {
    let mut limit = 1;
    loop {
        let refused = match explain(model, inputs.clone(), &options(method, engine, Some(limit)), &Silent) {
            Ok(_) => return limit,
            Err(Error::Runtime(error)) => error.to_string(),
            Err(other) => panic!("{method} on {}: {other}", engine.name()),
        };
        let needed: u64 = refused.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
        assert!(needed > limit, "{method} on {}: {refused}", engine.name());
        limit = needed;
    }
}

fn values(explanation: &Explanation) -> Vec<Vec<f32>> {
    let all = explanation.explained.iter().flat_map(|explained| &explained.attribution.values);
    all.map(|(_, values)| values.iter().copied().collect()).collect()
}

fn check(engine: Engine) {
    let (model, inputs) = opened();
    assert!(inputs.len() > 1);
    for definition in pellucid::methods::all() {
        let method = definition.name;
        let whole = explain(&model, inputs.clone(), &options(method, engine, None), &Silent).unwrap();
        let least = least(&model, &inputs, method, engine);
        assert!(least > 1000, "{method}: {least} bytes hold no row");
        for tenths in [10, 12, 15, 19, 24] {
            let limit = Some(least * tenths / 10);
            let split = explain(&model, inputs.clone(), &options(method, engine, limit), &Silent)
                .unwrap_or_else(|error| panic!("{method} on {}: {error}", engine.name()));
            require_same(&split, &whole, &format!("{method} on {}", engine.name()));
        }
    }
}

/// Whether all values are the same but for the order of sums.
fn require_same(split: &Explanation, whole: &Explanation, what: &str) {
    for (split, whole) in values(split).iter().zip(values(whole)) {
        let most = whole.iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!(most > 0.0, "{what}: nothing but zeros proves nothing");
        let apart = split.iter().zip(&whole).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart <= 1e-4 * most, "{what}: {apart} of {most}");
    }
}

#[test]
fn every_method_is_split_on_rten() {
    check(Engine::Rten);
}

#[test]
fn every_method_is_split_on_onnxruntime() {
    let required = std::env::var_os("PELLUCID_REQUIRE_ONNXRUNTIME").is_some_and(|value| value != "0");
    match Engine::Onnxruntime.available() {
        Ok(()) => check(Engine::Onnxruntime),
        Err(error) if required => panic!("{error}"),
        Err(error) => println!("skipped on onnxruntime: {error}"),
    }
}
