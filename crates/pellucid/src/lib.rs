//! Open any trained model: load, explain, compile, cover.

pub mod array;
pub mod attribution;
pub mod compare;
pub mod compile;
pub mod description;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod file;
pub mod input;
pub mod inspect;
pub mod labels;
pub mod losses;
pub mod methods;
pub mod model;
pub mod npy;
pub mod package;
pub mod photograph;
pub mod preprocessing;
pub mod render;
pub mod resample;
mod rules_file;
mod sizes;
mod space;
pub mod stream;
pub mod summary;
pub mod verify;
pub mod write;

pub use array::Array;
pub use attribution::{
    Attribution, Class, Explained, Explanation, MethodSummary, Prediction, Settings, Target, Unit,
};
pub use compare::{Compared, Comparison, Correlation, compare};
pub use compile::{ArtefactBaseline, ArtefactOptions, CompiledModel, compile, coverage};
pub use error::Error;
pub use evaluate::{Answered, Answers, EvaluateOptions, Evaluation, Subject, Task, evaluate};
pub use explain::{
    Baseline, Draws, Explainer, Limits, Options, Predictor, Progress, Silent, TargetChoice, explain, predict,
};
pub use input::{Inputs, Row, Shapes};
pub use inspect::{Examples, InspectOptions, Inspection, Judge, RightAnswers, inspect};
pub use labels::Labels;
pub use losses::{Loss, losses};
pub use model::Model;
pub use package::{Package, PackageOptions, package};
pub use pellucid_compile::{Coverage, suggest};
pub use pellucid_runtime::{Device, Engine};
pub use stream::{RowFiles, Streamed, StreamedPrediction, explain_files, predict_files};
pub use summary::{Summary, SummaryOptions, summary};
pub use verify::{Verification, Verify, verify};
pub use write::{Format, Outputs};
