//! `pellucid explain`.

use std::process::ExitCode;

use pellucid::render::{json, terminal};
use pellucid::{Error, Explanation, Format, Inputs, Model, Options, Outputs};

use super::{baseline, limits, open, targets};
use crate::arguments::{Choosing, Explain};
use crate::console::{Console, print, style};

pub(crate) fn run(arguments: &Explain) -> Result<ExitCode, Error> {
    let mut read = arguments.inputs.clone();
    read.push(arguments.model.clone());
    let outputs = Outputs::new(&arguments.output, Format::OF_EXPLANATIONS, &read)?;
    let model = open(&arguments.model, &arguments.describing)?;
    let options = Options {
        targets: targets(&model, &arguments.target),
        baseline: baseline(&arguments.baseline),
        score: arguments.describing.score.clone(),
        seed: arguments.seed,
        limits: limits(&arguments.running),
        ..chosen(&arguments.choosing)
    };
    options.check(&model)?;
    let inputs = model.read(&arguments.inputs)?;
    outputs.check_rows(inputs.len())?;
    let command = command(arguments);
    let explanation = explained(&model, inputs, &options, command)?;
    if arguments.json {
        print(&format!("{:#}", json::explanation(&explanation, json::Values::Left)));
        outputs.write_explanation(&explanation)?;
    } else {
        tell(&explanation, &outputs)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The method's part of the options.
pub(super) fn chosen(choosing: &Choosing) -> Options {
    Options {
        settings: choosing.set.clone(),
        layer: choosing.layer.clone(),
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
fn command(_: &Explain) -> String {
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
