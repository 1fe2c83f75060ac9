//! `pellucid demo`.

use std::process::ExitCode;

use pellucid::{Error, Format, Model, Options, Outputs};
use pellucid_assets::{EFFICIENTNET_LITE0, PHOTOGRAPHS};

use super::explain::{chosen, explained, tell};
use super::limits;
use crate::arguments::Demo;

pub(crate) fn run(arguments: &Demo) -> Result<ExitCode, Error> {
    let outputs = Outputs::new::<_, std::path::PathBuf>(&arguments.output, Format::OF_EXPLANATIONS, &[])?;
    outputs.check_rows(1)?;
    let stem = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    let photograph = PHOTOGRAPHS
        .iter()
        .find(|photograph| {
            stem(photograph.name) == arguments.photograph || photograph.name == arguments.photograph
        })
        .ok_or_else(|| Error::Unknown {
            kind: "photograph",
            found: arguments.photograph.clone(),
            valid: PHOTOGRAPHS.iter().map(|photograph| stem(photograph.name)).collect(),
        })?;
    let model = Model::from_bytes("EfficientNet-Lite0", EFFICIENTNET_LITE0)?;
    let inputs = model.read_bytes(photograph.name, photograph.bytes)?;
    let options = Options { limits: limits(&arguments.running), ..chosen(&arguments.choosing) };
    let explanation = explained(&model, inputs, &options, format!("pellucid demo {}", arguments.photograph))?;
    tell(&explanation, &outputs)?;
    Ok(ExitCode::SUCCESS)
}
