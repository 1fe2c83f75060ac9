//! Writes the pages that `.ci/pages/check.mjs` opens in a browser: the summary of the embedded network, of a chain of
//! 10,000 nodes and of any model that is named, a difference, and the evaluation of two models with explained mistakes:
//! `cargo run --release -p pellucid --example pages -- FOLDER [MODEL.onnx …]`
#![allow(clippy::print_stderr, reason = "an example prints")]

use std::path::{Path, PathBuf};

use pellucid::evaluate::{Batches, Subject};
use pellucid::input::Shapes;
use pellucid::render::evaluation as measured;
use pellucid::render::summary as rendered;
use pellucid::summary::difference;
use pellucid::{
    Answered, Answers, Array, Error, EvaluateOptions, Inputs, Model, Options, Silent, SummaryOptions,
    evaluate, summary, write::write_whole,
};
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

/// Small pictures, of which a few of the ten classes are told by their place alone.
struct Invented(Answers);

impl Answered for Invented {
    fn name(&self) -> String {
        "pictures that were invented".to_owned()
    }

    fn shapes(&self) -> Shapes {
        vec![("x".to_owned(), vec![self.0.len(), 1, 8, 8])]
    }

    fn answers(&self) -> &Answers {
        &self.0
    }

    fn batches(&self, rows: usize) -> Batches<'_> {
        let places: Vec<usize> = (0..self.0.len()).collect();
        let parts: Vec<Vec<usize>> = places.chunks(rows).map(<[usize]>::to_vec).collect();
        Box::new(parts.into_iter().map(|part| self.rows(&part)))
    }

    fn rows(&self, places: &[usize]) -> Result<Inputs, Error> {
        let pixel = |place: &usize| {
            let place = *place;
            (0..64).map(move |at: usize| ((place * 31 + at * at * 7) % 97) as f32 / 97.0)
        };
        let array = Array::from_f32(&[places.len(), 1, 8, 8], places.iter().flat_map(pixel).collect());
        Inputs::from_arrays(vec![(
            "x".to_owned(),
            array.ok_or_else(|| Error::Internal("no rows".to_owned()))?,
        )])
    }
}

/// The page of two models on the same rows, with what spoke for the worst mistakes.
fn evaluation() -> Result<Vec<u8>, Error> {
    let model = |name: &str, rectified: bool| {
        let mut graph = Graph::new();
        let shape = vec![Dim::symbol("n"), Dim::known(1), Dim::known(8), Dim::known(8)];
        let x = graph.add_input("x", ElementType::F32, Some(shape))?;
        let mut last = graph.push_one(NewNode::new("Flatten", &[x], "flat"))?;
        if rectified {
            last = graph.push_one(NewNode::new("Softplus", &[last], "rectified"))?;
        }
        graph.add_output(last)?;
        Model::from_graph(name, graph)
    };
    let (one, two) = (model("one.onnx", false)?, model("two.onnx", true)?);
    let data = Invented(Answers::Classes((0..300).map(|row| (row * row) % 64).collect()));
    let options =
        EvaluateOptions { explain: Some(Options::new("input-x-gradient")), ..EvaluateOptions::default() };
    let subjects = [Subject { model: &one, data: &data }, Subject { model: &two, data: &data }];
    measured::html(&evaluate(&subjects, &options, &Silent)?)
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
        (folder.join("evaluation.html"), evaluation()?),
    ];
    for (number, path) in arguments.enumerate() {
        files.push((folder.join(format!("model-{number}.html")), page(&Model::open(path)?)?));
    }
    write_whole(&files)?;
    Ok(())
}
