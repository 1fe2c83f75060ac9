//! `pellucid evaluate` and `pellucid package` as people run them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pellucid"))
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .args(arguments)
        .output()
        .unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    text
}

/// IDX files of pictures whose bright quarter is their class, most of them.
fn pictures(folder: &Path) {
    let write = |name: &str, shape: &[u32], bytes: &[u8]| {
        let mut file = vec![0, 0, 8, u8::try_from(shape.len()).unwrap()];
        for size in shape {
            file.extend(size.to_be_bytes());
        }
        file.extend(bytes);
        fs::write(folder.join(name), file).unwrap();
    };
    let mut state = 1u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 25).unwrap()
    };
    for (part, rows) in [("train", 400), ("t10k", 80)] {
        let (mut bytes, mut classes) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let class = u8::try_from(row % 4).unwrap();
            for place in 0..64u8 {
                let (y, x) = (place / 8, place % 8);
                bytes.push(noise() + if (y / 4) * 2 + x / 4 == class { 20 } else { 0 });
            }
            classes.push(class);
        }
        write(&format!("{part}-images-idx3-ubyte"), &[rows, 8, 8], &bytes);
        write(&format!("{part}-labels-idx1-ubyte"), &[rows], &classes);
    }
}

/// A folder with data and two networks that learned from it, one of them less.
fn prepared() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("data")).unwrap();
    pictures(&path.join("data"));
    succeed(path, &["new", "mlp", "--input", "1x8x8", "--outputs", "4", "--widths", "16", "-o", "net.onnx"]);
    for (run, epochs) in [("run", "8"), ("less", "1")] {
        let train = ["train", "net.onnx", "--data", "data", "--epochs", epochs, "--batch", "16", "-o", run];
        succeed(path, &train);
    }
    folder
}

#[test]
fn a_model_is_measured_and_its_mistakes_are_shown() {
    let folder = prepared();
    let path = folder.path();
    let evaluate = ["evaluate", "less/model.onnx", "--data", "data", "--top", "2"];
    let told = succeed(path, &evaluate);
    for text in
        ["model.onnx on 80 rows", "accuracy", "top-2 accuracy", "confusion", "calibration", "worst mistakes"]
    {
        assert!(told.contains(text), "{text}: {told}");
    }
    let outputs =
        ["--explain", "input-x-gradient", "-o", "r.html", "-o", "r.png", "-o", "r.svg", "-o", "r.json"];
    let told = succeed(path, &[&evaluate[..], &outputs[..]].concat());
    assert!(told.contains("wrote r.html"), "{told}");
    let html = fs::read_to_string(path.join("r.html")).unwrap();
    let links = html.replace("http://www.w3.org/2000/svg", "");
    assert!(
        html.contains("for class")
            && html.contains("What speaks for")
            && !links.contains("http:")
            && !links.contains("https:")
    );
    let found: serde_json::Value = serde_json::from_slice(&fs::read(path.join("r.json")).unwrap()).unwrap();
    assert_eq!((&found["rows"], &found["task"]), (&80.into(), &"classification".into()));
    assert_eq!(found["explained_by"], "input-x-gradient");
    let printed = succeed(path, &[&evaluate[..], &["--json"]].concat());
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["reports"], found["reports"]);
    // What training says of the same rows, to its digits.
    let accuracy = found["reports"][0]["measures"][0]["value"].as_f64().unwrap();
    let right: u64 = found["reports"][0]["confusion"]["counts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|count| count[0] == count[1])
        .map(|count| count[2].as_u64().unwrap())
        .sum();
    assert!((accuracy - right as f64 / 80.0).abs() < 1e-12);
}

#[test]
fn two_models_stand_side_by_side() {
    let folder = prepared();
    let told = succeed(folder.path(), &["evaluate", "run/model.onnx", "less/model.onnx", "--data", "data"]);
    assert!(told.contains("difference") && told.contains("McNemar's exact test: p = "), "{told}");
    let told = succeed(folder.path(), &["evaluate", "run/model.onnx", "run/model.onnx", "--data", "data"]);
    assert!(told.contains("p = 1.0000, they may well be equally good"), "{told}");
}

