//! What the command line takes.

pub(crate) mod evaluate;
mod new;
pub(crate) mod package;
mod train;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use pellucid::{Device, Engine};

pub(crate) use new::New;
pub(crate) use train::Train;

/// Opens any trained model: how it predicts, what decided, and how far that can be trusted.
#[derive(Debug, Parser)]
#[command(name = "pellucid", version, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Explain an embedded photograph with the embedded network; writes report.html
    #[command(after_help = "Example:\n  pellucid demo -o report.html")]
    Demo(Demo),
    /// Explain what a model says of inputs
    #[command(after_help = "Examples:\n  pellucid explain model.onnx cat.jpg -o report.html\n  \
        pellucid explain model.onnx cat.jpg --method grad-cam --target tabby -o cat.png\n  \
        pellucid explain model.onnx rows.npz --method smoothgrad --set samples=50 -o out.npz\n  \
        pellucid explain model.onnx cat.jpg --target 281-282,top1 --method guided-backprop --set points=smooth\n  \
        pellucid explain model.onnx cat.jpg --method input-x-gradient --layer layer3 -o layer.png\n  \
        pellucid explain model.onnx cat.jpg --method gradient --neuron 'layer4[17]' -o channel.png")]
    Explain(Explain),
    /// Explain inputs by several methods, in one picture, and say how alike they are
    #[command(
        after_help = "Examples:\n  pellucid compare model.onnx cat.jpg dog.jpg --method gradient,integrated-gradients,grad-cam -o grid.png\n  \
        pellucid compare model.onnx cat.jpg --method smoothgrad:samples=10,smoothgrad:samples=50,occlusion:window=32 -o grid.html"
    )]
    Compare(Compare),
    /// Compile a method into the model: prediction and attribution in one ONNX file
    #[command(
        after_help = "Examples:\n  pellucid compile model.onnx --method grad-cam -o explained.onnx\n  \
        pellucid compile model.onnx --method integrated-gradients --set quadrature=gauss-legendre \
        --set steps=32 --baseline zero -o explained.onnx"
    )]
    Compile(Compile),
    /// Say what a model predicts
    #[command(after_help = "Example:\n  pellucid predict model.onnx cat.jpg dog.jpg")]
    Predict(Predict),
    /// Say which rule meets which node of a model, before anything runs
    #[command(after_help = "Example:\n  pellucid coverage model.onnx --method guided-backprop")]
    Coverage(Coverage),
    /// List the methods, or tell all about one
    #[command(after_help = "Example:\n  pellucid methods integrated-gradients")]
    Methods(Methods),
    /// Run a model, its gradient and an attribution on every engine, and say where they part
    #[command(after_help = "Examples:\n  pellucid verify model.onnx cat.jpg\n  \
        pellucid verify model.onnx --engine rten --engine reference --json\n\n\
        Ends with 1 where engines part.")]
    Verify(Verify),
    /// Tell what a model is made of: layers, parameters, multiply-adds, memory, weights
    #[command(
        after_help = "Examples:\n  pellucid summary model.onnx --depth 2\n  pellucid summary model.onnx --weights -o summary.html\n  pellucid summary before.onnx after.onnx"
    )]
    Summary(Summary),
    /// Look inside while a model computes: activations, errors and faults of every layer
    #[command(after_help = "Examples:\n  pellucid inspect model.onnx cat.jpg --target tabby\n  \
        pellucid inspect model.onnx test.npy --label labels.npy -o layers.png -o arrays.npz\n  \
        pellucid inspect model.onnx test.npy --reference earlier.json\n  \
        pellucid inspect mlp.onnx row.npy --label 2 --full\n  \
        pellucid inspect model.onnx cat.jpg --maps layer1 -o maps.png\n  \
        pellucid inspect model.onnx *.jpg --strongest 'layer3[17]' -o strongest.png")]
    Inspect(Inspect),
    /// Take one number apart: the inputs times weights that make it up, its activation function, and the error back to it
    #[command(after_help = "Examples:\n  pellucid trace mlp.onnx row.npy --neuron 'hidden[3]' --label 2\n  \
        pellucid trace model.onnx cat.jpg --neuron 'conv1[5,10,12]'")]
    Trace(Trace),
    /// Design a network: a family, its sizes, and numbers to begin with
    #[command(
        after_help = "Examples:\n  pellucid new resnet-small --input 1x28x28 --outputs 10 -o net.onnx\n  \
        pellucid new resnet18 --explain --depth 2\n  \
        pellucid new resnet50 --weights resnet50.pth --head 10 -o net.onnx\n  \
        pellucid new own.toml --explain -o own.onnx -o own.html\n\n\
        docs/design.md tells the families and what a description holds."
    )]
    New(New),
    /// Train a model on data; every run can be killed and gone on with
    #[command(
        after_help = "Examples:\n  pellucid train net.onnx --data /usr/share/datasets/fashion-mnist --epochs 10 -o run\n  \
        pellucid train net.onnx --data faces/ --head 40 -o run\n  \
        pellucid train net.onnx --data faces/ --settings train.toml --set optimizer.name=sgd --set augment.flip=true -o run\n  \
        pellucid train --resume run"
    )]
    Train(Train),
    /// Measure a model, or two side by side, on rows whose right answers are known
    #[command(
        after_help = "Examples:\n  pellucid evaluate run/model.onnx --data /usr/share/datasets/fashion-mnist -o report.html\n  \
        pellucid evaluate a.onnx b.onnx --data faces/ --explain grad-cam -o report.html\n  \
        pellucid evaluate model.onnx --data test.csv --targets price --json"
    )]
    Evaluate(evaluate::Evaluate),
    /// Write one ONNX file that takes pictures as they are decoded and gives probabilities, checked against the model
    #[command(
        after_help = "Example:\n  pellucid package run/model.onnx -o shipped.onnx --explain grad-cam --examples shipped"
    )]
    Package(package::Package),
    /// Print a model's graph with sizes
    #[command(after_help = "Example:\n  pellucid show model.onnx")]
    Show(Show),
}

