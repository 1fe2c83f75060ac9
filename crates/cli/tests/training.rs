//! `pellucid new` and `pellucid train` as people run them: a run that is killed at any instant, or whose disk is full,
//! goes on to the same bits.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

fn pellucid(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pellucid"));
    command.current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    pellucid(folder).args(arguments).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// IDX files of pictures whose bright quarter is their class.
fn pictures(folder: &Path, rows: u32) {
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
    for (part, rows) in [("train", rows), ("t10k", 40)] {
        let (mut bytes, mut classes) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let class = u8::try_from(row % 4).unwrap();
            for place in 0..64u8 {
                let (y, x) = (place / 8, place % 8);
                let bright = (y / 4) * 2 + x / 4 == class;
                bytes.push(noise() + if bright { 90 } else { 0 });
            }
            classes.push(class);
        }
        write(&format!("{part}-images-idx3-ubyte"), &[rows, 8, 8], &bytes);
        write(&format!("{part}-labels-idx1-ubyte"), &[rows], &classes);
    }
}

fn prepared(rows: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    pictures(&data, rows);
    let new = ["new", "mlp", "--input", "1x8x8", "--outputs", "4", "--widths", "24", "-o", "net.onnx"];
    let told = succeed(folder.path(), &new);
    assert!(told.contains("1660 parameters"), "{told}");
    folder
}

const TRAIN: [&str; 14] = [
    "train",
    "net.onnx",
    "--data",
    "data",
    "--epochs",
    "3",
    "--batch",
    "16",
    "--set",
    "average=0.9",
    "--set",
    "checkpoint_steps=1",
    "--learning-rate",
    "0.02",
];

fn train(out: &str) -> Vec<&str> {
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--threads", "1", "-o", out]);
    arguments
}

#[test]
fn a_network_learns_and_its_folder_says_how() {
    let folder = prepared(400);
    let path = folder.path();
    let told = succeed(path, &train("run"));
    assert!(told.contains("100.00 % right, 40 rows"), "{told}");
    let metrics = fs::read_to_string(path.join("run/metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 4, "{metrics}");
    assert!(metrics.starts_with("epoch,step,learning_rate,loss,"), "{metrics}");
    let about: serde_json::Value =
        serde_json::from_slice(&fs::read(path.join("run/run.json")).unwrap()).unwrap();
    assert_eq!(about["data"]["rows"], 360);
    assert_eq!(about["data"]["held_out"], 40);
    let summary = succeed(path, &["summary", "run/model.onnx"]);
    assert!(summary.contains("layers.0"), "{summary}");
}

#[test]
fn mistakes_are_told() {
    let folder = prepared(80);
    let path = folder.path();
    assert!(refused(path, &["train", "net.onnx", "-o", "run"]).contains("data: nothing says where it is"));
    let told =
        refused(path, &["train", "net.onnx", "--data", "data", "--set", "optimizer.name=adam", "-o", "run"]);
    assert!(told.contains("optimizer.name: unknown variant `adam`"), "{told}");
    let told = refused(path, &["train", "--resume", "nowhere"]);
    assert!(told.contains("no run is there"), "{told}");
    succeed(path, &["new", "mlp", "--input", "7", "--outputs", "4", "-o", "other.onnx"]);
    let told = refused(path, &["train", "other.onnx", "--data", "data", "-o", "run"]);
    assert!(
        told.contains("a row has the sizes [1, 8, 8], and the model's input \"input\" takes [n, 7]"),
        "{told}"
    );
    assert!(!path.join("run").exists(), "nothing half-written");
    let diverging =
        ["train", "net.onnx", "--data", "data", "--set", "optimizer.name=sgd", "--learning-rate", "1e30"];
    let told = refused(path, &[&diverging[..], &["-o", "run"]].concat());
    assert!(told.contains("is not a number") && told.contains("try a smaller learning rate"), "{told}");
}

/// Kills runs at random instants, each of which goes on with what the last one left, until one comes to its end.
fn killed(instants: u32, rows: u32) {
    let folder = prepared(rows);
    let path = folder.path();
    let began = Instant::now();
    succeed(path, &train("whole"));
    let whole = began.elapsed();
    let model = fs::read(path.join("whole/model.onnx")).unwrap();
    let steps = fs::read(path.join("whole/steps.csv")).unwrap();
    let (mut state, mut kills, mut runs) = (7u64, 0, 0);
    while kills < instants {
        let out = format!("killed{runs}");
        runs += 1;
        loop {
            let resume = path.join(&out).join("settings.toml").exists();
            let mut command = pellucid(path);
            // What was killed before it was a run is started again.
            if resume {
                command.args(["train", "--resume", &out, "--threads", "1"]);
            } else {
                let _ = fs::remove_dir_all(path.join(&out));
                command.args(train(&out));
            }
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let share = f64::from(u32::try_from(state >> 33).unwrap()) / f64::from(1u32 << 31);
            std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
            let ended = child.try_wait().unwrap().is_some();
            let _ = child.kill();
            let status = child.wait().unwrap();
            if ended {
                assert!(status.success(), "a run that was gone on with failed");
                break;
            }
            kills += 1;
        }
        assert!(fs::read(path.join(&out).join("model.onnx")).unwrap() == model, "run {runs} has other bits");
        assert!(fs::read(path.join(&out).join("steps.csv")).unwrap() == steps, "run {runs} has other steps");
        let left = fs::read_dir(path.join(&out)).unwrap().map(|entry| entry.unwrap().file_name());
        let parts = left.filter(|name| name.to_string_lossy().ends_with(".part")).count();
        assert!(parts <= 1, "{parts} halves are left");
    }
    println!("{kills} kills in {runs} runs, each of the same bits");
}

#[test]
fn killed_runs_come_to_the_same_bits() {
    killed(5, 160);
}

/// `cargo test -p pellucid-cli --test training -- --ignored --nocapture fifty`
#[test]
#[ignore = "takes a minute"]
fn fifty_killed_runs_come_to_the_same_bits() {
    killed(50, 800);
}

/// A file may grow to so many blocks of 512 bytes and no further, as on a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let folder = prepared(160);
    let path = folder.path();
    succeed(path, &train("whole"));
    let size = fs::metadata(path.join("whole/checkpoint.safetensors")).unwrap().len();
    // The model still fits, the checkpoint does not.
    let blocks = size / 512 - 4;
    let command = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let limited = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_pellucid");
        Command::new("sh").args(["-c", &command, program]).args(arguments).current_dir(path).output().unwrap()
    };
    let output = limited(&train("full"));
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("checkpoint.safetensors: cannot be written"), "{told}");
    assert!(!path.join("full/checkpoint.safetensors").exists(), "nothing half-written");
    succeed(path, &["train", "--resume", "full", "--threads", "1"]);
    assert!(
        fs::read(path.join("full/model.onnx")).unwrap() == fs::read(path.join("whole/model.onnx")).unwrap()
    );
    // In the middle of a run that has checkpoints already, what is there stays.
    let before = fs::read(path.join("full/checkpoint.safetensors")).unwrap();
    let _ = limited(&["train", "--resume", "full", "--threads", "1"]);
    assert!(fs::read(path.join("full/checkpoint.safetensors")).unwrap() == before);
}
