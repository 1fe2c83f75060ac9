//! `steps.csv`: what each step came to, a line a step.
//!
//! Lines are appended, and brought to the disk before each checkpoint. A run that goes on cuts off what was written behind
//! its checkpoint, so that the file is that of a run which never stopped.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use pellucid::Error;

/// A line a step.
pub(crate) const STEPS: &str = "steps.csv";

const HEADER: &str = "step,learning_rate,loss,gradient_norm\n";

/// Longest line that is one of ours, in bytes.
const LONGEST_LINE: usize = 256;

/// The file, open behind the last step that counts.
pub(crate) struct Steps {
    path: PathBuf,
    file: File,
}

impl Steps {
    /// Opens the file of a run that has done `done` steps, and cuts off everything behind them.
    ///
    /// # Errors
    /// A file that cannot be made, read or cut.
    pub(crate) fn open(folder: &Path, done: u64) -> Result<Self, Error> {
        let path = folder.join(STEPS);
        let file = opened(&path, done).map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(Self { path, file })
    }

    /// Adds a step: its number from 1, the learning rate, the mean loss of its rows before it, the norm of all derivatives.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn add(&mut self, step: u64, rate: f64, loss: f64, norm: f64) -> Result<(), Error> {
        let line = format!("{step},{rate:.9e},{loss:.9e},{norm:.9e}\n");
        self.file.write_all(line.as_bytes()).map_err(|source| self.failed(source))
    }

    /// Brings all lines to the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}

fn opened(path: &Path, done: u64) -> std::io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let kept = kept(&mut BufReader::new(&file), done)?;
    file.set_len(kept)?;
    file.seek(SeekFrom::Start(kept))?;
    if kept == 0 {
        file.write_all(HEADER.as_bytes())?;
    }
    Ok(file)
}

/// Bytes of the header and of the whole lines of the first `done` steps; 0 where the header is another.
fn kept(reader: &mut impl BufRead, done: u64) -> std::io::Result<u64> {
    let mut kept = 0;
    let mut line = Vec::new();
    for number in 0..=done {
        line.clear();
        let most = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        let read = std::io::Read::take(&mut *reader, most).read_until(b'\n', &mut line)?;
        let ours = match number {
            0 => line == HEADER.as_bytes(),
            step => line.ends_with(b"\n") && line.starts_with(format!("{step},").as_bytes()),
        };
        if !ours {
            break;
        }
        kept += u64::try_from(read).unwrap_or_default();
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path) -> String {
        std::fs::read_to_string(folder.join(STEPS)).unwrap()
    }

    #[test]
    fn what_lies_behind_a_checkpoint_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut steps = Steps::open(folder.path(), 0).unwrap();
        for step in 1..=12 {
            steps.add(step, 0.1, 2.0 / f64::from(u32::try_from(step).unwrap()), 1.0).unwrap();
        }
        steps.sync().unwrap();
        drop(steps);
        let whole = written(folder.path());
        assert_eq!(whole.lines().nth(4), Some("4,1.000000000e-1,5.000000000e-1,1.000000000e0"));
        let cut: String = whole.split_inclusive('\n').take(11).collect();
        drop(Steps::open(folder.path(), 10).unwrap());
        assert_eq!(written(folder.path()), cut);
        // A line that a killed run left unfinished goes; what was lost stays lost.
        std::fs::write(folder.path().join(STEPS), &cut[..cut.len() - 5]).unwrap();
        drop(Steps::open(folder.path(), 10).unwrap());
        assert_eq!(written(folder.path()), whole.split_inclusive('\n').take(10).collect::<String>());
    }

    #[test]
    fn a_file_of_something_else_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(STEPS), vec![b'1'; 1 << 20]).unwrap();
        drop(Steps::open(folder.path(), 100).unwrap());
        assert_eq!(written(folder.path()), HEADER);
    }
}
