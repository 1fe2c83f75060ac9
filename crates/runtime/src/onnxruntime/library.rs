//! The onnxruntime library: where it is looked for, and loading it once a process.
//!
//! `ORT_DYLIB_PATH` names it; otherwise it is the one inside an installed Python package, found by looking at folders
//! alone: no Python runs.

use std::env;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::environment::Environment;

use crate::error::RuntimeError;

/// The oldest minor version of onnxruntime 1 that is used: the first that computes `Gelu`.
const OLDEST: u32 = 17;

/// Where onnxruntime may be.
#[derive(Debug, Default)]
struct Places {
    /// `ORT_DYLIB_PATH`.
    named: Option<PathBuf>,
    /// `VIRTUAL_ENV`.
    virtual_env: Option<PathBuf>,
    /// The folders of `PATH`.
    path: Vec<PathBuf>,
    /// Roots of `lib/python3.…`, or the folders of packages themselves, of the user and the system.
    roots: Vec<PathBuf>,
    /// Folders of plain libraries.
    libraries: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    /// Libraries, best first.
    libraries: Vec<PathBuf>,
    /// Places that were looked at, in words.
    looked: Vec<String>,
}

impl Places {
    fn of_this_process() -> Self {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let folder = |name: &str| variable(name).map(PathBuf::from);
        let mut roots = Vec::new();
        if let Some(base) = folder("PYTHONUSERBASE") {
            roots.push(base);
        }
        if let Some(home) = folder("HOME") {
            roots.push(home.join(".local"));
            roots.extend(entries(&home.join("Library/Python"), "3."));
        }
        if let Some(data) = folder("APPDATA") {
            roots.extend(entries(&data.join("Python"), "Python3"));
        }
        roots.extend(["/usr/local", "/usr", "/opt/homebrew"].map(PathBuf::from));
        let libraries = [
            "/usr/local/lib",
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/opt/onnxruntime/lib",
            "/opt/homebrew/lib",
        ];
        Self {
            named: folder("ORT_DYLIB_PATH"),
            virtual_env: folder("VIRTUAL_ENV"),
            path: env::split_paths(&variable("PATH").unwrap_or_default()).collect(),
            roots,
            libraries: libraries.map(PathBuf::from).into(),
        }
    }

    fn search(&self) -> Found {
        let mut found = Found::default();
        if let Some(named) = &self.named {
            found.looked.push(format!("ORT_DYLIB_PATH={}", named.display()));
            found.libraries.push(named.clone());
            return found;
        }
        found.looked.push("ORT_DYLIB_PATH (not set)".to_owned());
        let mut prefixes: Vec<PathBuf> = self.virtual_env.iter().cloned().collect();
        if let Some(python) = self.python() {
            prefixes.extend(prefixes_of(&python));
        }
        prefixes.extend(self.roots.iter().cloned());
        let mut packages: Vec<PathBuf> = prefixes.iter().flat_map(|prefix| package_folders(prefix)).collect();
        let mut seen = Vec::new();
        packages.retain(|folder| {
            let new = folder.is_dir() && !seen.contains(folder);
            if new {
                seen.push(folder.clone());
            }
            new
        });
        for folder in packages {
            found.looked.push(folder.display().to_string());
            found.libraries.extend(libraries_in(&folder.join("onnxruntime/capi")));
        }
        for folder in self.libraries.iter().filter(|folder| folder.is_dir()) {
            found.looked.push(folder.display().to_string());
            found.libraries.extend(libraries_in(folder));
        }
        found
    }

    /// The Python that a shell would run.
    fn python(&self) -> Option<PathBuf> {
        let names = if cfg!(windows) { &["python3.exe", "python.exe"][..] } else { &["python3", "python"] };
        names.iter().find_map(|name| {
            self.path.iter().map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
        })
    }
}

