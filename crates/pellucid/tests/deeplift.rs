//! Values of `deeplift` and `deep-shap` add up to the difference of the scores, on an engine in float32 and in the f64
//! interpreter, on every golden network: those of PyTorch's functions and of modules that are used twice included.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use ndarray::{ArrayD, Axis};
use pellucid::{Array, Baseline, Engine, Inputs, Limits, Model, Options, Silent, TargetChoice, explain};
use pellucid_testkit::golden;

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn float32(array: &ArrayD<f64>) -> Array {
    Array::F32(array.mapv(|value| value as f32))
}

/// Largest |gap| / Σ|values| of the rows.
fn lacking(model: &Model, x: Array, targets: &[usize], options: Options) -> f64 {
    let name = model.inputs().next().unwrap().name.clone();
    let options = Options { targets: vec![TargetChoice::Rows(targets.to_vec())], ..options };
    let inputs = Inputs::from_arrays(vec![(name, x)]).unwrap();
    let explanation = explain(model, inputs, &options, &Silent).unwrap();
    let found = &explanation.explained[0].attribution;
    let (values, gap) = (&found.values[0].1, found.gap.as_ref().unwrap());
    assert!(found.baseline_score.is_some());
    let share = |(row, gap): (usize, &f32)| {
        let size: f64 = values.index_axis(Axis(0), row).iter().map(|value| f64::from(value.abs())).sum();
        assert!(size > 1e-6, "row {row} is zero");
        f64::from(gap.abs()) / size
    };
    gap.iter().enumerate().map(share).fold(0.0, f64::max)
}

fn with_engine(method: &str, engine: Engine) -> Options {
    Options { limits: Limits { engine, ..Limits::default() }, ..Options::new(method) }
}

#[test]
fn values_add_up_on_every_golden_network() {
    let mut failures = Vec::new();
    let mut checked = 0;
    for golden in golden::load() {
        for variant in &golden.variants {
            let model = Model::open(variant.path()).unwrap();
            let targets: Vec<usize> = golden.target.iter().map(|t| usize::try_from(*t).unwrap()).collect();
            // Scores and values are handed on in float32, from the interpreter too.
            for (engine, bound) in [(Engine::Rten, 1e-5), (Engine::Reference, 3e-7)] {
                let mut baseline = golden.input().index_axis(Axis(0), 0).insert_axis(Axis(0)).to_owned();
                baseline.mapv_inplace(|value| 0.3 * value + 0.05);
                let name = model.inputs().next().unwrap().name.clone();
                let mut options = with_engine("deeplift", engine);
                options.baseline = Baseline::Given(vec![(name, float32(&baseline))]);
                let found = lacking(&model, float32(golden.input()), &targets, options);
                checked += 1;
                if found.is_nan() || found > bound {
                    failures.push(format!("{} on {}: {found:.1e}", variant.file, engine.name()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {checked}:\n{}", failures.len(), failures.join("\n"));
    assert!(checked > 100, "only {checked}");
}

/// shap#3938: values of `DeepExplainer` on a plain network of digits, whose functions are no modules, sum to something
/// else (the report has 0.905); Captum's lack a part too, as the script that made the files says.
#[test]
fn a_plain_network_of_functions_is_additive() {
    let folder = golden::folder();
    let model = Model::open(folder.join("mnist.deeplift.onnx")).unwrap();
    let arrays = pellucid_testkit::archive::arrays(&folder.join("mnist.deeplift.npz"));
    let (x, background) = (&arrays["input"], &arrays["background"]);
    let top = |engine| {
        let name = model.inputs().next().unwrap().name.clone();
        let mut options = with_engine("deep-shap", engine);
        options.background = Some(Baseline::Given(vec![(name.clone(), float32(background))]));
        lacking(&model, float32(x), &[0, 3, 7], options)
    };
    for (engine, bound) in [(Engine::Rten, 1e-5), (Engine::Reference, 3e-7)] {
        let found = top(engine);
        assert!(found < bound, "{}: {found:.1e}", engine.name());
    }
}

/// Captum's rules where they apply as they are written: Sigmoid and max-pooling between linear modules, windows that overlap
/// added up.
#[test]
fn sigmoid_and_maxima_agree_with_captum() {
    for name in ["apart", "overlapping"] {
        let path = |ending: &str| golden::folder().join(format!("lifted.{name}.deeplift.{ending}"));
        let model = Model::open(path("onnx")).unwrap();
        let arrays = pellucid_testkit::archive::arrays(&path("npz"));
        let input = model.inputs().next().unwrap().name.clone();
        for (engine, bound) in [(Engine::Rten, 1e-4), (Engine::Reference, 1e-6)] {
            let mut options = with_engine("deeplift", engine);
            options.targets = vec![TargetChoice::Rows(vec![0, 3, 1])];
            options.baseline = Baseline::Given(vec![(input.clone(), float32(&arrays["baseline"]))]);
            let inputs = Inputs::from_arrays(vec![(input.clone(), float32(&arrays["input"]))]).unwrap();
            let explanation = explain(&model, inputs, &options, &Silent).unwrap();
            let found = explanation.explained[0].attribution.values[0].1.mapv(f64::from);
            let far = golden::row_deviation(&found, &arrays["deeplift"]);
            assert!(far < bound, "{name} on {}: {far:.1e}", engine.name());
        }
    }
}
