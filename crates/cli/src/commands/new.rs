//! `pellucid new`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pellucid::render::summary as rendered;
use pellucid::{Error, Format, Model, Outputs, SummaryOptions, summary};
use pellucid_train::new::{Design, Graph, count, design, pretrained, step_memory, write};
use pellucid_train::{headed, weights};

use crate::arguments::New;
use crate::console::{print, style};

pub(crate) fn run(arguments: &New) -> Result<ExitCode, Error> {
    let (networks, drawings): (Vec<PathBuf>, Vec<PathBuf>) =
        arguments.output.iter().cloned().partition(|path| is_network(path));
    let mut read: Vec<&Path> = vec![Path::new(&arguments.family)];
    read.extend(arguments.weights.as_deref());
    for path in &networks {
        pellucid::write::check_file(path, &read)?;
    }
    let outputs = Outputs::new(&drawings, Format::OF_SUMMARIES, &read)?;
    let designed = Design {
        family: arguments.family.clone(),
        input: arguments.input.as_ref().map(|sizes| sizes.0.clone()),
        outputs: arguments.outputs,
        widths: arguments.widths.as_ref().map(|sizes| sizes.0.clone()),
        dropout: arguments.dropout,
        seed: arguments.seed,
    };
    let graph = made(arguments, &designed)?;
    let mut written = Vec::new();
    if arguments.explain || !outputs.is_empty() {
        let model = Model::from_graph(graph.name.clone(), graph.clone())?;
        let options = SummaryOptions { weights: !outputs.is_empty(), ..SummaryOptions::default() };
        let told = summary(&model, &options)?;
        if arguments.explain {
            print(&rendered::summary(&told, arguments.depth.map(usize::from), false, style()));
            let rows = usize::try_from(arguments.batch).unwrap_or(usize::MAX);
            print(&step_memory(&graph, rows)?.to_string());
        }
        written.extend(outputs.write_summary(&told)?);
    }
    for path in &networks {
        write(&graph, path)?;
        let counts = count(&graph);
        print(&format!(
            "wrote {}: {}, {} parameters in {} layers; `pellucid summary {}` tells of each",
            path.display(),
            graph.name,
            counts.parameters,
            counts.layers,
            path.display()
        ));
    }
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The network, and what is told of its weights.
fn made(arguments: &New, designed: &Design) -> Result<Graph, Error> {
    let Some(weights) = &arguments.weights else { return design(designed) };
    let made = pretrained(designed, &weights::open(weights)?)?;
    made.notes.iter().for_each(|note| print(note));
    let Some(outputs) = arguments.head else { return Ok(made.graph) };
    let headed =
        headed(&Model::from_graph(made.graph.name.clone(), made.graph)?, None, outputs, designed.seed)?;
    print(&headed.note);
    Ok(headed.model.graph().clone())
}

fn is_network(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
}
