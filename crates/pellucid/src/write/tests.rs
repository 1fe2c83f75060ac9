//! Outputs in every form, and what is refused before any work.

use std::fs;

use super::*;
use crate::attribution::Target;
use crate::input::{Inputs, Row};
use crate::render::example::{invented, of_photograph, photograph};

fn example() -> Explanation {
    of_photograph("a.png", photograph(40, 30), 8, invented(8, true))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_ending_is_written_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = ["a.png", "a.svg", "a.html", "a.npz", "a.npy", "a.json"]
        .map(|name| folder.path().join(name))
        .to_vec();
    let outputs = Outputs::new(&paths, Format::OF_EXPLANATIONS, &["a.png"]).unwrap();
    assert!(names(folder.path()).is_empty(), "checking writes nothing");
    assert_eq!(outputs.write_explanation(&example()).unwrap(), paths);
    assert_eq!(names(folder.path()), ["a.html", "a.json", "a.npy", "a.npz", "a.png", "a.svg"]);
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(crate::photograph::decode("a.png", &read("a.png")).is_ok());
    assert!(read("a.svg").starts_with(b"<svg") && read("a.html").starts_with(b"<!doctype html>"));
    let expected = Array::F32(example().explained[0].attribution.values[0].1.clone());
    assert_eq!(npy::decode("a.npy", &read("a.npy").into()).unwrap().array, expected);
    let arrays = npy::decode_npz("a.npz", &read("a.npz"), 1 << 30).unwrap();
    let keys: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        keys,
        [
            "attribution",
            "prediction",
            "target",
            "score",
            "baseline_score",
            "gap",
            "quadrature_error",
            "evaluations"
        ]
    );
    assert_eq!(arrays[2].1.array, Array::I64(ndarray::arr1(&[285]).into_dyn()));
    let value: serde_json::Value = serde_json::from_slice(&read("a.json")).unwrap();
    assert_eq!(value["rows"][0]["top"][0]["label"], "Egyptian cat");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&paths[0]).unwrap().permissions().mode();
        assert_ne!(mode & 0o044, 0, "others may read it as any new file");
    }
}

#[test]
fn several_targets_have_a_leading_axis() {
    let mut explanation = example();
    let mut second = explanation.explained[0].clone();
    second.targets = vec![Target::new(3, None).minus(Target::new(4, None))];
    explanation.explained.push(second);
    let arrays = arrays(&explanation).unwrap();
    assert_eq!(arrays[0].1.shape(), [2, 1, 3, 8, 8]);
    let target = arrays.iter().find(|(name, _)| name == "target").unwrap();
    assert_eq!(target.1, Array::I64(ndarray::arr2(&[[285], [3]]).into_dyn()));
    let minus = arrays.iter().find(|(name, _)| name == "target_minus").unwrap();
    assert_eq!(minus.1, Array::I64(ndarray::arr2(&[[-1], [4]]).into_dyn()), "−1 takes nothing away");
}

#[test]
fn wrong_names_are_told_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let input = folder.path().join("cat.png");
    fs::write(&input, "photograph").unwrap();
    let told = |name: &str, formats| {
        let result = Outputs::new(&[folder.path().join(name)], formats, std::slice::from_ref(&input));
        let error = result.unwrap_err();
        assert!(error.is_user_error());
        error.to_string().replace(&path, "F")
    };
    let all = Format::OF_EXPLANATIONS;
    assert_eq!(
        told("a.bmp", all),
        "F/a.bmp: ending .bmp found, expected one of .png .svg .html .npz .npy .json"
    );
    assert_eq!(
        told("pictures", all),
        "F/pictures: there is no such folder; create it, or name a file ending in .png .svg .html .npz .npy .json"
    );
    assert_eq!(told("no/a.png", all), "F/no/a.png: the folder F/no does not exist; create it first");
    assert_eq!(told("cat.png", all), "F/cat.png: it is one of the inputs; choose another name");
    assert_eq!(told("a", Format::OF_PREDICTIONS), "F/a: it has no ending, expected one of .npz .npy .json");
    assert_eq!(
        told("", Format::OF_PREDICTIONS),
        "F/: it is a folder, expected a file ending in .npz .npy .json"
    );
    let twice = [folder.path().join("b.png"), folder.path().join("b.png")];
    let error = Outputs::new(&twice, all, &[] as &[&Path]).unwrap_err().to_string();
    assert_eq!(error.replace(&path, "F"), "F/b.png: it is named twice; name every output once");
    assert_eq!(fs::read(&input).unwrap(), b"photograph");
}

