//! Which rows are which part's, and by whose numbers their classes go.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use image::{Rgb, RgbImage};
use ndarray::{ArrayD, IxDyn};
use pellucid::{Array, npy};
use pellucid_data::{Part, Source, Targets, open, open_part};

/// `rows` rows of two numbers, all `value`.
fn rows(rows: usize, value: f32) -> Array {
    Array::F32(ArrayD::from_elem(IxDyn(&[rows, 2]), value))
}

fn classes(rows: usize, class: i64) -> Array {
    Array::I64(ArrayD::from_elem(IxDyn(&[rows]), class))
}

fn archive(path: &Path, arrays: Vec<(&str, Array)>) {
    let arrays: Vec<_> = arrays.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
    std::fs::write(path, npy::encode_npz(&arrays).unwrap()).unwrap();
}

fn source(data: &Path) -> Source {
    Source { data: data.to_owned(), ..Source::default() }
}

#[test]
fn rows_and_targets_of_an_archive_belong_to_the_same_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.npz");
    let mut arrays = vec![("x_train", rows(5, 0.0)), ("y_train", classes(5, 0))];
    arrays.extend([("x_val", rows(3, 1.0)), ("y_val", classes(3, 1))]);
    arrays.extend([("y_test", classes(4, 2)), ("x_test", rows(4, 2.0))]);
    archive(&path, arrays.clone());
    let opened = open(&source(&path)).unwrap();
    assert_eq!(opened.train.targets, Targets::Classes(vec![0; 5]));
    let test = opened.test.unwrap();
    assert_eq!(test.targets, Targets::Classes(vec![2; 4]));
    let mut row = [0.0; 2];
    test.read(0, &mut row).unwrap();
    assert!((row[0] - 2.0).abs() < 1e-6, "{row:?}");
    // Without rows to test on, the targets of that name are not those of another part.
    arrays.retain(|(name, _)| *name != "x_test");
    archive(&path, arrays);
    let test = open(&source(&path)).unwrap().test.unwrap();
    assert_eq!(test.targets, Targets::Classes(vec![1; 3]));
}

#[test]
fn of_a_data_set_for_testing_its_test_part_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let [own, other] = ["own.npz", "other.npz"].map(|name| folder.path().join(name));
    archive(&own, vec![("x", rows(6, 0.0)), ("y", classes(6, 0))]);
    let both = vec![("x_train", rows(5, 1.0)), ("y_train", classes(5, 1))];
    archive(&other, [both, vec![("x_test", rows(2, 2.0)), ("y_test", classes(2, 2))]].concat());
    let source = |data: &Path, test: &Path| Source { test: Some(test.to_owned()), ..source(data) };
    assert_eq!(open(&source(&own, &other)).unwrap().test.unwrap().targets, Targets::Classes(vec![2; 2]));
    // One that has no parts is taken whole.
    assert_eq!(open(&source(&other, &own)).unwrap().test.unwrap().targets, Targets::Classes(vec![0; 6]));
}

#[test]
fn classes_of_rows_to_test_on_go_by_the_names_of_those_to_learn_from() {
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let train = written("train.csv", "a,kind\n1,bird\n2,cat\n3,dog\n");
    let opened = |test: &Path| open(&Source { test: Some(test.to_owned()), ..source(&train) });
    let test = opened(&written("test.csv", "a,kind\n1,dog\n2,bird\n")).unwrap().test.unwrap();
    assert_eq!(
        test.targets,
        Targets::Classes(vec![2, 0]),
        "a class is missing, and the others stay what they are"
    );
    assert_eq!(test.labels.unwrap(), ["bird", "cat", "dog"]);
    let error = opened(&written("other.csv", "a,kind\n1,dog\n2,fish\n")).unwrap_err().to_string();
    assert!(error.ends_with("other.csv: its class \"fish\" is none of those to learn from"), "{error}");
    let error = opened(&written("numbers.csv", "a,kind\n1,0\n2,1\n")).unwrap_err().to_string();
    assert!(error.contains("have names"), "{error}");
}

#[test]
fn a_table_names_pictures_within_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [outside, inside] = ["", "inside"].map(|name| folder.path().join(name));
    std::fs::create_dir(&inside).unwrap();
    for (at, name) in [(0, "a.png"), (1, "inside/b.png"), (2, "inside/c.png")] {
        RgbImage::from_pixel(3, 2, Rgb([40 * at; 3])).save(folder.path().join(name)).unwrap();
    }
    let told = |place: &Path, lines: &str| {
        let table = place.join("table.csv");
        std::fs::write(&table, lines).unwrap();
        let source = Source { shape: vec![3, 2, 3], ..source(&table) };
        open_part(&source, Some(Part::Train)).map(|(data, ..)| data.len()).map_err(|error| error.to_string())
    };
    assert_eq!(told(&inside, "b.png,x\n./c.png,y\n"), Ok(2));
    assert_eq!(told(&outside, "a.png,x\ninside/c.png,y\n"), Ok(2));
    let whole = outside.join("a.png").display().to_string();
    for path in ["../a.png", "x/../../a.png", &whole] {
        let error = told(&inside, &format!("b.png,x\n{path},y\n")).unwrap_err();
        assert!(error.contains("line 2: ") && error.contains("leads out of the table's folder"), "{error}");
    }
}
