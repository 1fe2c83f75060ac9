//! Weights in data files: what is fetched, and everything that leads out of the model's folder.

use std::fs;
use std::path::Path;

use pellucid_graph::onnx::{DecodeError, EncodeOptions, Limits, Place, Weights, decode, encode, read_file};
use pellucid_graph::{Graph, Tensor};
use tempfile::TempDir;

use crate::wire::{Message, graph, header, model};

/// A model of one tensor `w` of `sizes`, kept as the entries say.
fn external(sizes: &[i64], entries: &[(&str, &str)]) -> Vec<u8> {
    let mut tensor = header("w", 1, sizes).int(14, 1);
    for (key, value) in entries {
        tensor = tensor.message(13, &Message::new().text(1, key).text(2, value));
    }
    model(18, &graph(&[], &[], &["w"], &[tensor]))
}

/// A folder with a data file of eight numbers, and a model of two of them.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("model")).unwrap();
    let numbers: Vec<u8> = (0..8u8).flat_map(|number| f32::from(number).to_le_bytes()).collect();
    fs::write(folder.path().join("model/weights.bin"), &numbers).unwrap();
    fs::write(folder.path().join("outside.bin"), &numbers).unwrap();
    folder
}

fn open(folder: &Path, entries: &[(&str, &str)]) -> Result<Graph, DecodeError> {
    open_of(folder, &[2], entries)
}

fn open_of(folder: &Path, sizes: &[i64], entries: &[(&str, &str)]) -> Result<Graph, DecodeError> {
    let path = folder.join("model/model.onnx");
    fs::write(&path, external(sizes, entries)).unwrap();
    read_file(&path, &Limits::default())
}

fn message(folder: &Path, entries: &[(&str, &str)]) -> String {
    open(folder, entries).unwrap_err().to_string()
}

fn numbers(graph: &Graph) -> Vec<f32> {
    graph.constant(graph.outputs()[0]).unwrap().to_f32()
}

#[test]
fn ranges_of_a_file_in_the_folder_are_read() {
    let folder = folder();
    let offset = [("location", "weights.bin"), ("offset", "8"), ("length", "8")];
    assert_eq!(numbers(&open(folder.path(), &offset).unwrap()), [2.0, 3.0]);
    assert_eq!(numbers(&open(folder.path(), &[("location", "./weights.bin")]).unwrap()), [0.0, 1.0]);
    fs::create_dir(folder.path().join("model/data")).unwrap();
    fs::rename(folder.path().join("model/weights.bin"), folder.path().join("model/data/w")).unwrap();
    assert_eq!(numbers(&open(folder.path(), &[("location", "data/w")]).unwrap()), [0.0, 1.0]);
}

#[test]
fn a_model_given_as_bytes_has_no_folder() {
    let bytes = external(&[2], &[("location", "weights.bin")]);
    assert_eq!(
        decode(bytes.into(), &Limits::default()).unwrap_err().to_string(),
        "tensor \"w\" in data file \"weights.bin\": the model was given as bytes: open it by its path"
    );
}

#[test]
fn paths_out_of_the_folder_are_refused() {
    let folder = folder();
    let at = |location: &str| message(folder.path(), &[("location", location)]);
    let outside = folder.path().join("outside.bin");
    let absolute = outside.to_str().unwrap();
    assert_eq!(
        at(absolute),
        format!(
            "tensor \"w\" in data file {absolute:?}: its path is absolute: it must lie in the model's folder"
        )
    );
    assert_eq!(
        at("../outside.bin"),
        "tensor \"w\" in data file \"../outside.bin\": its path leaves the model's folder through .."
    );
    assert_eq!(
        at("sub/../../outside.bin"),
        "tensor \"w\" in data file \"sub/../../outside.bin\": a folder on its path is a link, or no folder"
            .replace(
                "a folder on its path is a link, or no folder",
                "its path leaves the model's folder through .."
            )
    );
    assert_eq!(at(""), "tensor \"w\" in data file \"\": the model names no file");
    assert_eq!(at("."), "tensor \"w\" in data file \".\": the model names no file");
    assert_eq!(
        at("..\\outside.bin"),
        "tensor \"w\" in data file \"..\\\\outside.bin\": \
         its name holds a character that no data file's name may have"
    );
    assert!(at("missing.bin").starts_with("tensor \"w\" in data file \"missing.bin\": cannot be opened: "));
}

#[cfg(unix)]
#[test]
fn links_and_devices_are_refused() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    let model = folder.path().join("model");
    let at = |location: &str| message(folder.path(), &[("location", location)]);
    symlink("../outside.bin", model.join("link.bin")).unwrap();
    assert_eq!(
        at("link.bin"),
        "tensor \"w\" in data file \"link.bin\": \
         it is a symbolic link: only a file in the model's own folder is read"
    );
    symlink("weights.bin", model.join("inner.bin")).unwrap();
    assert!(at("inner.bin").contains("it is a symbolic link"), "also where it stays inside");
    symlink("..", model.join("up")).unwrap();
    assert_eq!(
        at("up/outside.bin"),
        "tensor \"w\" in data file \"up/outside.bin\": a folder on its path is a link, or no folder"
    );
    fs::hard_link(folder.path().join("outside.bin"), model.join("hard.bin")).unwrap();
    assert_eq!(
        at("hard.bin"),
        "tensor \"w\" in data file \"hard.bin\": \
         it has a second name outside (a hard link): copy it into the model's folder"
    );
    fs::create_dir(model.join("directory")).unwrap();
    assert_eq!(at("directory"), "tensor \"w\" in data file \"directory\": it is no regular file");
    assert_eq!(
        at("/dev/zero"),
        "tensor \"w\" in data file \"/dev/zero\": its path is absolute: it must lie in the model's folder"
    );
    symlink("/dev/zero", model.join("zero")).unwrap();
    assert!(at("zero").contains("it is a symbolic link"));
    let socket = std::os::unix::net::UnixListener::bind(model.join("socket")).unwrap();
    assert_eq!(at("socket"), "tensor \"w\" in data file \"socket\": it is no regular file");
    drop(socket);
}

