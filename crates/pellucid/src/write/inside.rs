//! Inspections, maps and strongest examples, written whole or not at all.

use std::path::PathBuf;

use super::{Destination, Format, Outputs, pretty, refused, write_whole};
use crate::error::Error;
use crate::inspect::Inspection;
use crate::render::{self, json};

impl Outputs {
    /// Writes an inspection to every output but those that were written while it was made; returns the files written,
    /// those among them.
    ///
    /// # Errors
    /// Folders; files that cannot be written.
    pub fn write_inspection(&self, inspection: &Inspection) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for destination in &self.0 {
            let (path, format) = match destination {
                Destination::File(path, format) => (path, format),
                Destination::Folder(folder) => {
                    return Err(refused(
                        folder,
                        "an inspection is one file; name one ending in .png, .svg, .npz or .json",
                    ));
                }
            };
            let bytes = match format {
                Format::Png => render::inspection_png(inspection)?,
                Format::Svg => render::inspection_svg(inspection)?,
                Format::Json => pretty(&json::inspection(inspection)?),
                _ => continue,
            };
            files.push((path.clone(), bytes));
        }
        let mut written = inspection.written.clone();
        written.extend(write_whole(&files)?);
        Ok(written)
    }

    /// Writes what is one picture, or JSON, to every output; returns the files written.
    ///
    /// # Errors
    /// Folders, and files of other kinds; files that cannot be written.
    pub fn write_picture(
        &self,
        png: impl Fn() -> Result<Vec<u8>, Error>,
        svg: impl Fn() -> Result<Vec<u8>, Error>,
        json: Option<&serde_json::Value>,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for destination in &self.0 {
            let bytes = match (destination, json) {
                (Destination::File(_, Format::Png), _) => png()?,
                (Destination::File(_, Format::Svg), _) => svg()?,
                (Destination::File(_, Format::Json), Some(value)) => pretty(value),
                (Destination::File(path, _) | Destination::Folder(path), _) => {
                    let problem = "it is one picture; name a file ending in .png or .svg";
                    return Err(refused(path, problem));
                }
            };
            if let Destination::File(path, _) = destination {
                files.push((path.clone(), bytes));
            }
        }
        write_whole(&files)
    }
}