/// The folders that a Python's packages lie below: its virtual environment, the installation that this was made from,
/// and what its links lead to.
fn prefixes_of(python: &Path) -> Vec<PathBuf> {
    let mut prefixes = Vec::new();
    let prefix = |python: &Path| python.parent().and_then(Path::parent).map(Path::to_path_buf);
    if let Some(near) = prefix(python) {
        let settings = fs::read_to_string(near.join("pyvenv.cfg"));
        prefixes.push(near);
        if let Ok(settings) = settings {
            // A virtual environment: it sees the packages that it was made from only where it says so.
            if setting(&settings, "include-system-site-packages") == Some("true") {
                let home = setting(&settings, "home").map(PathBuf::from);
                prefixes.extend(home.and_then(|home| home.parent().map(Path::to_path_buf)));
            }
            return prefixes;
        }
    }
    if let Ok(resolved) = python.canonicalize() {
        prefixes.extend(prefix(&resolved));
    }
    // pyenv puts a script before every Python, and says in a file which version that runs.
    if let Some(root) = prefix(python).filter(|root| root.join("versions").is_dir()) {
        let version =
            env::var("PYENV_VERSION").ok().or_else(|| fs::read_to_string(root.join("version")).ok());
        for name in version.iter().flat_map(|names| names.split([':', '\n', ' '])).filter(|n| !n.is_empty()) {
            prefixes.push(root.join("versions").join(name));
        }
    }
    prefixes
}

/// The value of a key in `pyvenv.cfg`.
fn setting<'a>(settings: &'a str, key: &str) -> Option<&'a str> {
    settings.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// Folders that hold packages below a prefix.
fn package_folders(prefix: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for library in ["lib", "lib64"] {
        let library = prefix.join(library);
        for python in entries(&library, "python3") {
            folders.push(python.join("site-packages"));
            folders.push(python.join("dist-packages"));
        }
        folders.push(library.join("python/site-packages"));
    }
    folders.push(prefix.join("Lib/site-packages"));
    folders.push(prefix.join("site-packages"));
    folders
}

/// The entries of a folder whose name begins with `start`, the highest version first.
fn entries(folder: &Path, start: &str) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = listing
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse((version(path), path.clone())));
    found
}

/// The numbers in a file's name.
fn version(path: &Path) -> Vec<u64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The libraries of onnxruntime itself in a folder, the newest first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let (start, ending) = if cfg!(windows) {
        ("onnxruntime.", ".dll")
    } else if cfg!(target_os = "macos") {
        ("libonnxruntime.", ".dylib")
    } else {
        ("libonnxruntime.so", "")
    };
    entries(folder, start).into_iter().filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// The process's environment of onnxruntime; the library is loaded at the first call.
///
/// # Errors
/// [`RuntimeError::Library`] where there is none, or none that is new enough.
pub(super) fn environment() -> Result<&'static Environment, RuntimeError> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    ENVIRONMENT
        .get_or_init(|| start(&Places::of_this_process().search()))
        .as_ref()
        .map_err(|problem| RuntimeError::Library { problem: problem.clone() })
}

/// Loads the first library that can be used.
fn start(found: &Found) -> Result<Environment, String> {
    let mut problems = Vec::new();
    for path in &found.libraries {
        match usable(path).and_then(|()| load(path)) {
            Ok(environment) => return Ok(environment),
            Err(problem) => problems.push(problem),
        }
    }
    let looked = found.looked.join(", ");
    Err(match problems.len() {
        0 => format!("no library found; looked in {looked}"),
        _ => format!("{}; looked in {looked}", problems.join("; ")),
    })
}

/// Whether a library is onnxruntime, and new enough.
fn usable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    if !path.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    match catch_unwind(|| ort::util::probe(path)) {
        Ok(Some(minor)) if minor >= OLDEST => Ok(()),
        Ok(Some(minor)) => Err(format!("{shown} is version 1.{minor}, older than 1.{OLDEST}")),
        Ok(None) | Err(_) => Err(format!("{shown} cannot be loaded as onnxruntime 1")),
    }
}