#[test]
fn ranges_past_the_end_are_refused() {
    let folder = folder();
    let at = |offset: &str, length: &str| {
        message(folder.path(), &[("location", "weights.bin"), ("offset", offset), ("length", length)])
    };
    let prefix = "tensor \"w\" in data file \"weights.bin\": ";
    assert_eq!(at("28", "8"), format!("{prefix}8 bytes at offset 28 are past its end at 32"));
    assert_eq!(
        at("18446744073709551615", "8"),
        format!("{prefix}8 bytes at offset 18446744073709551615 are past its end at 32")
    );
    assert_eq!(at("-4", "8"), format!("{prefix}offset \"-4\" is not a count of bytes"));
    assert_eq!(at("0", "4"), format!("{prefix}its sizes need 8 bytes, but its length is given as 4"));
    assert_eq!(at("0", "1e3"), format!("{prefix}length \"1e3\" is not a count of bytes"));
    let huge = open_of(folder.path(), &[1 << 33], &[("location", "weights.bin")]).unwrap_err().to_string();
    assert_eq!(huge, format!("{prefix}34359738368 bytes at offset 0 are past its end at 32"));
}

#[test]
fn what_is_read_is_limited() {
    let folder = folder();
    let path = folder.path().join("model/model.onnx");
    fs::write(&path, external(&[8], &[("location", "weights.bin")])).unwrap();
    let limits = Limits { external_bytes: 31, ..Limits::default() };
    assert_eq!(
        read_file(&path, &limits).unwrap_err().to_string(),
        "the model has 32 bytes of external weights, the limit is 31"
    );
    let limits = Limits { file_bytes: 3, ..Limits::default() };
    let length = fs::metadata(&path).unwrap().len();
    assert_eq!(
        read_file(&path, &limits).unwrap_err().to_string(),
        format!("the model has {length} bytes of model file, the limit is 3")
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = folder();
    let missing = folder.path().join("missing.onnx");
    let error = read_file(&missing, &Limits::default()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {:?}: ", missing.display().to_string())), "{error}");
    let error = read_file(folder.path(), &Limits::default()).unwrap_err().to_string();
    assert!(error.ends_with(": it is no regular file"), "{error}");
}

#[cfg(unix)]
#[test]
fn an_endless_device_is_not_read() {
    let error = read_file("/dev/zero", &Limits::default()).unwrap_err().to_string();
    assert_eq!(error, "cannot read \"/dev/zero\": it is no regular file");
}

fn weights() -> Graph {
    let mut graph = Graph::new();
    for (name, length) in [("a", 300u16), ("small", 3), ("b", 500)] {
        let values: Vec<f32> = (0..length).map(f32::from).collect();
        let id = graph.add_constant(name, Tensor::from_f32(vec![values.len()], &values).unwrap()).unwrap();
        graph.add_output(id).unwrap();
    }
    graph
}

#[test]
fn a_data_file_is_written_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let graph = weights();
    let options = EncodeOptions { weights: Weights::external("weights.bin"), ..EncodeOptions::default() };
    let encoded = encode(&graph, &options).unwrap();
    let external = encoded.external.unwrap();
    let offsets: Vec<(&str, u64)> =
        external.tensors.iter().map(|entry| (entry.name.as_str(), entry.place.offset)).collect();
    assert_eq!(offsets, [("a", 0), ("b", 1216)], "aligned, and the small one stays inside");
    assert!(encoded.model.len() < 1000);
    let mut data = Vec::new();
    external.write_to(&mut data).unwrap();
    assert_eq!(u64::try_from(data.len()).unwrap(), external.length);
    fs::write(folder.path().join("weights.bin"), data).unwrap();
    fs::write(folder.path().join("model.onnx"), encoded.model).unwrap();
    let read = read_file(folder.path().join("model.onnx"), &Limits::default()).unwrap();
    assert_eq!(read.text(), graph.text());
    for (old, new) in graph.outputs().iter().zip(read.outputs()) {
        assert_eq!(graph.constant(*old), read.constant(*new));
    }
}

#[test]
fn the_caller_may_place_tensors() {
    let graph = weights();
    let placement =
        |tensor: &Tensor| (tensor.len() == 500).then(|| Place { file: "buffer".to_owned(), offset: 4096 });
    let options = EncodeOptions { weights: Weights::Placed(&placement), ..EncodeOptions::default() };
    let external = encode(&graph, &options).unwrap().external.unwrap();
    assert_eq!(external.tensors.len(), 1);
    assert_eq!(external.tensors[0].place, Place { file: "buffer".to_owned(), offset: 4096 });
    let shared = graph.constant(graph.outputs()[2]).unwrap().bytes().as_ptr();
    assert_eq!(external.tensors[0].tensor.bytes().as_ptr(), shared, "nothing is copied");
}

#[test]
fn data_files_lie_beside_the_model() {
    for file in ["../w", "sub/w", "/w", "", "..", "c:w"] {
        let options = EncodeOptions { weights: Weights::external(file), ..EncodeOptions::default() };
        assert_eq!(
            encode(&weights(), &options).unwrap_err().to_string(),
            format!("data file {file:?} is not a bare file name: give one without a folder")
        );
    }
}
