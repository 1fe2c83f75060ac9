//! Tables of numbers, as CSV files hold them: a row a line, a column of which is the target.
//!
//! The first line is one of names where any of its fields is no number, but for a target that is a word in the second line
//! too; or where it counts the columns. A target column of whole numbers from 0 is one
//! of classes; one that holds words is one of classes too, in the order of the alphabet; any other is a number to
//! predict.

#![deny(clippy::as_conversions)]

use std::collections::BTreeSet;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};
use ndarray::Array2;
use pellucid::Error;

use crate::dataset::{Dataset, Rows, Targets};
use crate::open::{hash_of, read_whole};

/// Most columns.
const MOST_COLUMNS: usize = 1 << 16;
/// Most classes that words may name.
const MOST_CLASSES: usize = 1 << 12;

/// Reads a file; `target` is the name or number of the column to predict, the last without it, and several between
/// commas are several outputs.
///
/// # Errors
/// Fields that are no numbers, lines of another length, columns that do not exist; the line is named.
pub fn read(path: &Path, target: Option<&str>) -> Result<Dataset, Error> {
    let bytes = read_whole(path)?;
    decode(&path.display().to_string(), &bytes, target)
}

/// Reads the contents of a file; `place` is named in errors.
///
/// # Errors
/// As [`read`].
pub fn decode(place: &str, bytes: &[u8], target: Option<&str>) -> Result<Dataset, Error> {
    let wrong = |problem: String| Error::Input { place: place.to_owned(), problem };
    // Before anything is made of them: a field takes many times the byte that it may have in the file.
    for (number, line) in (1u64..).zip(bytes.split(|byte| *byte == b'\n')) {
        let columns = line.split(|byte| *byte == b',').count();
        if columns > MOST_COLUMNS {
            return Err(wrong(format!(
                "line {number} has {columns} columns, expected at most {MOST_COLUMNS}"
            )));
        }
    }
    let mut reader = ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(bytes);
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong(error.to_string().to_lowercase()))?;
        if record.len() > MOST_COLUMNS {
            return Err(wrong(format!("{} columns found, expected at most {MOST_COLUMNS}", record.len())));
        }
        records.push(record);
    }
    let Some(first) = records.first().cloned() else { return Err(wrong("it is empty".to_owned())) };
    let columns = first.len();
    let chosen_by_name = |name: &str| first.iter().position(|field| field == name);
    let wanted: Vec<&str> = target.map_or_else(Vec::new, |text| text.split(',').map(str::trim).collect());
    let named = wanted.iter().any(|name| chosen_by_name(name).is_some() && number(name).is_none());
    // Words in the first line are names of columns, but where the second has a word in a target's place too.
    let is_target = |at: usize| {
        if wanted.is_empty() { at + 1 == columns } else { wanted.iter().any(|name| name.parse() == Ok(at)) }
    };
    let second = |at: usize| records.get(1).and_then(|record| record.get(at)).is_some_and(is_word);
    let mut words = first.iter().enumerate().filter(|(_, field)| is_word(field));
    let heading = named
        || words.any(|(at, _)| !(is_target(at) && second(at)))
        || numbers_columns(&records, |at| is_target(at) && is_word(&first[at]));
    let body = if heading { &records[1..] } else { &records[..] };
    if body.is_empty() || columns < 2 {
        return Err(wrong("expected lines of at least two columns".to_owned()));
    }
    let mut targets = Vec::new();
    for name in &wanted {
        let by_number = || name.parse::<usize>().ok().filter(|at| *at < columns);
        let found = if heading { chosen_by_name(name).or_else(by_number) } else { by_number() };
        targets.push(found.ok_or_else(|| Error::Unknown {
            kind: "column",
            found: (*name).to_owned(),
            valid: if heading {
                // Names come from the file: nothing in them may reach a terminal as it is.
                first.iter().map(|name| name.escape_debug().to_string()).collect()
            } else {
                (0..columns).map(|at| at.to_string()).collect()
            },
        })?);
    }
    if targets.is_empty() {
        targets.push(columns - 1);
    }
    let mut values = Vec::new();
    for record in body {
        let line = line_of(bytes, record);
        for (at, field) in record.iter().enumerate().filter(|(at, _)| !targets.contains(at)) {
            let value = number(field).ok_or_else(|| {
                wrong(format!("line {line}, column {at}: {field:?} found, expected a number"))
            })?;
            values.push(value);
        }
    }
    let (targets, labels) = of_targets(place, body, &targets)?;
    let rest = values.len() / body.len();
    let mut data = Dataset::new(place, Rows::Floats(values), targets, vec![rest], hash_of([bytes]))?;
    data.labels = labels;
    Ok(data)
}

/// Whether the first line counts its columns from 0, at least three, but for words in `targets` that no other line has there:
/// names that a table without names was given when it was written.
fn numbers_columns(records: &[StringRecord], targets: impl Fn(usize) -> bool) -> bool {
    let Some((first, rest)) = records.split_first() else { return false };
    let words: Vec<usize> = (0..first.len()).filter(|at| targets(*at)).collect();
    let counted = first.iter().enumerate().all(|(at, field)| words.contains(&at) || field.parse() == Ok(at));
    let once = || words.iter().all(|at| rest.iter().all(|row| row[*at] != first[*at]));
    !words.is_empty() && first.len() >= words.len() + 3 && counted && once()
}

