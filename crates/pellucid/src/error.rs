//! The errors of the library: one sentence each, saying where, what was found, what was expected and what to do.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use pellucid_compile::suggest;

/// Why something was refused or failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: cannot be read: {}", path.display(), describe(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{}: cannot be written: {}", path.display(), describe(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A model file is not one that can be used.
    #[error("{place}: {problem}")]
    Model {
        /// The file.
        place: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The description of a model's inputs, outputs or labels is wrong.
    #[error("{place}: {problem}")]
    Description {
        /// The file or metadata key.
        place: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// An input cannot be used.
    #[error("{place}: {problem}")]
    Input {
        /// The file, and the row or key in it.
        place: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A photograph was given to a model that does not say how its images are prepared.
    #[error("{0}")]
    NoPreprocessing(String),
    /// A name that does not exist.
    #[error("{}", unknown(kind, found, valid))]
    Unknown {
        /// What it should have named: `method`, `label`, `layer` …
        kind: &'static str,
        /// The name.
        found: String,
        /// Every name that exists.
        valid: Vec<String>,
    },
    /// A setting or a combination of settings that has no meaning.
    #[error("{name}: {problem}")]
    Setting {
        /// The setting.
        name: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// An output cannot be written as asked.
    #[error("{}: {problem}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// The method cannot be compiled for the model.
    #[error(transparent)]
    Compile(#[from] pellucid_compile::CompileError),
    /// The engine cannot run the model, or not on these inputs.
    #[error(transparent)]
    Runtime(#[from] pellucid_runtime::RuntimeError),
    /// A graph that contradicts itself.
    #[error(transparent)]
    Graph(#[from] pellucid_graph::GraphError),
    /// The caller ended the run.
    #[error("cancelled: nothing was written")]
    Cancelled,
    /// The caller ended a run that can be gone on with.
    #[error("stopped: what was done is kept")]
    Stopped,
    /// Something that should never happen.
    #[error("{0}; this is a defect of pellucid, please report it")]
    Internal(String),
}

impl Error {
    /// Whether the caller can mend it: a bad file, name or setting. `false` means that pellucid or the machine failed.
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Internal(_) => false,
            Self::Compile(error) => error.is_user_error(),
            Self::Runtime(error) => error.is_user_error(),
            // A missing or forbidden file is the caller's; a full disk is not.
            Self::Write { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::ReadOnlyFilesystem
            ),
            _ => true,
        }
    }

    pub(crate) fn input(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Input { place: place.into(), problem: problem.into() }
    }

    pub(crate) fn description(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Description { place: place.into(), problem: problem.into() }
    }
}

/// The operating system's words, in the style of ours.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission is denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

/// Lists longer than this are not printed whole.
const LISTED: usize = 24;

fn unknown(kind: &str, found: &str, valid: &[String]) -> String {
    let mut message = format!("there is no {kind} {found:?}");
    let near = suggest::nearest(found, valid.iter().map(String::as_str));
    if let Some(near) = near {
        let _ = write!(message, "; did you mean {near:?}?");
    }
    if valid.is_empty() {
        let _ = write!(message, "; there are no {kind}s to choose from");
    } else if valid.len() <= LISTED {
        let _ =
            write!(message, "; there {} {}", if valid.len() == 1 { "is" } else { "are" }, valid.join(", "));
    } else if near.is_none() {
        let first: Vec<&str> = valid.iter().take(5).map(String::as_str).collect();
        let _ = write!(message, "; there are {} of them: {} …", valid.len(), first.join(", "));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &'static str, found: &str, valid: &[&str]) -> String {
        let valid = valid.iter().map(|name| (*name).to_owned()).collect();
        Error::Unknown { kind, found: found.to_owned(), valid }.to_string()
    }

    #[test]
    fn unknown_names_come_with_the_nearest_and_the_list() {
        assert_eq!(
            of("method", "gradcam", &["gradient", "grad-cam"]),
            r#"there is no method "gradcam"; did you mean "grad-cam"?; there are gradient, grad-cam"#
        );
        assert_eq!(of("method", "zebra", &["gradient"]), r#"there is no method "zebra"; there is gradient"#);
        assert_eq!(of("label", "cat", &[]), r#"there is no label "cat"; there are no labels to choose from"#);
        let many: Vec<String> = (0..100).map(|index| format!("class {index}")).collect();
        let error = Error::Unknown { kind: "label", found: "wolf".into(), valid: many };
        assert_eq!(
            error.to_string(),
            r#"there is no label "wolf"; there are 100 of them: class 0, class 1, class 2, class 3, class 4 …"#
        );
    }

    #[test]
    fn a_full_disk_is_not_the_users_error_but_a_missing_file_is() {
        let write = |kind: io::ErrorKind| Error::Write { path: "a.png".into(), source: kind.into() };
        assert!(!write(io::ErrorKind::StorageFull).is_user_error());
        assert!(write(io::ErrorKind::NotFound).is_user_error());
        assert!(!Error::Internal("no output".into()).is_user_error());
        assert_eq!(
            write(io::ErrorKind::NotFound).to_string(),
            "a.png: cannot be written: there is no such file"
        );
    }
}