#[test]
fn what_cannot_be_measured_is_told() {
    let folder = prepared();
    let path = folder.path();
    let told = refused(path, &["evaluate", "net.onnx", "--data", "data"]);
    assert!(
        told.contains("does not say how bytes become its input") && told.contains("--image mean="),
        "{told}"
    );
    succeed(path, &["new", "mlp", "--input", "1x8x8", "--outputs", "3", "--widths", "4", "-o", "three.onnx"]);
    let image = ["--image", "range=0,1"];
    let told = refused(path, &[&["evaluate", "three.onnx", "--data", "data"], &image[..]].concat());
    assert!(told.contains("row 3 is of class 3") && told.contains("has 3 classes, 0 to 2"), "{told}");
    let told = refused(path, &["evaluate", "run/model.onnx", "--data", "nothing"]);
    assert!(told.contains("nothing: cannot be read: there is no such file"), "{told}");
    fs::write(path.join("rows.csv"), "a,b\n1,2\n").unwrap();
    let told = refused(path, &["evaluate", "run/model.onnx", "--data", "rows.csv", "--part", "test"]);
    assert!(told.contains("it holds no rows of a test part"), "{told}");
    let told = refused(path, &["evaluate", "run/model.onnx", "--data", "data", "-o", "report.pdf"]);
    assert!(told.contains("ending .pdf found, expected one of .html .json .png .svg"), "{told}");
    let told = refused(path, &["evaluate", "run/model.onnx", "--data", "data", "--explain", "gradcam"]);
    assert!(told.contains("there is no method \"gradcam\""), "{told}");
}

#[test]
fn pictures_of_another_size_are_fitted_to_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("data")).unwrap();
    pictures(&path.join("data"));
    let new =
        ["new", "resnet-small", "--input", "3x12x10", "--outputs", "7", "--widths", "4", "-o", "net.onnx"];
    succeed(path, &new);
    let train = ["train", "net.onnx", "--data", "data", "--epochs", "2", "--batch", "16", "--head", "4"];
    let chosen = ["--learning-rate", "0.02", "--set", "data.rows=200", "-o", "run"];
    let trained = succeed(path, &[&train[..], &chosen, &["--json"]].concat());
    let trained: serde_json::Value = serde_json::from_str(&trained).unwrap();
    let measured = succeed(path, &["evaluate", "run/model.onnx", "--data", "data", "--json"]);
    let accuracy = trained["test"]["accuracy"].as_f64().unwrap();
    assert!(measured.contains(&format!("{accuracy}")), "{accuracy}: {measured}");
    let about = fs::read_to_string(path.join("run/run.json")).unwrap();
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    assert_eq!((&about["data"]["rows"], &about["data"]["held_out"]), (&180.into(), &20.into()));
    succeed(path, &["package", "run/model.onnx", "-o", "shipped.onnx"]);
    // A model that says nothing of sizes is not measured on what `predict` would refuse.
    let image = ["--image", "range=0,1"];
    let told = refused(path, &[&["evaluate", "net.onnx", "--data", "data"], &image[..]].concat());
    assert!(
        told.contains(
            "a picture of 8 × 8 becomes 8 × 8 by the model's preprocessing, and its input takes 12 × 10"
        ) && told.contains("--image resize=224x224"),
        "{told}"
    );
    let resized = ["--image", "range=0,1", "--image", "resize=12x10"];
    succeed(path, &[&["evaluate", "net.onnx", "--data", "data"], &resized[..]].concat());
}

#[test]
fn a_package_takes_pictures_and_is_checked() {
    let folder = prepared();
    let path = folder.path();
    let package = ["package", "run/model.onnx", "-o", "shipped.onnx", "--explain", "input-x-gradient"];
    let told = succeed(path, &[&package[..], &["--examples", "shipped"]].concat());
    for text in [
        "uint8 [n, image_height, image_width, 3]",
        "probabilities",
        "class",
        "attribution",
        "checked on random numbers",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let python = fs::read_to_string(path.join("shipped/classify.py")).unwrap();
    assert!(
        python.contains("InferenceSession(\"shipped.onnx\"") && python.contains("{\"image\": picture[None]}")
    );
    let rust = fs::read_to_string(path.join("shipped/rust/src/main.rs")).unwrap();
    assert!(rust.contains("commit_from_file(\"shipped.onnx\")") && rust.contains("outputs[\"attribution\"]"));
    assert!(!python.contains("{{") && !rust.contains("{{"));
    let told = refused(path, &["package", "run/model.onnx", "-o", "shipped.bin"]);
    assert!(told.contains("it must end in .onnx"), "{told}");
    let told = refused(path, &["package", "run/model.onnx", "-o", "x.onnx", "--explain", "occlusion"]);
    assert!(told.contains("occlusion evaluates the model from outside"), "{told}");
    assert!(!path.join("x.onnx").exists());
}
