//! Arrays, as they enter and leave engines.

pub use pellucid_runtime::Array;
