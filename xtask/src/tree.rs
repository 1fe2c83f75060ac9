//! The repository's files, in memory, so that a rule can be tried on files made up by its test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Its text, where it is text.
    pub(crate) text: Option<String>,
}

/// Files by their path from the repository's root, `/` between parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

impl Tree {
    /// Reads every file below `root` but build output, environments and hidden folders other than `.ci` and `.cargo`.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.enter(root, "")?;
        Ok(tree)
    }

    fn enter(&mut self, folder: &Path, prefix: &str) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(folder).map_err(told)? {
            let entry = entry.map_err(told)?;
            let kind = entry.file_type().map_err(told)?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(format!("{}: a file's name is not UTF-8", folder.display()));
            };
            let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
            if hidden
                || ["target", "__pycache__", "node_modules", "corpus", "artifacts"].contains(&name.as_str())
            {
                continue;
            }
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                self.enter(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).map_err(|error| format!("{path}: {error}"))?;
                let size = bytes.len().try_into().unwrap_or(u64::MAX);
                self.files.insert(path, File { size, text: String::from_utf8(bytes).ok() });
            }
        }
        Ok(())
    }

    /// A tree of the given texts.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |text: &str| File { size: text.len() as u64, text: Some(text.to_owned()) };
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect() }
    }

    /// The same tree with a file of `size` bytes that is no text.
    #[cfg(test)]
    pub(crate) fn with_binary(mut self, path: &str, size: u64) -> Self {
        self.files.insert(path.to_owned(), File { size, text: None });
        self
    }

    /// Every path and file, sorted.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// Every path and text, sorted.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter_map(|(path, file)| Some((path, file.text.as_deref()?)))
    }

    /// Every Rust file.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| ends_with(path, &["rs"]))
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.text.as_deref()
    }

    /// Whether there is a file or folder of that path.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&folder))
    }
}

/// Whether a path has one of these endings.
pub(crate) fn ends_with(path: &str, endings: &[&str]) -> bool {
    Path::new(path).extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted))
}

/// The folder of a path, without a slash at its end; empty for the root.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
