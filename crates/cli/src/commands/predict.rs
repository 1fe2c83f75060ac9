//! `pellucid predict`.

use std::process::ExitCode;

use pellucid::render::{json, terminal};
use pellucid::{Error, Format, Outputs};

use super::{limits, open};
use crate::arguments::Predict;
use crate::console::{Console, print, style};

pub(crate) fn run(arguments: &Predict) -> Result<ExitCode, Error> {
    let mut read = arguments.inputs.clone();
    read.push(arguments.model.clone());
    let outputs = Outputs::new(&arguments.output, Format::OF_PREDICTIONS, &read)?;
    let model = open(&arguments.model, &arguments.describing)?;
    let score = arguments.describing.score.as_deref();
    let limits = limits(&arguments.running);
    if let Some(files) = model.row_files(&arguments.inputs)?
        && outputs.stream(files.len(), files.bytes())?
    {
        let console = Console::by_rows();
        let result = pellucid::predict_files(&model, &files, score, &limits, &outputs, &console);
        console.finish();
        let streamed = result?;
        if arguments.json {
            print(&format!("{:#}", json::streamed_prediction(model.name(), &streamed)));
            return Ok(ExitCode::SUCCESS);
        }
        print(&terminal::streamed_prediction(&streamed, style()));
        for path in streamed.written {
            print(&format!("wrote {}", path.display()));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let inputs = model.read(&arguments.inputs)?;
    let console = Console::new();
    let result = pellucid::predict(&model, &inputs, score, &limits, &console);
    console.finish();
    let prediction = result?;
    let names: Vec<&str> = inputs.rows().iter().map(|row| row.name.as_str()).collect();
    let written = outputs.write_prediction(model.name(), &prediction, &names)?;
    if arguments.json {
        print(&format!("{:#}", json::prediction(model.name(), &prediction, &names, json::Values::Whole)));
        return Ok(ExitCode::SUCCESS);
    }
    print(&terminal::prediction(&prediction, &names, style()));
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}
