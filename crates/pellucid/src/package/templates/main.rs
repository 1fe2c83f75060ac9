//! Names a picture: ORT_DYLIB_PATH=…/libonnxruntime.so cargo run --release --manifest-path rust/Cargo.toml -- PICTURE

use std::error::Error;

use ort::session::Session;
use ort::value::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: classify PICTURE")?;
    let library = std::env::var("ORT_DYLIB_PATH").map_err(|_| "ORT_DYLIB_PATH must name the onnxruntime library")?;
    let environment = ort::init_from(library)?.build()?;
    let mut session = Session::builder(&environment)?.commit_from_file("{{FILE}}")?;
    let labels: Vec<String> = match session.metadata()?.custom("pellucid.labels") {
        Some(text) => serde_json::from_str(&text)?,
        None => Vec::new(),
    };

    let picture = image::open(&path)?.into_rgb8();
    let shape = [1, picture.height() as usize, picture.width() as usize, 3];
    let image = Tensor::from_array((shape, picture.into_raw()))?;
    let outputs = session.run(ort::inputs!["{{IMAGE}}" => image])?;

    let (_, probabilities) = outputs["probabilities"].try_extract_tensor::<f32>()?;
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    for index in order.into_iter().take(5) {
        let name = labels.get(index).cloned().unwrap_or_else(|| format!("class {index}"));
        println!("{:8.4}  {name}", probabilities[index]);
    }
    // {{ATTRIBUTION}}
    Ok(())
}
