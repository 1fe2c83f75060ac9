//! Summaries and differences between models as files.

use std::path::PathBuf;

use serde::Serialize;

use super::{Destination, Format, Outputs, pretty_text, refused, write_whole};
use crate::error::Error;
use crate::render::summary::{self as render, Plot};
use crate::summary::{Difference, Summary};

impl Outputs {
    /// Writes a summary to every output; a folder gets every plot as PNG and SVG. Returns the files written.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn write_summary(&self, summary: &Summary) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for destination in &self.0 {
            match destination {
                Destination::File(path, format) => {
                    let bytes = match format {
                        Format::Html => render::html(summary)?,
                        Format::Svg => render::svg(summary)?,
                        Format::Json => summary.to_json()?.into_bytes(),
                        _ => render::png(summary)?,
                    };
                    files.push((path.clone(), bytes));
                }
                Destination::Folder(folder) => {
                    for plot in Plot::ALL {
                        for (ending, bytes) in [("png", plot.png(summary)?), ("svg", plot.svg(summary)?)] {
                            let path = folder.join(format!("{}.{ending}", plot.name()));
                            files.extend(bytes.map(|bytes| (path, bytes)));
                        }
                    }
                }
            }
        }
        write_whole(&files)
    }

    /// Writes a difference between two models to every output; returns the files written.
    ///
    /// # Errors
    /// Folders; files that cannot be written.
    pub fn write_difference(&self, difference: &Difference) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for destination in &self.0 {
            let (path, format) = match destination {
                Destination::File(path, format) => (path, format),
                Destination::Folder(folder) => {
                    let problem = "a difference is one file; name one ending in .html, .json, .png or .svg";
                    return Err(refused(folder, problem));
                }
            };
            let bytes = match format {
                Format::Html => render::difference_html(difference)?,
                Format::Svg => render::difference_svg(difference)?,
                Format::Json => difference.to_json()?.into_bytes(),
                _ => render::difference_png(difference)?,
            };
            files.push((path.clone(), bytes));
        }
        write_whole(&files)
    }
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    let value = serde_json::to_value(value).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(pretty_text(&value))
}

impl Summary {
    /// Everything but the filters as JSON that people can read.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn to_json(&self) -> Result<String, Error> {
        json(self)
    }
}

impl Difference {
    /// Everything as JSON that people can read.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn to_json(&self) -> Result<String, Error> {
        json(self)
    }
}
