//! A graph made runnable: the only crate that names an engine.
//!
//! [`open`] turns a [`Graph`] into a [`Session`], which takes arrays by name and returns arrays by name. Any value of
//! the graph may be asked for, and any may be fed in place of being computed. What an engine cannot compute is one
//! error that lists every offending node, when the session is opened and not when it runs; a wrong number is never an
//! answer.
//!
//! Three engines exist. *rten* is embedded, multi-threaded and computes in `float32` and 32-bit integers: the graph is
//! first lowered to the forms that it computes right (see the crate's README for what was found). *onnxruntime* is a
//! library that the user has; it is found and loaded when it is asked for. *reference* is the plain interpreter in
//! `float64`, thousands of times slower.
//!
//! ```
//! use pellucid_graph::{Dim, ElementType, Graph, NewNode};
//! use pellucid_runtime::{Array, Options, open};
//!
//! let mut graph = Graph::new();
//! let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::symbol("n")])).unwrap();
//! let y = graph.push_one(NewNode::new("Relu", &[x], "y")).unwrap();
//! graph.add_output(y).unwrap();
//! let session = open(&graph, &Options::default()).unwrap();
//! let x = Array::from_f32(&[2], vec![-1.0, 2.0]).unwrap();
//! let results = session.run(&[("x", &x)], &["y"]).unwrap();
//! assert_eq!(results[0].to_f32().as_slice().unwrap(), [0.0, 2.0]);
//! ```

mod array;
mod check;
mod cut;
mod error;
mod folding;
mod lower;
mod memory;
mod native;
mod onnxruntime;
mod planned;
mod reference;
mod rten;
mod weights;

use std::collections::BTreeMap;

use pellucid_graph::{ElementType, Graph, Shape};

pub use array::Array;
pub use error::{RuntimeError, UnsupportedNode};
pub use memory::{largest_batch, live_bytes};
pub use onnxruntime::Device;
use planned::PlannedSession;

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// The embedded engine: `float32`, several threads.
    #[default]
    Rten,
    /// onnxruntime, where the user has it: `float32`, several threads, and other devices through its providers.
    ///
    /// With glibc, loading a session sets `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD` of the whole process, in the end to
    /// the most that glibc raises them to by itself; what a program set before is lost.
    Onnxruntime,
    /// The interpreter: `float64`, slow, obviously right.
    Reference,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Engine; 3] = [Self::Rten, Self::Onnxruntime, Self::Reference];

    /// Name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rten => "rten",
            Self::Onnxruntime => "onnxruntime",
            Self::Reference => "reference",
        }
    }

    /// What it is, in a few words.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Rten => "Embedded, float32, several threads",
            Self::Onnxruntime => "Where its library is installed: float32, several threads, graphics cards",
            Self::Reference => "Interpreter, float64, slow",
        }
    }

    /// Whether it computes in `float64` with plain sums: slow, and the measure of the others.
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Reference)
    }

    /// The engine of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }

    /// Whether it can be used here: an engine may need a library that is not part of this program. The first call
    /// looks for it and loads it.
    ///
    /// # Errors
    /// [`RuntimeError::Library`]: where it was looked for, and what to do.
    pub fn available(self) -> Result<(), RuntimeError> {
        match self {
            Self::Onnxruntime => onnxruntime::available(),
            Self::Rten | Self::Reference => Ok(()),
        }
    }
}

/// What kernels of this crate compute, between runs of the engine: convolutions with fed weights, their derivatives, and
/// chains of element-wise operators with sums by channel, which training steps are made of; on rten depthwise convolutions too,
/// whatever their weights. Their results have other roundings than the engine's own; they depend on threads no more than those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kernels {
    /// The engine computes everything.
    #[default]
    Never,
    /// Depthwise convolutions on rten, with chains of element-wise operators beside them; nothing in graphs without. A row has
    /// the same bits in a batch of any size.
    Depthwise,
    /// Where there is enough to compute for it to be faster; on onnxruntime nothing in graphs without convolutions.
    Worthwhile,
    /// Wherever they can, however little there is to compute.
    Always,
}

impl Kernels {
    /// Whether they take derivatives for weights, which lowering then leaves as they are.
    fn for_training(self) -> bool {
        matches!(self, Self::Worthwhile | Self::Always)
    }
}

/// How a session runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What computes.
    pub engine: Engine,
    /// What it computes on: engines other than onnxruntime take the processor alone.
    pub device: Device,
    /// Number of threads; `None` is one a physical core. Results do not depend on it.
    pub threads: Option<usize>,
    /// Most bytes that a run may take, weights included; `None` is no limit. What happens to be free is never looked
    /// at.
    pub memory: Option<u64>,
    /// What kernels of this crate compute in the engine's place.
    pub kernels: Kernels,
}

/// An input or output of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Element type, where it is known; always for inputs.
    pub element: Option<ElementType>,
    /// Sizes, where the number of axes is known.
    pub shape: Option<Shape>,
}

/// A graph that can be run, any number of times and from several threads.
pub trait Session: Send + Sync {
    /// What computes.
    fn engine(&self) -> Engine;

    /// The graph's inputs, in order.
    fn inputs(&self) -> &[Port];

    /// The graph's outputs, in order.
    fn outputs(&self) -> &[Port];

    /// Most bytes that a run may take, where there is a limit.
    fn memory(&self) -> Option<u64>;

    /// Computes `outputs`, any values of the graph, from `inputs`, its inputs or any other values, in place of what
    /// would compute them. Inputs that nothing asked for needs may be left out.
    ///
    /// # Errors
    /// Inputs that are unknown, missing, or of a wrong element type or shape; outputs that are unknown; a run above
    /// the memory limit; failures of the engine.
    fn run(&self, inputs: &[(&str, &Array)], outputs: &[&str]) -> Result<Vec<Array>, RuntimeError>;

    /// Takes arrays that the caller is done with: results of later runs may lie where they lay. Nothing comes of it but
    /// time, since memory that was used before need not be asked for anew.
    fn recycle(&self, arrays: Vec<Array>) {
        drop(arrays);
    }

    /// Bytes at the peak of a run that computes `outputs`, the symbols in the inputs' sizes standing for `sizes`:
    /// weights once, and every value from where it is made to where it is last read, with a margin for what the
    /// engine holds back. An estimate that depends on sizes alone. Values whose size depends on data count nothing.
    ///
    /// # Errors
    /// Outputs that are unknown or cannot be computed.
    fn peak_bytes(&self, sizes: &BTreeMap<String, i64>, outputs: &[&str]) -> Result<u64, RuntimeError>;
}

/// Makes `graph` runnable.
///
/// # Errors
/// [`RuntimeError::Unsupported`] with every node that the outputs need and the engine cannot compute.
pub fn open(graph: &Graph, options: &Options) -> Result<Box<dyn Session>, RuntimeError> {
    if options.device != Device::Cpu && options.engine != Engine::Onnxruntime {
        return Err(RuntimeError::Device {
            device: options.device.to_string(),
            problem: format!(
                "{} computes on the processor alone; use engine {}",
                options.engine.name(),
                Engine::Onnxruntime.name()
            ),
        });
    }
    Ok(match options.engine {
        Engine::Onnxruntime => {
            Box::new(PlannedSession::open(graph, options, onnxruntime::Onnxruntime::new(options)?)?)
        }
        Engine::Rten => Box::new(PlannedSession::open(graph, options, rten::Rten::new(options))?),
        Engine::Reference => Box::new(reference::ReferenceSession::open(graph, options)),
    })
}