/// The line that a record is on, from 1: what it is said to begin with may be empty lines.
fn line_of(bytes: &[u8], record: &StringRecord) -> u64 {
    let Some(position) = record.position() else { return 0 };
    let from = usize::try_from(position.byte()).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let empty = from.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|byte| **byte == b'\n');
    empty.fold(position.line(), |line, _| line + 1)
}

fn of_targets(
    place: &str,
    body: &[StringRecord],
    columns: &[usize],
) -> Result<(Targets, Option<Vec<String>>), Error> {
    let wrong = |problem: String| Error::Input { place: place.to_owned(), problem };
    let field = |record: &StringRecord, at: usize| record.get(at).unwrap_or_default().to_owned();
    if let [column] = columns {
        let fields: Vec<String> = body.iter().map(|record| field(record, *column)).collect();
        if let Some(classes) =
            fields.iter().map(|field| field.parse::<i64>().ok().filter(|c| *c >= 0)).collect()
        {
            return Ok((Targets::Classes(classes), None));
        }
        if fields.iter().all(|field| number(field).is_none()) {
            let names: BTreeSet<&str> = fields.iter().map(String::as_str).collect();
            if names.len() > MOST_CLASSES {
                return Err(wrong(format!("{} classes found, expected at most {MOST_CLASSES}", names.len())));
            }
            let names: Vec<String> = names.into_iter().map(ToOwned::to_owned).collect();
            let classes = fields
                .iter()
                .filter_map(|field| names.binary_search(field).ok().and_then(|at| i64::try_from(at).ok()))
                .collect();
            return Ok((Targets::Classes(classes), Some(names)));
        }
    }
    let mut values = Vec::new();
    for record in body {
        for column in columns {
            let text = field(record, *column);
            values.push(number(&text).ok_or_else(|| {
                wrong(format!("{text:?} found in target column {column}, expected a number"))
            })?);
        }
    }
    let numbers = Array2::from_shape_vec((body.len(), columns.len()), values);
    Ok((Targets::Numbers(numbers.map_err(|error| wrong(error.to_string()))?), None))
}

/// Whether a field is neither a number nor one that is missing or not finite.
fn is_word(field: &str) -> bool {
    !field.is_empty() && field.parse::<f32>().is_err()
}

fn number(field: &str) -> Option<f32> {
    field.parse::<f32>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_number_or_place() {
        let text = b"a, b, species\n1, 2, cat\n3, 4.5, dog\n5, 6, cat\n";
        let data = decode("t", text, None).unwrap();
        assert_eq!(data.targets, Targets::Classes(vec![0, 1, 0]));
        assert_eq!(data.labels.as_deref(), Some(["cat".to_owned(), "dog".to_owned()].as_slice()));
        let mut row = [0.0; 2];
        data.read(1, &mut row).unwrap();
        assert!((row[1] - 4.5).abs() < 1e-6);
        let data = decode("t", b"1,2,0.5\n3,4,0.25\n", None).unwrap();
        assert!(matches!(&data.targets, Targets::Numbers(numbers) if numbers.shape() == [2, 1]));
        let data = decode("t", b"y,a,z\n1,2,0.5\n0,4,0.25\n", Some("y")).unwrap();
        assert_eq!(data.targets, Targets::Classes(vec![1, 0]));
        let data = decode("t", b"y,a,z\n1,2,0.5\n0,4,0.25\n", Some("y, z")).unwrap();
        assert!(matches!(&data.targets, Targets::Numbers(numbers) if numbers.shape() == [2, 2]));
        let data = decode("t", b"1,2,cat\n3,4,dog\n", None).unwrap();
        assert_eq!(data.len(), 2);
    }

    #[test]
    fn a_first_line_of_names_is_told_from_a_row() {
        let rows = |text: &[u8], target| decode("t", text, target).unwrap().len();
        assert_eq!(rows(b"1,2,cat\n3,4,dog\n", Some("2")), 2);
        assert_eq!(rows(b"cat,1,2\ndog,3,4\n", Some("0")), 2);
        assert_eq!(rows(b"kind,a,b\ndog,3,4\ncat,1,2\n", Some("kind")), 2);
        assert_eq!(rows(b"0,1,2,species\n3,4,5,dog\n1,2,3,cat\n", None), 2);
        assert_eq!(rows(b"0,1,2,cat\n3,4,5,dog\n1,2,3,cat\n", None), 3);
        let told = |text: &[u8]| decode("t", text, None).unwrap_err().to_string();
        assert_eq!(told(b"1,,0\n1,2,0\n"), "t: line 1, column 1: \"\" found, expected a number");
        assert_eq!(told(b"nan,1,0\n1,2,0\n"), "t: line 1, column 0: \"nan\" found, expected a number");
        assert_eq!(told(b"a,b\n\n1,2\n\nx,3\n"), "t: line 5, column 0: \"x\" found, expected a number");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |text: &[u8], target| decode("t", text, target).unwrap_err().to_string();
        assert_eq!(told(b"", None), "t: it is empty");
        assert_eq!(told(b"a,b\n1,2\nx,3\n", None), "t: line 3, column 0: \"x\" found, expected a number");
        assert_eq!(
            told(b"a,b\n1,2\n", Some("c")),
            "there is no column \"c\"; did you mean \"a\"?; there are a, b"
        );
        assert!(told(b"1,2\n3\n", None).contains("record"), "{}", told(b"1,2\n3\n", None));
    }
}
