//! Reads a model and writes it again: `cargo run -p pellucid-graph --example rewrite -- in.onnx out.onnx`.
//!
//! What is written is of opset 18 and predicts the same. `--text` prints the graph instead.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use pellucid_graph::onnx::{self, EncodeOptions, Limits};

fn main() -> ExitCode {
    match rewrite() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell whoever does not read standard error.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rewrite() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = arguments.as_slice() else {
        return Err("give the file to read and the file to write, or --text".into());
    };
    let graph = onnx::read_file(input, &Limits::default())?;
    if output == "--text" {
        std::io::stdout().write_all(graph.text().as_bytes())?;
        return Ok(());
    }
    std::fs::write(output, onnx::encode(&graph, &EncodeOptions::default())?.model)?;
    Ok(())
}
