//! Whole processes: from the start of a program to the heatmap it wrote.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::contestant::Places;
use crate::error::Error;

/// Runs a program to its end and gives its seconds.
pub(crate) fn timed(command: &mut Command) -> Result<f64, Error> {
    let program = format!("{command:?}");
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().map_err(|source| Error::Start {
        program: program.clone(),
        source,
        hint: "is it built or installed? bench/README.md says how",
    })?;
    let seconds = start.elapsed().as_secs_f64();
    if output.status.success() {
        return Ok(seconds);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Contestant { name: program, problem: said })
}

/// The programs that write a heatmap of a photograph.
pub(crate) struct Heatmap<'a> {
    pub(crate) places: &'a Places<'a>,
    pub(crate) pellucid: &'a Path,
    pub(crate) network: &'a str,
    pub(crate) method: &'a str,
}

impl Heatmap<'_> {
    fn photograph(&self) -> PathBuf {
        self.places.bench.join("../crates/assets/photographs/chelsea.png")
    }

    /// `pellucid explain`.
    pub(crate) fn ours(&self, engine: &str) -> Result<f64, Error> {
        let heat = self.places.folder.join("ours.png");
        let mut command = Command::new(self.pellucid);
        command.arg("explain").arg(self.places.folder.join(format!("{}.onnx", self.network)));
        command.arg(self.photograph()).args(["--method", self.method, "--engine", engine]);
        if self.method == "integrated-gradients" {
            command.args(["--set", "quadrature=gauss-legendre", "--set", "steps=50"]);
        }
        command.args(["--threads", &self.places.threads.to_string()]).arg("-o").arg(&heat);
        written(&heat, || timed(&mut command))
    }

    /// `heatmap.py`.
    pub(crate) fn theirs(&self) -> Result<f64, Error> {
        let heat = self.places.folder.join("theirs.png");
        let mut command = self.places.python("heatmap.py");
        command.arg(self.places.folder).args([self.network, self.method]).arg(self.photograph()).arg(&heat);
        written(&heat, || timed(&mut command))
    }
}

/// Sees to it that a picture was written by this very run.
fn written(heat: &Path, run: impl FnOnce() -> Result<f64, Error>) -> Result<f64, Error> {
    if heat.exists() {
        std::fs::remove_file(heat).map_err(Error::file(heat))?;
    }
    let seconds = run()?;
    let bytes = std::fs::read(heat).map_err(Error::file(heat))?;
    if bytes.starts_with(b"\x89PNG") {
        return Ok(seconds);
    }
    Err(Error::Array { path: heat.to_owned(), problem: "it is no PNG file".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_writes_nothing_loses() {
        let folder = tempfile::tempdir().unwrap();
        let heat = folder.path().join("heat.png");
        std::fs::write(&heat, b"\x89PNG of yesterday").unwrap();
        assert!(written(&heat, || Ok(1.0)).is_err());
        let again = heat.clone();
        let run = move || {
            std::fs::write(again, b"\x89PNG").unwrap();
            Ok(1.0)
        };
        assert!((written(&heat, run).unwrap() - 1.0).abs() < f64::EPSILON);
    }
}
