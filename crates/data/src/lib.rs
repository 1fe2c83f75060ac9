//! Data sets: rows with targets, read under limits, split, shuffled, augmented, and made into batches ahead of need.
//!
//! Everything random follows from a seed and from a row's place, never from which thread came first: the same seed gives
//! the same batches, also where a run is continued in the middle. There is no model here and no engine.

pub mod augment;
pub mod batches;
pub mod dataset;
pub mod folder;
pub mod idx;
pub mod npz;
pub mod open;
pub mod random;
pub mod split;
pub mod table;

pub use augment::Augment;
pub use batches::{Batch, BatchTargets, Batches, Plan};
pub use dataset::{Dataset, Rows, Scaling, Targets};
pub use open::{Opened, Part, Source, open, open_part};
pub use pellucid::Error;
pub use split::{Split, split};
