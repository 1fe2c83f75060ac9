//! Class activation maps that evaluate the model from outside: progress, cancelling, the same bits on any number of
//! threads and in any batches, several targets in one run, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Mutex;

use pellucid::{
    Array, Error, Explanation, Inputs, Limits, Model, Options, Progress, Silent, TargetChoice, explain,
};
use pellucid_testkit::golden;

const METHODS: [&str; 3] = ["ablation-cam", "eigen-cam", "score-cam"];

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn opened(network: &str) -> (Model, Inputs) {
    let golden = golden::load_one(network);
    let model = Model::open(golden.variants[0].path()).unwrap();
    let name = model.inputs().next().unwrap().name.clone();
    let array = Array::F32(golden.input().mapv(|value| value as f32));
    (model, Inputs::from_arrays(vec![(name, array)]).unwrap())
}

fn bits(explanation: &Explanation) -> Vec<Vec<u32>> {
    let all = explanation.explained.iter().flat_map(|explained| &explained.attribution.values);
    all.map(|(_, values)| values.iter().map(|value| value.to_bits()).collect()).collect()
}

fn limited(method: &str, threads: usize, batch: Option<usize>) -> Options {
    let mut options = Options::new(method);
    options.limits = Limits { threads: Some(threads), batch, ..Limits::default() };
    options.targets = vec![TargetChoice::Index(0), TargetChoice::Index(2)];
    options
}

/// Remembers what it was told, and stops after some reports.
struct Told {
    reports: Mutex<Vec<(u64, u64)>>,
    stop_after: usize,
}

impl Told {
    fn until(stop_after: usize) -> Self {
        Self { reports: Mutex::default(), stop_after }
    }
}

impl Progress for Told {
    fn report(&self, done: u64, total: u64) {
        self.reports.lock().unwrap().push((done, total));
    }

    fn is_cancelled(&self) -> bool {
        self.reports.lock().unwrap().len() >= self.stop_after
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for method in METHODS {
        let (model, inputs) = opened("residual");
        let run = |threads| {
            bits(&explain(&model, inputs.clone(), &limited(method, threads, Some(2)), &Silent).unwrap())
        };
        let one = run(1);
        assert_eq!(one, run(2), "{method}");
        assert_eq!(one, run(3), "{method}");
        assert_eq!(one.len(), 2, "a map for each target");
        assert_eq!(one[0] == one[1], method == "eigen-cam", "{method}: only eigen-cam knows no target");
    }
}

#[test]
fn work_is_told_and_can_be_cancelled() {
    for method in ["ablation-cam", "score-cam"] {
        let (model, inputs) = opened("residual");
        let told = Told::until(usize::MAX);
        let explanation = explain(&model, inputs.clone(), &limited(method, 1, Some(2)), &told).unwrap();
        let reports = told.reports.into_inner().unwrap();
        let (done, total) = *reports.last().unwrap();
        assert_eq!(done, total, "{method}: all that was announced was done");
        assert_eq!(explanation.explained[0].attribution.evaluations, done, "{method}");
        assert_eq!(
            explanation.explained[1].attribution.evaluations, 0,
            "{method}: targets share evaluations"
        );
        // Three rows: prediction, layer, and a channel or two at a time.
        assert!(reports.len() > 9, "{method}: {reports:?}");
        assert!(reports.windows(2).all(|pair| pair[0].0 < pair[1].0), "{method}: {reports:?}");
        let stopping = Told::until(4);
        let stopped = explain(&model, inputs, &limited(method, 1, Some(2)), &stopping);
        assert!(matches!(stopped, Err(Error::Cancelled)), "{method}");
        assert_eq!(stopping.reports.into_inner().unwrap().len(), 4, "{method}");
    }
}

#[test]
fn a_vector_has_no_map() {
    let (model, inputs) = opened("mlp");
    for method in ["eigen-cam", "hires-cam", "guided-grad-cam"] {
        let refused =
            explain(&model, inputs.clone(), &Options::new(method), &Silent).unwrap_err().to_string();
        assert!(refused.contains("no layer to look at"), "{method}: {refused}");
    }
    let refused = explain(&model, inputs, &Options::new("full-grad"), &Silent).unwrap_err().to_string();
    assert!(refused.contains("full-grad needs an input with channels and space"), "{refused}");
}

#[test]
fn the_gap_of_full_grad_is_small_and_lost_terms_would_show() {
    for network in ["cnn", "depthwise", "residual", "squeeze_excite", "transposed", "pooling", "transformer"]
    {
        let (model, inputs) = opened(network);
        let options = Options::new("full-grad").set("form", "signed");
        let explanation = explain(&model, inputs, &options, &Silent).unwrap();
        let attribution = &explanation.explained[0].attribution;
        let gap = attribution.gap.as_ref().unwrap();
        for (row, score) in attribution.score.iter().enumerate() {
            let sum: f32 = attribution.row(0, row).sum();
            assert!(gap[row].abs() < 1e-4, "{network}: the gap is {}", gap[row]);
            assert!((score - sum).abs() < 1e-4 * score.abs().max(1.0), "{network}: {score} is not {sum}");
        }
    }
}
