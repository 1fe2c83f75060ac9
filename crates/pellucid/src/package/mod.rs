//! Packaging: one ONNX file that takes pictures as they are decoded and gives probabilities, the best class and, where it
//! is asked for, what spoke for it.
//!
//! What a model's description says of its pictures becomes nodes ([`pellucid_compile::prepare`]); the model and the
//! attribution follow unchanged. The file that was written is read again and run before anybody gets it: a file that does
//! not answer as the model does is refused.

mod check;
mod examples;

use std::collections::BTreeMap;
use std::path::PathBuf;

use pellucid_compile::prepare::{Channels, Filter, Preparation, Size, prepared};
use pellucid_compile::score::{self, Scored};
use pellucid_compile::{Builder, Var, behind};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, ValueId, display_shape};
use serde::Serialize;

use crate::attribution::Unit;
use crate::compile::{ArtefactOptions, with_attribution, written};
use crate::error::Error;
use crate::explain::{Limits, Options};
use crate::model::{Model, is_flat};
use crate::preprocessing::{Color, ImageInput, Layout};
use crate::resample::Interpolation;

pub use check::Checked;
pub use examples::examples;

/// How a model is packaged.
#[derive(Debug, Clone, Default)]
pub struct PackageOptions {
    /// The output whose probabilities are given; the first where it is `None`.
    pub score: Option<String>,
    /// A method whose attribution the file gives too, and what it explains and starts from.
    pub explain: Option<(Options, ArtefactOptions)>,
    /// Pictures that the file is checked on, beside pictures of random numbers.
    pub pictures: Vec<PathBuf>,
    /// Seed of those.
    pub seed: u64,
    /// Engine, threads, memory of the check.
    pub limits: Limits,
}

/// An input or output of a packaged file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Element type and shape, such as `uint8 [n, image_height, image_width, 3]`.
    pub form: String,
    /// What it is.
    pub meaning: String,
}

/// A packaged model.
#[derive(Debug, Clone, Serialize)]
pub struct Package {
    /// The ONNX file.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// The input that takes pictures, where there is one.
    pub image: Option<String>,
    /// Names of the classes, which the file holds as metadata `pellucid.labels`.
    pub labels: usize,
    /// The method of the attribution.
    pub method: Option<String>,
    /// Settings of the method, defaults included.
    pub settings: Vec<(String, String)>,
    /// How the file answered beside the model.
    pub checks: Vec<Checked>,
    /// What should be known.
    pub notes: Vec<String>,
}

/// Packages a model, and checks the file that comes of it.
///
/// # Errors
/// Methods that cannot be compiled; sizes that must be known and are not; pictures that cannot be read; a file that does
/// not answer as the model does, with the numbers.
pub fn package(model: &Model, options: &PackageOptions) -> Result<Package, Error> {
    let making = Making::new(model, options)?;
    let (graph, ports) = making.graph()?;
    let bytes = written(model, &graph)?;
    let checks = check::check(&making, &graph, &bytes)?;
    let Making { notes, settings, images, .. } = making;
    let [inputs, outputs] = ports;
    Ok(Package {
        bytes,
        inputs,
        outputs,
        image: images.first().map(|image| image.name.clone()),
        labels: model.labels().map_or(0, |labels| labels.len()),
        method: options.explain.as_ref().map(|(options, _)| options.method.clone()),
        settings,
        checks,
        notes,
    })
}

/// An input that takes pictures in place of prepared numbers.
struct Image {
    /// The model's input.
    input: String,
    /// The file's.
    name: String,
    how: ImageInput,
}

/// A package being made.
struct Making<'a> {
    model: &'a Model,
    options: &'a PackageOptions,
    /// Prediction, and attribution where it is asked for.
    source: Graph,
    images: Vec<Image>,
    /// What the method added.
    added: Vec<String>,
    settings: Vec<(String, String)>,
    layer: Option<String>,
    notes: Vec<String>,
}

