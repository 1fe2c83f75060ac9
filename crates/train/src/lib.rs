//! Training: from a model and data to a trained model, by steps that the explanation compiler made.
//!
//! [`train`] runs a [`TrainingStep`](pellucid_compile::TrainingStep) over batches, keeps checkpoints from which a killed
//! run goes on to the same bits, and says in words what goes wrong. [`new`] designs networks. Derivatives, losses and
//! optimizers are the compiler's; nothing here computes them. [`Known`] rows are what a model is measured on.

mod answered;
pub mod checkpoint;
mod fit;
mod head;
mod measure;
pub mod new;
mod pictures;
mod record;
mod run;
pub mod schedule;
pub mod settings;
mod steps;
pub mod watch;

pub use answered::{Asked, Known};
pub use checkpoint::{Checkpoint, Epoch};
pub use head::{Headed, headed};
pub use measure::Measured;
pub use pellucid_data::Part;
pub use pellucid_weights as weights;
pub use run::{Outcome, resume, train};
pub use schedule::Schedule;
pub use settings::Settings;
pub use watch::{Moment, Quiet, Watcher};