/// How models are run.
#[derive(Debug, Args, Default)]
pub(crate) struct Running {
    /// Engine that computes
    #[arg(long, value_name = "NAME", value_parser = engine(), default_value = Engine::default().name(), help_heading = "Running")]
    pub(crate) engine: Engine,
    /// What it computes on: cpu; cuda, cuda:N, tensorrt or tensorrt:N where the engine has them (not tested)
    #[arg(long, value_name = "DEVICE", value_parser = device, default_value_t, help_heading = "Running")]
    pub(crate) device: Device,
    /// Threads; without it one a processor core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Running")]
    pub(crate) threads: Option<u16>,
    /// Rows run as one batch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Running")]
    pub(crate) batch: Option<u32>,
    /// Most memory that a run may take, such as 2GiB; batches are split to fit
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "Running")]
    pub(crate) memory: Option<u64>,
}

/// How inputs and outputs are understood.
#[derive(Debug, Args, Default)]
pub(crate) struct Describing {
    /// Names of the classes: one a line, or a JSON list
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// How a picture is prepared, such as resize=256, crop=224, mean=0.485,0.456,0.406, std=…, range=0,1
    #[arg(long = "image", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) image: Vec<(String, String)>,
    /// The model's output that is explained; its first without it
    #[arg(long, value_name = "OUTPUT")]
    pub(crate) score: Option<String>,
}

