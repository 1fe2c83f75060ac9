//! The command as people run it: what it prints, writes and refuses.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_pellucid"))
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("COLORTERM")
            .output()
            .unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must be refused: exit code 2, one message, no file more than before.
    fn refused(&self, arguments: &[&str]) -> String {
        let before = self.names();
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
        assert_eq!(error.matches("error:").count(), 1, "one message: {error}");
        assert_eq!(self.names(), before, "{arguments:?} left a file behind");
        error
    }
}

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens").join(name);
    path.canonicalize().unwrap().display().to_string()
}

/// A `.npy` file of float32 numbers.
fn npy(shape: &[usize], value: impl Fn(usize) -> f32) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    npy_with(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", sizes.join(", ")), {
        (0..shape.iter().product()).flat_map(|i| value(i).to_le_bytes()).collect()
    })
}

fn npy_with(header: &str, data: Vec<u8>) -> Vec<u8> {
    let mut text = header.to_owned();
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.bytes());
    bytes.extend(data);
    bytes
}

fn wave(i: usize) -> f32 {
    (i as f32 * 0.37).sin()
}

/// The small CNN of the goldens, its input, and a folder.
fn small() -> (Folder, String, String) {
    let folder = Folder::new();
    let model = golden("cnn.torchscript.onnx");
    let shape = folder.ok(&["show", &model]);
    assert!(shape.contains("Conv"), "{shape}");
    let input = folder.write("input.npy", &npy(&input_shape(&shape), wave));
    (folder, model, input.display().to_string())
}

/// The sizes of the first input that `show` prints, rows set to 2.
fn input_shape(shown: &str) -> Vec<usize> {
    let line = shown.lines().find(|line| line.contains("input") && line.contains("float32[")).unwrap();
    let sizes = line.split("float32[").nth(1).unwrap().split(']').next().unwrap();
    sizes.split(',').map(|size| size.trim().parse().unwrap_or(2)).collect()
}

#[test]
fn demo_names_a_cat_and_writes_a_report() {
    let folder = Folder::new();
    let text = folder.ok(&["demo"]);
    let first = text.lines().find(|line| line.contains('%')).unwrap();
    assert!(first.contains("Egyptian cat"), "{text}");
    assert!(text.contains("gap"), "{text}");
    let report = fs::read_to_string(folder.path("report.html")).unwrap();
    assert!(report.contains("Egyptian cat") && !report.contains("src=\"http"), "one file, nothing fetched");
}

#[test]
fn every_method_explains_and_writes_every_form() {
    let (folder, model, input) = small();
    let listed = folder.ok(&["methods", "--json"]);
    let methods: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<&str> =
        methods.as_array().unwrap().iter().map(|method| method["name"].as_str().unwrap()).collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let mut arguments = vec!["explain", &model, &input, "--method", name, "--set"];
        arguments.push(if name == "smoothgrad" { "samples=3" } else { "" });
        if arguments.last() == Some(&"") {
            arguments.truncate(arguments.len() - 2);
        }
        arguments.extend(["-o", "out.npz", "-o", "out.json", "-o", "out.html"]);
        folder.ok(&arguments);
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.path("out.json")).unwrap()).unwrap();
        assert!(json.to_string().contains(name), "{name}");
        for file in ["out.npz", "out.json", "out.html"] {
            fs::remove_file(folder.path(file)).unwrap();
        }
    }
}

#[test]
fn compile_writes_one_file_that_predict_runs() {
    let (folder, model, input) = small();
    let text = folder.ok(&[
        "compile",
        &model,
        "--method",
        "input-x-gradient",
        "--target",
        "1",
        "-o",
        "explained.onnx",
    ]);
    assert!(text.contains("attribution"), "{text}");
    folder.ok(&["predict", "explained.onnx", &input, "-o", "prediction.npz"]);
    folder.ok(&["coverage", "explained.onnx"]);
    let text = folder.ok(&["compile", &model, "--baseline", "zero", "-o", "integrated.onnx"]);
    assert!(text.contains("Gauss-Legendre"), "the default adapts and says what was compiled instead: {text}");
}

