//! A packaged file beside the model it was made from, on the same pictures.

use std::collections::BTreeMap;

use image::{Rgb, RgbImage};
use ndarray::Axis;
use pellucid_graph::{Dim, Graph, ValueId};
use pellucid_runtime::{Session, open};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;

use super::{Image, Making, ready};
use crate::array::Array;
use crate::error::Error;
use crate::file;
use crate::input::of_input;
use crate::model::Model;
use crate::photograph;

/// Largest picture file, in bytes.
const LARGEST_FILE: u64 = 256 << 20;
/// Share of a picture's numbers that rounding may make a byte higher or lower: sums that lie on a half. Where sides have a
/// ratio of small whole numbers, such as 34 to 33, one sum in 34 lies on a half along each axis.
const MOST_OFF: f64 = 0.1;
/// Differences of outputs for the same prepared numbers, of a row's largest: the file holds the same nodes.
const PREDICTION: f32 = 1e-5;
const ATTRIBUTION: f32 = 1e-4;

/// How a file answered beside the model, on one input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// The input.
    pub input: String,
    /// Of the prepared numbers, the share that rounding made one byte higher or lower; `None` where nothing is prepared.
    pub off: Option<f64>,
    /// Largest difference of the model's outputs for the same prepared numbers, as a part of the largest number.
    pub prediction: f32,
    /// Largest difference from the model on its own preparation, which off bytes add to.
    pub whole: f32,
    /// Largest difference of the attribution for the same prepared numbers, as a part of the largest number.
    pub attribution: Option<f32>,
}

/// Reads the file again and runs it.
pub(super) fn check(making: &Making<'_>, made: &Graph, bytes: &[u8]) -> Result<Vec<Checked>, Error> {
    let file = Model::from_bytes("the packaged file", bytes.to_vec())?;
    let mut checks = Vec::new();
    match making.images.as_slice() {
        [image] if making.source.inputs().len() == 1 => {
            for (name, picture) in pictures(making, image)? {
                checks.push(on_picture(making, (file.graph(), made), image, &name, &picture)?);
            }
        }
        _ => checks.push(on_numbers(making, file.graph(), made)?),
    }
    Ok(checks)
}

/// Pictures of random numbers, of two shapes, and the caller's.
fn pictures(making: &Making<'_>, image: &Image) -> Result<Vec<(String, RgbImage)>, Error> {
    let mut random = ChaCha8Rng::seed_from_u64(making.options.seed);
    let mut found = Vec::new();
    let sizes = match (image.how.resize, image.how.crop) {
        (Some(_), _) => vec![(320, 211), (75, 122)],
        (None, Some([height, width])) => vec![(width + 17, height + 6), (width, height)],
        (None, None) => {
            let input = making.source.find(&image.input).map(|id| making.source.value(id));
            let shape = input.and_then(|input| input.shape.clone()).unwrap_or_default();
            let axes = if image.how.layout == crate::preprocessing::Layout::Nhwc { [1, 2] } else { [2, 3] };
            let side =
                |axis: usize| shape.get(axis).and_then(Dim::size).and_then(|size| u32::try_from(size).ok());
            vec![(side(axes[1]).unwrap_or(64), side(axes[0]).unwrap_or(64))]
        }
    };
    for (width, height) in sizes {
        let picture = RgbImage::from_fn(width, height, |_, _| {
            let [red, green, blue, _] = random.next_u32().to_le_bytes();
            Rgb([red, green, blue])
        });
        found.push((format!("random numbers, {width} × {height}"), picture));
    }
    for path in &making.options.pictures {
        let place = path.display().to_string();
        let bytes = file::read(path, LARGEST_FILE)?;
        found.push((place.clone(), photograph::decode(&place, &bytes)?));
    }
    Ok(found)
}

/// A graph whose rows and sizes are those of arrays.
fn bound(graph: &Graph, arrays: &[(&str, &Array)]) -> Result<Graph, Error> {
    let mut sizes = BTreeMap::new();
    for (name, array) in arrays {
        let Some(value) = graph.find(name).map(|id| graph.value(id)) else { continue };
        for (dim, size) in value.shape.iter().flatten().zip(array.shape()) {
            if let Some(symbol) = dim.as_symbol() {
                sizes.insert(symbol.to_owned(), i64::try_from(*size).unwrap_or(i64::MAX));
            }
        }
    }
    Ok(graph.bind(&sizes)?)
}

