//! Evaluations against scikit-learn and SciPy (`goldens/evaluation_references.py`), and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{Array2, ArrayD, Axis, Ix2};
use pellucid::evaluate::{Batches, Measure, Report};
use pellucid::explain::Stoppable;
use pellucid::input::Shapes;
use pellucid::{
    Answered, Answers, Array, Error, EvaluateOptions, Evaluation, Inputs, Model, Options, Silent, Subject,
    Task, evaluate,
};
use pellucid_graph::{Dim, ElementType, Graph, NewNode};
use pellucid_testkit::archive;

/// Rows in memory.
struct Held {
    rows: Array2<f32>,
    answers: Answers,
}

impl Held {
    fn inputs(&self, places: &[usize]) -> Result<Inputs, Error> {
        let rows = self.rows.select(Axis(0), places).into_dyn();
        Inputs::from_arrays(vec![("x".to_owned(), Array::F32(rows))])
    }
}

impl Answered for Held {
    fn name(&self) -> String {
        "held".to_owned()
    }

    fn shapes(&self) -> Shapes {
        vec![("x".to_owned(), self.rows.shape().to_vec())]
    }

    fn answers(&self) -> &Answers {
        &self.answers
    }

    fn batches(&self, rows: usize) -> Batches<'_> {
        let places: Vec<usize> = (0..self.rows.nrows()).collect();
        let parts: Vec<Vec<usize>> = places.chunks(rows).map(<[usize]>::to_vec).collect();
        Box::new(parts.into_iter().map(|part| self.inputs(&part)))
    }

    fn rows(&self, places: &[usize]) -> Result<Inputs, Error> {
        self.inputs(places)
    }
}

/// A model that says what it is told, through `operator`.
fn echo(operator: &str, outputs: i64) -> Model {
    let mut graph = Graph::new();
    let shape = vec![Dim::symbol("n"), Dim::known(outputs)];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let y = graph.push_one(NewNode::new(operator, &[x], "y")).unwrap();
    graph.set_outputs(vec![y]);
    Model::from_graph(format!("{operator}.onnx"), graph).unwrap()
}

#[expect(clippy::cast_possible_truncation, reason = "float32 that was stored as float64")]
fn floats(array: &ArrayD<f64>) -> Array2<f32> {
    array.mapv(|value| value as f32).into_dimensionality::<Ix2>().unwrap()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "classes that were stored as float64"
)]
fn classes(array: &ArrayD<f64>) -> Answers {
    Answers::Classes(array.iter().map(|class| *class as usize).collect())
}

struct Golden {
    arrays: BTreeMap<String, ArrayD<f64>>,
    expected: serde_json::Value,
}

fn golden() -> Golden {
    let folder = archive::folder();
    let text = std::fs::read_to_string(folder.join("evaluation.json")).unwrap();
    Golden {
        arrays: archive::arrays(&folder.join("evaluation.npz")),
        expected: serde_json::from_str(&text).unwrap(),
    }
}

impl Golden {
    fn held(&self, rows: &str, answers: Answers) -> Held {
        Held { rows: floats(&self.arrays[rows]), answers }
    }
}

fn options() -> EvaluateOptions {
    EvaluateOptions { replicates: 4000, ..EvaluateOptions::default() }
}

fn one(model: &Model, data: &Held, options: &EvaluateOptions) -> Result<Evaluation, Error> {
    evaluate(&[Subject { model, data }], options, &Silent)
}

fn measure<'a>(report: &'a Report, name: &str) -> &'a Measure {
    report.measures.iter().find(|measure| measure.name == name).unwrap()
}

/// Every measure that the reference has, to `tolerance` of its size.
fn agree(report: &Report, expected: &serde_json::Value, tolerance: f64) {
    let expected = expected.as_object().unwrap();
    assert_eq!(expected.len(), report.measures.len());
    for (name, value) in expected {
        let (found, value) = (measure(report, name).value.unwrap(), value.as_f64().unwrap());
        assert!((found - value).abs() <= tolerance * value.abs().max(1.0), "{name}: {found} {value}");
    }
}

/// Both ends within a twelfth of the interval's width: percentiles of 4,000 and 5,000 random draws.
fn near(found: Option<[f64; 2]>, expected: &serde_json::Value, what: &str) {
    let found = found.unwrap();
    let expected = [0, 1].map(|end| expected[end].as_f64().unwrap());
    let width = expected[1] - expected[0];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < width / 12.0, "{what}: {found} {expected}, of {width}");
    }
}

