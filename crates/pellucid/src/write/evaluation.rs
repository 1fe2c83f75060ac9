//! Evaluations as files.

use std::path::PathBuf;

use super::{Destination, Format, Outputs, pretty_text, refused, write_whole};
use crate::error::Error;
use crate::evaluate::Evaluation;
use crate::render::evaluation as render;

impl Outputs {
    /// Writes an evaluation to every output; returns the files written.
    ///
    /// # Errors
    /// Folders; files that cannot be written.
    pub fn write_evaluation(&self, evaluation: &Evaluation) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for destination in &self.0 {
            let (path, format) = match destination {
                Destination::File(path, format) => (path, format),
                Destination::Folder(folder) => {
                    let problem = "an evaluation is one file; name one ending in .html, .json, .png or .svg";
                    return Err(refused(folder, problem));
                }
            };
            let bytes = match format {
                Format::Html => render::html(evaluation)?,
                Format::Svg => render::svg(evaluation)?,
                Format::Json => evaluation.to_json()?.into_bytes(),
                _ => render::png(evaluation)?,
            };
            files.push((path.clone(), bytes));
        }
        write_whole(&files)
    }
}

impl Evaluation {
    /// Everything but pictures as JSON that people can read.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn to_json(&self) -> Result<String, Error> {
        let value = serde_json::to_value(self).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(pretty_text(&value))
    }
}
