//! A plain f64/i64 interpreter of every operator: the oracle that other engines are measured against.
