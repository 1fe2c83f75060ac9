//! Writes the pages that `.ci/pages/check.mjs` opens in a browser: the summary of the embedded network, of a chain of
//! 10,000 nodes and of any model that is named, and a difference:
//! `cargo run --release -p pellucid --example pages -- FOLDER [MODEL.onnx …]`
#![allow(clippy::print_stderr, reason = "an example prints")]

use std::path::{Path, PathBuf};

use pellucid::render::summary as rendered;
use pellucid::summary::difference;
use pellucid::{Error, Model, SummaryOptions, summary, write::write_whole};
use pellucid_graph::{Dim, ElementType, Graph, NewNode};

/// A chain with lines that skip, without modules.
fn chain(nodes: usize) -> Result<Model, Error> {
    let mut graph = Graph::new();
    let shape = vec![Dim::known(1), Dim::known(64)];
    let mut last = graph.add_input("x", ElementType::F32, Some(shape))?;
    let mut early = last;
    for number in 0..nodes {
        let name = format!("n{number}");
        let node = if number % 7 == 6 {
            NewNode::new("Add", &[last, early], name)
        } else {
            NewNode::new("Relu", &[last], name)
        };
        last = graph.push_one(node)?;
        if number % 7 == 6 {
            early = last;
        }
    }
    graph.add_output(last)?;
    Model::from_graph("a chain of 10,000 nodes", graph)
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: pages FOLDER [MODEL.onnx …]");
        return Ok(());
    };
    let embedded =
        Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/efficientnet-lite0.onnx"))?;
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens");
    let moved = difference(
        &Model::open(goldens.join("cnn.torchscript.unfolded.onnx"))?,
        &Model::open(goldens.join("cnn.torchscript.onnx"))?,
    )?;
    let options = SummaryOptions::default();
    let page = |model: &Model| rendered::html(&summary(model, &options)?);
    let mut files = vec![
        (folder.join("embedded.html"), page(&embedded)?),
        (folder.join("chain.html"), page(&chain(10_000)?)?),
        (folder.join("difference.html"), rendered::difference_html(&moved)?),
    ];
    for (number, path) in arguments.enumerate() {
        files.push((folder.join(format!("model-{number}.html")), page(&Model::open(path)?)?));
    }
    write_whole(&files)?;
    Ok(())
}
