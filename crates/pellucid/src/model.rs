//! A model as people use it: the graph, and what its file or a file beside it says of inputs, labels and outputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use pellucid_compile::passes::{fold, raise};
use pellucid_graph::onnx::{self, DecodeError, Limits};
use pellucid_graph::{Dim, Graph, Value, display_shape};

use crate::attribution::Unit;
use crate::description::Description;
use crate::error::Error;
use crate::labels::Labels;
use crate::preprocessing::{Color, ImageInput, Layout, Resize};
use crate::resample::Interpolation;

/// A model that was opened.
#[derive(Debug, Clone)]
pub struct Model {
    graph: Arc<Graph>,
    description: Description,
    name: String,
    path: Option<PathBuf>,
}

impl Model {
    /// Opens an ONNX file, and the TOML file beside it where there is one.
    ///
    /// # Errors
    /// A file that is no model or asks for more than the default limits; a description that has no meaning.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &Limits::default())
    }

    /// As [`Model::open`], under other limits.
    pub fn open_with(path: impl AsRef<Path>, limits: &Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let metadata =
            std::fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        if metadata.is_dir() {
            return Err(Error::Model { place, problem: "it is a folder, expected an ONNX file".to_owned() });
        }
        let graph = onnx::read_file(path, limits).map_err(|error| match error {
            // The reader names the file itself only where it cannot open it.
            DecodeError::File { problem, .. } => Error::Model { place: place.clone(), problem },
            error => Error::Model { place: place.clone(), problem: error.to_string() },
        })?;
        let graph = canonical(&graph)?;
        let mut description = Description::from_metadata(&place, &graph.metadata)?;
        description.read_beside(path)?;
        let name = path.file_name().map_or_else(|| place.clone(), |name| name.to_string_lossy().into_owned());
        let model = Self { graph: Arc::new(graph), description, name, path: Some(path.to_owned()) };
        model.check_description(&place)?;
        Ok(model)
    }

    /// Opens the bytes of an ONNX file that keeps its weights inside; `name` is what people know it by.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Bytes>) -> Result<Self, Error> {
        let name = name.into();
        let graph = onnx::decode(bytes.into(), &Limits::default())
            .map_err(|error| Error::Model { place: name.clone(), problem: error.to_string() })?;
        Self::from_graph(name, canonical(&graph)?)
    }

    /// A model from a graph of one's own; `name` is what people know it by.
    ///
    /// # Errors
    /// Metadata that cannot be understood.
    pub fn from_graph(name: impl Into<String>, graph: Graph) -> Result<Self, Error> {
        let name = name.into();
        let description = Description::from_metadata(&name, &graph.metadata)?;
        let model = Self { graph: Arc::new(graph), description, name, path: None };
        model.check_description(&model.name)?;
        Ok(model)
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph, shared.
    pub fn shared_graph(&self) -> Arc<Graph> {
        Arc::clone(&self.graph)
    }

    /// What is known of inputs, labels and outputs.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The name: that of the file, without folders.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file it was opened from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Names of the classes.
    pub fn labels(&self) -> Option<&Arc<Labels>> {
        self.description.labels.as_ref()
    }

    /// Position of the class called `label`.
    ///
    /// # Errors
    /// A label that no class has, with the nearest; a model without labels.
    pub fn class(&self, label: &str) -> Result<usize, Error> {
        match self.labels() {
            Some(labels) => labels.find(label),
            None => Err(Error::Setting {
                name: "target".to_owned(),
                problem: format!(
                    "{label:?} is no number, and {} names no classes; give an index, or the labels' file",
                    self.name
                ),
            }),
        }
    }

    /// What the description says an output's numbers are.
    pub fn output_unit(&self, output: &str) -> Option<Unit> {
        self.description.outputs.get(output).map(|output| output.meaning)
    }

    /// The model's inputs, in order.
    pub fn inputs(&self) -> impl Iterator<Item = &Value> {
        self.graph.inputs().iter().map(|id| self.graph.value(*id))
    }

    /// The same model with other names of classes.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.description.labels = Some(Arc::new(labels));
        self
    }

    /// For every channel, the smallest and the largest number that a picture becomes, where exactly one input takes
    /// pictures.
    pub(crate) fn picture_bounds(&self) -> Option<Vec<(f32, f32)>> {
        let mut images = self.description.preprocessing.iter();
        let (name, image) = images.next()?;
        let bounds = image.bounds();
        // In a flat row no axis is that of channels.
        let flat = self.inputs().any(|input| input.name == *name && is_flat(input));
        (images.next().is_none() && (!flat || bounds.len() == 1)).then_some(bounds)
    }

    /// The same model with another preparation of its image input. `settings` are those of [`ImageInput::set`]; they
    /// change what the model says, or, where it says nothing, describe the preparation anew.
    ///
    /// # Errors
    /// A model with several inputs, unknown settings, and descriptions without a meaning.
    pub fn with_preprocessing<K: AsRef<str>, V: AsRef<str>>(
        mut self,
        settings: &[(K, V)],
    ) -> Result<Self, Error> {
        if settings.is_empty() {
            return Ok(self);
        }
        let [input] = self.graph.inputs() else {
            return Err(Error::Setting {
                name: "preprocessing".to_owned(),
                problem: format!(
                    "the model has {} inputs, expected one; describe them in a TOML file",
                    self.graph.inputs().len()
                ),
            });
        };
        let input = self.graph.value(*input);
        let known = self.description.preprocessing.get(&input.name).cloned();
        let mut image = known.unwrap_or_else(|| {
            let (layout, color, _) = likely(input).unwrap_or_default();
            ImageInput { layout, color, ..ImageInput::default() }
        });
        for (key, value) in settings {
            image.set(key.as_ref(), value.as_ref())?;
        }
        image.check("preprocessing")?;
        self.description.preprocessing.insert(input.name.clone(), image);
        self.check_description("preprocessing")?;
        Ok(self)
    }

    /// The description must speak of inputs and outputs that exist, in sizes they take.
    fn check_description(&self, place: &str) -> Result<(), Error> {
        let inputs: Vec<String> = self.inputs().map(|input| input.name.clone()).collect();
        for (name, image) in &self.description.preprocessing {
            let input = self.inputs().find(|input| input.name == *name).ok_or_else(|| Error::Unknown {
                kind: "input",
                found: name.clone(),
                valid: inputs.clone(),
            })?;
            check_image(place, input, image)?;
        }
        let outputs: Vec<String> =
            self.graph.outputs().iter().map(|id| self.graph.value(*id).name.clone()).collect();
        for name in self.description.outputs.keys() {
            if !outputs.contains(name) {
                return Err(Error::Unknown { kind: "output", found: name.clone(), valid: outputs });
            }
        }
        Ok(())
    }
}

