//! `pellucid show`.

use std::process::ExitCode;

use pellucid::{Error, Model};

use crate::arguments::Show;
use crate::console::print;

pub(crate) fn run(arguments: &Show) -> Result<ExitCode, Error> {
    let model = Model::open(&arguments.model)?;
    print(&model.graph().text());
    Ok(ExitCode::SUCCESS)
}
