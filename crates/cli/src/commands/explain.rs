//! `pellucid explain`.

use std::process::ExitCode;

use pellucid::render::{json, terminal};
use pellucid::{Baseline, Error, Explanation, Format, Inputs, Model, Options, Outputs, RowFiles};

use super::{baseline, limits, open, targets};
use crate::arguments::{Choosing, Explain};
use crate::console::{Console, print, style};

pub(crate) fn run(arguments: &Explain) -> Result<ExitCode, Error> {
    let mut read = arguments.inputs.clone();
    read.push(arguments.model.clone());
    let outputs = Outputs::new(&arguments.output, Format::OF_EXPLANATIONS, &read)?;
    let model = open(&arguments.model, &arguments.describing)?;
    let options = Options {
        targets: arguments.target.as_ref().map_or_else(Vec::new, |text| targets(&model, text)),
        baseline: baseline(&arguments.baseline),
        background: arguments.background.clone().map(Baseline::File),
        score: arguments.describing.score.clone(),
        seed: arguments.seed,
        limits: limits(&arguments.running),
        ..chosen(&arguments.choosing)
    };
    options.check(&model)?;
    let command = command();
    if let Some(files) = model.row_files(&arguments.inputs)?
        && outputs.stream(files.len(), files.bytes())?
    {
        return streamed(&model, &files, &options, &outputs, (command, arguments.json));
    }
    let inputs = model.read(&arguments.inputs)?;
    outputs.check_rows(inputs.len())?;
    let explanation = explained(&model, inputs, &options, command)?;
    if arguments.json {
        print(&format!("{:#}", json::explanation(&explanation, json::Values::Left)));
        outputs.write_explanation(&explanation)?;
    } else {
        tell(&explanation, &outputs)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains and writes some rows at a time.
fn streamed(
    model: &Model,
    files: &RowFiles,
    options: &Options,
    outputs: &Outputs,
    (command, as_json): (String, bool),
) -> Result<ExitCode, Error> {
    let console = Console::by_rows();
    let result = pellucid::explain_files(model, files, options, outputs, &console);
    console.finish();
    let mut streamed = result?;
    streamed.first.command = command;
    if as_json {
        print(&format!("{:#}", json::streamed(&streamed)));
        return Ok(ExitCode::SUCCESS);
    }
    print(&terminal::streamed(&streamed, style()));
    for path in streamed.written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The method's part of the options.
pub(super) fn chosen(choosing: &Choosing) -> Options {
    Options {
        settings: choosing.set.clone(),
        layer: choosing.layer.clone(),
        neuron: choosing.neuron.clone(),
        ..Options::new(&choosing.method)
    }
}

/// Runs with a progress bar.
pub(super) fn explained(
    model: &Model,
    inputs: Inputs,
    options: &Options,
    command: String,
) -> Result<Explanation, Error> {
    let console = Console::new();
    let result = pellucid::explain(model, inputs, options, &console);
    console.finish();
    let mut explanation = result?;
    explanation.command = command;
    Ok(explanation)
}

/// Prints an explanation and writes its files.
pub(super) fn tell(explanation: &Explanation, outputs: &Outputs) -> Result<(), Error> {
    let written = outputs.write_explanation(explanation)?;
    print(&terminal::explanation(explanation, style()));
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// The command line that was given, quoted for a shell.
pub(super) fn command() -> String {
    let words: Vec<String> = std::iter::once("pellucid".to_owned())
        .chain(std::env::args().skip(1).map(|word| quoted(&word)))
        .collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
