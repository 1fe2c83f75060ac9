//! Arrays and photographs as inputs, and what is told about wrong ones.

use std::fs;
use std::path::PathBuf;

use image::{Rgb, RgbImage};
use ndarray::IxDyn;
use pellucid_graph::{Dim, Graph};
use tempfile::TempDir;

use super::*;

fn model(inputs: &[(&str, ElementType, &[i64])]) -> Model {
    let mut graph = Graph::new();
    for (name, element, sizes) in inputs {
        let rest = sizes.iter().map(|size| Dim::known(*size));
        let shape = std::iter::once(Dim::symbol("n")).chain(rest).collect();
        graph.add_input(*name, *element, Some(shape)).unwrap();
    }
    Model::from_graph("net.onnx", graph).unwrap()
}

fn vectors() -> Model {
    model(&[("x", ElementType::F32, &[3])])
}

fn save(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn floats(shape: &[usize], values: &[f32]) -> Array {
    Array::F32(ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap())
}

fn told(model: &Model, folder: &TempDir, name: &str, bytes: &[u8]) -> String {
    let error = model.read(&[save(folder, name, bytes)]).unwrap_err();
    assert!(error.is_user_error());
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn several_files_are_stacked_and_rows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let one = save(&folder, "one.npy", &npy::encode(&floats(&[1, 3], &[1.0, 2.0, 3.0])));
    let wide = Array::F64(ArrayD::from_elem(IxDyn(&[2, 3]), 0.5));
    let two = save(&folder, "two.npy", &npy::encode(&wide));
    let inputs = vectors().read(&[one, two]).unwrap();
    assert_eq!(inputs.get("x").unwrap().shape(), [3, 3]);
    let names: Vec<&str> = inputs.rows().iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["one.npy", "two.npy[0]", "two.npy[1]"]);
    let last = inputs.slice(1..3);
    assert_eq!((last.len(), last.get("x").unwrap()), (2, &floats(&[2, 3], &[0.5; 6])));
}

#[test]
fn wrong_arrays_are_told_with_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let model = vectors();
    let cases: Vec<(Array, &str)> = vec![
        (
            floats(&[3], &[0.0; 3]),
            "a.npy: shape [3] found, expected [n, 3] for input \"x\"; add a batch axis in front",
        ),
        (floats(&[2, 4], &[0.0; 8]), "a.npy: shape [2, 4] found, expected [n, 3] for input \"x\""),
        (
            floats(&[2, 3], &[0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0]),
            "a.npy: row 1 holds a value that is not finite, at [1]; expected numbers only",
        ),
        (
            Array::I64(ArrayD::zeros(IxDyn(&[1, 3]))),
            "a.npy: elements of int64 found, expected float32 for input \"x\"; convert them with \
             .astype(\"float32\")",
        ),
        (
            Array::F64(ArrayD::from_elem(IxDyn(&[1, 3]), 1e300)),
            "a.npy: a value is too large for float32, the type of input \"x\"",
        ),
        (floats(&[0, 3], &[]), "a.npy: no row found, expected at least one"),
    ];
    for (array, message) in cases {
        assert_eq!(told(&model, &folder, "a.npy", &npy::encode(&array)), message);
    }
    assert_eq!(
        told(&model, &folder, "a.txt", b"hello"),
        "a.txt: it is of no kind that can be read, expected PNG, JPEG, WebP, NPY or NPZ"
    );
    let narrow = super::tests::model(&[("ids", ElementType::I32, &[1])]);
    let large = Array::I64(ArrayD::from_elem(IxDyn(&[1, 1]), 1 << 40));
    assert_eq!(
        told(&narrow, &folder, "a.npy", &npy::encode(&large)),
        "a.npy: 1099511627776 found, which does not fit int32, the type of input \"ids\""
    );
}

