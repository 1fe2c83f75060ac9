//! `pellucid new`.

use std::process::ExitCode;

use pellucid::Error;
use pellucid_train::new::{Design, write};

use crate::arguments::New;
use crate::console::print;

pub(crate) fn run(arguments: &New) -> Result<ExitCode, Error> {
    let path = &arguments.output;
    let none: [&std::path::Path; 0] = [];
    pellucid::write::check_file(path, &none)?;
    let design = Design {
        family: arguments.family.clone(),
        input: arguments.input.0.clone(),
        outputs: arguments.outputs,
        widths: arguments.widths.as_ref().map(|sizes| sizes.0.clone()),
        dropout: arguments.dropout,
        seed: arguments.seed,
    };
    let written = write(&design, path)?;
    print(&format!(
        "wrote {}: {}, {} parameters in {} layers; `pellucid summary {}` tells of each",
        path.display(),
        design.family,
        written.parameters,
        written.layers,
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}