#[test]
fn measures_of_classes_equal_scikit_learns() {
    let golden = golden();
    let data = golden.held("one", classes(&golden.arrays["truth"]));
    let found = one(&echo("Identity", 6), &data, &options()).unwrap();
    let report = &found.reports[0];
    agree(report, &golden.expected["classification"][0], 1e-9);
    for (part, expected) in report.parts.iter().zip(golden.expected["by_class"].as_array().unwrap()) {
        for (at, measure) in part.measures.iter().enumerate() {
            let expected = expected[at].as_f64().unwrap();
            assert!((measure.value.unwrap() - expected).abs() < 1e-12, "{} {}", part.name, measure.name);
        }
    }
    let confusion = report.confusion.as_ref().unwrap();
    let mut matrix = vec![vec![0; 6]; 6];
    for (truth, predicted, rows) in &confusion.counts {
        matrix[*truth][*predicted] = *rows;
    }
    assert_eq!(serde_json::json!(matrix), golden.expected["confusion"]);
    for (name, expected) in golden.expected["intervals"]["classification"].as_object().unwrap() {
        near(measure(report, name).interval, expected, name);
    }
    assert_eq!(found.mistakes.len(), 12);
    assert!(found.mistakes.is_sorted_by(|a, b| a.loss >= b.loss));
    assert!(found.mistakes.iter().all(|mistake| mistake.predicted.index != mistake.truth.index));
}

/// A network that ends in a softmax, or in its logarithm, says the same.
#[test]
fn logits_are_found_behind_a_softmax() {
    let golden = golden();
    let data = golden.held("one", classes(&golden.arrays["truth"]));
    let plain = EvaluateOptions { replicates: 0, ..options() };
    for operator in ["Softmax", "LogSoftmax"] {
        let found = one(&echo(operator, 6), &data, &plain).unwrap();
        agree(&found.reports[0], &golden.expected["classification"][0], 1e-5);
        assert!(found.reports[0].measures.iter().all(|measure| measure.interval.is_none()));
    }
}