#[test]
fn archives_must_name_the_models_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&[("x", ElementType::F32, &[1]), ("ids", ElementType::I64, &[2])]);
    let ids = ("ids".to_owned(), Array::I64(ArrayD::zeros(IxDyn(&[2, 2]))));
    let x = ("x".to_owned(), floats(&[2, 1], &[1.0, 2.0]));
    let good = npy::encode_npz(&[ids.clone(), x.clone()]).unwrap();
    let inputs = model.read(&[save(&folder, "a.npz", &good)]).unwrap();
    assert_eq!(inputs.arrays()[0].0, "x");
    assert_eq!(inputs.rows()[1].name, "a.npz[1]");
    let other = npy::encode_npz(&[ids.clone(), ("X".to_owned(), x.1.clone())]).unwrap();
    assert_eq!(
        told(&model, &folder, "a.npz", &other),
        "a.npz: arrays \"ids\" and \"X\" found, expected \"x\" and \"ids\""
    );
    let uneven = npy::encode_npz(&[ids, ("x".to_owned(), floats(&[1, 1], &[1.0]))]).unwrap();
    assert_eq!(
        told(&model, &folder, "a.npz", &uneven),
        "a.npz: arrays of [1, 2] rows found, expected as many in each"
    );
    assert_eq!(
        told(&model, &folder, "a.npy", &npy::encode(&x.1)),
        "a.npy: one array found, expected \"x\" and \"ids\"; save them with np.savez(…)"
    );
}

fn photo(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb([255, 0, 0]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn photographs_are_prepared_as_described_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&[("x", ElementType::F32, &[3, 4, 4])])
        .with_preprocessing(&[("resize", "4"), ("crop", "4"), ("range", "0,1")])
        .unwrap();
    let wide = save(&folder, "wide.png", &photo(16, 8));
    let high = save(&folder, "high.png", &photo(8, 12));
    let inputs = model.read(&[wide, high]).unwrap();
    assert_eq!(inputs.get("x").unwrap().shape(), [2, 3, 4, 4]);
    let photograph = inputs.rows()[0].photograph.as_ref().unwrap();
    assert_eq!(photograph.picture.dimensions(), (16, 8));
    assert_eq!(photograph.geometry.region(), (4.0, 0.0, 8.0, 8.0));
}

#[test]
fn a_photograph_without_preprocessing_says_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let small = model(&[("input.1", ElementType::F32, &[3, 32, 32])]);
    assert_eq!(
        told(&small, &folder, "cat.png", &photo(2, 2)),
        "cat.png: net.onnx does not say how a picture becomes its input \"input.1\", float32 [n, 3, 32, 32]\n\
         write a TOML file, with the numbers that the network was trained with, such as\n\n\
         [preprocessing.\"input.1\"]\nlayout = \"NCHW\"\ncolor = \"RGB\"\n\
         resize = { size = [32, 32], interpolation = \"bilinear\", antialias = true }\n\
         range = [0, 1]\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n\n\
         or give them with\n\n--image resize=32x32 --image range=0,1 --image mean=0.485,0.456,0.406 --image \
         std=0.229,0.224,0.225"
    );
    assert_eq!(
        told(&vectors(), &folder, "cat.png", &photo(2, 2)),
        "cat.png: it is a picture, and input \"x\" of net.onnx is float32 [n, 3], which no picture becomes; give \
         an .npy file of that shape"
    );
}

#[test]
fn photographs_of_other_sizes_need_a_resize() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = Graph::new();
    let shape = ["n", "c", "h", "w"].map(Dim::symbol).to_vec();
    graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let model =
        Model::from_graph("net.onnx", graph).unwrap().with_preprocessing(&[("range", "0,1")]).unwrap();
    let paths = [save(&folder, "a.png", &photo(4, 4)), save(&folder, "b.png", &photo(5, 4))];
    let error = model.read(&paths).unwrap_err().to_string();
    assert_eq!(
        error.replace(&format!("{}/", folder.path().display()), ""),
        "b.png: rows of shape [3, 4, 5] found, expected [3, 4, 4] as in a.png; give inputs of other sizes one by \
         one, or add a resize to the preprocessing"
    );
}

#[test]
fn a_fixed_batch_takes_whole_batches() {
    let mut graph = Graph::new();
    graph.add_input("x", ElementType::F32, Some(vec![Dim::known(2), Dim::known(1)])).unwrap();
    let model = Model::from_graph("net.onnx", graph).unwrap();
    let batch =
        |rows: usize| Inputs::from_arrays(vec![("x".to_owned(), floats(&[rows, 1], &vec![0.0; rows]))]);
    assert!(model.check_inputs(batch(4).unwrap()).is_ok());
    assert_eq!(
        model.check_inputs(batch(3).unwrap()).unwrap_err().to_string(),
        "input \"x\": 3 rows found, expected a multiple of 2, the batch size fixed in the model"
    );
}