impl<'a> Making<'a> {
    fn new(model: &'a Model, options: &'a PackageOptions) -> Result<Self, Error> {
        let mut making = Self {
            model,
            options,
            source: model.graph().clone(),
            images: Vec::new(),
            added: Vec::new(),
            settings: Vec::new(),
            layer: None,
            notes: Vec::new(),
        };
        if let Some((explaining, wanted)) = &options.explain {
            let explaining = Options { score: options.score.clone(), ..explaining.clone() };
            let (graph, compiled) = with_attribution(model, &explaining, wanted)?;
            making.source = graph;
            making.added = compiled.outputs;
            making.settings = compiled.settings;
            making.layer = compiled.layer;
            making.notes = compiled.notes;
        }
        let described = &model.description().preprocessing;
        let taken: Vec<String> =
            making.source.inputs().iter().map(|id| making.source.value(*id).name.clone()).collect();
        for (input, how) in described {
            let free = described.len() == 1 && !taken.iter().any(|name| name == "image" && name != input);
            let name = if free { "image".to_owned() } else { input.clone() };
            making.images.push(Image { input: input.clone(), name, how: how.clone() });
        }
        if making.images.is_empty() {
            making.notes.push(format!(
                "{} does not say how pictures become its input: its inputs stay as they are",
                model.name()
            ));
        }
        Ok(making)
    }

    /// The file's graph, and its inputs and outputs in words.
    fn graph(&self) -> Result<(Graph, [Vec<Port>; 2]), Error> {
        let builder = Builder::new(Graph::new());
        let mut given = BTreeMap::new();
        for image in &self.images {
            let id = self.source.find(&image.input).ok_or_else(|| {
                Error::Internal(format!("the model has no input {:?} any more", image.input))
            })?;
            let rows = self.source.value(id).shape.as_ref().and_then(|shape| shape.first().cloned());
            let side = |what: &str| Dim::symbol(format!("{}_{what}", image.name));
            let rows = rows.unwrap_or_else(|| Dim::symbol("n"));
            let shape = vec![rows, side("height"), side("width"), Dim::known(3)];
            let picture = builder.input(&image.name, ElementType::U8, shape);
            let mut values = prepared(picture, &preparation(&image.how))?;
            if is_flat(self.source.value(id)) {
                values = values.reshape(&[0, -1]);
            }
            given.insert(id, builder.named("Identity", values, &ready(image)).id());
        }
        let (graph, here) = behind(builder.finish()?, &self.source, &given)?;
        let at = |id: ValueId| {
            here[id.index()].ok_or_else(|| Error::Internal("a value of the model is missing".to_owned()))
        };
        let mut outputs = self.source.outputs().iter().map(|id| at(*id)).collect::<Result<Vec<_>, _>>()?;
        let mut meanings: Vec<String> = self.source.outputs().iter().map(|id| self.meaning(*id)).collect();
        let builder = Builder::new(graph);
        // A model without an output to explain has no probabilities either.
        if let Ok(scored) = score::find(&self.source, self.options.score.as_deref()) {
            let more = self.probabilities(&builder, &scored, at(scored.value)?, at(scored.output)?)?;
            for (id, meaning) in more {
                outputs.push(id);
                meanings.push(meaning);
            }
        }
        let mut graph = builder.finish()?;
        graph.set_outputs(outputs);
        graph.name.clone_from(&self.source.name);
        graph.metadata = self.metadata();
        let ports = [
            graph
                .inputs()
                .iter()
                .map(|id| port(&graph, *id, self.input_meaning(&graph.value(*id).name)))
                .collect(),
            graph.outputs().iter().zip(meanings).map(|(id, meaning)| port(&graph, *id, meaning)).collect(),
        ];
        Ok((graph, ports))
    }