#[test]
fn two_models_are_compared_on_the_same_rows() {
    let golden = golden();
    let model = echo("Identity", 6);
    let answers = classes(&golden.arrays["truth"]);
    let (a, b) = (golden.held("one", answers.clone()), golden.held("two", answers));
    let subjects = [Subject { model: &model, data: &a }, Subject { model: &model, data: &b }];
    let found = evaluate(&subjects, &options(), &Silent).unwrap();
    for (report, expected) in found.reports.iter().zip(golden.expected["classification"].as_array().unwrap())
    {
        agree(report, expected, 1e-9);
    }
    let paired = found.paired.unwrap();
    for (name, expected) in golden.expected["intervals"]["difference"].as_object().unwrap() {
        let difference = paired.differences.iter().find(|difference| difference.name == *name).unwrap();
        near(difference.interval, expected, name);
    }
    let (test, expected) = (paired.test.unwrap(), &golden.expected["mcnemar"]);
    assert_eq!(serde_json::json!([test.first, test.second]), expected["alone"]);
    assert!((test.p / expected["p"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{test:?}");
    assert_eq!(test.both + test.first + test.second + test.neither, 600);
}

#[test]
fn measures_of_labels_and_of_values_equal_scikit_learns() {
    let golden = golden();
    let data = golden.held("label_logits", Answers::Numbers(floats(&golden.arrays["labels"])));
    let found = one(&echo("Identity", 4), &data, &options()).unwrap();
    assert_eq!(found.task, Task::MultiLabel);
    agree(&found.reports[0], &golden.expected["multi-label"], 1e-9);
    let through = one(&echo("Sigmoid", 4), &data, &options()).unwrap();
    agree(&through.reports[0], &golden.expected["multi-label"], 1e-5);
    let data = golden.held("guesses", Answers::Numbers(floats(&golden.arrays["values"])));
    let found = one(&echo("Identity", 2), &data, &options()).unwrap();
    assert_eq!(found.task, Task::Regression);
    agree(&found.reports[0], &golden.expected["regression"], 1e-9);
    for (name, expected) in golden.expected["intervals"]["regression"].as_object().unwrap() {
        near(measure(&found.reports[0], name).interval, expected, name);
    }
    assert_eq!(found.reports[0].densities.len(), 2);
    assert!(found.reports[0].densities.iter().all(|grid| grid.counts.iter().sum::<u64>() == 600));
}

#[test]
fn how_rows_are_split_changes_nothing() {
    let golden = golden();
    let data = golden.held("one", classes(&golden.arrays["truth"]));
    let model = echo("Identity", 6);
    let mut options = EvaluateOptions { replicates: 50, ..options() };
    let mut all = Vec::new();
    for (threads, batch) in [(1, None), (2, None), (1, Some(7)), (2, Some(64))] {
        options.limits.threads = Some(threads);
        options.limits.batch = batch;
        all.push(one(&model, &data, &options).unwrap().to_json().unwrap());
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn worst_mistakes_are_explained_for_what_was_said_and_what_is_right() {
    let golden = golden();
    let data = golden.held("one", classes(&golden.arrays["truth"]));
    let explaining = EvaluateOptions {
        mistakes: 3,
        explain: Some(Options::new("input-x-gradient")),
        ..EvaluateOptions::default()
    };
    let found = one(&echo("Identity", 6), &data, &explaining).unwrap();
    let explanation = found.explanation.as_ref().unwrap();
    assert_eq!((explanation.explained.len(), found.mistakes.len()), (2, 3));
    for (row, mistake) in found.mistakes.iter().enumerate() {
        for (explained, said) in explanation.explained.iter().zip([mistake.predicted, mistake.truth]) {
            assert_eq!(explained.targets[row].index, said.index);
            // A model that says what it is told attributes a class to its own number.
            let values = explained.attribution.row(0, row);
            let own = data.rows[[mistake.row, said.index]];
            assert!((values.sum() - own).abs() < 1e-6 && (values[[said.index]] - own).abs() < 1e-6);
        }
    }
    let html = String::from_utf8(pellucid::render::evaluation::html(&found).unwrap()).unwrap();
    assert!(html.contains("Worst mistakes") && html.contains("input-x-gradient"));
    assert!(!html.contains("src=\"http") && html.matches("<script>").count() == 1);
    assert!(pellucid::render::evaluation::png(&found).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn what_cannot_be_measured_is_told() {
    let model = echo("Identity", 3);
    let rows = |values: &[[f32; 3]]| Array2::from_shape_fn((values.len(), 3), |(r, c)| values[r][c]);
    let told = |rows: Array2<f32>, answers, options: &EvaluateOptions| {
        one(&model, &Held { rows, answers }, options).unwrap_err().to_string()
    };
    let plain = EvaluateOptions::default();
    let two = [[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]];
    assert_eq!(
        told(rows(&two), Answers::Classes(vec![0, 7]), &plain),
        "held: row 1 is of class 7, 1 rows are of such, and Identity.onnx has 3 classes, 0 to 2; the data is of other \
         classes than the model"
    );
    assert_eq!(
        told(rows(&two), Answers::Numbers(Array2::zeros((2, 2))), &plain),
        "held: 2 answers a row found, and Identity.onnx gives 3"
    );
    let broken = told(rows(&[[0.0; 3], [0.0, f32::NAN, 1.0]]), Answers::Classes(vec![0, 1]), &plain);
    assert_eq!(
        broken,
        "Identity.onnx: for row 1 (row 1) it gives NaN, which is no number to measure; pellucid inspect says in which \
         layer that begins"
    );
    assert_eq!(
        told(Array2::zeros((0, 3)), Answers::Classes(Vec::new()), &plain),
        "held: it holds no rows to measure on"
    );
    let task = EvaluateOptions { task: Some(Task::Regression), ..plain.clone() };
    assert_eq!(
        told(rows(&two), Answers::Classes(vec![0, 1]), &task),
        "task: regression found, and the answers are classes: expected classification"
    );
    let level = EvaluateOptions { level: 95.0, ..plain.clone() };
    assert_eq!(
        told(rows(&two), Answers::Classes(vec![0, 1]), &level),
        "level: 95 found, expected a number between 0 and 1"
    );
    let labels = EvaluateOptions { task: Some(Task::MultiLabel), ..plain };
    assert_eq!(
        told(rows(&two), Answers::Numbers(Array2::from_elem((2, 3), 0.5)), &labels),
        "held: its answers are other numbers than 0 and 1, so they are no labels"
    );
}

#[test]
fn a_class_that_is_ruled_out_is_a_number() {
    let rows = ndarray::arr2(&[[f32::NEG_INFINITY, 1.0, 0.0]]);
    let data = Held { rows, answers: Answers::Classes(vec![0]) };
    let found = one(&echo("Identity", 3), &data, &EvaluateOptions::default()).unwrap();
    assert_eq!(measure(&found.reports[0], "log loss").value, Some(f64::INFINITY));
    assert!(found.notes.iter().any(|note| note.contains("1 rows are few")), "{:?}", found.notes);
}

#[test]
fn it_can_be_stopped() {
    let data = Held { rows: Array2::zeros((5, 3)), answers: Answers::Classes(vec![0; 5]) };
    let stop = AtomicBool::new(true);
    let model = echo("Identity", 3);
    let subjects = [Subject { model: &model, data: &data }];
    let found = evaluate(&subjects, &EvaluateOptions::default(), &Stoppable(&stop));
    assert!(matches!(found, Err(Error::Cancelled)) && stop.load(Ordering::Relaxed));
}
