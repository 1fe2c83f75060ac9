//! What a model's file says, or a TOML file beside it, of how to use it: preprocessing, labels, meaning of outputs.
//!
//! Metadata keys are `pellucid.preprocessing`, `pellucid.labels` and `pellucid.outputs`, in JSON; `resnet.toml` beside
//! `resnet.onnx` has the same names and wins: the labels, an output's entry, an input's table, each as a whole.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::attribution::Unit;
use crate::error::Error;
use crate::file;
use crate::labels::Labels;
use crate::preprocessing::ImageInput;

/// Largest TOML file, in bytes; it may hold a million labels.
const LARGEST_FILE: u64 = 64 << 20;

/// What the numbers of an output mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Logits, probabilities or neither.
    pub meaning: Unit,
}

/// How to use a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Description {
    /// Image inputs, by input name.
    pub preprocessing: BTreeMap<String, ImageInput>,
    /// Names of classes.
    pub labels: Option<Arc<Labels>>,
    /// Outputs, by name.
    pub outputs: BTreeMap<String, Output>,
}

/// The TOML file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    preprocessing: BTreeMap<String, ImageInput>,
    labels: Option<FileLabels>,
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected the name of a file in the same folder, or a list of names")]
enum FileLabels {
    File(PathBuf),
    List(Vec<String>),
}

impl Description {
    /// Reads a model's metadata; `place` names the model in errors.
    pub fn from_metadata(place: &str, metadata: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut description = Self::default();
        if let Some(text) = metadata.get("pellucid.preprocessing") {
            description.preprocessing = json(&format!("{place}, metadata pellucid.preprocessing"), text)?;
        }
        if let Some(text) = metadata.get("pellucid.labels") {
            let labels = Labels::from_json(&format!("{place}, metadata pellucid.labels"), text)?;
            description.labels = Some(Arc::new(labels));
        }
        if let Some(text) = metadata.get("pellucid.outputs") {
            description.outputs = json(&format!("{place}, metadata pellucid.outputs"), text)?;
        }
        description.check(place)?;
        Ok(description)
    }

    /// The same as metadata of a model.
    ///
    /// # Panics
    /// Never: names and finite numbers can always be written as JSON.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::new();
        let mut put = |key: &str, text: Result<String, serde_json::Error>| {
            metadata.insert(key.to_owned(), text.expect("names and finite numbers can be written as JSON"));
        };
        if !self.preprocessing.is_empty() {
            put("pellucid.preprocessing", serde_json::to_string(&self.preprocessing));
        }
        if let Some(labels) = &self.labels {
            put("pellucid.labels", serde_json::to_string(&labels.iter().collect::<Vec<_>>()));
        }
        if !self.outputs.is_empty() {
            put("pellucid.outputs", serde_json::to_string(&self.outputs));
        }
        metadata
    }

    /// The TOML file that belongs to a model file: `resnet.toml` for `resnet.onnx`.
    pub fn path_for(model: &Path) -> PathBuf {
        model.with_extension("toml")
    }

    /// Reads the TOML file beside `model`, where there is one, over what is known already.
    pub fn read_beside(&mut self, model: &Path) -> Result<(), Error> {
        let path = Self::path_for(model);
        if path == model || !path.exists() {
            return Ok(());
        }
        self.read(&path)
    }

    /// Reads a TOML file over what is known already.
    pub fn read(&mut self, path: &Path) -> Result<(), Error> {
        let place = path.display().to_string();
        let bytes = file::read(path, LARGEST_FILE)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::description(&place, "expected text in UTF-8, found other bytes"))?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count()) + 1;
            Error::description(format!("{place}, line {line}"), error.message().trim().to_owned())
        })?;
        self.preprocessing.extend(file.preprocessing);
        self.outputs.extend(file.outputs);
        match file.labels {
            Some(FileLabels::List(labels)) => self.labels = Some(Arc::new(Labels::new(labels)?)),
            Some(FileLabels::File(name)) => {
                // A description that came with a model must not make other files readable.
                if !name.components().all(|part| matches!(part, Component::Normal(_))) {
                    return Err(Error::description(
                        place,
                        format!(
                            "labels: {:?} found, expected a file in the same folder",
                            name.display().to_string()
                        ),
                    ));
                }
                let folder =
                    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
                let labels = folder.join(&name);
                let inside = labels.canonicalize().ok().zip(folder.canonicalize().ok());
                if inside.is_some_and(|(labels, folder)| !labels.starts_with(folder)) {
                    let problem = format!(
                        "labels: {:?} leads out of the folder, expected a file in it",
                        name.display().to_string()
                    );
                    return Err(Error::description(place, problem));
                }
                self.labels = Some(Arc::new(Labels::read(&labels)?));
            }
            None => {}
        }
        self.check(&place)
    }

    fn check(&self, place: &str) -> Result<(), Error> {
        for (name, image) in &self.preprocessing {
            image.check(&format!("{place}, preprocessing of {name:?}"))?;
        }
        Ok(())
    }
}

