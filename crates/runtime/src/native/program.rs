//! Many element-wise operators and sums by channel as one pass over memory, or as few as its sums allow.
//!
//! A program works on maps `[n, c, …]`, channel by channel, or on arrays of any shape, stretch by stretch. What depends on
//! a channel's sums is computed in a later phase, from the maps again: they are in the processor's cache by then, and nothing
//! that only this program needs is ever written to memory. Channels are independent of each other, and a sum runs over its
//! channel in one order, so bits do not depend on threads. Numbers are those of the operators one by one but for sums, which
//! are taken in pieces of sixteen and then in `float64`.
#![allow(clippy::inline_always, reason = "what is dispatched to a processor's vectors must be one function")]

use rayon::prelude::*;
use rten_simd::{Isa, SimdOp};

use super::operation::{Operand, Operation, apply, number, takes_a_sum, total_of};

/// A value of a program.
pub(super) type Id = usize;

/// How many numbers a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// As many as the space.
    Full,
    /// One a channel.
    Channel,
    /// One.
    Single,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Origin {
    /// What is given, by position.
    Input(usize),
    /// Of one value, or of two.
    Computed(Operation, Id, Option<Id>),
}

/// The maps that a program goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) rows: usize,
    pub(super) channels: usize,
    /// Numbers of a row and channel, which lie side by side.
    pub(super) plane: usize,
}

impl Space {
    pub(super) fn len(self) -> usize {
        self.rows * self.channels * self.plane
    }
}

/// What is computed of maps.
#[derive(Debug, Clone)]
pub(super) struct Program {
    space: Space,
    values: Vec<(Extent, Origin)>,
    /// What is kept, full maps first.
    outputs: Vec<Id>,
    phases: Vec<Phase>,
    inputs: usize,
}

/// One pass over a channel.
#[derive(Debug, Clone, Default)]
struct Phase {
    /// Numbers by channel that can be computed before it.
    before: Vec<Id>,
    /// Full values in order, with the buffer each is put in.
    steps: Vec<(Id, usize)>,
    /// Sums that are taken, of what is a full value.
    sums: Vec<Id>,
    /// Full values that are kept, with their place among the outputs.
    kept: Vec<(Id, usize)>,
    buffers: usize,
    /// Of each value, its buffer; without meaning where it has none.
    buffer: Vec<usize>,
}

/// Numbers that are worked on at once: a few such stretches fit into a processor's first cache.
const STRETCH: usize = 1024;

/// Planes of at least so many numbers are read where they lie; smaller ones are put together first.
const WHOLE: usize = 256;

/// Numbers of a stretch that one thread takes, where there are no channels.
const PIECE: usize = 1 << 14;

impl Program {
    /// A program of `values`, each after those it is made of.
    pub(super) fn new(space: Space, values: Vec<(Extent, Origin)>, outputs: Vec<Id>) -> Self {
        let inputs = values.iter().filter(|(_, origin)| matches!(origin, Origin::Input(_))).count();
        let mut ready = vec![0; values.len()];
        for (id, (_, origin)) in values.iter().enumerate() {
            if let Origin::Computed(operation, a, b) = origin {
                let given = b.map_or(ready[*a], |b| ready[*a].max(ready[b]));
                ready[id] = given + usize::from(takes_a_sum(*operation));
            }
        }
        let last = ready.iter().copied().max().unwrap_or(0);
        let phases = (0..=last).map(|at| phase(&values, &outputs, &ready, at)).collect();
        Self { space, values, outputs, phases, inputs }
    }

    /// Whether an output is a full map.
    pub(super) fn is_full(&self, output: usize) -> bool {
        self.values[self.outputs[output]].0 == Extent::Full
    }

