//! Pictures of another size than a network takes: training, measuring and predicting prepare them alike.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{GrayImage, ImageFormat, Rgb, RgbImage};
use ndarray::{ArrayD, Axis};
use pellucid::evaluate::Answered;
use pellucid::npy::encode_npz;
use pellucid::package::{PackageOptions, package};
use pellucid::photograph::Geometry;
use pellucid::render::heat::{Drawn, draw_row};
use pellucid::{Array, Error, Limits, Model, Options, Silent, explain};
use pellucid_train::new::{Design, design};
use pellucid_train::{Asked, Known, Outcome, Quiet, Settings, train};

const ROWS: u32 = 60;
const HEIGHT: u32 = 6;
const WIDTH: u32 = 5;

fn bytes(row: u32) -> Vec<u8> {
    (0..HEIGHT * WIDTH)
        .map(|at| u8::try_from((row * 91 + at * at * 7 + (row % 3) * at * 40) % 256).unwrap())
        .collect()
}

/// IDX files of gray pictures.
fn data(folder: &Path) -> PathBuf {
    let write = |name: &str, sizes: &[u32], bytes: &[u8]| {
        let mut file = vec![0, 0, 8, u8::try_from(sizes.len()).unwrap()];
        file.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        file.extend(bytes);
        std::fs::write(folder.join(name), file).unwrap();
    };
    let classes: Vec<u8> = (0..ROWS).map(|row| u8::try_from(row % 3).unwrap()).collect();
    let all: Vec<u8> = (0..ROWS).flat_map(bytes).collect();
    write("train-images-idx3-ubyte", &[ROWS, HEIGHT, WIDTH], &all);
    write("train-labels-idx1-ubyte", &[ROWS], &classes);
    folder.to_owned()
}

fn network(outputs: usize) -> Model {
    let made = Design {
        family: "resnet-small".to_owned(),
        input: Some(vec![3, 16, 12]),
        outputs: Some(outputs),
        widths: Some(vec![4]),
        ..Design::default()
    };
    Model::from_graph("net", design(&made).unwrap()).unwrap()
}

fn settings(data: &Path) -> Settings {
    let mut settings = Settings { epochs: 1, batch: 8, ..Settings::default() };
    data.clone_into(&mut settings.data.path);
    settings
}

fn trained(model: &Model, settings: &Settings, folder: &Path) -> Result<Outcome, Error> {
    let limits = Limits { threads: Some(1), ..Limits::default() };
    train(model, settings, folder, &limits, &Quiet)
}

/// A network of rows of so many numbers.
fn flat(length: usize) -> Model {
    let made = Design {
        family: "mlp".to_owned(),
        input: Some(vec![length]),
        outputs: Some(3),
        widths: Some(vec![9]),
        ..Design::default()
    };
    Model::from_graph("net", design(&made).unwrap()).unwrap()
}

/// What a network that was trained on the pictures is measured on, which is what it predicts from; where that lies on them
/// and what the run tells are looked at, too.
fn measured_and_predicted(
    network: &Model,
    folder: &Path,
) -> (Model, ArrayD<f32>, Geometry, serde_json::Value) {
    let (data, out) = (data(folder), folder.join("run"));
    let mut chosen = settings(&data);
    chosen.augment.flip = true;
    let outcome = trained(network, &chosen, &out).unwrap();
    let model = Model::open(outcome.model.unwrap()).unwrap();
    let known = Known::open(&model, &Asked { data, ..Asked::default() }).unwrap();
    let measured = known.batches(7).map(|part| part.unwrap().arrays()[0].1.to_f32());
    let measured: Vec<_> = measured.collect();
    let views: Vec<_> = measured.iter().map(|part| part.view()).collect();
    let measured = ndarray::concatenate(Axis(0), &views).unwrap();
    for (row, measured) in (0u32..).zip(measured.axis_iter(Axis(0))) {
        let mut png = Cursor::new(Vec::new());
        GrayImage::from_raw(WIDTH, HEIGHT, bytes(row)).unwrap().write_to(&mut png, ImageFormat::Png).unwrap();
        let read = model.read_bytes("p.png", png.get_ref()).unwrap();
        let predicted = read.arrays()[0].1.to_f32();
        let same = predicted.iter().zip(measured).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "row {row} is another number to predict than to measure");
    }
    let shown = known.rows(&[3, 59]).unwrap();
    assert_eq!(shown.arrays()[0].1.to_f32().index_axis(Axis(0), 1), measured.index_axis(Axis(0), 59));
    let geometry = shown.rows()[0].photograph.as_ref().unwrap().geometry;
    let about = std::fs::read(out.join("run.json")).unwrap();
    (model, measured, geometry, serde_json::from_slice(&about).unwrap())
}

#[test]
fn training_measuring_and_predicting_prepare_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (_, measured, geometry, about) = measured_and_predicted(&network(3), folder.path());
    assert_eq!(measured.shape(), [60, 3, 16, 12]);
    assert_eq!((geometry.original, geometry.resized), ((5, 6), (12, 16)));
    assert_eq!(about["input"]["pictures"], serde_json::json!([1, 6, 5]));
    assert_eq!(about["input"]["preparation"]["resize"]["size"], serde_json::json!([16, 12]));
}

