//! Every method on every golden network, through both exporters, folded and unfolded, against PyTorch and Captum:
//! 1e-4 of each row's maximum on the engine, 1e-6 for derivatives in the f64 interpreter.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::fmt::Write as _;

use ndarray::ArrayD;
use pellucid::{
    Array, Baseline, Draws, Engine, Inputs, Limits, Model, Options, Silent, TargetChoice, explain,
};
use pellucid_testkit::golden::{self, Case, Golden, Variant, row_deviation};

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn float32(array: &ArrayD<f64>) -> Array {
    Array::F32(array.mapv(|value| value as f32))
}

fn options(golden: &Golden, variant: &Variant, case: &Case, model: &Model, engine: Engine) -> Options {
    let input = model.inputs().next().unwrap().name.clone();
    let mut options = Options::new(&case.method);
    for (key, value) in &case.settings {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(sizes) => {
                sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
            }
            other => other.to_string(),
        };
        options = options.set(key, text);
    }
    if let Some(neuron) = &case.neuron {
        let index: Vec<String> = neuron.index.iter().map(ToString::to_string).collect();
        options.neuron = Some(format!("{}[{}]", variant.layers[&neuron.layer], index.join(",")));
    } else {
        let target = golden.target_of(case).iter().map(|class| usize::try_from(*class).unwrap()).collect();
        options.targets = vec![TargetChoice::Rows(target)];
    }
    if let Some(baseline) = golden.baseline(case) {
        options.baseline = Baseline::Given(vec![(input.clone(), float32(&baseline))]);
    }
    let one = |array: &ArrayD<f64>| vec![(input.clone(), float32(array))];
    options.noise = golden.noise(case).map(one);
    options.masks = golden.masks(case).map(one);
    options.background = golden.background(case).map(|background| Baseline::Given(one(background)));
    options.draws = golden.draws(case).map(|(pick, position)| Draws { pick, position });
    options.layer = case.layer.as_ref().map(|layer| variant.layers[layer].clone());
    options.limits = Limits { engine, ..Limits::default() };
    options
}

/// How far the attribution of a case is from the reference, as a part of the row's maximum.
fn deviation(golden: &Golden, variant: &Variant, case: &Case, engine: Engine) -> Result<f64, String> {
    let model = Model::open(variant.path()).map_err(|error| error.to_string())?;
    let input = model.inputs().next().unwrap().name.clone();
    let inputs =
        Inputs::from_arrays(vec![(input, float32(golden.input()))]).map_err(|error| error.to_string())?;
    let options = options(golden, variant, case, &model, engine);
    let explanation = explain(&model, inputs, &options, &Silent).map_err(|error| error.to_string())?;
    let found = explanation.explained[0].attribution.values[0].1.mapv(f64::from);
    let wanted = golden.array(&case.key);
    if found.shape() != wanted.shape() {
        return Err(format!("shape {:?}, expected {:?}", found.shape(), wanted.shape()));
    }
    Ok(row_deviation(&found, wanted))
}

fn check(
    goldens: Vec<Golden>,
    engine: Engine,
    tolerance: impl Fn(&Variant, &Case) -> f64,
    wanted: impl Fn(&Variant, &Case) -> bool,
) {
    let mut report = String::new();
    let mut worst = 0.0f64;
    let mut checked = 0;
    for golden in goldens {
        for variant in &golden.variants {
            for case in golden.cases.iter().filter(|case| wanted(variant, case)) {
                // A layer that folding removed cannot be looked at.
                let removed = |layer: &String| !variant.layers.contains_key(layer);
                let unit = case.neuron.as_ref().map(|neuron| &neuron.layer);
                if case.layer.as_ref().into_iter().chain(unit).any(removed)
                    || case.unfolded_only && variant.folded
                {
                    continue;
                }
                checked += 1;
                let place = format!("{} {}", variant.file, case.key);
                match deviation(&golden, variant, case, engine) {
                    Ok(found) => {
                        worst = worst.max(found);
                        if found > tolerance(variant, case) {
                            let _ = writeln!(report, "{place}: {found:.1e}");
                        }
                    }
                    Err(error) => {
                        let _ = writeln!(report, "{place}: {error}");
                    }
                }
            }
        }
    }
    assert!(report.is_empty(), "{} of {checked} cases:\n{report}", report.lines().count());
    assert!(checked > 100, "only {checked} cases were checked");
    println!("{checked} cases, the furthest {worst:.1e} of its row's maximum");
}