fn load(path: &Path) -> Result<Environment, String> {
    let absolute = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    let loaded = catch_unwind(|| {
        let builder = ort::init_from(&absolute).map_err(|error| error.to_string())?;
        builder.with_name("pellucid").with_telemetry(false).build().map_err(|error| error.to_string())
    });
    loaded.unwrap_or_else(|_| Err(format!("{} failed while it was loaded", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"not a library").unwrap();
    }

    fn library(version: &str) -> String {
        if cfg!(windows) {
            "onnxruntime.dll".to_owned()
        } else if cfg!(target_os = "macos") {
            format!("libonnxruntime.{version}.dylib")
        } else {
            format!("libonnxruntime.so.{version}")
        }
    }

    #[test]
    fn what_is_named_is_all_that_is_looked_at() {
        let places = Places {
            named: Some(PathBuf::from("/nowhere/onnxruntime")),
            virtual_env: Some(PathBuf::from("/nowhere")),
            ..Places::default()
        };
        let found = places.search();
        assert_eq!(found.libraries, [PathBuf::from("/nowhere/onnxruntime")]);
        let error = start(&found).unwrap_err();
        assert_eq!(
            error,
            "/nowhere/onnxruntime is not a file; looked in ORT_DYLIB_PATH=/nowhere/onnxruntime"
        );
    }

    #[test]
    fn virtual_environments_and_the_newest_version_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let capi = |root: &str, python: &str| {
            folder.path().join(root).join("lib").join(python).join("site-packages/onnxruntime/capi")
        };
        for (root, python, version) in [
            ("venv", "python3.9", "1.9.0"),
            ("venv", "python3.11", "1.32.0"),
            ("user", "python3.12", "1.20.1"),
        ] {
            touch(&capi(root, python).join(library(version)));
            touch(&capi(root, python).join("libonnxruntime_providers_shared.so"));
        }
        let places = Places {
            virtual_env: Some(folder.path().join("venv")),
            roots: vec![folder.path().join("user")],
            ..Places::default()
        };
        let found = places.search();
        let expected = [
            ("venv", "python3.11", "1.32.0"),
            ("venv", "python3.9", "1.9.0"),
            ("user", "python3.12", "1.20.1"),
        ]
        .map(|(root, python, version)| capi(root, python).join(library(version)));
        assert_eq!(found.libraries, expected);
        // Files that are no libraries are errors, not the end of the program.
        let error = start(&found).unwrap_err();
        assert!(error.contains("cannot be loaded as onnxruntime 1"), "{error}");
        assert!(error.contains("looked in ORT_DYLIB_PATH (not set)"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn the_python_on_the_path_leads_to_its_packages() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        // A virtual environment that sees the packages of the installation it was made from.
        touch(&base.join("real/bin/python3.11"));
        touch(&base.join("real/lib/python3.11/site-packages/onnxruntime/capi").join(library("1.18.0")));
        touch(&base.join("venv/bin/activate"));
        std::os::unix::fs::symlink(base.join("real/bin/python3.11"), base.join("venv/bin/python3")).unwrap();
        let places = Places { path: vec![base.join("venv/bin")], ..Places::default() };
        let of_link = places.search().libraries;
        assert_eq!(
            of_link,
            [base.join("real/lib/python3.11/site-packages/onnxruntime/capi").join(library("1.18.0"))]
        );
        let settings = |system: &str| {
            format!("home = {}\ninclude-system-site-packages = {system}\n", base.join("real/bin").display())
        };
        fs::write(base.join("venv/pyvenv.cfg"), settings("false")).unwrap();
        assert!(places.search().libraries.is_empty());
        fs::write(base.join("venv/pyvenv.cfg"), settings("true")).unwrap();
        assert_eq!(places.search().libraries, of_link);
    }

    #[test]
    fn versions_are_numbers() {
        let mut names = ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.32.0"].map(PathBuf::from);
        names.sort_by_key(|path| std::cmp::Reverse(version(path)));
        assert_eq!(names[0], PathBuf::from("libonnxruntime.so.1.32.0"));
    }
}
