//! A data set from wherever it is: which reader a path is for, and which parts it holds.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use pellucid::Error;
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Rows, Targets};
use crate::{folder, idx, npz, table};

/// Largest file that is read whole, in bytes.
const MOST_BYTES: u64 = 4 << 30;

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// To learn from.
    Train,
    /// To measure on.
    Test,
}

impl Part {
    /// The names under which `stem` may stand for this part, best first.
    pub(crate) fn spellings(self, stem: &str) -> Vec<String> {
        match self {
            Self::Train => vec![format!("{stem}_train"), format!("train_{stem}"), stem.to_owned()],
            Self::Test => vec![
                format!("{stem}_test"),
                format!("test_{stem}"),
                format!("{stem}_val"),
                format!("val_{stem}"),
            ],
        }
    }

    /// The names of folders that hold it.
    fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training"],
            Self::Test => &["test", "val", "valid", "validation"],
        }
    }
}

/// Where data is, and how it is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// A file (IDX, NPZ, NPY, CSV) or a folder (of IDX files, or of pictures).
    pub data: PathBuf,
    /// Another file or folder with rows to measure on.
    pub test: Option<PathBuf>,
    /// Of a table the columns to predict; of an NPY file the file of targets.
    pub targets: Option<String>,
    /// Sizes of a row of the network's input, which pictures in files become.
    pub shape: Vec<usize>,
    /// Whether broken pictures are left out and told, in place of an error.
    pub skip_broken: bool,
}

/// A data set that was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Rows to learn from.
    pub train: Dataset,
    /// Rows to measure on, where the data has them apart.
    pub test: Option<Dataset>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Opens a data set.
///
/// # Errors
/// Paths that do not exist or hold nothing that is understood, and what each reader refuses.
pub fn open(source: &Source) -> Result<Opened, Error> {
    let mut notes = Vec::new();
    let train = part(source, &source.data, Part::Train, &mut notes)?.ok_or_else(|| Error::Input {
        place: source.data.display().to_string(),
        problem: "it holds no rows to learn from".to_owned(),
    })?;
    let mut test = match &source.test {
        // Of a data set that has both parts, those to measure on.
        Some(path) => match part(source, path, Part::Test, &mut notes)? {
            Some(data) => Some(data),
            None => part(source, path, Part::Train, &mut notes)?,
        },
        None => part(source, &source.data, Part::Test, &mut notes)?,
    };
    if let Some(test) = &mut test {
        agree(&train, test)?;
    }
    Ok(Opened { train, test, notes })
}

/// Opens the rows to measure on alone: those of `test`, or else the part of `data` that is wanted; without a wish its test
/// part, or all of it where it has none. Says which it was: `None` for all.
///
/// # Errors
/// As [`open`]; a part that the data does not have.
pub fn open_part(
    source: &Source,
    wanted: Option<Part>,
) -> Result<(Dataset, Option<Part>, Vec<String>), Error> {
    let mut notes = Vec::new();
    let place = source.test.as_ref().unwrap_or(&source.data);
    let none = |what: &str| Error::Input {
        place: place.display().to_string(),
        problem: format!("it holds no rows {what}"),
    };
    if source.test.is_none() && wanted != Some(Part::Train) {
        if let Some(data) = part(source, place, Part::Test, &mut notes)? {
            return Ok((data, Some(Part::Test), notes));
        }
        if wanted.is_some() {
            return Err(none("of a test part"));
        }
    }
    let data = part(source, place, Part::Train, &mut notes)?.ok_or_else(|| none("to measure on"))?;
    Ok((data, wanted, notes))
}

/// Both parts speak of the same rows and classes: those of `test` are numbered as those of `train`, by their names.
fn agree(train: &Dataset, test: &mut Dataset) -> Result<(), Error> {
    let place = test.name.clone();
    let wrong = |problem: String| Error::Input { place: place.clone(), problem };
    if train.shape != test.shape {
        return Err(wrong(format!(
            "its rows have the sizes {:?}, those to learn from {:?}",
            test.shape, train.shape
        )));
    }
    match &train.labels {
        Some(labels) if test.labels.is_some() => {
            test.renumber(labels, |name| {
                labels
                    .iter()
                    .position(|label| label == name)
                    .ok_or_else(|| wrong(format!("its class {name:?} is none of those to learn from")))
            })?;
        }
        own if own.is_some() != test.labels.is_some() => {
            return Err(wrong(
                "its classes have names and those to learn from have none, or the other way round".to_owned(),
            ));
        }
        _ => {}
    }
    match (&train.targets, &test.targets) {
        (Targets::Classes(_), Targets::Classes(_)) => Ok(()),
        (Targets::Numbers(a), Targets::Numbers(b)) if a.ncols() == b.ncols() => Ok(()),
        _ => Err(wrong("its targets are of another kind than those to learn from".to_owned())),
    }
}

