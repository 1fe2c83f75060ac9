//! Models of several inputs, of whole numbers, and of plain numbers instead of classes, under every method that applies,
//! against PyTorch and Captum; contrasts of two classes; several targets at once.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ndarray::ArrayD;
use pellucid::{
    Array, Baseline, Draws, Engine, Explanation, Inputs, Limits, Model, Options, Silent, TargetChoice, Unit,
    explain, npy,
};
use pellucid_testkit::golden::{self, row_deviation};
use serde::Deserialize;

#[derive(Deserialize)]
struct Index {
    networks: Vec<Network>,
}

#[derive(Deserialize)]
struct Network {
    name: String,
    file: String,
    arrays: String,
    inputs: Vec<String>,
    words: bool,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    key: String,
    method: String,
    settings: serde_json::Map<String, serde_json::Value>,
    contrast: bool,
}

/// A network with its arrays.
struct Golden {
    network: Network,
    arrays: BTreeMap<String, ArrayD<f64>>,
    model: Model,
}

fn load() -> Vec<Golden> {
    let folder = golden::folder();
    let text = std::fs::read_to_string(folder.join("inputs.json")).unwrap();
    let index: Index = serde_json::from_str(&text).unwrap();
    let read = |network: Network| {
        let arrays = npy::read_arrays(&folder.join(&network.arrays)).unwrap();
        let model = Model::open(folder.join(&network.file)).unwrap();
        Golden { arrays: arrays.into_iter().map(|(key, a)| (key, a.to_f64())).collect(), model, network }
    };
    index.networks.into_iter().map(read).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn float32(array: &ArrayD<f64>) -> Array {
    Array::F32(array.mapv(|value| value as f32))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the file holds small whole numbers"
)]
fn whole(array: &ArrayD<f64>) -> Vec<usize> {
    array.iter().map(|value| *value as usize).collect()
}

impl Golden {
    fn inputs(&self) -> Inputs {
        let mut arrays = self.of("input");
        if self.network.words {
            #[expect(clippy::cast_possible_truncation, reason = "words are small whole numbers")]
            let words = self.arrays["input:words"].mapv(|word| word as i64);
            arrays.push(("words".to_owned(), Array::I64(words)));
        }
        Inputs::from_arrays(arrays).unwrap()
    }

    /// The arrays of one kind, by input.
    fn of(&self, what: &str) -> Vec<(String, Array)> {
        let array = |input: &String| float32(&self.arrays[&format!("{what}:{input}")]);
        self.network.inputs.iter().map(|input| (input.clone(), array(input))).collect()
    }

    fn options(&self, case: &Case, engine: Engine) -> Options {
        let mut options = Options::new(&case.method);
        for (key, value) in &case.settings {
            options = options.set(key, value.to_string().trim_matches('"'));
        }
        let path = case.settings.get("points").is_some_and(|points| points == "path");
        if path || matches!(case.method.as_str(), "integrated-gradients" | "rise") {
            options.baseline = Baseline::Given(self.of("baseline"));
        }
        if matches!(case.method.as_str(), "expected-gradients" | "gradient-shap") {
            options.background = Some(Baseline::Given(self.of("background")));
            #[expect(clippy::cast_possible_truncation, reason = "the file holds whole numbers")]
            let pick = self.arrays["pick"].iter().map(|pick| *pick as i64).collect();
            options.draws = Some(Draws { pick, position: self.arrays["position"].iter().copied().collect() });
        }
        options.noise = Some(self.of("noise"));
        options.masks = Some(self.of("masks"));
        if let Some(target) = self.arrays.get("target") {
            let of = TargetChoice::Rows(whole(target));
            options.targets = vec![if case.contrast {
                let minus = TargetChoice::Rows(whole(&self.arrays["minus"]));
                TargetChoice::Contrast(Box::new(of), Box::new(minus))
            } else {
                of
            }];
        }
        options.limits = Limits { engine, ..Limits::default() };
        options
    }

    fn explained(&self, options: &Options) -> Explanation {
        explain(&self.model, self.inputs(), options, &Silent).unwrap()
    }
}

fn check(engine: Engine, tolerance: f64) {
    let mut report = String::new();
    let mut checked = 0;
    for golden in load() {
        for case in &golden.network.cases {
            let explanation = golden.explained(&golden.options(case, engine));
            let values = &explanation.explained[0].attribution.values;
            assert_eq!(values.len(), golden.network.inputs.len());
            for (input, found) in values {
                let wanted = &golden.arrays[&format!("{}:{input}", case.key)];
                checked += 1;
                let far = row_deviation(&found.mapv(f64::from), wanted);
                if far > tolerance {
                    let _ = writeln!(report, "{} {} {input}: {far:.1e}", golden.network.name, case.key);
                }
            }
        }
    }
    assert!(report.is_empty(), "of {checked}:\n{report}");
    assert!(checked > 60, "only {checked} arrays were checked");
}

#[test]
fn every_method_agrees_on_rten() {
    check(Engine::Rten, golden::tolerances().float32);
}

#[test]
fn every_method_agrees_in_the_interpreter() {
    check(Engine::Reference, golden::tolerances().float64);
}

#[test]
fn a_regression_is_raw_and_its_outputs_are_chosen_by_index() {
    for golden in load().iter().filter(|golden| golden.network.name.starts_with("regression")) {
        let outputs = &golden.arrays["output"];
        let columns = outputs.len() / outputs.shape()[0];
        for index in 0..columns {
            let mut options = Options::new("gradient");
            options.targets = vec![TargetChoice::Index(index)];
            let explanation = golden.explained(&options);
            let attribution = &explanation.explained[0].attribution;
            if columns == 1 {
                assert_eq!(attribution.unit, Unit::Raw, "{}", golden.network.name);
            }
            for (row, score) in attribution.score.iter().enumerate() {
                let wanted = outputs.iter().nth(row * columns + index).unwrap();
                assert!((f64::from(*score) - wanted).abs() < 1e-5, "{}", golden.network.name);
            }
        }
        let mut options = Options::new("gradient");
        options.targets = vec![TargetChoice::Index(columns)];
        let error = explain(&golden.model, golden.inputs(), &options, &Silent).unwrap_err().to_string();
        assert!(error.contains("does not exist"), "{error}");
    }
}