#[test]
fn every_method_agrees_on_rten() {
    check(golden::load(), Engine::Rten, |_, _| golden::tolerances().float32, |_, _| true);
}

#[test]
fn every_method_agrees_on_onnxruntime() {
    let required = std::env::var_os("PELLUCID_REQUIRE_ONNXRUNTIME").is_some_and(|value| value != "0");
    match Engine::Onnxruntime.available() {
        Ok(()) => {
            check(golden::load(), Engine::Onnxruntime, |_, _| golden::tolerances().float32, |_, _| true);
        }
        Err(error) if required => panic!("{error}"),
        Err(error) => println!("skipped on onnxruntime: {error}"),
    }
}

#[test]
fn derivatives_agree_in_the_interpreter() {
    // Folding a BatchNormalization rounds the weights to float32, which the file's own deviation tells.
    let tolerance = |variant: &Variant, _: &Case| {
        golden::tolerances().float64.max(20.0 * variant.float64_deviation.unwrap_or_default())
    };
    let derivative = |variant: &Variant, case: &Case| match case.method.as_str() {
        // Differences of scores that are kept in float32.
        "occlusion" | "ablation-cam" => false,
        // What is left of sums that cancel is small beside what rounding the weights moves; the same map is a factor of
        // guided-grad-cam (conv3d: 1.1e-6 where the file is folded, 2.3e-8 where it is not).
        "grad-cam" | "guided-grad-cam" | "xgrad-cam" => !variant.folded,
        _ => true,
    };
    check(golden::load(), Engine::Reference, tolerance, derivative);
}

/// Zennit's relevance, of canonized networks in float64.
#[test]
fn relevance_agrees_on_rten() {
    check(golden::load_lrp(), Engine::Rten, |_, _| golden::tolerances().float32, |_, _| true);
}

#[test]
fn relevance_agrees_on_onnxruntime() {
    match Engine::Onnxruntime.available() {
        Ok(()) => {
            check(golden::load_lrp(), Engine::Onnxruntime, |_, _| golden::tolerances().float32, |_, _| true);
        }
        Err(error) => println!("skipped on onnxruntime: {error}"),
    }
}

#[test]
fn relevance_agrees_in_the_interpreter() {
    // A folded file holds other weights than the network: the exporter rounded them.
    let own_weights = |variant: &Variant, _: &Case| !variant.folded;
    check(golden::load_lrp(), Engine::Reference, |_, _| golden::tolerances().float64, own_weights);
}

/// The w² rule, which only a file of rules asks for: at every layer, and at the first one before LRP-ε.
#[test]
fn squared_weights_agree_with_zennit() {
    let path = |ending: &str| golden::folder().join(format!("lrp.w_square.{ending}"));
    let model = Model::open(path("onnx")).unwrap();
    let arrays = pellucid_testkit::archive::arrays(&path("npz"));
    let folder = tempfile::tempdir().unwrap();
    for (key, place) in [("everywhere", "kind = \"layer\""), ("first", "first = true\nkind = \"layer\"")] {
        let rules = folder.path().join(format!("{key}.toml"));
        std::fs::write(&rules, format!("[[rule]]\n{place}\nuse = \"w-square\"\n")).unwrap();
        for (engine, bound) in [(Engine::Rten, 1e-4), (Engine::Reference, 1e-5)] {
            let mut options = Options::new("lrp-epsilon").set("rules", rules.display());
            options.targets = vec![TargetChoice::Rows(vec![0, 1, 2])];
            options.limits = Limits { engine, ..Limits::default() };
            let input = model.inputs().next().unwrap().name.clone();
            let inputs = Inputs::from_arrays(vec![(input, float32(&arrays["input"]))]).unwrap();
            let explanation = explain(&model, inputs, &options, &Silent).unwrap();
            let found = explanation.explained[0].attribution.values[0].1.mapv(f64::from);
            let far = row_deviation(&found, &arrays[key]);
            assert!(far < bound, "{key} on {}: {far:.1e}", engine.name());
        }
    }
}
