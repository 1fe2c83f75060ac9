//! How data and a model are brought together, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pellucid::{Error, Labels, Limits, Model};
use pellucid_graph::{Dim, ElementType, Graph, NewNode, Tensor};
use pellucid_train::new::{Design, design};
use pellucid_train::{Moment, Outcome, Quiet, Settings, Watcher, headed, resume, train};

fn limits() -> Limits {
    Limits { threads: Some(1), ..Limits::default() }
}

fn mlp(outputs: usize) -> Model {
    let made = Design {
        family: "mlp".to_owned(),
        input: Some(vec![2]),
        outputs: Some(outputs),
        widths: Some(vec![4]),
        ..Design::default()
    };
    Model::from_graph("net", design(&made).unwrap()).unwrap()
}

/// The network with names of its classes.
fn named(names: &[&str]) -> Model {
    let mut graph = mlp(names.len()).graph().clone();
    let mut description = Model::from_graph("net", graph.clone()).unwrap().description().clone();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    description.labels = Some(Labels::new(names).unwrap().into());
    graph.metadata.extend(description.to_metadata());
    Model::from_graph("net", graph).unwrap()
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("rows.csv");
    std::fs::write(&path, text).unwrap();
    path
}

fn settings(data: &Path) -> Settings {
    let mut settings = Settings { epochs: 2, batch: 4, ..Settings::default() };
    data.clone_into(&mut settings.data.path);
    settings.data.validation = 0.0;
    settings
}

fn trained(model: &Model, settings: &Settings, folder: &Path) -> Result<Outcome, Error> {
    train(model, settings, &folder.join("run"), &limits(), &Quiet)
}

/// Forty rows of two numbers, whose class is told by `class`.
fn rows(class: impl Fn(usize) -> String) -> String {
    let lines: Vec<String> = (0..40).map(|row| format!("{},{},{}", row % 4, row % 7, class(row))).collect();
    lines.join("\n")
}

#[test]
fn a_layer_of_one_output_learns_its_bias() {
    let folder = tempfile::tempdir().unwrap();
    let data = written(folder.path(), &rows(|row| format!("{}.5", row % 4)));
    let model = mlp(1);
    let outcome = trained(&model, &settings(&data), folder.path()).unwrap();
    let after = Model::open(outcome.model.unwrap()).unwrap();
    let bias =
        |model: &Model| model.graph().constant(model.graph().find("head.bias").unwrap()).unwrap().to_f32();
    assert_eq!(bias(&model).len(), 1);
    assert_ne!(bias(&model), bias(&after), "the bias stays what it was drawn as");
}

#[test]
fn classes_are_those_of_the_models_names() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["bird", "cat", "dog"];
    let data = written(folder.path(), &rows(|row| names[row % 3].to_owned()));
    // In the order of the data, and in another: the same rows with their names on other outputs.
    let told = |order: &[&str], folder: &str| {
        let out = data.with_file_name(folder);
        std::fs::create_dir(&out).unwrap();
        let outcome = trained(&named(order), &settings(&data), &out).unwrap();
        let model = Model::open(outcome.model.unwrap()).unwrap();
        let labels: Vec<String> = model.labels().unwrap().iter().map(ToOwned::to_owned).collect();
        (labels, outcome.history.last().unwrap().loss)
    };
    let (alike, loss) = told(&["bird", "cat", "dog"], "alike");
    let (other, moved) = told(&["cat", "dog", "bird"], "other");
    assert_eq!(
        (alike, other),
        (names.map(String::from).to_vec(), vec!["cat".into(), "dog".into(), "bird".into()])
    );
    // Other classes were learned by other outputs, from the same start.
    assert!((loss - moved).abs() > 1e-9, "{loss} and {moved}");
    let error = trained(&named(&["cat", "dog", "fish"]), &settings(&data), folder.path()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("its class \"bird\" is none of net's") && error.contains("--head 3"), "{error}");
    let fresh = headed(&named(&["cat", "dog", "bird"]), None, 3, 0).unwrap();
    assert!(fresh.model.labels().is_none(), "names of the old classes");
}

#[test]
fn classes_that_the_model_does_not_have_are_told_before_anything_is_made_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let told = |class: &str| {
        let data =
            written(folder.path(), &rows(|row| if row == 7 { class.to_owned() } else { "1".to_owned() }));
        let mut settings = settings(&data);
        settings.data.validation = 0.2;
        trained(&mlp(3), &settings, folder.path()).unwrap_err().to_string()
    };
    assert!(told("9223372036854775807").contains("row 7 is of class 9223372036854775807"));
    assert!(told("1700000000").contains("row 7 is of class 1700000000, and net has 3 classes, 0 to 2"));
}

