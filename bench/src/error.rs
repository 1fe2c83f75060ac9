//! What can go wrong in a race.

use std::path::PathBuf;

/// An error that ends the race.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    /// A program could not be started.
    #[error("{program}: cannot be started: {source}; {hint}")]
    Start { program: String, source: std::io::Error, hint: &'static str },
    /// A contestant ended, or said something else than an answer.
    #[error("{name}: {problem}")]
    Contestant { name: String, problem: String },
    /// The two sides do not compute the same.
    #[error("the race is void: {0}")]
    Disagreement(String),
    /// The library refused.
    #[error(transparent)]
    Pellucid(#[from] pellucid::Error),
    /// An array does not have the expected form.
    #[error("{path}: {problem}")]
    Array { path: PathBuf, problem: String },
    /// An option makes no sense.
    #[error("{0}")]
    Option(String),
}

impl Error {
    /// The error of a file, for `map_err`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
