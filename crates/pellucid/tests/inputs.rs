//! From the embedded model's file and photographs to a batch: everything before the network runs.

use std::path::{Path, PathBuf};

use pellucid::preprocessing::Layout;
use pellucid::{Error, Model, Unit};

fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets").join(name)
}

#[test]
fn the_embedded_model_says_how_it_is_used() {
    let model = Model::open(assets("efficientnet-lite0.onnx")).unwrap();
    assert_eq!(model.name(), "efficientnet-lite0.onnx");
    let labels = model.labels().unwrap();
    assert_eq!(labels.len(), 1000);
    assert_eq!(labels.find("egyptian cat").unwrap(), 285);
    let description = model.description();
    assert_eq!(description.preprocessing["image"].layout, Layout::Nchw);
    assert_eq!(description.outputs["logits"].meaning, Unit::Logit);
}

#[test]
fn photographs_become_one_batch() {
    let model = Model::open(assets("efficientnet-lite0.onnx")).unwrap();
    let paths: Vec<PathBuf> = ["chelsea.png", "coffee.png", "camera.png", "rocket.jpg"]
        .map(|name| assets("photographs").join(name))
        .to_vec();
    let inputs = model.read(&paths).unwrap();
    let array = inputs.get("image").unwrap();
    assert_eq!(array.shape(), [4, 3, 224, 224]);
    let values = array.to_f32();
    assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
    let photograph = inputs.rows()[0].photograph.as_ref().unwrap();
    assert_eq!(photograph.geometry.original, (451, 300));
    assert_eq!(photograph.geometry.crop, (224, 224));
    // The grey photograph has three equal channels.
    let grey = values.index_axis(ndarray::Axis(0), 2);
    assert_eq!(grey.index_axis(ndarray::Axis(0), 0), grey.index_axis(ndarray::Axis(0), 2));
}

#[test]
fn files_that_are_no_models_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = |name: &str| {
        let error = Model::open(folder.path().join(name)).unwrap_err();
        assert!(error.is_user_error());
        error.to_string().replace(&folder.path().display().to_string(), "F")
    };
    assert_eq!(told("no.onnx"), "F/no.onnx: cannot be read: there is no such file");
    assert_eq!(told(""), "F/: it is a folder, expected an ONNX file");
    std::fs::write(folder.path().join("a.onnx"), "hello").unwrap();
    assert!(told("a.onnx").starts_with("F/a.onnx: not an ONNX model: "), "{}", told("a.onnx"));
}

#[test]
fn a_file_beside_the_model_names_inputs_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("net.onnx");
    std::fs::copy(assets("efficientnet-lite0.onnx"), &model).unwrap();
    let toml = folder.path().join("net.toml");
    std::fs::write(&toml, "[preprocessing.picture]\ncrop = [224, 224]\n").unwrap();
    let error = Model::open(&model).unwrap_err();
    assert!(matches!(error, Error::Unknown { kind: "input", .. }));
    std::fs::write(&toml, "[preprocessing.image]\nresize = { size = [100, 100] }\n").unwrap();
    let error = Model::open(&model).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "net.onnx: the preprocessing makes arrays of shape [n, 3, 100, 100], and input \"image\" takes \
             [batch, 3, 224, 224]; mend layout, color, resize or crop"
        ),
        "{error}"
    );
    std::fs::write(&toml, "[preprocessing.image]\nresize = { size = [224, 224] }\nrange = [0, 1]\n").unwrap();
    let inputs = Model::open(&model).unwrap().read(&[assets("photographs/chelsea.png")]).unwrap();
    assert_eq!(inputs.rows()[0].photograph.as_ref().unwrap().geometry.region(), (0.0, 0.0, 451.0, 300.0));
}
