//! What the units of a layer do over a data set: which never fire, which are always the same, which are saturated.

use serde::Serialize;

use super::plan::Watched;

/// A unit is saturated where this share of its numbers is.
const MOSTLY: f64 = 0.95;

/// Strongest units that are told of.
const STRONGEST: usize = 8;

/// Units listed by number; of more only the count is told.
const LISTED: usize = 1024;

/// What the units of a layer did: its channels where it has space, else its single numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Units {
    /// How many there are.
    pub count: usize,
    /// Share that gave the same number everywhere, of two or more: they carry nothing.
    pub dead: f64,
    /// Share of a rectifier's or gate's that were never above 0; `None` for other layers.
    pub never_firing: Option<f64>,
    /// Share of the numbers of a bounded function that lie within 1 % of its range from a limit; `None` for others.
    pub saturated: Option<f64>,
    /// Share of units for which 95 % of the numbers do.
    pub saturated_units: Option<f64>,
    /// Places of the units that never fire, or, of other layers, are dead: the first 1,024.
    pub listed: Vec<usize>,
    /// The units with the largest numbers.
    pub strongest: Vec<Strong>,
}

/// A unit with a large number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Strong {
    /// Its place among the layer's units.
    pub unit: usize,
    /// Its largest number.
    pub max: f32,
    /// The row where that is.
    pub row: u64,
    /// Its mean.
    pub mean: f64,
}

#[derive(Debug, Clone)]
struct Unit {
    sum: f64,
    square: f64,
    low: f32,
    high: f32,
    row: u64,
    saturated: u64,
}

/// Watches the units of a layer as rows come.
#[derive(Debug, Clone)]
pub(crate) struct UnitWatch {
    units: Vec<Unit>,
    /// Numbers that each unit gave.
    each: u64,
    rectifies: bool,
    limits: Option<(f32, f32)>,
}

impl UnitWatch {
    pub(crate) fn new(watched: &Watched) -> Self {
        let limits = watched.limits.map(|(low, high)| {
            let margin = 0.01 * (high - low);
            (low + margin, high - margin)
        });
        Self { units: Vec::new(), each: 0, rectifies: watched.rectifies(), limits }
    }

    /// Numbers of rows: `values` in row-major order, of `shape`, whose first axis is rows from `first` on; units lie
    /// along `axis`.
    pub(crate) fn add(&mut self, values: &[f32], shape: &[usize], axis: usize, first: u64) {
        let Some(count) = shape.get(axis).copied().filter(|count| *count > 0) else { return };
        if self.units.is_empty() {
            let none = Unit {
                sum: 0.0,
                square: 0.0,
                low: f32::INFINITY,
                high: f32::NEG_INFINITY,
                row: 0,
                saturated: 0,
            };
            self.units = vec![none; count];
        }
        // A layer whose number of units changes with the input has no units to watch.
        if self.units.len() != count {
            return;
        }
        let inner: usize = shape[axis + 1..].iter().product();
        let by_row: usize = shape[1..].iter().product();
        let rows = shape[0];
        self.each += (rows * by_row / count) as u64;
        let limits = self.limits.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        for (row, values) in values.chunks(by_row.max(1)).enumerate() {
            for (block, values) in values.chunks(inner.max(1)).enumerate() {
                let unit = &mut self.units[block % count];
                for value in values {
                    let number = f64::from(*value);
                    unit.sum += number;
                    unit.square += number * number;
                    unit.low = unit.low.min(*value);
                    unit.saturated += u64::from(*value <= limits.0 || *value >= limits.1);
                    if *value > unit.high {
                        (unit.high, unit.row) = (*value, first + row as u64);
                    }
                }
            }
        }
    }

    /// Mean and variance of each unit.
    pub(crate) fn moments(&self) -> Vec<(f64, f64)> {
        let n = self.each.max(1) as f64;
        let moments = |unit: &Unit| {
            let mean = unit.sum / n;
            (mean, (unit.square / n - mean * mean).max(0.0))
        };
        self.units.iter().map(moments).collect()
    }

    pub(crate) fn finish(&self) -> Option<Units> {
        let count = self.units.len();
        if count == 0 {
            return None;
        }
        let share = |units: usize| units as f64 / count as f64;
        // One number alone is the same everywhere, and says nothing.
        let several = self.each > 1;
        #[expect(clippy::float_cmp, reason = "the same number everywhere")]
        let same = |unit: &Unit| several && unit.low == unit.high;
        let silent = |unit: &Unit| unit.high <= 0.0;
        let full = |unit: &Unit| unit.saturated as f64 >= MOSTLY * self.each as f64;
        let saturated: u64 = self.units.iter().map(|unit| unit.saturated).sum();
        let listed = self.units.iter().enumerate();
        let listed = listed.filter(|(_, unit)| if self.rectifies { silent(unit) } else { same(unit) });
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| self.units[*b].high.total_cmp(&self.units[*a].high).then(a.cmp(b)));
        let strongest = order.iter().take(STRONGEST).map(|place| {
            let unit = &self.units[*place];
            Strong { unit: *place, max: unit.high, row: unit.row, mean: unit.sum / self.each.max(1) as f64 }
        });
        Some(Units {
            count,
            dead: share(self.units.iter().filter(|unit| same(unit)).count()),
            never_firing: self
                .rectifies
                .then(|| share(self.units.iter().filter(|unit| silent(unit)).count())),
            saturated: self.limits.map(|_| saturated as f64 / (self.each.max(1) as f64 * count as f64)),
            saturated_units: self.limits.map(|_| share(self.units.iter().filter(|unit| full(unit)).count())),
            listed: listed.map(|(place, _)| place).take(LISTED).collect(),
            strongest: strongest.collect(),
        })
    }
}