/// Several targets give what each gives alone, to the last bit, for every kind of points.
#[test]
fn targets_together_are_targets_alone() {
    let golden = load().into_iter().find(|golden| golden.network.name == "two_and_words").unwrap();
    let targets = [
        TargetChoice::Top,
        TargetChoice::Index(2),
        TargetChoice::Contrast(Box::new(TargetChoice::Index(0)), Box::new(TargetChoice::Rank(1))),
    ];
    let wanted =
        ["gradient", "squaregrad", "expected-gradients", "occlusion", "rise", "integrated-gradients"];
    let mut checked = 0;
    for case in golden.network.cases.iter().filter(|case| wanted.contains(&case.key.as_str())) {
        let mut options = golden.options(case, Engine::Rten);
        options.targets = targets.to_vec();
        let together = golden.explained(&options);
        let spent: Vec<u64> = together.explained.iter().map(|one| one.attribution.evaluations).collect();
        assert_eq!(spent[1..], [0, 0], "{}: the first target pays for what all share", case.key);
        for (target, found) in targets.iter().zip(&together.explained) {
            options.targets = vec![target.clone()];
            let alone = golden.explained(&options);
            // A contrast is compiled with both classes, which may round in another order.
            assert_eq!(alone.explained[0].targets, found.targets);
            for ((_, a), (_, b)) in
                alone.explained[0].attribution.values.iter().zip(&found.attribution.values)
            {
                let largest =
                    |values: &ArrayD<f32>| values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                let far = largest(&(a - b)) / largest(a);
                assert!(far < 1e-6, "{}: {far}", case.key);
            }
            // A gradient of one given class needs no prediction before it.
            let alone = alone.explained[0].attribution.evaluations;
            assert!(
                alone == spent[0] || (case.key == "gradient" && alone < spent[0]),
                "{}: {alone}",
                case.key
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 18);
}

#[test]
fn adaptive_quadrature_satisfies_every_target() {
    let golden = load().into_iter().find(|golden| golden.network.name == "two_and_words").unwrap();
    let mut options = Options::new("integrated-gradients").set("tolerance", 0.01);
    options.targets = vec![TargetChoice::TopK(3)];
    let explanation = golden.explained(&options);
    assert_eq!(explanation.explained.len(), 3);
    for explained in &explanation.explained {
        let attribution = &explained.attribution;
        let (gap, base) = (attribution.gap.as_ref().unwrap(), attribution.baseline_score.as_ref().unwrap());
        for row in 0..attribution.rows() {
            let difference = (attribution.score[row] - base[row]).abs();
            let size: f32 = attribution
                .values
                .iter()
                .map(|(_, v)| v.index_axis(ndarray::Axis(0), row).mapv(f32::abs).sum())
                .sum();
            assert!(gap[row].abs() <= 0.0101 * difference.max(1e-3 * size), "row {row}");
            let error = attribution.quadrature_error.as_ref().unwrap()[row];
            assert!(error <= 0.0101 * size, "row {row}: {error}");
        }
    }
    assert!(explanation.notes.iter().all(|note| !note.contains("did not reach")), "{:?}", explanation.notes);
}

/// The gap of expected gradients is a few of its standard errors; the same seed draws the same numbers.
#[test]
fn expected_gradients_tell_their_error() {
    let golden = load().into_iter().find(|golden| golden.network.name == "two_and_words").unwrap();
    let mut options = Options::new("expected-gradients").set("samples", 400);
    options.background = Some(Baseline::Given(golden.of("background")));
    let first = golden.explained(&options);
    let attribution = &first.explained[0].attribution;
    let (gap, error) = (attribution.gap.as_ref().unwrap(), attribution.gap_std_error.as_ref().unwrap());
    for (gap, error) in gap.iter().zip(error) {
        assert!(*error > 0.0 && gap.abs() < 5.0 * error, "{gap} ± {error}");
    }
    let errors = attribution.std_error.as_ref().unwrap();
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].shape(), attribution.values[0].1.shape());
    assert_eq!(golden.explained(&options).explained, first.explained);
    options.seed = 1;
    assert_ne!(golden.explained(&options).explained, first.explained);
    options.background = None;
    let zero = golden.explained(&options);
    assert!(zero.notes.iter().any(|note| note.contains("every baseline is zero")), "{:?}", zero.notes);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let golden = load().into_iter().find(|golden| golden.network.name == "regression_flat").unwrap();
    let error = |options: &Options| {
        explain(&golden.model, golden.inputs(), options, &Silent).unwrap_err().to_string()
    };
    let mut options = Options::new("gradient");
    options.targets = vec![TargetChoice::parse("0-1")];
    assert!(error(&options).contains("one number a row"), "{}", error(&options));
    let mut options = Options::new("gradient");
    options.background = Some(Baseline::Given(golden.of("background")));
    assert_eq!(error(&options), "background: gradient draws no baselines: leave it out");
    let mut options = Options::new("expected-gradients");
    options.baseline = Baseline::Mean;
    assert_eq!(
        error(&options),
        "baseline: expected-gradients draws its baselines: give them as --background FILE"
    );
    let options = Options::new("smoothgrad").set("points", "path");
    assert!(error(&options).starts_with("points=path: the points of smoothgrad are its own"));
}