    /// Computes the outputs of `inputs` into `results`; `None` where sizes do not fit.
    pub(super) fn run(&self, inputs: &[&[f32]], results: &mut [Vec<f32>]) -> Option<()> {
        let Space { rows, channels, plane } = self.space;
        let size = |extent| match extent {
            Extent::Full => self.space.len(),
            Extent::Channel => channels,
            Extent::Single => 1,
        };
        let fits = inputs.len() == self.inputs
            && results.len() == self.outputs.len()
            && results.iter().zip(&self.outputs).all(|(result, id)| result.len() == size(self.values[*id].0))
            && self.values.iter().all(|(extent, origin)| match origin {
                Origin::Input(at) => inputs.get(*at).is_some_and(|input| input.len() == size(*extent)),
                Origin::Computed(..) => true,
            });
        if !fits {
            return None;
        }
        if self.space.len() == 0 {
            return Some(());
        }
        if self.values.iter().any(|(extent, _)| *extent == Extent::Channel) {
            let mut units: Vec<Unit<'_>> = (0..channels).map(|channel| self.unit(inputs, channel)).collect();
            for (at, result) in results.iter_mut().enumerate() {
                if self.is_full(at) {
                    for (place, part) in result.chunks_exact_mut(plane).enumerate() {
                        units[place % channels].full[at].push(part);
                    }
                } else if self.values[self.outputs[at]].0 == Extent::Channel {
                    for (unit, number) in units.iter_mut().zip(result.iter_mut()) {
                        unit.numbers.push((at, number));
                    }
                }
            }
            for unit in &mut units {
                for at in unit.full_inputs.clone() {
                    let Origin::Input(position) = self.values[at].1 else { continue };
                    let parts = (0..rows).map(|row| {
                        let start = (row * channels + unit.channel) * plane;
                        &inputs[position][start..start + plane]
                    });
                    unit.parts[at].extend(parts);
                }
            }
            let work = units.into_par_iter();
            work.for_each(|unit| OfUnit { program: self, unit, plane }.dispatch());
        } else {
            let mut results: Vec<_> = results.iter_mut().map(|result| result.chunks_mut(PIECE)).collect();
            let pieces = self.space.len().div_ceil(PIECE);
            let mut units = Vec::with_capacity(pieces);
            for piece in 0..pieces {
                let mut unit = self.unit(inputs, 0);
                for (at, chunks) in results.iter_mut().enumerate() {
                    if self.is_full(at) {
                        unit.full[at].extend(chunks.next());
                    } else if piece == 0
                        && let Some(number) = chunks.next().and_then(|chunk| chunk.first_mut())
                    {
                        unit.numbers.push((at, number));
                    }
                }
                for at in unit.full_inputs.clone() {
                    let Origin::Input(position) = self.values[at].1 else { continue };
                    let end = self.space.len().min((piece + 1) * PIECE);
                    unit.parts[at].push(&inputs[position][piece * PIECE..end]);
                }
                units.push(unit);
            }
            let plane = PIECE.min(self.space.len());
            let work = units.into_par_iter();
            work.for_each(|unit| OfUnit { program: self, unit, plane }.dispatch());
        }
        Some(())
    }

    /// A channel without its maps.
    fn unit<'a>(&self, inputs: &[&[f32]], channel: usize) -> Unit<'a> {
        let mut known = vec![0.0; self.values.len()];
        let mut full_inputs = Vec::new();
        for (id, (extent, origin)) in self.values.iter().enumerate() {
            if let Origin::Input(at) = origin {
                match extent {
                    Extent::Full => full_inputs.push(id),
                    Extent::Channel => known[id] = inputs[*at][channel],
                    Extent::Single => known[id] = inputs[*at][0],
                }
            }
        }
        Unit {
            channel,
            known,
            full_inputs,
            parts: vec![Vec::new(); self.values.len()],
            full: self.outputs.iter().map(|_| Vec::new()).collect(),
            numbers: Vec::new(),
        }
    }
}

