//! `pellucid verify`.

use std::process::ExitCode;

use pellucid::{Error, Limits, verify};

use super::open;
use crate::arguments::Verify;
use crate::console::{Console, print};

pub(crate) fn run(arguments: &Verify) -> Result<ExitCode, Error> {
    let model = open(&arguments.model, &arguments.describing)?;
    let inputs = if arguments.inputs.is_empty() { None } else { Some(model.read(&arguments.inputs)?) };
    let options = pellucid::Verify {
        limits: Limits {
            threads: arguments.threads.map(usize::from),
            memory: arguments.memory,
            ..Limits::default()
        },
        engines: arguments.engine.clone(),
        score: arguments.describing.score.clone(),
        seed: arguments.seed,
    };
    let console = Console::new();
    let result = verify(&model, inputs, &options, &console);
    console.finish();
    let found = result?;
    if arguments.json {
        print(&format!("{:#}", found.to_json()));
    } else {
        print(&found.to_string());
    }
    Ok(if found.agree { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
