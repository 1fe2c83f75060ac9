//! Rows that are read, explained and written a few at a time: the same bits as all at once, in memory that does not
//! grow with them, whole or not at all.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::ArrayD;
use peak_alloc::PeakAlloc;
use pellucid::{
    Array, Baseline, Error, Format, Limits, Model, Options, Outputs, Progress, Silent, TargetChoice, npy,
    write,
};
use pellucid_graph::{Dim, ElementType, Graph, NewNode, Tensor};

/// Counts the bytes that are held.
#[global_allocator]
static HELD: PeakAlloc = PeakAlloc;

/// One test at a time, so that what is held is that of one.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A small convolutional network of [n, 3, 16, 16] with four classes.
fn model() -> Model {
    let mut graph = Graph::new();
    let fixed = |sizes: &[i64]| sizes.iter().copied().map(Dim::known).collect::<Vec<_>>();
    let shape = [vec![Dim::symbol("n")], fixed(&[3, 16, 16])].concat();
    let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
    let mut draw = 1u32;
    let mut weight = |graph: &mut Graph, name: &str, shape: Vec<usize>| {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                draw = draw.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (draw >> 16) as f32 / 65536.0 - 0.5
            })
            .collect();
        graph.add_constant(name, Tensor::from_f32(shape, &values).unwrap()).unwrap()
    };
    let kernel = weight(&mut graph, "kernel", vec![8, 3, 3, 3]);
    let dense = weight(&mut graph, "dense", vec![8, 4]);
    let y = graph.push_one(NewNode::new("Conv", &[x, kernel], "y")).unwrap();
    let y = graph.push_one(NewNode::new("Relu", &[y], "relu")).unwrap();
    let y = graph.push_one(NewNode::new("GlobalAveragePool", &[y], "pool")).unwrap();
    let y = graph.push_one(NewNode::new("Flatten", &[y], "flat")).unwrap();
    let y = graph.push_one(NewNode::new("MatMul", &[y, dense], "logits")).unwrap();
    graph.add_output(y).unwrap();
    Model::from_graph("small", graph).unwrap()
}

/// Rows of numbers that differ.
fn rows(count: usize) -> Array {
    let mut draw = 7u64;
    Array::F32(ArrayD::from_shape_simple_fn(vec![count, 3, 16, 16], || {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (draw >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }))
}

fn file(folder: &Path, name: &str, array: &Array) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, npy::encode(array)).unwrap();
    path
}

/// An archive stored as `np.savez` does.
fn stored(folder: &Path, name: &str, array: &Array) -> PathBuf {
    use std::io::Write as _;
    let path = folder.join(name);
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.start_file("x.npy", options).unwrap();
    writer.write_all(&npy::encode(array)).unwrap();
    writer.finish().unwrap();
    path
}

fn outputs(folder: &Path, names: &[&str]) -> Outputs {
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    Outputs::new(&paths, Format::OF_EXPLANATIONS, &[] as &[&Path]).unwrap()
}

fn options(method: &str, batch: usize) -> Options {
    Options {
        limits: Limits { batch: Some(batch), threads: Some(2), ..Limits::default() },
        ..Options::new(method)
    }
}

/// Explains both ways; every array must have the same bits.
fn compare(options: &Options, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (model, all) = (model(), rows(count));
    let first = file(folder, "first.npy", &all.rows(0..count / 3));
    let second = stored(folder, "second.npz", &all.rows(count / 3..count));
    let files = model.row_files(&[&first, &second]).unwrap().unwrap();
    assert_eq!(files.len(), count);
    let streamed =
        pellucid::explain_files(&model, &files, options, &outputs(folder, &["a.npz", "a.npy"]), &Silent)
            .unwrap();
    let inputs = model.read(&[&first, &second]).unwrap();
    let names: Vec<String> = inputs.rows().iter().map(|row| row.name.clone()).collect();
    let whole = pellucid::explain(&model, inputs, options, &Silent).unwrap();
    let mut found = npy::read_arrays(&folder.join("a.npz")).unwrap();
    let mut wanted = write::arrays(&whole).unwrap();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        found.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        wanted.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    for ((name, found), (_, wanted)) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted, "{}: {name}", options.method);
    }
    let alone = &npy::read_arrays(&folder.join("a.npy")).unwrap()[0].1;
    assert_eq!(Some(alone), wanted.iter().find(|(name, _)| name == "attribution").map(|(_, array)| array));
    assert_eq!(streamed.rows, count);
    assert_eq!(streamed.first.notes, whole.notes);
    assert_eq!(streamed.first.inputs.rows()[0].name, names[0]);
    assert_eq!(streamed.trust.values().sum::<usize>(), count * whole.explained.len());
}

#[test]
fn bits_are_those_of_all_rows_at_once() {
    let _alone = alone();
    compare(&options("gradient", 3), 20);
    compare(&options("smoothgrad", 2).set("samples", 5), 9);
    let mut several = options("integrated-gradients", 4).set("quadrature", "trapezoid").set("steps", 9);
    several.targets = vec![TargetChoice::Top, TargetChoice::Index(2)];
    several.baseline = Baseline::Given(vec![("x".to_owned(), rows(11))]);
    compare(&several, 11);
    let mut chosen = options("occlusion", 5);
    chosen.targets = vec![TargetChoice::Rows((0..7).map(|row| row % 4).collect())];
    compare(&chosen, 7);
    compare(&options("integrated-gradients", 4).set("steps", 11), 7);
}