    /// Probabilities, the best class and its probability, where the output's numbers allow it.
    fn probabilities(
        &self,
        builder: &Builder,
        scored: &Scored,
        value: ValueId,
        output: ValueId,
    ) -> Result<Vec<(ValueId, String)>, Error> {
        let name = self.source.value(scored.output).name.clone();
        let unit = self.model.output_unit(&name).unwrap_or(scored.unit);
        let Some(classes) = scored.classes else { return Ok(Vec::new()) };
        let classes = i64::try_from(classes).unwrap_or(i64::MAX);
        let table = |id: ValueId| -> Result<Var<'_>, Error> {
            let value = builder.var(id);
            Ok(if value.rank()? > 2 { value.reshape(&[0, classes]) } else { value })
        };
        let probabilities = match unit {
            Unit::Probability => table(output)?,
            Unit::Logit if classes > 1 => {
                builder.op("Softmax", &[table(value)?], &[("axis", Attribute::Int(1))])
            }
            Unit::Logit | Unit::Raw => return Ok(Vec::new()),
        };
        let names = ["probabilities", "class", "probability"].map(|name| builder.graph().fresh_name(name));
        let named = |value: Var<'_>, name: &str| builder.named("Identity", value, name).id();
        let mut more = vec![(named(probabilities, &names[0]), "of each class, between 0 and 1".to_owned())];
        if classes > 1 {
            let attributes = [("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))];
            let best = builder.op("ArgMax", &[probabilities], &attributes);
            let labels = if self.model.labels().is_some() {
                "; its name is in the metadata pellucid.labels"
            } else {
                ""
            };
            more.push((named(best, &names[1]), format!("the best class{labels}")));
            let most = builder.op(
                "ReduceMax",
                &[probabilities, builder.integers(&[1])],
                &[("keepdims", Attribute::Int(0))],
            );
            more.push((named(most, &names[2]), "of the best class".to_owned()));
        }
        Ok(more)
    }

    fn input_meaning(&self, name: &str) -> String {
        match self.images.iter().find(|image| image.name == name) {
            Some(_) => {
                "pictures as they are decoded: rows, columns, then red, green, blue; any size".to_owned()
            }
            None => "as the model takes it".to_owned(),
        }
    }

    fn meaning(&self, id: ValueId) -> String {
        let name = &self.source.value(id).name;
        if !self.added.contains(name) {
            return "as the model gives it".to_owned();
        }
        let method = self.options.explain.as_ref().map_or("", |(options, _)| options.method.as_str());
        match name.rsplit('.').next().unwrap_or(name) {
            "score" => "what was explained".to_owned(),
            "gap" => "score less baseline score less the sum of the attribution: how far it is from complete"
                .to_owned(),
            "baseline_score" => "what the baseline gives".to_owned(),
            _ => {
                format!("what {method} says speaks for the score, at the network's input (prepared, cropped)")
            }
        }
    }

    /// What the file says of itself; pictures need no preparation any more.
    fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.source.metadata.clone();
        let mut description = self.model.description().clone();
        description.preprocessing.clear();
        metadata.retain(|key, _| key != "pellucid.preprocessing");
        metadata.extend(description.to_metadata());
        let images: BTreeMap<&str, &ImageInput> =
            self.images.iter().map(|image| (image.name.as_str(), &image.how)).collect();
        let told = serde_json::json!({ "images": images, "version": env!("CARGO_PKG_VERSION") });
        metadata.insert("pellucid.package".to_owned(), told.to_string());
        metadata
    }
}

/// Name of the value that the model takes for an image.
fn ready(image: &Image) -> String {
    format!("pellucid.prepared.{}", image.input)
}

fn port(graph: &Graph, id: ValueId, meaning: String) -> Port {
    let value = graph.value(id);
    let element = value.element.map_or_else(String::new, |element| format!("{element} "));
    let shape = value.shape.as_ref().map_or_else(|| "of any shape".to_owned(), |shape| display_shape(shape));
    Port { name: value.name.clone(), form: format!("{element}{shape}"), meaning }
}

/// A description in the words of the compiler.
fn preparation(how: &ImageInput) -> Preparation {
    let side = |length: u32| usize::try_from(length).unwrap_or(usize::MAX);
    Preparation {
        channels_last: how.layout == Layout::Nhwc,
        channels: match how.color {
            Color::Rgb => Channels::Rgb,
            Color::Bgr => Channels::Bgr,
            Color::Gray => Channels::Gray,
        },
        resize: how.resize.map(|resize| {
            let size = match (resize.size, resize.shorter_side) {
                (Some(size), _) => Size::Exact(size.map(side)),
                (None, shorter) => Size::Shorter(side(shorter.unwrap_or(1))),
            };
            let filter = match resize.interpolation {
                Interpolation::Nearest => Filter::Nearest,
                Interpolation::Bilinear => Filter::Linear,
                Interpolation::Bicubic => Filter::Cubic,
            };
            (size, filter, resize.antialias)
        }),
        crop: how.crop.map(|crop| crop.map(side)),
        tables: how.table(),
    }
}
