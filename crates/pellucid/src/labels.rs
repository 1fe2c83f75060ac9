//! Names of classes: read from a file or from metadata, and looked up.

use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::file;

/// Most labels a model may have.
const MOST_LABELS: usize = 1 << 20;
/// Largest file of labels, in bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// Names of classes, by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(Vec<String>);

impl Labels {
    /// Labels in order of index.
    ///
    /// # Errors
    /// None at all, or more than 2²⁰.
    pub fn new<S: Into<String>>(labels: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let labels: Vec<String> =
            labels.into_iter().take(MOST_LABELS + 1).map(|label| label.into().trim().to_owned()).collect();
        if labels.is_empty() || labels.len() > MOST_LABELS {
            let found = if labels.is_empty() { "none".to_owned() } else { format!("over {MOST_LABELS}") };
            return Err(Error::description("labels", format!("{found} found, expected 1 to {MOST_LABELS}")));
        }
        Ok(Self(labels))
    }

    /// Reads a file: one label a line, or JSON as [`Labels::from_json`] takes it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = file::read(path, LARGEST_FILE)?;
        let place = path.display().to_string();
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::description(&place, "labels must be text in UTF-8, found other bytes"))?;
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with(['[', '{']) {
            return Self::from_json(&place, text);
        }
        Self::new(text.trim_end().lines()).map_err(|_| {
            Error::description(&place, "no label found, expected one a line, in order of class index")
        })
    }

    /// JSON: `["tench", …]`, `{"0": "tench", …}` or `{"0": ["n01440764", "tench"], …}`.
    ///
    /// # Errors
    /// Other JSON, or indices that are not exactly 0 to n − 1; `place` is named in them.
    pub fn from_json(place: &str, text: &str) -> Result<Self, Error> {
        let wrong = |problem: String| Error::description(place, problem);
        let value: Value = serde_json::from_str(text)
            .map_err(|error| wrong(format!("labels are not valid JSON: {error}")))?;
        let name = |value: &Value| match value {
            Value::String(label) => Some(label.clone()),
            Value::Array(parts) => parts.last().and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let expected = "expected a list of names, or an object from index to name";
        let labels = match &value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    name(item).ok_or_else(|| wrong(format!("label {index} is not text; {expected}")))
                })
                .collect::<Result<Vec<_>, _>>()?,
            Value::Object(entries) => (0..entries.len())
                .map(|index| {
                    let entry = entries
                        .get(&index.to_string())
                        .ok_or_else(|| wrong(format!("label {index} is missing; {expected}")))?;
                    name(entry).ok_or_else(|| wrong(format!("label {index} is not text; {expected}")))
                })
                .collect::<Result<Vec<_>, _>>()?,
            _ => return Err(wrong(format!("labels are of another form; {expected}"))),
        };
        Self::new(labels).map_err(|_| wrong(format!("{} labels found, expected 1 to {MOST_LABELS}", 0)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: there is at least one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The label of a class.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.0.get(index).map(String::as_str)
    }

    /// Every label, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The class that `name` means: its label, whatever the case, or one of a label's names between commas.
    ///
    /// # Errors
    /// No such label (the nearest is named), or several.
    pub fn find(&self, name: &str) -> Result<usize, Error> {
        let same = |label: &str| label.trim().eq_ignore_ascii_case(name.trim());
        let exact: Vec<usize> = self.positions(|label| label == name);
        let tests: [&dyn Fn(&str) -> bool; 2] = [&same, &|label: &str| label.split(',').any(same)];
        let mut found = exact;
        for test in tests {
            if found.is_empty() {
                found = self.positions(test);
            }
        }
        match found.as_slice() {
            [index] => Ok(*index),
            [] => Err(Error::Unknown { kind: "label", found: name.to_owned(), valid: self.0.clone() }),
            several => {
                let list: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
                Err(Error::Setting {
                    name: "target".to_owned(),
                    problem: format!(
                        "{name:?} is the label of {} classes ({}); give the index instead",
                        several.len(),
                        list.join(", ")
                    ),
                })
            }
        }
    }

    fn positions(&self, test: impl Fn(&str) -> bool) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, label)| test(label)).map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_of_json_say_the_same() {
        let expected = Labels::new(["tench", "goldfish"]).unwrap();
        for text in [
            r#"["tench", "goldfish"]"#,
            r#"{"1": "goldfish", "0": "tench"}"#,
            r#"{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}"#,
        ] {
            assert_eq!(Labels::from_json("labels", text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn wrong_forms_are_told() {
        for (text, message) in [
            ("[1]", "m: label 0 is not text; expected a list of names, or an object from index to name"),
            (
                r#"{"1": "a"}"#,
                "m: label 0 is missing; expected a list of names, or an object from index to name",
            ),
            ("3", "m: labels are of another form; expected a list of names, or an object from index to name"),
            ("[]", "m: 0 labels found, expected 1 to 1048576"),
        ] {
            assert_eq!(Labels::from_json("m", text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_label_is_found_by_any_of_its_names() {
        let labels = Labels::new(["tabby, tabby cat", "Egyptian cat", "crane", "crane"]).unwrap();
        assert_eq!(labels.find("egyptian CAT").unwrap(), 1);
        assert_eq!(labels.find("tabby cat").unwrap(), 0);
        assert_eq!(
            labels.find("crane").unwrap_err().to_string(),
            r#"target: "crane" is the label of 2 classes (2, 3); give the index instead"#
        );
        assert_eq!(
            labels.find("egiptian cat").unwrap_err().to_string(),
            "there is no label \"egiptian cat\"; did you mean \"Egyptian cat\"?; there are tabby, tabby cat, \
             Egyptian cat, crane, crane"
        );
    }

    #[test]
    fn a_file_holds_one_label_a_line_or_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        std::fs::write(&path, "a\r\nb b\n").unwrap();
        assert_eq!(Labels::read(&path).unwrap(), Labels::new(["a", "b b"]).unwrap());
        std::fs::write(&path, " [\"a\", \"b b\"]").unwrap();
        assert_eq!(Labels::read(&path).unwrap().len(), 2);
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(
            Labels::read(&path)
                .unwrap_err()
                .to_string()
                .ends_with("must be text in UTF-8, found other bytes")
        );
    }
}
