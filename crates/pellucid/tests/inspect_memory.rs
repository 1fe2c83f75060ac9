//! What is held while a model is looked into does not grow with the number of examples.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use ndarray::ArrayD;
use peak_alloc::PeakAlloc;
use pellucid::inspect::{StrongestOptions, strongest};
use pellucid::{
    Array, Examples, Format, InspectOptions, Judge, Limits, Model, Outputs, RightAnswers, Silent, inspect,
    npy,
};
use pellucid_testkit::golden::folder;

/// Counts the bytes that are held.
#[global_allocator]
static HELD: PeakAlloc = PeakAlloc;

fn written(path: &Path, rows: usize) {
    let wave = |at: usize| (at as f32 * 0.37).sin();
    let values = ArrayD::from_shape_fn(vec![rows, 1, 28, 28], |at| wave(at[0] * 7 + at[2] * 3 + at[3]));
    std::fs::write(path, npy::encode(&Array::F32(values))).unwrap();
}

/// The peak over what was held before.
fn peak(work: impl FnOnce()) -> usize {
    let before = HELD.current_usage();
    HELD.reset_peak_usage();
    work();
    HELD.peak_usage().saturating_sub(before)
}

#[test]
fn what_is_held_does_not_grow_with_the_examples() {
    let model = Model::open(folder().join("fashion.onnx")).unwrap();
    let files = tempfile::tempdir().unwrap();
    let limits = Limits { threads: Some(1), batch: Some(16), ..Limits::default() };
    let of = |rows: usize| {
        let file = files.path().join(format!("{rows}.npy"));
        written(&file, rows);
        let judge = Judge::Loss(RightAnswers::Text(vec!["3".into()]));
        let options = InspectOptions { judge, limits, ..InspectOptions::default() };
        let arrays = files.path().join("inside.npz");
        let outputs = Outputs::new(&[&arrays], Format::OF_INSPECTIONS, &[] as &[&str]).unwrap();
        let looked = peak(|| {
            let examples = Examples::open(&model, &[&file]).unwrap();
            let found = inspect(&model, &examples, &options, &outputs, &Silent).unwrap();
            assert_eq!(found.rows, rows);
        });
        let sought = peak(|| {
            let examples = Examples::open(&model, &[&file]).unwrap();
            let options = StrongestOptions { of: "8".into(), count: 4, inspect: options.clone() };
            strongest(&model, &examples, &options, &Silent).unwrap();
        });
        (looked, sought)
    };
    // The sample that is kept has 512 rows.
    let (few, some, many) = (of(640), of(2560), of(4480));
    // As many rows again; what they hold is 6 MB.
    let rows = 1920 * 28 * 28 * 4;
    let grown = |from: usize, to: usize| to.saturating_sub(from);
    let seen = format!("{few:?} {some:?} {many:?}");
    assert!(grown(few.0, some.0) < rows / 50 && grown(some.0, many.0) < rows / 50, "{seen}");
    // Whether a batch's values of the layer are freed before or after the next ones are there, is the threads' affair.
    let batch = 16 * 8 * 28 * 28 * 4;
    assert!(grown(some.1, many.1) < rows / 50 + batch, "{seen}");
}