#[test]
fn bits_are_the_same_over_runs_and_threads() {
    let (folder, model, input) = small();
    let mut seen: Option<Vec<u8>> = None;
    for run in 0..10 {
        let threads = if run % 2 == 0 { "1" } else { "2" };
        folder.ok(&["explain", &model, &input, "--threads", threads, "-o", "out.npy"]);
        let bytes = fs::read(folder.path("out.npy")).unwrap();
        if let Some(first) = &seen {
            assert!(*first == bytes, "run {run} on {threads} threads differs");
        }
        seen = Some(bytes);
        fs::remove_file(folder.path("out.npy")).unwrap();
    }
}

#[test]
fn wrong_names_are_refused_with_the_nearest() {
    let (folder, model, input) = small();
    let explain = |rest: &[&str]| {
        let mut arguments = vec!["explain", model.as_str(), input.as_str(), "-o", "out.npz"];
        arguments.extend(rest);
        folder.refused(&arguments)
    };
    assert!(explain(&["--method", "grad-cm"]).contains("\"grad-cam\""));
    assert!(explain(&["--set", "stps=3"]).contains("did you mean \"steps\""));
    assert!(explain(&["--set", "quadrature=adaptve"]).contains("did you mean \"adaptive\""));
    assert!(explain(&["--set", "steps=-1"]).contains("expected a whole number"));
    assert!(explain(&["--method", "grad-cam", "--layer", "conv22"]).contains("conv2"));
    assert!(explain(&["--target", "999"]).contains("class 999 does not exist"));
    assert!(explain(&["--target", "tabby"]).contains("names no classes"));
    assert!(explain(&["--baseline", "nothing.npy"]).contains("nothing.npy"));
    assert!(explain(&["--layer", "x"]).contains("no value, node or module is named \"x\""));
    assert!(
        explain(&["--method", "occlusion", "--layer", "conv2"])
            .contains("is of the inputs and has no values at a layer")
    );
    let missing = folder.refused(&["explain", &model, &input, "-o", "missing/out.npz"]);
    assert!(missing.contains("the folder missing does not exist"), "{missing}");
    let ending = folder.refused(&["explain", &model, &input, "-o", "out.gif"]);
    assert!(ending.contains(".png"), "{ending}");
}

#[test]
fn wrong_inputs_are_refused() {
    let (folder, model, input) = small();
    let shape = input_shape(&folder.ok(&["show", &model]));
    let _ = input;
    let refused = |name: &str, bytes: &[u8]| {
        let path = folder.write(name, bytes).display().to_string();
        folder.refused(&["explain", &model, &path, "-o", "out.npz"])
    };
    let mut wide = shape.clone();
    *wide.last_mut().unwrap() += 1;
    let found = refused("wide.npy", &npy(&wide, wave));
    assert!(found.contains("shape") && found.contains("expected"), "{found}");
    let nan = refused("nan.npy", &npy(&shape, |i| if i == 3 { f32::NAN } else { 0.5 }));
    assert!(nan.to_lowercase().contains("nan"), "{nan}");
    let lies = npy_with(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9000000000, 9000000000), }",
        vec![0; 64],
    );
    refused("lies.npy", &lies);
    let short = npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000,), }", vec![0; 64]);
    refused("short.npy", &short);
    let objects =
        npy_with("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n".to_vec());
    let found = refused("objects.npy", &objects);
    assert!(found.contains("object"), "{found}");
    let text = refused("text.txt", b"no picture");
    assert!(text.contains("PNG"), "{text}");
    // A model that takes pictures: the size is refused before anything is allocated.
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/efficientnet-lite0.onnx");
    let huge = folder.write("huge.png", &huge_png()).display().to_string();
    let picture = folder.refused(&["explain", &network.display().to_string(), &huge, "-o", "out.npz"]);
    assert!(picture.contains("huge.png"), "{picture}");
}

/// A PNG whose header says 40,000 × 40,000.
fn huge_png() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(40_000u32.to_be_bytes());
    header.extend(40_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    bytes.extend(13u32.to_be_bytes());
    let sum = crc(&header);
    bytes.extend(&header);
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// The checksum of PNG chunks.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 },
        )
    })
}

#[test]
fn wrong_models_are_refused() {
    let (folder, model, input) = small();
    let bytes = fs::read(&model).unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = folder.write(name, bytes).display().to_string();
        folder.refused(&["explain", &path, &input, "-o", "out.npz"])
    };
    refused("text.onnx", b"this is no model");
    refused("empty.onnx", b"");
    for part in 1..8 {
        refused("truncated.onnx", &bytes[..bytes.len() * part / 8]);
    }
    let missing = folder.refused(&["explain", "absent.onnx", &input]);
    assert!(missing.contains("absent.onnx"), "{missing}");
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/photographs/chelsea.png");
    let unprepared = folder.refused(&["explain", &model, &picture.display().to_string()]);
    assert!(unprepared.contains("--image") || unprepared.contains("no picture becomes"), "{unprepared}");
}