fn session(making: &Making<'_>, graph: &Graph, fed: &[(&str, &Array)]) -> Result<Box<dyn Session>, Error> {
    Ok(open(&bound(graph, fed)?, &making.options.limits.engine_options())?)
}

/// As many rows as the model takes at once.
fn repeated(array: Array, graph: &Graph, input: ValueId) -> Array {
    let rows =
        graph.value(input).shape.as_ref().and_then(|shape| shape.first().and_then(Dim::size)).unwrap_or(1);
    let stack = |count: usize| vec![0; count];
    match array {
        Array::F32(array) => Array::F32(array.select(Axis(0), &stack(rows))),
        Array::I64(array) => Array::I64(array.select(Axis(0), &stack(rows))),
        other => other,
    }
}

fn on_picture(
    making: &Making<'_>,
    (file, made): (&Graph, &Graph),
    image: &Image,
    name: &str,
    picture: &RgbImage,
) -> Result<Checked, Error> {
    let source = &making.source;
    let input = source
        .find(&image.input)
        .ok_or_else(|| Error::Internal(format!("the model has no input {:?} any more", image.input)))?;
    let (own, _) = image.how.apply(name, picture)?;
    let own = repeated(Array::F32(of_input(source.value(input), own)), source, input);
    let (width, height) = (picture.width(), picture.height());
    let sides = [1, crate::resample::index(height), crate::resample::index(width), 3];
    let bytes = picture.as_raw().iter().map(|byte| i64::from(*byte)).collect();
    let raw = Array::from_i64(&sides, bytes)
        .ok_or_else(|| Error::Internal("a picture does not have its own size".to_owned()))?;
    let raw = repeated(raw, source, input);

    let names: Vec<String> = source.outputs().iter().map(|id| source.value(*id).name.clone()).collect();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let fed = [(image.name.as_str(), &raw)];
    let ready = ready(image);
    let mut in_file = in_file(made, names.len());
    in_file.push(&ready);
    let mut found = session(making, file, &fed)?.run(&fed, &in_file)?;
    let prepared = found.pop().ok_or_else(|| Error::Internal("nothing was prepared".to_owned()))?;
    let off = off(name, &own, &prepared, image)?;
    let run = |x: &Array| -> Result<Vec<Array>, Error> {
        let fed = [(image.input.as_str(), x)];
        Ok(session(making, source, &fed)?.run(&fed, &wanted)?)
    };
    let same = run(&prepared)?;
    let whole = if off > 0.0 { run(&own)? } else { same.clone() };
    let (prediction, attribution) = apart(making, &names, &found, &same);
    let (whole, _) = apart(making, &names, &found, &whole);
    accepted(making, Checked { input: name.to_owned(), off: Some(off), prediction, whole, attribution })
}

/// What the file calls the model's outputs, which come first.
fn in_file(made: &Graph, count: usize) -> Vec<&str> {
    made.outputs().iter().take(count).map(|id| made.value(*id).name.as_str()).collect()
}

/// The share of prepared numbers that are a byte off.
fn off(name: &str, own: &Array, prepared: &Array, image: &Image) -> Result<f64, Error> {
    let wrong = |problem: String| Err(refused(name, &problem));
    if own.shape() != prepared.shape() {
        return wrong(format!("{:?} were prepared, expected {:?}", prepared.shape(), own.shape()));
    }
    // A byte more or less, in the largest steps that a channel has.
    let step = image
        .how
        .table()
        .iter()
        .flat_map(|table| table.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect::<Vec<_>>())
        .fold(0.0, f32::max);
    let pairs = own.to_f32();
    let found = prepared.to_f32();
    let (mut count, mut most) = (0u64, 0f32);
    for (a, b) in pairs.iter().zip(&found) {
        let far = (a - b).abs();
        count += u64::from(far > 1e-6 * step);
        most = if far.is_nan() { f32::NAN } else { most.max(far) };
    }
    let share = count as f64 / own.len().max(1) as f64;
    if most.is_nan() || most > 1.01 * step || share > MOST_OFF {
        return wrong(format!(
            "{:.3} % of the prepared numbers differ from the model's own, at most by {most}, where a byte is {step}",
            100.0 * share
        ));
    }
    Ok(share)
}