/// A model of flat rows that was trained on pictures says which, so that it takes them, shows what speaks for a class where it
/// is, and is packaged as any other.
#[test]
fn flat_rows_are_pictures_that_the_trained_model_describes() {
    let folder = tempfile::tempdir().unwrap();
    let (model, measured, geometry, _) = measured_and_predicted(&flat(30), folder.path());
    assert_eq!(measured.shape(), [60, 30]);
    assert_eq!((geometry.original, geometry.resized), ((5, 6), (5, 6)));
    let path = folder.path().join("p.png");
    GrayImage::from_raw(WIDTH, HEIGHT, bytes(7)).unwrap().save(&path).unwrap();
    let inputs = model.read(&[&path]).unwrap();
    let explanation = explain(&model, inputs, &Options::new("input-x-gradient"), &Silent).unwrap();
    let attribution = &explanation.explained[0].attribution;
    let Drawn::Map(map) = draw_row(&explanation, &explanation.explained[0], 0, 0) else {
        panic!("expected a map")
    };
    assert_eq!(map.values.dim(), (6, 5));
    assert!(map.values.iter().eq(attribution.values[0].1.iter()) && !map.is_zero());
    let packaged =
        package(&model, &PackageOptions { pictures: vec![path], ..PackageOptions::default() }).unwrap();
    assert_eq!(packaged.image.as_deref(), Some("image"));
    assert!(packaged.checks.len() >= 2, "{:?}", packaged.checks);
    // Rows of other lengths are no pictures of this data.
    let error = trained(&flat(31), &settings(folder.path()), &folder.path().join("other")).unwrap_err();
    assert!(error.to_string().contains("a row has the sizes [1, 6, 5]"), "{error}");
}

#[test]
fn a_head_is_trained_on_rows_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (data(folder.path()), folder.path().join("run"));
    let mut chosen = settings(&data);
    (chosen.epochs, chosen.head) = (2, Some(3));
    (chosen.data.rows, chosen.data.shuffle, chosen.data.validation) = (Some(30), false, 0.0);
    let outcome = trained(&network(7), &chosen, &out).unwrap();
    let model = Model::open(outcome.model.unwrap()).unwrap();
    let output = model.graph().value(model.graph().outputs()[0]);
    assert_eq!(output.shape.as_ref().and_then(|shape| shape.last()?.size()), Some(3));
    // Thirty rows are three batches of eight an epoch, and a line a step.
    let steps = std::fs::read_to_string(out.join("steps.csv")).unwrap();
    assert_eq!(steps.lines().count(), 1 + 6, "{steps}");
    let losses: Vec<f64> =
        steps.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    let epochs = outcome.history;
    for (epoch, losses) in epochs.iter().zip(losses.chunks_exact(3)) {
        assert!((losses.iter().sum::<f64>() / 3.0 - epoch.loss).abs() < 1e-6, "{losses:?}");
    }
    // The same rows again, from the first: what a run does depends on them and on the order alone.
    let again = folder.path().join("again");
    trained(&network(7), &chosen, &again).unwrap();
    assert_eq!(std::fs::read_to_string(again.join("steps.csv")).unwrap(), steps);
    chosen.data.shuffle = true;
    let other = folder.path().join("other");
    trained(&network(7), &chosen, &other).unwrap();
    assert_ne!(std::fs::read_to_string(other.join("steps.csv")).unwrap(), steps);
}

#[test]
fn a_folder_of_pictures_teaches_a_network_that_says_nothing_of_them() {
    let folder = tempfile::tempdir().unwrap();
    for row in 0..40 {
        let class = folder.path().join("data").join(["even", "odd"][usize::from(row % 2 == 1)]);
        std::fs::create_dir_all(&class).unwrap();
        // Pictures of many sizes, each of one colour.
        let colour = if row % 2 == 1 { [200, 40, 60] } else { [100, 140, 60] };
        RgbImage::from_pixel(3 + row, 9, Rgb(colour)).save(class.join(format!("{row}.png"))).unwrap();
    }
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    let outcome = trained(&network(2), &settings(&data), &out).unwrap();
    let model = Model::open(outcome.model.unwrap()).unwrap();
    let image = model.description().preprocessing["input"].clone();
    assert_eq!(image.resize.and_then(|resize| resize.size), Some([16, 12]));
    assert!((image.mean[2] - 60.0 / 255.0).abs() < 1e-6 && (image.std[2] - 1.0).abs() < 1e-6, "{image:?}");
    assert!((image.mean[0] - 150.0 / 255.0).abs() < 0.05, "{image:?}");
    let known = Known::open(&model, &Asked { data, ..Asked::default() }).unwrap();
    assert_eq!(known.batches(40).map(|part| part.unwrap().len()).sum::<usize>(), 40);
}

#[test]
fn pictures_that_do_not_fit_are_told_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (data(folder.path()), folder.path().join("run"));
    let mut chosen = settings(&data);
    chosen.data.size = Some([20, 20]);
    let told = trained(&network(3), &chosen, &out).unwrap_err().to_string();
    assert_eq!(told, "data.size: 20 found, and the model's input \"input\" takes 16; leave the setting out");
    chosen.data.size = None;
    chosen.data.path = folder.path().join("x.npz");
    let rows = Array::from_f32(&[4, 1, 6, 5], vec![0.0; 120]).unwrap();
    let targets = Array::from_i64(&[4], vec![0; 4]).unwrap();
    let file = encode_npz(&[("x".to_owned(), rows), ("y".to_owned(), targets)]).unwrap();
    std::fs::write(&chosen.data.path, file).unwrap();
    let told = trained(&network(3), &chosen, &out).unwrap_err().to_string();
    assert!(told.contains("numbers are not resized: give the pictures as bytes"), "{told}");
    assert!(!out.exists(), "nothing half-written");
}
