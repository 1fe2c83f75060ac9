//! A process that computes what it is asked, one JSON command a line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::error::Error;

/// One side of the race in a process of its own.
pub(crate) struct Contestant {
    pub(crate) name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// Pellucid on an engine.
    Ours { engine: String },
    /// Captum on PyTorch, its tensors in a layout.
    Theirs { layout: &'static str },
}

/// The two layouts of PyTorch's tensors, of which the faster is raced.
pub(crate) const LAYOUTS: [&str; 2] = ["channels first", "channels last"];

impl Side {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Ours { engine } => engine.clone(),
            Self::Theirs { layout } => format!("PyTorch, {layout}"),
        }
    }
}

/// Where programs and files are.
#[derive(Debug, Clone)]
pub(crate) struct Places<'a> {
    pub(crate) python: &'a Path,
    pub(crate) bench: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) threads: usize,
}

impl Places<'_> {
    /// A command of Python, with as many threads as may be used.
    pub(crate) fn python(&self, script: &str) -> Command {
        let mut command = Command::new(self.python);
        command.arg("-W").arg("ignore").arg(self.bench.join(script));
        command.env("OMP_NUM_THREADS", self.threads.to_string());
        command.env("MKL_NUM_THREADS", self.threads.to_string());
        command
    }
}

impl Contestant {
    /// Starts a side and has it load `network`.
    pub(crate) fn start(side: &Side, places: &Places<'_>, network: &str) -> Result<Self, Error> {
        let mut command = match side {
            Side::Ours { engine } => {
                let program = std::env::current_exe().map_err(Error::file("this program"))?;
                let mut command = Command::new(program);
                command.arg("worker").arg(places.folder).arg(engine);
                command
            }
            Side::Theirs { .. } => {
                let mut command = places.python("rival.py");
                command.arg(places.folder);
                command
            }
        };
        let hint = "give --python, with the packages of bench/requirements.txt";
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Start { program: format!("{command:?}"), source, hint })?;
        let name = side.name();
        let lost =
            |what| Error::Contestant { name: name.clone(), problem: format!("it has no standard {what}") };
        let input = child.stdin.take().ok_or_else(|| lost("input"))?;
        let output = BufReader::new(child.stdout.take().ok_or_else(|| lost("output"))?);
        let mut contestant = Self { name, child, input: Some(input), output };
        let mut load = json!({"do": "load", "model": network, "threads": places.threads});
        if let Side::Theirs { layout } = side {
            load["layout"] = json!(layout);
        }
        contestant.ask(&load)?;
        Ok(contestant)
    }

    /// Sends a command and waits for its answer.
    pub(crate) fn ask(&mut self, command: &Value) -> Result<Value, Error> {
        let failed = |problem: String| Error::Contestant { name: self.name.clone(), problem };
        let Some(input) = &mut self.input else { return Err(failed("it has been stopped".to_owned())) };
        writeln!(input, "{command}")
            .and_then(|()| input.flush())
            .map_err(|error| failed(error.to_string()))?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| failed(error.to_string()))?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| failed(format!("no answer to {command}: {error} in {line:?}")))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(failed(format!("{command}: {error}"))),
            None => Ok(answer),
        }
    }

    /// A number of an answer.
    pub(crate) fn number(&self, answer: &Value, key: &str) -> Result<f64, Error> {
        answer.get(key).and_then(Value::as_f64).ok_or_else(|| Error::Contestant {
            name: self.name.clone(),
            problem: format!("its answer has no number {key:?}: {answer}"),
        })
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