/// Random numbers, for models whose inputs are no pictures.
fn on_numbers(making: &Making<'_>, file: &Graph, made: &Graph) -> Result<Checked, Error> {
    let name = "random numbers";
    let mut random = ChaCha8Rng::seed_from_u64(making.options.seed);
    let mut arrays = Vec::new();
    if !making.images.is_empty() {
        return Err(Error::Setting {
            name: "package".to_owned(),
            problem: format!(
                "{} has {} inputs, of which {} take pictures; a file is packaged where there is one input, or where none \
                 takes pictures",
                making.model.name(),
                making.source.inputs().len(),
                making.images.len()
            ),
        });
    }
    for id in made.inputs() {
        let value = made.value(*id);
        let shape = value.shape.iter().flatten().enumerate().map(|(axis, dim)| match dim.size() {
            Some(size) => Ok(size),
            None if axis == 0 => Ok(1),
            None => Err(Error::Input {
                place: value.name.clone(),
                problem:
                    "its sizes are free, so the file cannot be checked; export the model with fixed sizes"
                        .to_owned(),
            }),
        });
        let shape = shape.collect::<Result<Vec<usize>, Error>>()?;
        let count: usize = shape.iter().product();
        let is_float = value.element.is_none_or(pellucid_graph::ElementType::is_float);
        let numbers = (0..count)
            .map(|_| f32::from(u16::try_from(random.next_u32() >> 16).unwrap_or(0)) / 32_768.0 - 1.0);
        let array = if is_float {
            Array::from_f32(&shape, numbers.collect())
        } else {
            Array::from_i64(&shape, numbers.map(|number| i64::from(number > 0.0)).collect())
        };
        let array = array.ok_or_else(|| Error::Internal("an input has no shape".to_owned()))?;
        arrays.push((value.name.clone(), array));
    }
    let fed: Vec<(&str, &Array)> = arrays.iter().map(|(name, array)| (name.as_str(), array)).collect();
    let source = &making.source;
    let names: Vec<String> = source.outputs().iter().map(|id| source.value(*id).name.clone()).collect();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = session(making, file, &fed)?.run(&fed, &in_file(made, names.len()))?;
    let same = session(making, source, &fed)?.run(&fed, &wanted)?;
    let (prediction, attribution) = apart(making, &names, &found, &same);
    let checked = Checked { input: name.to_owned(), off: None, prediction, whole: prediction, attribution };
    accepted(making, checked)
}

/// The largest difference of predictions, and of what the method added, each as a part of an output's largest number.
fn apart(making: &Making<'_>, names: &[String], found: &[Array], same: &[Array]) -> (f32, Option<f32>) {
    let (mut prediction, mut attribution) = (0f32, None);
    for ((name, a), b) in names.iter().zip(found).zip(same) {
        let (a, b) = (a.to_f32(), b.to_f32());
        let most = b.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
        let far = if a.shape() == b.shape() {
            // What is infinite or no number must be so in both.
            let far = |(x, y): (&f32, &f32)| {
                if x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()) {
                    0.0
                } else {
                    (x - y).abs() / most
                }
            };
            a.iter()
                .zip(&b)
                .map(far)
                .fold(0.0, |far: f32, next| if next.is_nan() { f32::INFINITY } else { far.max(next) })
        } else {
            f32::INFINITY
        };
        if making.added.contains(name) {
            // The gap is a difference of numbers that nearly cancel; scores and values tell.
            if !name.ends_with("gap") {
                attribution = Some(attribution.unwrap_or(0f32).max(far));
            }
        } else {
            prediction = prediction.max(far);
        }
    }
    (prediction, attribution)
}

fn refused(name: &str, problem: &str) -> Error {
    Error::Internal(format!("on {name}, the packaged file does not answer as the model does: {problem}"))
}