/// Constants up to this many elements are computed on load: axes, scales and limits that exporters write as pieces.
/// Weights are left as they are.
const FOLDED_ELEMENTS: usize = 1024;

/// The graph as everything after loading sees it: small constants computed, exporters' pieces put together again.
fn canonical(graph: &Graph) -> Result<Graph, Error> {
    Ok(raise(&fold(graph, FOLDED_ELEMENTS)?)?)
}

/// Whether an input takes rows of numbers, which a picture's are one after the other.
pub(crate) fn is_flat(input: &Value) -> bool {
    input.shape.as_ref().is_some_and(|shape| shape.len() == 2)
}

/// Whether a preparation gives the sizes that an input takes.
fn check_image(place: &str, input: &Value, image: &ImageInput) -> Result<(), Error> {
    let Some(shape) = &input.shape else { return Ok(()) };
    let (height, width) = image
        .size()
        .map_or((None, None), |(height, width)| (Some(i64::from(height)), Some(i64::from(width))));
    let channels = ("channels", i64::try_from(image.color.channels()).ok());
    let (height, width) = (("height", height), ("width", width));
    let prepared = match image.layout {
        Layout::Nchw => [channels, height, width],
        Layout::Nhwc => [height, width, channels],
    };
    let flat = is_flat(input);
    let fits = if flat {
        let length = prepared.iter().try_fold(1i64, |product, (_, size)| product.checked_mul((*size)?));
        length.is_some_and(|length| shape[1].value().is_none_or(|taken| taken == length))
    } else {
        let agrees = |(taken, (_, size)): (&Dim, &(&str, Option<i64>))| match (taken.value(), size) {
            (Some(taken), Some(size)) => taken == *size,
            _ => true,
        };
        shape.len() == 4 && shape[1..].iter().zip(&prepared).all(agrees)
    };
    if fits {
        return Ok(());
    }
    let made = prepared.map(|(name, size)| size.map_or_else(|| name.to_owned(), |size| size.to_string()));
    Err(Error::description(
        place,
        format!(
            "the preprocessing makes arrays of shape [n, {}]{}, and input {:?} takes {}; mend layout, color, resize or \
             crop",
            made.join(", "),
            if flat { ", number after number" } else { "" },
            input.name,
            display_shape(shape)
        ),
    ))
}