/// The example's row twice, under names that try to leave the folder.
fn two_rows() -> Explanation {
    fn double(values: &Array1<f32>) -> Array1<f32> {
        ndarray::concatenate![Axis(0), *values, *values]
    }
    let mut explanation = example();
    let array = explanation.inputs.get("image").unwrap().to_f32();
    let twice = |array: &ArrayD<f32>| ndarray::concatenate(Axis(0), &[array.view(), array.view()]).unwrap();
    let photograph = explanation.inputs.rows()[0].photograph.clone();
    let rows = ["../../x.npy[3]", "../../x.npy[3]"]
        .map(|name| Row { name: name.to_owned(), photograph: photograph.clone() });
    let inputs = Inputs::new(vec![("image".into(), Array::F32(twice(&array)))], rows.to_vec()).unwrap();
    explanation.inputs = std::sync::Arc::new(inputs);
    explanation.prediction.scores =
        ndarray::concatenate![Axis(0), explanation.prediction.scores, explanation.prediction.scores];
    let explained = &mut explanation.explained[0];
    explained.targets.extend(explained.targets.clone());
    let attribution = &mut explained.attribution;
    attribution.values[0].1 = twice(&attribution.values[0].1);
    attribution.score = double(&attribution.score);
    for values in [&mut attribution.baseline_score, &mut attribution.gap, &mut attribution.quadrature_error] {
        *values = values.as_ref().map(double);
    }
    explanation
}

#[test]
fn several_rows_go_to_a_folder_which_nothing_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let outputs = Outputs::new(&[folder.path()], Format::OF_EXPLANATIONS, &[] as &[&Path]).unwrap();
    outputs.write_explanation(&two_rows()).unwrap();
    assert_eq!(names(folder.path()), ["x-3-2.png", "x-3.png"]);
    let report = folder.path().join("all.html");
    let outputs = Outputs::new(&[&report], Format::OF_EXPLANATIONS, &[] as &[&Path]).unwrap();
    outputs.write_explanation(&two_rows()).unwrap();
    let text = fs::read_to_string(&report).unwrap();
    assert_eq!(text.matches("<article").count(), 2);
    assert!(text.contains("href=\"#row-2\""));
    let one = folder.path().join("one.png");
    let outputs = Outputs::new(&[&one], Format::OF_EXPLANATIONS, &[] as &[&Path]).unwrap();
    let error = outputs.write_explanation(&two_rows()).unwrap_err().to_string();
    assert!(error.ends_with(
        "one.png: it holds one picture, and there are 2 rows; name a folder that exists for a picture of each, or \
         a file ending in .html for a report on all"
    ));
    assert!(!one.exists());
}

#[test]
fn when_one_file_fails_none_appears() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("a.json");
    let bad = folder.path().join("gone").join("b.json");
    let error = write_whole(&[(good.clone(), vec![1]), (bad, vec![2])]).unwrap_err().to_string();
    assert!(error.ends_with("b.json: cannot be written: there is no such file"), "{error}");
    assert!(names(folder.path()).is_empty());
    fs::write(&good, "old").unwrap();
    write_whole(&[(good.clone(), b"new".to_vec())]).unwrap();
    assert_eq!((fs::read(&good).unwrap().as_slice(), names(folder.path()).len()), (&b"new"[..], 1));
}