fn accepted(making: &Making<'_>, checked: Checked) -> Result<Checked, Error> {
    if checked.prediction > PREDICTION {
        let problem = format!("outputs differ by {:e} of their largest number", checked.prediction);
        return Err(refused(&checked.input, &problem));
    }
    if let Some(far) = checked.attribution.filter(|far| *far > ATTRIBUTION) {
        let method = making.options.explain.as_ref().map_or("", |(options, _)| options.method.as_str());
        let problem = format!("the attribution of {method} differs by {far:e} of its largest number");
        return Err(refused(&checked.input, &problem));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pellucid_graph::{Attribute, ElementType, NewNode};

    use super::super::{PackageOptions, package, written};
    use super::*;
    use crate::compile::ArtefactOptions;
    use crate::explain::{Options, TargetChoice};

    /// The mean of each channel, from a picture that is prepared as `preprocessing` says.
    fn model(preprocessing: &str, channels: i64, size: [i64; 2]) -> Model {
        let mut graph = Graph::new();
        let shape = vec![Dim::symbol("n"), Dim::known(channels), Dim::known(size[0]), Dim::known(size[1])];
        let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
        let pooled = graph.push_one(NewNode::new("GlobalAveragePool", &[x], "pooled")).unwrap();
        let flat = NewNode::new("Flatten", &[pooled], "logits").with("axis", Attribute::Int(1));
        let flat = graph.push_one(flat).unwrap();
        graph.set_outputs(vec![flat]);
        let text = format!("{{\"x\":{preprocessing}}}");
        graph.metadata = BTreeMap::from([("pellucid.preprocessing".to_owned(), text)]);
        Model::from_graph("means.onnx", graph).unwrap()
    }

    const PLAIN: &str =
        r#"{"resize":{"size":[9,12],"interpolation":"bilinear","antialias":false},"scale":0.01}"#;

    #[test]
    fn every_preparation_is_that_of_the_model() {
        for (preprocessing, channels, size) in [
            (PLAIN, 3, [9, 12]),
            (r#"{"color":"gray","range":[0,1],"mean":[0.3],"std":[0.4]}"#, 1, [30, 26]),
            (
                r#"{"color":"BGR","resize":{"size":[40,50],"interpolation":"bicubic","antialias":false}}"#,
                3,
                [40, 50],
            ),
            (r#"{"resize":{"size":[20,31],"interpolation":"nearest","antialias":false}}"#, 3, [20, 31]),
            (
                r#"{"resize":{"shorter_side":33,"interpolation":"bicubic","antialias":true},"crop":[28,31]}"#,
                3,
                [28, 31],
            ),
            (r#"{"crop":[15,16],"range":[-1,1]}"#, 3, [15, 16]),
        ] {
            let packaged =
                package(&model(preprocessing, channels, size), &PackageOptions::default()).unwrap();
            assert_eq!(packaged.image.as_deref(), Some("image"), "{preprocessing}");
            for checked in &packaged.checks {
                assert!(
                    checked.off.unwrap() < 0.05 && checked.prediction < 1e-6,
                    "{preprocessing}: {checked:?}"
                );
            }
        }
    }

    #[test]
    fn the_attribution_goes_with_it() {
        let wanted = ArtefactOptions { targets: vec![TargetChoice::Top], ..ArtefactOptions::default() };
        let explain = Some((Options::new("gradient"), wanted));
        let options = PackageOptions { explain, ..PackageOptions::default() };
        let packaged = package(&model(PLAIN, 3, [9, 12]), &options).unwrap();
        let names: Vec<&str> = packaged.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["logits", "attribution", "score", "probabilities", "class", "probability"]);
        assert!(packaged.checks.iter().all(|checked| checked.attribution.is_some_and(|far| far < 1e-6)));
    }

    /// A file that prepares pictures in another way, or holds another model, is caught.
    #[test]
    fn a_file_that_answers_otherwise_is_refused() {
        let options = PackageOptions::default();
        let ours = model(PLAIN, 3, [9, 12]);
        let making = Making::new(&ours, &options).unwrap();
        let told = |preprocessing: &str| {
            let other = model(preprocessing, 3, [9, 12]);
            let (graph, _) = Making::new(&other, &options).unwrap().graph().unwrap();
            let bytes = written(&other, &graph).unwrap();
            check(&making, &graph, &bytes).map_err(|error| error.to_string())
        };
        assert!(told(PLAIN).is_ok());
        for sabotage in [
            PLAIN.replace("bilinear", "bicubic"),
            PLAIN.replace("false", "true"),
            PLAIN.replace("0.01", "0.0101"),
            PLAIN.replace("\"resize\"", "\"color\":\"BGR\",\"resize\""),
        ] {
            let error = told(&sabotage).unwrap_err();
            assert!(
                error.contains("the packaged file does not answer as the model does"),
                "{sabotage}: {error}"
            );
        }
    }
}