/// Whether a flat row may be a picture's: it is as long as that of a very small one, or of any length.
fn may_be_picture(length: &Dim) -> bool {
    length.size().is_none_or(|length| length >= 16)
}

/// Layout, channels, and height and width where they are fixed.
type Likely = (Layout, Color, Option<(u32, u32)>);

/// The layout and channels that an input's shape suggests, and its height and width where they are fixed.
fn likely(input: &Value) -> Option<Likely> {
    let [_, a, b, c] = input.shape.as_deref()? else { return None };
    let color = |dim: &Dim| match dim.value() {
        Some(1) => Some(Color::Gray),
        Some(3) => Some(Color::Rgb),
        _ => None,
    };
    let side = |dim: &Dim| dim.value().and_then(|size| u32::try_from(size).ok());
    let size = |height: &Dim, width: &Dim| Some((side(height)?, side(width)?));
    match (color(a), color(c)) {
        (Some(color), _) => Some((Layout::Nchw, color, size(b, c))),
        (None, Some(color)) => Some((Layout::Nhwc, color, size(a, b))),
        (None, None) => a.value().is_none().then_some((Layout::Nchw, Color::Rgb, size(b, c))),
    }
}

/// What to write where a picture is given to a model that does not say how to prepare it.
pub(crate) fn no_preprocessing(place: &str, model: &Model, input: &Value) -> String {
    let element = input.element.map_or_else(String::new, |element| format!("{element} "));
    let shape = input.shape.as_ref().map_or_else(|| "of any shape".to_owned(), |shape| display_shape(shape));
    let Some((layout, color, size)) = likely(input) else {
        return format!(
            "{place}: it is a picture, and input {:?} of {} is {element}{shape}, which {}; give an .npy file of that shape",
            input.name,
            model.name,
            if is_flat(input) && input.shape.as_ref().is_some_and(|shape| may_be_picture(&shape[1])) {
                "a picture becomes where its size is said, such as by --image color=gray --image resize=28x28 --image \
                 range=0,1"
            } else {
                "no picture becomes"
            }
        );
    };
    let resize = |shorter_side, size| {
        Some(Resize { shorter_side, size, interpolation: Interpolation::Bilinear, antialias: true })
    };
    let mut image = ImageInput { layout, color, range: Some([0.0, 1.0]), ..ImageInput::default() };
    match size {
        None | Some((224, 224)) => {
            image.resize = resize(Some(256), None);
            image.crop = Some([224, 224]);
        }
        Some((height, width)) => image.resize = resize(None, Some([height, width])),
    }
    (image.mean, image.std) = match color {
        Color::Gray => (vec![0.5], vec![0.5]),
        Color::Rgb | Color::Bgr => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
    };
    let file = model
        .path
        .as_ref()
        .map_or_else(|| "a TOML file".to_owned(), |path| Description::path_for(path).display().to_string());
    let settings = match (image.resize.and_then(|resize| resize.size), color) {
        (Some([height, width]), _) => format!("--image resize={height}x{width}"),
        (None, _) => "--image resize=256 --image crop=224".to_owned(),
    };
    let numbers = |list: &[f32]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    format!(
        "{place}: {} does not say how a picture becomes its input {:?}, {element}{shape}\nwrite {file}, with the \
         numbers that the network was trained with, such as\n\n{}\nor give them with\n\n{settings} --image range=0,1 \
         --image mean={} --image std={}",
        model.name,
        input.name,
        image.to_toml(&input.name),
        numbers(&image.mean),
        numbers(&image.std),
    )
}