/// What is done in phase `at`, where values are ready as `ready` says.
fn phase(values: &[(Extent, Origin)], outputs: &[Id], ready: &[usize], at: usize) -> Phase {
    let mut phase = Phase { buffer: vec![usize::MAX; values.len()], ..Phase::default() };
    let mut needed = vec![false; values.len()];
    for (id, (extent, origin)) in values.iter().enumerate() {
        match origin {
            Origin::Computed(operation, a, _) if takes_a_sum(*operation) && ready[*a] == at => {
                phase.sums.push(id);
                needed[*a] = true;
            }
            Origin::Computed(operation, ..) if takes_a_sum(*operation) => {}
            Origin::Computed(..) if *extent != Extent::Full && ready[id] == at => phase.before.push(id),
            _ => {}
        }
    }
    for (place, id) in outputs.iter().enumerate() {
        if values[*id].0 == Extent::Full && ready[*id] == at {
            phase.kept.push((*id, place));
            needed[*id] = true;
        }
    }
    let of = |id: Id| match values[id] {
        (Extent::Full, Origin::Computed(_, a, b)) => Some((a, b)),
        _ => None,
    };
    let mut last = vec![0; values.len()];
    for id in (0..values.len()).rev() {
        if let Some((a, b)) = of(id).filter(|_| needed[id]) {
            for input in [Some(a), b].into_iter().flatten() {
                needed[input] = true;
                last[input] = last[input].max(id);
            }
        }
    }
    for id in phase.sums.iter().filter_map(|id| match values[*id].1 {
        Origin::Computed(_, a, _) => Some(a),
        Origin::Input(_) => None,
    }) {
        last[id] = usize::MAX;
    }
    for (id, _) in &phase.kept {
        last[*id] = usize::MAX;
    }
    let (mut free, mut held): (Vec<usize>, Vec<(Id, usize)>) = (Vec::new(), Vec::new());
    for (id, needed) in needed.into_iter().enumerate() {
        if !needed || of(id).is_none() {
            continue;
        }
        let buffer = free.pop().unwrap_or_else(|| {
            phase.buffers += 1;
            phase.buffers - 1
        });
        phase.steps.push((id, buffer));
        phase.buffer[id] = buffer;
        held.push((id, buffer));
        held.retain(|(value, buffer)| {
            let keeps = last[*value] > id;
            if !keeps {
                free.push(*buffer);
            }
            keeps
        });
    }
    phase
}

/// A channel, or a stretch of arrays.
struct Unit<'a> {
    channel: usize,
    /// Numbers by channel that are known so far.
    known: Vec<f32>,
    full_inputs: Vec<Id>,
    /// Of each full input, its parts in order.
    parts: Vec<Vec<&'a [f32]>>,
    /// Of each full output, the same.
    full: Vec<Vec<&'a mut [f32]>>,
    /// Where other outputs go.
    numbers: Vec<(usize, &'a mut f32)>,
}

struct OfUnit<'p, 'a> {
    program: &'p Program,
    unit: Unit<'a>,
    plane: usize,
}

impl SimdOp for OfUnit<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, _: I) {
        for phase in &self.program.phases {
            for id in &phase.before {
                if let Origin::Computed(operation, a, b) = self.program.values[*id].1 {
                    let (a, b) = (self.unit.known[a], b.map_or(0.0, |b| self.unit.known[b]));
                    self.unit.known[*id] = number(operation, a, b);
                }
            }
            if !phase.sums.is_empty() || !phase.kept.is_empty() {
                self.pass(phase);
            }
        }
        for (at, number) in &mut self.unit.numbers {
            **number = self.unit.known[self.program.outputs[*at]];
        }
    }
}