/// Which method, and how.
#[derive(Debug, Args)]
pub(crate) struct Choosing {
    /// Method; `pellucid methods` lists them
    #[arg(long, value_name = "NAME", default_value = "integrated-gradients")]
    pub(crate) method: String,
    /// A parameter of the method
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
    /// The layer that attributions are to, in place of the inputs, or that a class activation map looks at: a value,
    /// node or module
    #[arg(long, value_name = "VALUE")]
    pub(crate) layer: Option<String>,
    /// Explain a hidden unit in place of a class: a layer and a place in it, such as `layer4[3,1,2]`; `layer4[3]` is the
    /// mean of channel 3
    #[arg(long, value_name = "VALUE[I]")]
    pub(crate) neuron: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Photograph: chelsea, coffee, camera or rocket
    #[arg(value_name = "PHOTOGRAPH", default_value = "chelsea")]
    pub(crate) photograph: String,
    #[command(flatten)]
    pub(crate) choosing: Choosing,
    /// Files to write
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub(crate) output: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// Pictures (PNG, JPEG, WebP) or arrays (.npy, .npz)
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) choosing: Choosing,
    /// Class: top1, top3, an index or a label; a contrast of two, such as 281-282 or tabby-"tiger cat"; several
    /// separated by commas share the forward pass; top1 without it
    #[arg(long, value_name = "CLASS")]
    pub(crate) target: Option<String>,
    /// What the input is compared with: zero, mean, blur or a file
    #[arg(long, value_name = "zero|mean|blur|FILE", default_value = "zero")]
    pub(crate) baseline: String,
    /// What baselines are drawn from, for methods that draw them: rows in a .npy or .npz file; zero without it
    #[arg(long, value_name = "FILE")]
    pub(crate) background: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Files to write, by ending: .png .svg .html .npz .npy .json; or a folder
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// Pictures (PNG, JPEG, WebP) or arrays (.npy, .npz)
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Methods separated by commas, each with settings of its own behind colons, such as smoothgrad:samples=50
    #[arg(long, value_name = "NAMES", required = true)]
    pub(crate) method: String,
    /// The layer that attributions are to, in place of the inputs: a value, node or module
    #[arg(long, value_name = "VALUE")]
    pub(crate) layer: Option<String>,
    /// Explain a hidden unit in place of a class, such as `layer4[3,1,2]`
    #[arg(long, value_name = "VALUE[I]")]
    pub(crate) neuron: Option<String>,
    /// Class: top1, an index, a label or a contrast of two; top1 without it
    #[arg(long, value_name = "CLASS")]
    pub(crate) target: Option<String>,
    /// What the input is compared with, for methods that compare: zero, mean, blur or a file
    #[arg(long, value_name = "zero|mean|blur|FILE", default_value = "zero")]
    pub(crate) baseline: String,
    /// What baselines are drawn from, for methods that draw them: rows in a .npy or .npz file; zero without it
    #[arg(long, value_name = "FILE")]
    pub(crate) background: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Files to write, by ending: .png .svg .html .json
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Args)]
pub(crate) struct Compile {
    /// ONNX file
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) choosing: Choosing,
    /// Fix the class as explain takes it; several give the attribution a leading axis; without it the file takes an
    /// input `target`
    #[arg(long, value_name = "CLASS")]
    pub(crate) target: Option<String>,
    /// Fix the baseline: zero or a file; without it the file takes an input `baseline`
    #[arg(long, value_name = "zero|FILE")]
    pub(crate) baseline: Option<String>,
    /// Fix the background of methods that draw baselines: zero or a file; without it the file takes an input
    /// `background`
    #[arg(long, value_name = "zero|FILE")]
    pub(crate) background: Option<String>,
    /// Seed of what is drawn while compiling
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// ONNX file to write
    #[arg(short, long, value_name = "OUT.onnx")]
    pub(crate) output: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
}

#[derive(Debug, Args)]
pub(crate) struct Predict {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// Pictures (PNG, JPEG, WebP) or arrays (.npy, .npz)
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Files to write, by ending: .npz .npy .json
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// Pictures (PNG, JPEG, WebP) or arrays (.npy, .npz); seeded random numbers without them
    pub(crate) inputs: Vec<PathBuf>,
    /// Engine to run; may repeat; every one present without it, the interpreter if the model is small
    #[arg(long, value_name = "NAME", value_parser = engine(), help_heading = "Running")]
    pub(crate) engine: Vec<Engine>,
    /// Threads; without it one a processor core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Running")]
    pub(crate) threads: Option<u16>,
    /// Most memory that a run may take, such as 2GiB; batches are split to fit
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "Running")]
    pub(crate) memory: Option<u64>,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
}