fn json<T: DeserializeOwned>(place: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::description(place, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREPROCESSING: &str = r#"{"image": {"layout":"NCHW","color":"RGB","resize":{"shorter_side":256,
        "interpolation":"bicubic","antialias":true},"crop":[224,224],"mean":[127,127,127],
        "scale":[0.0078125,0.0078125,0.0078125]}}"#;

    fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn metadata_come_and_go_unchanged() {
        let metadata = metadata(&[
            ("pellucid.preprocessing", PREPROCESSING),
            ("pellucid.labels", r#"["tench","goldfish"]"#),
            ("pellucid.outputs", r#"{"logits":{"meaning":"logit"}}"#),
            ("author", "somebody"),
        ]);
        let description = Description::from_metadata("m.onnx", &metadata).unwrap();
        assert_eq!(description.preprocessing["image"].crop, Some([224, 224]));
        assert_eq!(description.labels.as_ref().unwrap().get(1), Some("goldfish"));
        assert_eq!(description.outputs["logits"].meaning, Unit::Logit);
        let again = Description::from_metadata("m.onnx", &description.to_metadata()).unwrap();
        assert_eq!(again, description);
    }

    #[test]
    fn wrong_metadata_are_told() {
        for (key, text, message) in [
            (
                "pellucid.preprocessing",
                r#"{"x":{"colour":"RGB"}}"#,
                "m.onnx, metadata pellucid.preprocessing: unknown field `colour`, expected one of `layout`, \
                 `color`, `resize`, `crop`, `range`, `mean`, `scale`, `std` at line 1 column 14",
            ),
            (
                "pellucid.preprocessing",
                r#"{"x":{"mean":"0"}}"#,
                "m.onnx, metadata pellucid.preprocessing: expected a number, or a list with one number a channel \
                 at line 1 column 17",
            ),
            (
                "pellucid.preprocessing",
                r#"{"x":{"crop":[0, 1]}}"#,
                "m.onnx, preprocessing of \"x\": crop: 0 found, expected 1 to 8192 pixels",
            ),
            (
                "pellucid.labels",
                "[",
                "m.onnx, metadata pellucid.labels: labels are not valid JSON: EOF while parsing a list at line 1 \
                 column 1",
            ),
            (
                "pellucid.outputs",
                r#"{"y":{"meaning":"logits"}}"#,
                "m.onnx, metadata pellucid.outputs: unknown variant `logits`, expected one of `logit`, \
                 `probability`, `raw` at line 1 column 24",
            ),
        ] {
            let error = Description::from_metadata("m.onnx", &metadata(&[(key, text)])).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn the_file_beside_the_model_wins() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("resnet.onnx");
        let toml = folder.path().join("resnet.toml");
        let mut description =
            Description::from_metadata("m", &metadata(&[("pellucid.preprocessing", PREPROCESSING)])).unwrap();
        description.read_beside(&model).unwrap();
        assert_eq!(description.preprocessing["image"].crop, Some([224, 224]));
        let text = "labels = \"names.txt\"\n[preprocessing.image]\ncrop = [32, 32]\n[outputs.y]\nmeaning = \"raw\"\n";
        std::fs::write(&toml, text).unwrap();
        std::fs::write(folder.path().join("names.txt"), "a\nb\n").unwrap();
        description.read_beside(&model).unwrap();
        assert_eq!(description.preprocessing["image"].crop, Some([32, 32]));
        assert_eq!(description.preprocessing["image"].resize, None);
        assert_eq!(description.labels.as_ref().unwrap().len(), 2);
        assert_eq!(description.outputs["y"].meaning, Unit::Raw);
    }

    #[test]
    fn a_wrong_file_is_told_by_line_and_never_reads_another_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.toml");
        let told = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = Description::default().read(&path).unwrap_err().to_string();
            error.replace(&path.display().to_string(), "m.toml")
        };
        assert_eq!(
            told("labels = \"../secret\""),
            "m.toml: labels: \"../secret\" found, expected a file in the same folder"
        );
        assert_eq!(
            told("labels = \"/etc/passwd\""),
            "m.toml: labels: \"/etc/passwd\" found, expected a file in the same folder"
        );
        #[cfg(unix)]
        {
            let elsewhere = tempfile::tempdir().unwrap();
            std::fs::write(elsewhere.path().join("secret"), "a\nb\n").unwrap();
            std::os::unix::fs::symlink(elsewhere.path().join("secret"), folder.path().join("link.txt"))
                .unwrap();
            assert_eq!(
                told("labels = \"link.txt\""),
                "m.toml: labels: \"link.txt\" leads out of the folder, expected a file in it"
            );
        }
        let error = told("\n[preprocessing.x]\nsize = 3\n");
        assert!(
            error.starts_with("m.toml, line 3: unknown field `size`, expected one of `layout`"),
            "{error}"
        );
        assert!(told("a = = 1").starts_with("m.toml, line 1: "));
    }
}