impl OfUnit<'_, '_> {
    /// Goes through the channel once.
    #[inline(always)]
    fn pass(&mut self, phase: &Phase) {
        let parts = self.unit.full_inputs.first().map_or(0, |id| self.unit.parts[*id].len());
        let mut buffers: Vec<Vec<f32>> = vec![vec![0.0; STRETCH]; phase.buffers];
        let mut gathered: Vec<Vec<f32>> = vec![Vec::new(); self.program.values.len()];
        let mut totals = vec![0f64; phase.sums.len()];
        let mut count = 0usize;
        let whole = self.plane >= WHOLE;
        let together = if whole { 1 } else { (STRETCH / self.plane).max(1) };
        let mut part = 0;
        while part < parts {
            let some = together.min(parts - part);
            if !whole {
                for id in &self.unit.full_inputs {
                    let gathered = &mut gathered[*id];
                    gathered.clear();
                    for plane in &self.unit.parts[*id][part..part + some] {
                        gathered.extend_from_slice(plane);
                    }
                }
            }
            let length =
                self.unit.full_inputs.first().map_or(0, |id| {
                    if whole { self.unit.parts[*id][part].len() } else { gathered[*id].len() }
                });
            count += length;
            let mut start = 0;
            while start < length {
                let end = (start + STRETCH).min(length);
                self.steps(phase, &mut buffers, &gathered, (part, whole), start..end);
                for (total, id) in totals.iter_mut().zip(&phase.sums) {
                    let Origin::Computed(_, a, _) = self.program.values[*id].1 else { continue };
                    if let Operand::Numbers(numbers) =
                        self.operand(a, phase, &buffers, &gathered, (part, whole), start..end)
                    {
                        *total += total_of(numbers);
                    }
                }
                for (id, place) in &phase.kept {
                    let source = &buffers[phase.buffer[*id]][..end - start];
                    if whole {
                        self.unit.full[*place][part][start..end].copy_from_slice(source);
                    } else {
                        for (k, source) in source.chunks(self.plane).enumerate() {
                            self.unit.full[*place][part + k].copy_from_slice(source);
                        }
                    }
                }
                start = end;
            }
            part += some;
        }
        for (total, id) in totals.into_iter().zip(&phase.sums) {
            if let Origin::Computed(operation, ..) = self.program.values[*id].1 {
                let divisor = if operation == Operation::Mean { count as f64 } else { 1.0 };
                #[expect(clippy::cast_possible_truncation, reason = "a sum of float32 is one again")]
                let sum = (total / divisor) as f32;
                self.unit.known[*id] = sum;
            }
        }
    }