#[test]
fn layers_units_and_comparisons() {
    let (folder, model, input) = small();
    let layer = "/relu2/Relu_output_0";
    let unit = format!("{layer}[1]");
    let told =
        folder.ok(&["explain", &model, &input, "--method", "gradient", "--neuron", &unit, "-o", "unit.npz"]);
    assert!(told.contains(&unit), "{told}");
    let told = folder.ok(&["explain", &model, &input, "--method", "conductance", "--layer", layer, "--json"]);
    assert!(told.contains("\"gap\"") && told.contains(layer), "{told}");
    let both = ["--method", "input-x-gradient", "--layer", layer, "--json"];
    let told = folder.ok(&[&["compile", &model, "-o", "layer.onnx"], &both[..]].concat());
    assert!(told.contains(layer), "{told}");
    let told = folder.ok(&[&["coverage", &model], &both[..]].concat());
    assert!(told.contains("\"covered\": 1.0"), "{told}");
    let refused =
        folder.refused(&["explain", &model, &input, "--neuron", &unit, "--target", "1", "-o", "x.npz"]);
    assert!(refused.contains("leave the target out"), "{refused}");
    let methods = "gradient,smoothgrad:samples=3";
    let told =
        folder.ok(&["compare", &model, &input, "--method", methods, "-o", "grid.svg", "-o", "grid.json"]);
    assert!(told.contains("rank correlation") && told.contains("smoothgrad:samples=3"), "{told}");
    let refused = folder.refused(&["compare", &model, &input, "--method", "gradient,smothgrad"]);
    assert!(refused.contains("did you mean \"smoothgrad\"?"), "{refused}");
}

#[test]
fn summary_counts_draws_and_compares() {
    let folder = Folder::new();
    let model = golden("cnn.torchscript.unfolded.onnx");
    let text = folder.ok(&["summary", &model, "--weights", "-o", "a.html", "-o", "a.png", "-o", "a.json"]);
    for words in ["parameters     ", "multiply-adds  ", "activations    ", "distribution", "wrote a.html"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let json = folder.ok(&["summary", &model, "--json"]);
    for key in [
        "\"parameters\"",
        "\"multiply_adds\"",
        "\"memory\"",
        "\"layers\"",
        "\"input_shape\"",
        "\"output_shape\"",
        "\"weights\"",
        "\"histogram\"",
    ] {
        assert!(json.contains(key), "{key}");
    }
    assert_eq!(fs::read_to_string(folder.path("a.json")).unwrap().trim(), json.trim());
    fs::create_dir(folder.path("plots")).unwrap();
    folder.ok(&["summary", &model, "-o", "plots"]);
    let names: Vec<String> = ["costs", "graph", "weights"]
        .iter()
        .flat_map(|name| ["png", "svg"].map(|ending| format!("{name}.{ending}")))
        .collect();
    assert!(names.iter().all(|name| folder.path("plots").join(name).exists()), "{names:?}");
    let text = folder.ok(&["summary", &model, &model, "-o", "moved.svg"]);
    assert!(text.contains("are the same, bit for bit"), "{text}");
    let text = folder.ok(&["summary", &model, "--profile", "--depth", "1"]);
    assert!(text.contains("note: times are those of layers run one by one on rten"), "{text}");
}

#[test]
fn summaries_that_have_no_meaning_are_refused() {
    let folder = Folder::new();
    let (model, other) = (golden("cnn.torchscript.onnx"), golden("mlp.torchscript.onnx"));
    let told = folder.refused(&["summary", &model, "--size", "height=3"]);
    assert!(told.contains("the model has no size \"height\"; it leaves open: batch"), "{told}");
    let told = folder.refused(&["summary", &model, "--size", "batch=0"]);
    assert!(told.contains("expected a number of 1 or more"), "{told}");
    let told = folder.refused(&["summary", &model, &other]);
    assert!(told.contains("it has no weight in common"), "{told}");
    let told = folder.refused(&["summary", &model, "-o", "a.npz"]);
    assert!(told.contains("expected one of .html .json .png .svg"), "{told}");
    folder.refused(&["summary", &model, &other, "--weights"]);
}
