//! Activations and errors of every layer against PyTorch's hooks and autograd in float64: 1e-6 of each row's maximum in the
//! interpreter, 1e-4 on engines.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ndarray::ArrayD;
use pellucid::npy::read_arrays;
use pellucid::{
    Array, Engine, Examples, Format, Inputs, InspectOptions, Inspection, Judge, Limits, Model, Outputs,
    RightAnswers, Silent, TargetChoice, inspect,
};
use pellucid_testkit::golden::{self, Golden, Inside, Variant, row_deviation, whole_deviation};

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn float32(array: &ArrayD<f64>) -> Array {
    Array::F32(array.mapv(|value| value as f32))
}

fn inputs(model: &Model, golden: &Golden) -> Inputs {
    let name = model.inputs().next().unwrap().name.clone();
    Inputs::from_arrays(vec![(name, float32(golden.input()))]).unwrap()
}

/// What an inspection is, and the arrays that it wrote.
fn inspected(
    model: &Model,
    golden: &Golden,
    judge: Judge,
    limits: Limits,
) -> (Inspection, BTreeMap<String, ArrayD<f64>>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inside.npz");
    let outputs = Outputs::new(&[&file], Format::OF_INSPECTIONS, &[] as &[&str]).unwrap();
    let options = InspectOptions { judge, limits, ..InspectOptions::default() };
    let examples = Examples::held(model, inputs(model, golden));
    let found = inspect(model, &examples, &options, &outputs, &Silent).unwrap();
    let arrays = read_arrays(&file).unwrap();
    (found, arrays.into_iter().map(|(name, array)| (name, array.to_f64())).collect())
}

fn classes(golden: &Golden) -> Vec<i64> {
    golden.target.iter().copied().collect()
}

/// How far every activation, error and gradient of a file is from PyTorch's.
fn deviations(inside: &Inside, golden: &Golden, variant: &Variant, engine: Engine) -> Vec<(String, f64)> {
    let model = Model::open(variant.path()).unwrap();
    let limits = Limits { engine, ..Limits::default() };
    let mut found = Vec::new();
    // A score has one target for all rows, so that each row is compared with the class that is its own.
    let loss = Judge::Loss(RightAnswers::Classes(classes(golden)));
    let mut judged = vec![("loss", None, inspected(&model, golden, loss, limits))];
    for (row, class) in classes(golden).into_iter().enumerate() {
        let target = Judge::Target(TargetChoice::Index(usize::try_from(class).unwrap()));
        judged.push(("target", Some(row), inspected(&model, golden, target, limits)));
    }
    let layers = &inside.layers[&variant.file];
    assert!(!layers.is_empty(), "{}", variant.file);
    for (by, row, (_, arrays)) in &judged {
        let rows = |array: &ArrayD<f64>| match row {
            Some(row) => array.slice_axis(ndarray::Axis(0), ndarray::Slice::from(*row..=*row)).to_owned(),
            None => array.clone(),
        };
        for (module, value) in layers {
            for (ours, theirs) in [
                (format!("activation:{value}"), format!("activation:{module}")),
                (format!("error:{value}"), format!("error:{by}:{module}")),
            ] {
                let array = arrays.get(&ours).unwrap_or_else(|| panic!("{}: no {ours}", variant.file));
                found.push((theirs.clone(), row_deviation(&rows(array), &rows(inside.array(&theirs)))));
            }
        }
    }
    let (_, _, (seen, arrays)) = &judged[0];
    found.push(("loss".to_owned(), row_deviation(&arrays["objective"], inside.array("loss"))));
    for (parameter, gradient) in inside.gradients() {
        let Some(weight) = variant.weights.get(parameter) else { continue };
        let Some(ours) = arrays.get(&format!("gradient:{}", weight.value)) else { continue };
        let wanted = weight.in_file(gradient, ours.shape());
        found.push((format!("gradient:{parameter}"), whole_deviation(ours, &wanted)));
        let norm = wanted.iter().map(|value| value * value).sum::<f64>().sqrt();
        let told = seen.weights.iter().find(|known| known.name == weight.value).unwrap();
        found.push((format!("norm of gradient:{parameter}"), (told.gradient - norm).abs() / norm));
    }
    found
}