    /// A value as a step reads it.
    #[inline(always)]
    fn operand<'b>(
        &'b self,
        id: Id,
        phase: &Phase,
        buffers: &'b [Vec<f32>],
        gathered: &'b [Vec<f32>],
        (part, whole): (usize, bool),
        range: std::ops::Range<usize>,
    ) -> Operand<'b> {
        match self.program.values[id] {
            (Extent::Full, Origin::Input(_)) if whole => Operand::Numbers(&self.unit.parts[id][part][range]),
            (Extent::Full, Origin::Input(_)) => Operand::Numbers(&gathered[id][range]),
            (Extent::Full, Origin::Computed(..)) => {
                Operand::Numbers(&buffers[phase.buffer[id]][..range.len()])
            }
            _ => Operand::Number(self.unit.known[id]),
        }
    }

    /// The full steps of a phase on one stretch.
    #[inline(always)]
    fn steps(
        &self,
        phase: &Phase,
        buffers: &mut [Vec<f32>],
        gathered: &[Vec<f32>],
        place: (usize, bool),
        range: std::ops::Range<usize>,
    ) {
        for (id, buffer) in &phase.steps {
            let Origin::Computed(operation, a, b) = self.program.values[*id].1 else { continue };
            let mut target = std::mem::take(&mut buffers[*buffer]);
            {
                let target = &mut target[..range.len()];
                let a = self.operand(a, phase, buffers, gathered, place, range.clone());
                let b = b.map(|b| self.operand(b, phase, buffers, gathered, place, range.clone()));
                apply(operation, target, a, b);
            }
            buffers[*buffer] = target;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|k| ((k * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    /// x − mean x, times a factor by channel, where greater than 0; and the mean.
    fn centred(space: Space) -> Program {
        let of = |operation, a, b| Origin::Computed(operation, a, b);
        let values = vec![
            (Extent::Full, Origin::Input(0)),
            (Extent::Channel, Origin::Input(1)),
            (Extent::Channel, of(Operation::Mean, 0, None)),
            (Extent::Full, of(Operation::Sub, 0, Some(2))),
            (Extent::Full, of(Operation::Mul, 3, Some(1))),
            (Extent::Full, of(Operation::Relu, 4, None)),
        ];
        Program::new(space, values, vec![5, 2])
    }

    #[test]
    fn channels_of_every_size_are_those_of_the_definition() {
        for (rows, channels, plane) in
            [(3, 2, 1), (5, 3, 49), (70, 2, 20), (2, 4, 784), (2, 1, 3000), (1, 1, 1)]
        {
            let space = Space { rows, channels, plane };
            let (x, factor) = (numbers(space.len(), 1), numbers(channels, 2));
            let mut results = vec![vec![f32::NAN; space.len()], vec![f32::NAN; channels]];
            centred(space).run(&[&x, &factor], &mut results).unwrap();
            for channel in 0..channels {
                let places = (0..rows).flat_map(|row| {
                    let start = (row * channels + channel) * plane;
                    start..start + plane
                });
                let places: Vec<usize> = places.collect();
                let sum: f64 = places.iter().map(|at| f64::from(x[*at])).sum();
                let mean = sum / places.len() as f64;
                assert!((f64::from(results[1][channel]) - mean).abs() < 1e-6);
                for at in places {
                    let wanted = ((x[at] - results[1][channel]) * factor[channel]).max(0.0);
                    assert_eq!(results[0][at].to_bits(), wanted.to_bits(), "{space:?} {at}");
                }
            }
        }
    }

    #[test]
    fn stretches_are_those_of_the_operators_one_by_one() {
        let length = PIECE * 2 + 77;
        let of = |operation, a, b| Origin::Computed(operation, a, b);
        let values = vec![
            (Extent::Full, Origin::Input(0)),
            (Extent::Full, Origin::Input(1)),
            (Extent::Single, Origin::Input(2)),
            (Extent::Full, of(Operation::Mul, 0, Some(2))),
            (Extent::Full, of(Operation::Add, 3, Some(1))),
            (Extent::Full, of(Operation::Div, 4, Some(1))),
        ];
        let program = Program::new(Space { rows: 1, channels: 1, plane: length }, values, vec![5, 4]);
        let (x, y) = (numbers(length, 1), numbers(length, 2));
        let mut results = vec![vec![f32::NAN; length]; 2];
        program.run(&[&x, &y, &[0.9]], &mut results).unwrap();
        for at in 0..length {
            let sum = x[at] * 0.9 + y[at];
            assert_eq!(results[1][at].to_bits(), sum.to_bits());
            assert_eq!(results[0][at].to_bits(), (sum / y[at]).to_bits());
        }
        assert!(program.run(&[&x[1..], &y, &[0.9]], &mut results).is_none());
    }

    #[test]
    fn a_number_that_is_none_stays_one() {
        let values = vec![
            (Extent::Full, Origin::Input(0)),
            (Extent::Full, Origin::Computed(Operation::Relu, 0, None)),
            (Extent::Full, Origin::Computed(Operation::Max, 0, Some(1))),
        ];
        let program = Program::new(Space { rows: 1, channels: 1, plane: 2 }, values, vec![1, 2]);
        let mut results = vec![vec![0.0; 2]; 2];
        program.run(&[&[f32::NAN, -1.0]], &mut results).unwrap();
        assert!(results[0][0].is_nan() && results[1][0].is_nan());
        assert_eq!((results[0][1], results[1][1]), (0.0, 0.0));
    }
}