#[derive(Debug, Args)]
pub(crate) struct Coverage {
    /// ONNX file
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) choosing: Choosing,
    /// The model's output that is explained; its first without it
    #[arg(long, value_name = "OUTPUT")]
    pub(crate) score: Option<String>,
    /// Inputs; of methods of relevance it is then said how much is lost or made at each node
    pub(crate) inputs: Vec<PathBuf>,
    /// Classes: top1, an index, a label, or two with a minus between them; the first is looked at
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// Refuse (exit code 2) where the derivative stands in for a rule, or relevance may be lost or made
    #[arg(long)]
    pub(crate) strict: bool,
    /// List every node, not only a summary
    #[arg(long)]
    pub(crate) nodes: bool,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Methods {
    /// One method
    pub(crate) name: Option<String>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Summary {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// A second ONNX file, such as one after fine-tuning: which weights moved, where, and by how much
    #[arg(conflicts_with_all = ["depth", "size", "weights", "singular_values", "profile", "batch"])]
    pub(crate) other: Option<PathBuf>,
    /// Levels of modules to show; deeper layers are added up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) depth: Option<u16>,
    /// Size of an input that the file leaves open, such as height=224; may repeat. 224 without it
    #[arg(long, value_name = "NAME=N", value_parser = key_value)]
    pub(crate) size: Vec<(String, String)>,
    /// Describe how each layer's weights are distributed
    #[arg(long)]
    pub(crate) weights: bool,
    /// Compute singular values of matrices whose shorter side is at most this; 256 without it. Time grows with its cube
    #[arg(long, value_name = "N")]
    pub(crate) singular_values: Option<u32>,
    /// Run every layer, and say which share of the time each takes
    #[arg(long)]
    pub(crate) profile: bool,
    /// Files to write, by ending: .html .json .png .svg; or a folder, which gets every plot
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Print JSON, with the distribution of weights
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// Pictures (PNG, JPEG, WebP) or arrays (.npy, .npz): examples, read some at a time
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Errors are derivatives of the score of this class: top1, an index, a label or a contrast of two
    #[arg(long, value_name = "CLASS", conflicts_with = "label")]
    pub(crate) target: Option<String>,
    /// Errors are derivatives of the loss against these right answers: indices, labels or numbers separated by commas,
    /// one for each example or one for all; or a .npy file of them
    #[arg(long, value_name = "ANSWERS")]
    pub(crate) label: Option<String>,
    /// Learning rate of the step whose effect on the weights is told
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    pub(crate) learning_rate: f64,
    /// Statistics of inputs that are as they should be: what an earlier inspection wrote as .json
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
    /// Tabulate every neuron of one example, with activation and error: for networks of fully connected layers
    #[arg(long, conflicts_with_all = ["maps", "strongest"])]
    pub(crate) full: bool,
    /// Draw the maps that this layer makes of one example
    #[arg(long, value_name = "LAYER", conflicts_with = "strongest")]
    pub(crate) maps: Option<String>,
    /// Find the examples that excite these units most: a layer, `LAYER[3,17]` for channels of it, or a
    /// class by its label
    #[arg(long, value_name = "UNIT")]
    pub(crate) strongest: Option<String>,
    /// Examples a unit
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) count: u16,
    /// Row that --full and --maps look at, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) row: usize,
    /// Files to write, by ending: .png and .svg draw the layers, .npz holds every activation and error, .json the
    /// statistics
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// A picture (PNG, JPEG, WebP) or arrays (.npy, .npz)
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// The number: a value, node or module, and its place behind the row, such as `relu1[3]` or `conv1[5,10,12]`
    #[arg(long, value_name = "LAYER[I,…]")]
    pub(crate) neuron: String,
    /// Errors are derivatives of the score of this class: top1, an index, a label or a contrast of two
    #[arg(long, value_name = "CLASS", conflicts_with = "label")]
    pub(crate) target: Option<String>,
    /// Errors are derivatives of the loss against this right answer: an index, a label or a number
    #[arg(long, value_name = "ANSWER")]
    pub(crate) label: Option<String>,
    /// Row of the inputs, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) row: usize,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
    #[command(flatten)]
    pub(crate) running: Running,
}

/// Sizes of axes.
#[derive(Debug, Clone)]
pub(crate) struct Sizes(pub(crate) Vec<usize>);

/// The right answers of data.
#[derive(Debug, Args)]
pub(crate) struct Answers {
    /// Of a table the columns to predict; of an .npy file the file of targets
    #[arg(long, value_name = "COLUMNS|FILE")]
    pub(crate) targets: Option<String>,
    /// Leave out broken pictures, and tell them
    #[arg(long)]
    pub(crate) skip_broken: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// ONNX file
    pub(crate) model: PathBuf,
}

/// The engines, each with what it is.
fn engine() -> impl TypedValueParser<Value = Engine> {
    let values = Engine::ALL.map(|engine| PossibleValue::new(engine.name()).help(engine.summary()));
    PossibleValuesParser::new(values).try_map(|name| Engine::named(&name).ok_or("it is no engine"))
}

fn device(text: &str) -> Result<Device, String> {
    text.parse()
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| format!("{text:?} has no =; expected KEY=VALUE"))
}

/// Sizes such as 1x28x28 or 512,256.
fn sizes(text: &str) -> Result<Sizes, String> {
    let numbers = text.split(['x', ',', '×']).map(|part| part.trim().parse::<usize>());
    let numbers: Result<Vec<usize>, _> = numbers.collect();
    numbers
        .map(Sizes)
        .map_err(|_| format!("{text:?} are no sizes; expected numbers with x between them, such as 1x28x28"))
}

/// A size such as 2GiB, 512MiB or 1000000.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("GiB", 1u64 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("B", 1),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))
        .unwrap_or((text, 1));
    number
        .trim()
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("{text:?} is no size; expected a number and a unit, such as 2GiB or 512MiB"))
}