fn check(engine: Engine, tolerance: impl Fn(&Variant) -> f64) {
    let mut wrong = String::new();
    let (mut checked, mut worst) = (0, 0.0f64);
    for inside in golden::load_inside() {
        let golden = golden::load_one(&inside.name);
        for variant in &golden.variants {
            for (key, far) in deviations(&inside, &golden, variant, engine) {
                checked += 1;
                worst = worst.max(far);
                if far > tolerance(variant) {
                    let _ = writeln!(wrong, "{} {key}: {far:.1e}", variant.file);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{wrong}", wrong.lines().count());
    assert!(checked > 500, "only {checked} were checked");
    println!("{checked} arrays, the furthest {worst:.1e} of its row's maximum");
}

#[test]
fn activations_and_errors_agree_on_rten() {
    check(Engine::Rten, |_| golden::tolerances().float32);
}

#[test]
fn activations_and_errors_agree_on_onnxruntime() {
    match Engine::Onnxruntime.available() {
        Ok(()) => check(Engine::Onnxruntime, |_| golden::tolerances().float32),
        Err(error) => println!("skipped on onnxruntime: {error}"),
    }
}

#[test]
fn activations_and_errors_agree_in_the_interpreter() {
    // Folding a BatchNormalization rounds the weights to float32, which the file's own deviation tells.
    check(Engine::Reference, |variant| {
        golden::tolerances().float64.max(20.0 * variant.float64_deviation.unwrap_or_default())
    });
}

/// Statistics and arrays are those of all rows at once, whatever the batch.
#[test]
fn statistics_do_not_depend_on_batches() {
    let golden = golden::load_one("cnn");
    let model = Model::open(golden.variants[0].path()).unwrap();
    let judge = || Judge::Loss(RightAnswers::Classes(classes(&golden)));
    let limits = |batch| Limits { batch: Some(batch), threads: Some(1), ..Limits::default() };
    let (whole, arrays) = inspected(&model, &golden, judge(), limits(3));
    let (by_row, others) = inspected(&model, &golden, judge(), limits(1));
    assert_eq!(arrays.keys().collect::<Vec<_>>(), others.keys().collect::<Vec<_>>());
    for (a, b) in whole.layers.iter().zip(&by_row.layers) {
        let (a, b) = (a.activation.as_ref().unwrap(), b.activation.as_ref().unwrap());
        assert_eq!((a.count, &a.quantiles), (b.count, &b.quantiles));
        assert!((a.mean - b.mean).abs() < 1e-6 && (a.std - b.std).abs() < 1e-6);
    }
    for (a, b) in whole.weights.iter().zip(&by_row.weights) {
        assert!(
            (a.gradient - b.gradient).abs() < 1e-5 * a.gradient,
            "{}: {} {}",
            a.name,
            a.gradient,
            b.gradient
        );
    }
    let first = whole.layers.iter().find(|layer| layer.kind == "Conv").unwrap().activation.as_ref().unwrap();
    let conv = &arrays[&format!("activation:{}", whole.layers[0].value)];
    let mean = conv.iter().sum::<f64>() / conv.len() as f64;
    assert!((first.mean - mean).abs() < 1e-6, "{} {mean}", first.mean);
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let golden = golden::load_one("cnn");
    let model = Model::open(golden.variants[0].path()).unwrap();
    let examples = Examples::held(&model, inputs(&model, &golden));
    let none = Outputs::new(&[] as &[&str], Format::OF_INSPECTIONS, &[] as &[&str]).unwrap();
    let refused = |answers: RightAnswers| {
        let options = InspectOptions { judge: Judge::Loss(answers), ..InspectOptions::default() };
        inspect(&model, &examples, &options, &none, &Silent).unwrap_err().to_string()
    };
    assert_eq!(
        refused(RightAnswers::Classes(vec![0, 1])),
        "label: 2 answers found for 3 rows; give one for each, or one for all"
    );
    assert_eq!(
        refused(RightAnswers::Classes(vec![0, 1, 5])),
        "label: class 5 does not exist: the model has 5, 0 to 4"
    );
    assert_eq!(
        refused(RightAnswers::Numbers(vec![0.5; 3])),
        "label: fractions found, expected whole numbers: the model has 5 classes; convert them with .astype(\"int64\")"
    );
}
