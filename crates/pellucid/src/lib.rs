//! Open any trained model: load, explain, compile, cover.
