//! ONNX bytes to a checked [`Graph`] and back.
//!
//! The only parser of model files: untrusted bytes end here. It knows sizes, limits and the text form; it knows no
//! rule of explanation and no engine.

pub mod dim;
pub mod element;
pub mod error;
pub mod graph;
mod infer;
pub mod interpolation;
pub mod node;
pub mod onnx;
pub mod operators;
pub mod tensor;
mod text;
pub mod window;

pub use dim::{Dim, Shape, display_shape};
pub use element::ElementType;
pub use error::GraphError;
pub use graph::{Graph, Origin, Value, ValueId};
pub use infer::broadcast as broadcast_shapes;
pub use node::{Attribute, NewNode, Node, NodeId};
pub use tensor::{Tensor, TensorError, element_count};
pub use window::{FixedAxis, Window, WindowAxis};
