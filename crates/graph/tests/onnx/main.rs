//! Reading and writing ONNX files: what is read, what is refused and how, on files written here byte by byte.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod external;
mod functions;
mod hostile;
mod messages;
mod mutations;
mod round_trip;
mod upgrades;
mod wire;
