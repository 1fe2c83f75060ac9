//! Explains a picture, writes a report, and compiles Grad-CAM into a copy of the model:
//! `cargo run --release -p pellucid --example explain -- model.onnx cat.jpg`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use pellucid::{ArtefactOptions, Error, Format, Model, Options, Outputs, Silent};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(picture)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: explain MODEL.onnx PICTURE");
        return Ok(());
    };

    let model = Model::open(&path)?;
    let inputs = model.read(&[&picture])?;
    let options = Options::new("integrated-gradients").set("steps", 128);
    let explanation = pellucid::explain(&model, inputs, &options, &Silent)?;

    let explained = &explanation.explained[0];
    for class in explanation.prediction.top(0, 5) {
        println!("{:8.3}  {}", class.score, class.name());
    }
    println!("explained: {}", explained.targets[0]);
    if let Some(gap) = &explained.attribution.gap {
        println!("score − baseline score − Σ values: {:.4}", gap[0]);
    }
    Outputs::new(&["report.html", "report.npz"], Format::OF_EXPLANATIONS, &[&path, &picture])?
        .write_explanation(&explanation)?;

    let compiled = pellucid::compile(&model, &Options::new("grad-cam"), &ArtefactOptions::default())?;
    println!("explained.onnx also takes {:?} and gives {:?}", compiled.inputs, compiled.outputs);
    pellucid::write::write_whole(&[("explained.onnx".into(), compiled.bytes)])?;
    Ok(())
}