#[test]
fn settings_that_would_change_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = written(folder.path(), &rows(|row| format!("{}.5", row % 4)));
    let told = |change: fn(&mut Settings)| {
        let mut settings = settings(&data);
        change(&mut settings);
        trained(&mlp(1), &settings, folder.path()).unwrap_err().to_string()
    };
    assert!(told(|settings| settings.patience = Some(2)).contains("none of 40 rows are held out"));
    assert!(told(|settings| settings.smoothing = 0.1).contains("smoothing: it is of classes"));
    assert!(told(|settings| settings.augment.flip = true).contains("are no pictures"));
}

/// Numbers are compared with what the model gives, after its softmax; a softmax's shares are no labels.
#[test]
fn a_softmax_at_the_end_is_part_of_what_numbers_are_held_against() {
    let mut graph = Graph::new();
    let shape = vec![Dim::symbol("n"), Dim::known(2)];
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let weight = Tensor::from_f32(vec![2, 3], &[0.5, -0.25, 0.75, 1.0, -0.5, 0.125]).unwrap();
    let weight = graph.add_constant("w", weight).unwrap();
    let y = graph.push_one(NewNode::new("MatMul", &[x, weight], "logits")).unwrap();
    let y = graph.push_one(NewNode::new("Softmax", &[y], "shares")).unwrap();
    graph.set_outputs(vec![y]);
    let model = Model::from_graph("net", graph).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let told = |targets: [f32; 3], loss: &str| {
        let [a, b, c] = targets;
        let lines: Vec<String> = (0..8).map(|row| format!("{},{},{a},{b},{c}", row % 4, row % 7)).collect();
        let data = written(folder.path(), &lines.join("\n"));
        let mut chosen = settings(&data);
        chosen.data.targets = Some("2,3,4".to_owned());
        (chosen.epochs, chosen.batch) = (1, 8);
        let out = folder.path().join(loss);
        std::fs::create_dir_all(&out).unwrap();
        trained(&model, &chosen, &out).map(|outcome| outcome.history[0].loss)
    };
    // Shares are between 0 and 1, so the mean squared distance from 5 is between 16 and 25.
    let loss = told([5.0; 3], "far").unwrap();
    assert!((16.0..25.0).contains(&loss), "{loss}");
    let error = told([1.0, 0.0, 0.0], "labels").unwrap_err().to_string();
    assert!(error.contains("ends in a softmax"), "{error}");
}

/// Cancels after so many steps.
struct After(u64, AtomicU64);

impl Watcher for After {
    fn step(&self, moment: &Moment) {
        self.1.store(moment.step, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed) >= self.0
    }
}

#[test]
fn a_run_that_is_cancelled_at_any_step_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = written(folder.path(), &rows(|row| (row % 3).to_string()));
    let mut chosen = settings(&data);
    (chosen.batch, chosen.data.validation, chosen.patience) = (16, 0.1, Some(5));
    let ended = |out: &Path| {
        let model = std::fs::read(out.join("model.onnx")).unwrap();
        let metrics = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
        // All but the seconds at the end of a line.
        let metrics: Vec<String> =
            metrics.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
        (model, metrics)
    };
    let whole = folder.path().join("whole");
    train(&mlp(3), &chosen, &whole, &limits(), &Quiet).unwrap();
    // Two steps an epoch, two epochs: within an epoch, at its end, and at the end of all.
    for steps in 1..=4 {
        let out = folder.path().join(format!("after{steps}"));
        let outcome = train(&mlp(3), &chosen, &out, &limits(), &After(steps, AtomicU64::new(0))).unwrap();
        assert_eq!(outcome.model.is_some(), steps == 4, "a run whose last step is done is done");
        if outcome.model.is_none() {
            resume(&out, &limits(), &Quiet).unwrap();
        }
        assert_eq!(ended(&out), ended(&whole), "cancelled after {steps} steps");
    }
}

#[test]
fn a_run_does_not_go_on_with_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = written(folder.path(), &rows(|row| (row % 3).to_string()));
    let out = folder.path().join("run");
    let mut chosen = settings(&data);
    chosen.layers.push(toml::from_str("name = \"layers.0*\"\nfrozen = true").unwrap());
    train(&mlp(3), &chosen, &out, &limits(), &After(1, AtomicU64::new(0))).unwrap();
    // A frozen weight is no part of what is carried.
    let start = out.join("start.onnx");
    let mut bytes = std::fs::read(&start).unwrap();
    let model = Model::open(&start).unwrap();
    let weight = model.graph().constant(model.graph().find("layers.0.weight").unwrap()).unwrap();
    let place = bytes.windows(8).position(|some| some == &weight.bytes()[..8]).unwrap();
    bytes[place] ^= 1;
    std::fs::write(&start, bytes).unwrap();
    let error = resume(&out, &limits(), &Quiet).unwrap_err().to_string();
    assert!(error.contains("start.onnx are others"), "{error}");
}
