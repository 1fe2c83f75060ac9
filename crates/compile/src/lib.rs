//! The explanation compiler: pure `Graph → Graph`.
//!
//! Operators ([`ops`]) know their derivative; rules ([`rules`]) say how a signal at a node's outputs becomes a signal
//! at its inputs; one reverse walk ([`walk`]) applies them; methods ([`methods`]) say where the model is evaluated
//! and what is read off. There is no input or output here, no thread, clock or engine.

pub mod artefact;
pub mod build;
mod chain;
pub mod coverage;
pub mod error;
pub mod inside;
pub mod kind;
pub mod layer;
pub mod loss;
pub mod losses;
pub mod method;
pub mod methods;
pub mod ops;
pub mod passes;
pub mod prepare;
pub mod program;
pub mod readout;
mod reference;
pub mod rules;
pub mod score;
pub mod space;
pub mod step;
pub mod suggest;
mod tangent;
pub mod training;
pub mod walk;

pub use artefact::{Artefact, Baseline, Draws, Options, artefact};
pub use build::{Builder, Keep, Var};
pub use chain::behind;
pub use coverage::{Coverage, Met, coverage};
pub use error::{CompileError, Offence, Result};
pub use inside::{Answers, Inside, Objective, inside};
pub use kind::{Form, Kind, Role};
pub use layer::Neuron;
pub use losses::{Losses, losses};
pub use method::{Collect, Method, Nodes, Points, Prepare, Quadrature, Seed, Statistic, nodes};
pub use passes::{lower, raise};
pub use program::{Program, Request, Split, program};
pub use readout::{FullGrad, Interpolation, Readout};
pub use score::{Scored, Target, Unit};
pub use space::channel_axes;
pub use training::{TrainedWeight, TrainingConfig, TrainingStep, training_step};
