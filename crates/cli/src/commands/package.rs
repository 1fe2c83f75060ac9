//! `pellucid package`.

use std::path::PathBuf;
use std::process::ExitCode;

use pellucid::package::{Checked, Port, examples};
use pellucid::{ArtefactBaseline, ArtefactOptions, Error, Options, PackageOptions};

use super::{baseline, limits, open, targets};
use crate::arguments::package::Package;
use crate::console::print;

pub(crate) fn run(arguments: &Package) -> Result<ExitCode, Error> {
    let path = &arguments.output;
    if path.extension().is_none_or(|ending| ending != "onnx") {
        return Err(Error::Output { path: path.clone(), problem: "it must end in .onnx".to_owned() });
    }
    let mut read = arguments.pictures.clone();
    read.push(arguments.model.clone());
    pellucid::write::check_file(path, &read)?;
    let model = open(&arguments.model, &arguments.describing)?;
    let limits = limits(&arguments.running);
    let explain = arguments.explain.as_ref().map(|method| {
        let options = Options {
            settings: arguments.set.clone(),
            layer: arguments.layer.clone(),
            seed: arguments.seed,
            ..Options::new(method)
        };
        let wanted = ArtefactOptions {
            targets: targets(&model, &arguments.target),
            baseline: ArtefactBaseline::Fixed(baseline(&arguments.baseline)),
            background: match &arguments.background {
                Some(file) => ArtefactBaseline::Fixed(baseline(file)),
                None => ArtefactBaseline::Input,
            },
        };
        (options, wanted)
    });
    let package = pellucid::package(
        &model,
        &PackageOptions {
            score: arguments.describing.score.clone(),
            explain,
            pictures: arguments.pictures.clone(),
            seed: arguments.seed,
            limits,
        },
    )?;
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    if let Some(folder) = &arguments.examples {
        for (name, text) in examples(&package, &file) {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)
                    .map_err(|source| Error::Write { path: parent.to_owned(), source })?;
            }
            files.push((path, text.into_bytes()));
        }
    }
    let bytes = package.bytes.len();
    files.push((path.clone(), package.bytes.clone()));
    let written = pellucid::write::write_whole(&files)?;
    if arguments.json {
        let mut told = serde_json::to_value(&package).map_err(|error| Error::Internal(error.to_string()))?;
        told["file"] = path.display().to_string().into();
        told["bytes"] = bytes.into();
        print(&format!("{told:#}"));
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("wrote {}, {:.1} MB", path.display(), bytes as f64 / 1e6));
    tell("takes", &package.inputs);
    tell("gives", &package.outputs);
    if let Some(method) = &package.method {
        print(&format!("  method       {method}"));
    }
    for (key, value) in &package.settings {
        print(&format!("  {key:<12} {value}"));
    }
    package.checks.iter().for_each(checked);
    for note in &package.notes {
        print(&format!("  note: {note}"));
    }
    for path in written.iter().filter(|written| *written != path) {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(what: &str, ports: &[Port]) {
    for (at, port) in ports.iter().enumerate() {
        let what = if at == 0 { what } else { "" };
        print(&format!("  {what:<6} {}: {}; {}", port.name, port.form, port.meaning));
    }
}

fn checked(checked: &Checked) {
    let Checked { input, off, prediction, whole, attribution } = checked;
    let off = match off {
        Some(share) if *share > 0.0 => {
            format!("{:.4} % of the prepared numbers a byte off by rounding, ", 100.0 * share)
        }
        Some(_) => "prepared to the same bits, ".to_owned(),
        None => String::new(),
    };
    let attribution = attribution.map_or_else(String::new, |far| format!(", attribution {}", part(far)));
    print(&format!(
        "  checked on {input}: {off}outputs within {} for the same numbers{attribution}, within {} of the model's own",
        part(*prediction),
        part(*whole)
    ));
}

/// A part of the largest number.
fn part(far: f32) -> String {
    if far == 0.0 { "0".to_owned() } else { format!("{far:.0e}") }
}