fn part(source: &Source, path: &Path, part: Part, notes: &mut Vec<String>) -> Result<Option<Dataset>, Error> {
    let place = path.display().to_string();
    let metadata = std::fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if metadata.is_dir() {
        return of_folder(source, path, part, notes);
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if idx::is_named(path) {
        if part == Part::Test {
            return Ok(None);
        }
        let labels = source.targets.as_ref().map_or_else(|| labels_beside(path), |path| Some(path.into()));
        let labels = labels.ok_or_else(|| Error::Input {
            place,
            problem: "no file of labels lies beside it; give one with --targets".to_owned(),
        })?;
        return of_idx(path, &labels).map(Some);
    }
    match ending.as_str() {
        "npz" | "npy" => npz::read(path, source.targets.as_ref().map(Path::new), part),
        "csv" | "tsv" | "txt" if part == Part::Test => Ok(None),
        "csv" if names_pictures(path)? => {
            let (data, skipped) = folder::read_table(path, &source.shape, source.skip_broken)?;
            note(notes, &skipped);
            Ok(Some(data))
        }
        "csv" => table::read(path, source.targets.as_deref()).map(Some),
        _ => Err(Error::Input {
            place,
            problem: "it is of no kind that is read: expected IDX (…-ubyte, also .gz), .npz, .npy, .csv, or a folder"
                .to_owned(),
        }),
    }
}

fn note(notes: &mut Vec<String>, skipped: &folder::Skipped) {
    if !skipped.broken.is_empty() {
        notes.push(format!("{} broken pictures were left out:", skipped.broken.len()));
        notes.extend(skipped.broken.iter().take(20).cloned());
    }
}

/// Whether the second line of a table begins with the name of a picture.
fn names_pictures(path: &Path) -> Result<bool, Error> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    file.take(1 << 16)
        .read_to_end(&mut start)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&start).to_ascii_lowercase();
    let picture = |line: &str| {
        let field = line.split(',').next().unwrap_or_default().trim().trim_matches('"');
        [".png", ".jpg", ".jpeg", ".webp"].iter().any(|ending| field.ends_with(ending))
    };
    Ok(text.lines().take(2).any(picture))
}

fn of_folder(
    source: &Source,
    path: &Path,
    part: Part,
    notes: &mut Vec<String>,
) -> Result<Option<Dataset>, Error> {
    let prefixes: &[&str] = if part == Part::Train { &["train"] } else { &["t10k", "test"] };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|source| Error::Read { path: path.to_owned(), source })? {
        let entry = entry.map_err(|source| Error::Read { path: path.to_owned(), source })?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let file = |what: &str| {
        let fits = |name: &&String| {
            prefixes.iter().any(|prefix| name.starts_with(prefix))
                && name.contains(what)
                && name.contains("ubyte")
        };
        names.iter().find(fits).map(|name| path.join(name))
    };
    if let (Some(images), Some(labels)) = (file("images"), file("labels")) {
        return of_idx(&images, &labels).map(Some);
    }
    for name in part.folders() {
        let inner = path.join(name);
        if inner.is_dir() && folder::is_of_classes(&inner) {
            let (data, skipped) = folder::read(&inner, &source.shape, source.skip_broken)?;
            note(notes, &skipped);
            return Ok(Some(data));
        }
    }
    if part == Part::Test {
        return Ok(None);
    }
    let (data, skipped) = folder::read(path, &source.shape, source.skip_broken)?;
    note(notes, &skipped);
    Ok(Some(data))
}

/// `train-labels-idx1-ubyte` for `train-images-idx3-ubyte`, packed or not.
fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels);
    [labels.clone(), plain.to_owned(), format!("{plain}.gz")]
        .into_iter()
        .map(|name| images.with_file_name(name))
        .find(|path| path != images && path.is_file())
}

fn of_idx(images: &Path, labels: &Path) -> Result<Dataset, Error> {
    let wrong = |path: &Path, problem: String| Error::Input { place: path.display().to_string(), problem };
    let pictures = idx::read(images)?;
    let classes = idx::read(labels)?;
    if classes.shape.len() != 1 {
        return Err(wrong(labels, format!("it has the sizes {:?}, expected one class a row", classes.shape)));
    }
    let shape = match pictures.shape.as_slice() {
        [_, height, width] => vec![1, *height, *width],
        [_, channels @ (1 | 3), height, width] => vec![*channels, *height, *width],
        [_, columns] => vec![1, 1, *columns],
        other => {
            return Err(wrong(images, format!("it has the sizes {other:?}, expected [n, height, width]")));
        }
    };
    let hash = format!("{}+{}", pictures.hash, classes.hash);
    let targets = Targets::Classes(classes.bytes.iter().map(|class| i64::from(*class)).collect());
    Dataset::new(images.display().to_string(), Rows::Bytes(pictures.bytes), targets, shape, hash)
}

/// The bytes of a regular file of at most 4 GiB.
pub(crate) fn read_whole(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let wrong =
        |problem: &str| Err(Error::Input { place: path.display().to_string(), problem: problem.to_owned() });
    if !metadata.is_file() {
        return wrong("it is no file");
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
        return wrong("it is larger than 4 GiB");
    }
    Ok(bytes)
}

/// SHA-256 of parts one after the other, in hexadecimal.
pub(crate) fn hash_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hexadecimal(&hash.finalize())
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
