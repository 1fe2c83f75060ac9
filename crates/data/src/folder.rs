//! Folders of pictures: a folder for each class, or a table of paths and labels.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use pellucid::Error;
use pellucid::photograph;

use crate::dataset::{Dataset, Rows, Targets, contents};
use crate::open::{hash_of, read_whole};

/// Most pictures of a data set.
const MOST_FILES: usize = 10_000_000;

/// Endings of pictures.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// What became of files that are no pictures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Pictures that cannot be decoded, each with the reason.
    pub broken: Vec<String>,
}

/// Pictures in a folder for each class; classes are in the order of the folders' names. `shape` is what the network
/// takes. With `check` every picture is decoded once: broken ones are left out and told with `skip`, an error without.
///
/// # Errors
/// Folders that cannot be read or hold no pictures; broken pictures, all of them.
pub fn read(folder: &Path, shape: &[usize], skip: bool) -> Result<(Dataset, Skipped), Error> {
    let place = folder.display().to_string();
    let mut labels = Vec::new();
    let mut listed = Vec::new();
    for (name, path) in entries(folder)? {
        if !path.is_dir() || name.starts_with('.') {
            continue;
        }
        let class = i64::try_from(labels.len()).unwrap_or(i64::MAX);
        let before = listed.len();
        for (_, file) in entries(&path)? {
            if is_picture(&file) {
                listed.push((file, class));
            }
        }
        if listed.len() > before {
            labels.push(name);
        }
        if listed.len() > MOST_FILES {
            return Err(Error::Input { place, problem: format!("it holds more than {MOST_FILES} pictures") });
        }
    }
    if labels.len() < 2 {
        return Err(Error::Input {
            place,
            problem: format!(
                "{} folders with pictures (PNG, JPEG, WebP) found, expected one for each of at least 2 classes",
                labels.len()
            ),
        });
    }
    finish(&place, listed, labels, shape, skip)
}

/// Pictures that a table names: a line a picture, its path (from the table's folder, and within it) and its label.
///
/// # Errors
/// As [`read`], lines without two fields, and paths that lead out of the folder.
pub fn read_table(table: &Path, shape: &[usize], skip: bool) -> Result<(Dataset, Skipped), Error> {
    let place = table.display().to_string();
    let bytes = read_whole(table)?;
    let folder = table.parent().unwrap_or(Path::new(""));
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(bytes.as_slice());
    let mut lines: Vec<(PathBuf, String)> = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let wrong = |problem: String| Error::Input { place: place.clone(), problem };
        let record = record.map_err(|error| wrong(error.to_string().to_lowercase()))?;
        let [path, label] = [0, 1].map(|at| record.get(at).unwrap_or_default());
        // The first line may name the columns.
        if number == 0 && !is_picture(Path::new(path)) {
            continue;
        }
        // A table that came with its pictures must not make other files readable.
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(path).components().all(inside) {
            return Err(wrong(format!(
                "line {}: {path:?} leads out of the table's folder; put the table into a folder above its pictures",
                number + 1
            )));
        }
        let file = folder.join(path);
        if label.is_empty() {
            return Err(wrong(format!("line {}: expected a path and a label", number + 1)));
        }
        lines.push((file, label.to_owned()));
        if lines.len() > MOST_FILES {
            return Err(wrong(format!("it names more than {MOST_FILES} pictures")));
        }
    }
    let labels: BTreeSet<String> = lines.iter().map(|(_, label)| label.clone()).collect();
    let labels: Vec<String> = labels.into_iter().collect();
    let class = |label: &String| {
        let at = labels.binary_search(label).unwrap_or_default();
        i64::try_from(at).unwrap_or(i64::MAX)
    };
    let listed = lines.iter().map(|(path, label)| (path.clone(), class(label))).collect();
    finish(&place, listed, labels, shape, skip)
}

/// Whether a folder holds folders of pictures.
pub fn is_of_classes(folder: &Path) -> bool {
    entries(folder).is_ok_and(|entries| {
        entries.into_iter().any(|(_, path)| {
            path.is_dir()
                && self::entries(&path)
                    .is_ok_and(|files| files.iter().take(64).any(|(_, file)| is_picture(file)))
        })
    })
}

fn finish(
    place: &str,
    mut listed: Vec<(PathBuf, i64)>,
    labels: Vec<String>,
    shape: &[usize],
    skip: bool,
) -> Result<(Dataset, Skipped), Error> {
    let mut skipped = Skipped::default();
    listed.retain(|(path, _)| match header(path) {
        Ok(()) => true,
        Err(problem) => {
            skipped.broken.push(problem);
            false
        }
    });
    if !skipped.broken.is_empty() && !skip {
        let first: Vec<&str> = skipped.broken.iter().take(5).map(String::as_str).collect();
        return Err(Error::Input {
            place: place.to_owned(),
            problem: format!(
                "{} pictures cannot be read: {}{}; mend or remove them, or leave them out with --skip-broken",
                skipped.broken.len(),
                first.join("; "),
                if skipped.broken.len() > first.len() { "; …" } else { "" }
            ),
        });
    }
    let mut told = Vec::new();
    for (path, class) in &listed {
        let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        told.push(format!("{} {size} {class}\n", path.display()));
    }
    let hash = hash_of(told.iter().map(String::as_bytes));
    let (files, classes) = listed.into_iter().unzip();
    let mut data = Dataset::new(place, Rows::Files(files), Targets::Classes(classes), shape.to_vec(), hash)?;
    data.labels = Some(labels);
    Ok((data, skipped))
}

/// Whether a picture can be decoded.
fn header(path: &Path) -> Result<(), String> {
    let decoded = contents(path).and_then(|(place, bytes)| photograph::decode(&place, &bytes));
    decoded.map(drop).map_err(|error| error.to_string())
}

/// Names and paths of a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort();
    Ok(found)
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}