/// The most bytes held while so many rows are explained, above what was held before.
fn most_held(count: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    let path = file(folder.path(), "rows.npy", &rows(count));
    let files = model.row_files(&[&path]).unwrap().unwrap();
    let outputs = outputs(folder.path(), &["a.npz"]);
    let before = HELD.current_usage();
    HELD.reset_peak_usage();
    pellucid::explain_files(&model, &files, &options("gradient", 8), &outputs, &Silent).unwrap();
    let most = HELD.peak_usage() - before;
    assert_eq!(npy::read_arrays(&folder.path().join("a.npz")).unwrap()[0].1.shape(), [count, 3, 16, 16]);
    most
}

#[test]
fn what_is_held_does_not_grow_with_the_rows() {
    let _alone = alone();
    // The first run fills what lives as long as the process.
    most_held(64);
    let (few, many) = (most_held(1024), most_held(16 * 1024));
    // 15,360 more rows are 47 MB in and 47 MB out.
    assert!(many <= few + (1 << 20), "{few} bytes were held for 1,024 rows, {many} for 16,384");
}

#[test]
fn predictions_are_streamed_too() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (model, all) = (model(), rows(19));
    let path = file(folder.path(), "rows.npy", &all);
    let files = model.row_files(&[&path]).unwrap().unwrap();
    let limits = Limits { batch: Some(4), ..Limits::default() };
    let outputs = outputs(folder.path(), &["p.npz", "p.npy"]);
    let streamed = pellucid::predict_files(&model, &files, None, &limits, &outputs, &Silent).unwrap();
    let whole = pellucid::predict(&model, &model.read(&[&path]).unwrap(), None, &limits, &Silent).unwrap();
    assert_eq!(npy::read_arrays(&folder.path().join("p.npz")).unwrap(), whole.outputs);
    let scores = &npy::read_arrays(&folder.path().join("p.npy")).unwrap()[0].1;
    assert_eq!(scores, &Array::F32(whole.scores.clone().into_dyn()));
    assert_eq!((streamed.rows, streamed.names.len(), streamed.first.scores.nrows()), (19, 3, 3));
}

/// Ends the run after some rows.
struct StopAfter(u64, AtomicU64);

impl Progress for StopAfter {
    fn report(&self, _done: u64, _total: u64) {}

    fn rows(&self, done: u64, total: u64) {
        assert!(done <= total);
        self.1.store(done, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed) >= self.0
    }
}

#[test]
fn a_stopped_run_leaves_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    let path = file(folder.path(), "rows.npy", &rows(50));
    let files = model.row_files(&[&path]).unwrap().unwrap();
    for rows in [10, 50] {
        let outputs = outputs(folder.path(), &["a.npz", "a.npy"]);
        let stop = StopAfter(rows, AtomicU64::new(0));
        let error =
            pellucid::explain_files(&model, &files, &options("gradient", 5), &outputs, &stop).unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["rows.npy"]);
    }
}

/// The error of opening or checking a file, without its folder.
fn told(model: &Model, path: &Path) -> String {
    let error = match model.row_files(&[path]) {
        Err(error) => error,
        Ok(files) => files.unwrap().check(|| true).unwrap_err(),
    };
    error.to_string().replace(&path.parent().unwrap().display().to_string(), "F")
}

#[test]
fn what_cannot_be_used_is_known_before_any_work() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = model();
    let Array::F32(mut numbers) = rows(5) else { unreachable!("rows are float32") };
    numbers[[3, 1, 2, 4]] = f32::NAN;
    assert_eq!(
        told(&model, &file(folder, "nan.npy", &Array::F32(numbers))),
        "F/nan.npy: row 3 holds a value that is not finite, at [1, 2, 4]; expected numbers only"
    );
    let cut = folder.join("cut.npy");
    let whole = npy::encode(&rows(2));
    std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(
        told(&model, &cut),
        "F/cut.npy: its header promises [2, 3, 16, 16] of float32 (6144 bytes), and 6143 bytes follow; the file is \
         cut or damaged"
    );
    let damaged = stored(folder, "damaged.npz", &rows(2));
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    assert_eq!(
        told(&model, &damaged),
        "F/damaged.npz, array \"x\": it is not a whole NPZ file: its checksum does not agree; the file is damaged"
    );
    let wide = Array::F32(ArrayD::zeros(vec![2, 3, 16, 17]));
    assert_eq!(
        told(&model, &file(folder, "wide.npy", &wide)),
        "F/wide.npy: shape [2, 3, 16, 17] found, expected [n, 3, 16, 16] for input \"x\""
    );
    // What cannot be read by rows is read whole.
    let packed = folder.join("packed.npz");
    std::fs::write(&packed, npy::encode_npz(&[("x".to_owned(), rows(2))]).unwrap()).unwrap();
    assert!(model.row_files(&[&packed]).unwrap().is_none());
}

#[test]
fn outputs_that_hold_every_row_are_refused_for_too_many() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let of = |names: &[&str], bytes: u64| outputs(folder.path(), names).stream(1000, bytes);
    assert!(!of(&["a.npz"], 1 << 20).unwrap(), "few rows are shown as ever");
    assert!(of(&["a.npz", "b.npy"], 5 << 20).unwrap());
    assert!(!of(&["a.npz", "b.html"], 5 << 20).unwrap());
    assert!(!of(&[], 5 << 20).unwrap());
    assert!(of(&[], 257 << 20).unwrap());
    assert_eq!(
        of(&["a.npz", "b.html"], 3 << 30)
            .unwrap_err()
            .to_string()
            .replace(&folder.path().display().to_string(), "F"),
        "F/b.html: it holds every row at once, and 1000 rows of 3 GiB are too many for it, the limit is 256 MiB; name \
         files ending in .npz or .npy, which are written row by row, or give fewer rows"
    );
}
