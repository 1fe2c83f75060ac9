//! The embedded model, photographs and labels.
