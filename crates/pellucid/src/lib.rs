//! Open any trained model: load, explain, compile, cover.

pub mod array;
pub mod attribution;
pub mod description;
pub mod error;
mod file;
pub mod input;
pub mod labels;
pub mod model;
pub mod npy;
pub mod photograph;
pub mod preprocessing;
pub mod render;
pub mod resample;
pub mod suggest;
pub mod write;

pub use array::Array;
pub use attribution::{
    Attribution, Class, Explained, Explanation, MethodSummary, Prediction, Settings, Target, Unit,
};
pub use error::Error;
pub use input::{Inputs, Row};
pub use labels::Labels;
pub use model::Model;
pub use write::{Format, Outputs};
