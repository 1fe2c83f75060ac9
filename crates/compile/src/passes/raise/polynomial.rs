//! Arithmetic as polynomials, so that one comparison covers every order, association and distribution.
//!
//! An expression of additions, products, quotients by numbers and whole powers over an `x` and at most one other
//! value, the gate, is a polynomial in the two. Two expressions are the same function of `x` and gate if and only if
//! their coefficients are.

use pellucid_graph::ValueId;

use super::view::{Piece, View};

/// Highest power of `x`.
const DEGREE: usize = 3;

/// Nodes looked at for one expression. Patterns of exporters have a dozen; without a bound, repeated squaring would
/// take exponential time.
const MAX_NODES: usize = 48;

/// Values collected under one expression.
const MAX_VALUES: usize = 16;

/// Coefficients of xⁱ·gateʲ at `[i][j]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Polynomial([[f64; 2]; DEGREE + 1]);

impl Polynomial {
    const ZERO: Self = Self([[0.0; 2]; DEGREE + 1]);

    /// A sum of terms, each power of x, power of the gate, coefficient.
    pub(super) fn of(terms: &[(usize, usize, f64)]) -> Self {
        let mut sum = Self::ZERO;
        for (i, j, coefficient) in terms {
            sum.0[*i][*j] += coefficient;
        }
        sum
    }

    /// The coefficient of xⁱ·gateʲ.
    pub(super) fn at(&self, i: usize, j: usize) -> f64 {
        self.0[i][j]
    }

    /// Whether every coefficient is near that of `wanted`.
    pub(super) fn is(&self, view: &View<'_>, wanted: &Self) -> bool {
        self.0
            .iter()
            .flatten()
            .zip(wanted.0.iter().flatten())
            .all(|(found, wanted)| view.near(*found, *wanted))
    }

    fn constant(&self) -> Option<f64> {
        let rest = Self::of(&[(0, 0, -self.at(0, 0))]).plus(self);
        (rest == Self::ZERO).then(|| self.at(0, 0))
    }

    fn plus(&self, other: &Self) -> Self {
        let mut sum = *self;
        for (a, b) in sum.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *a += b;
        }
        sum
    }

    fn scaled(&self, factor: f64) -> Self {
        let mut scaled = *self;
        for coefficient in scaled.0.iter_mut().flatten() {
            *coefficient *= factor;
        }
        scaled
    }

    /// The product, or `None` where its degree is too high.
    fn times(&self, other: &Self) -> Option<Self> {
        let mut product = Self::ZERO;
        let terms = |p: &Self| {
            let mut terms = Vec::new();
            for (i, row) in p.0.iter().enumerate() {
                for (j, coefficient) in row.iter().enumerate() {
                    if coefficient.abs() > 0.0 {
                        terms.push((i, j, *coefficient));
                    }
                }
            }
            terms
        };
        for (i, j, a) in terms(self) {
            for (k, l, b) in terms(other) {
                *product.0.get_mut(i + k)?.get_mut(j + l)? += a * b;
            }
        }
        Some(product)
    }
}

/// Whether an operator is arithmetic that a polynomial can hold.
pub(super) fn is_arithmetic(operator: &str) -> bool {
    matches!(operator, "Add" | "Sub" | "Mul" | "Div" | "Neg" | "Pow")
}

/// What an expression is a polynomial of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Atoms {
    pub(super) x: ValueId,
    pub(super) gate: Option<ValueId>,
}

/// The polynomial that a node computes.
pub(super) fn of_piece(view: &View<'_>, piece: &Piece<'_>, atoms: Atoms) -> Option<Polynomial> {
    Evaluation { view, atoms, left: MAX_NODES }.piece(piece)
}

/// The polynomial in `x` that a value is.
pub(super) fn of_value(view: &View<'_>, id: ValueId, x: ValueId) -> Option<Polynomial> {
    Evaluation { view, atoms: Atoms { x, gate: None }, left: MAX_NODES }.value(id)
}

struct Evaluation<'v, 'a> {
    view: &'v View<'a>,
    atoms: Atoms,
    left: usize,
}

impl Evaluation<'_, '_> {
    fn value(&mut self, id: ValueId) -> Option<Polynomial> {
        self.left = self.left.checked_sub(1)?;
        let id = self.view.resolve(id);
        if id == self.atoms.x {
            return Some(Polynomial::of(&[(1, 0, 1.0)]));
        }
        if Some(id) == self.atoms.gate {
            return Some(Polynomial::of(&[(0, 1, 1.0)]));
        }
        if let Some(number) = self.view.number(id) {
            return number.is_finite().then(|| Polynomial::of(&[(0, 0, number)]));
        }
        let piece = self.view.piece(id)?;
        self.piece(&piece)
    }

    fn piece(&mut self, piece: &Piece<'_>) -> Option<Polynomial> {
        if piece.operator == "Neg" {
            return Some(self.value(piece.input(0)?)?.scaled(-1.0));
        }
        if !is_arithmetic(piece.operator) {
            return None;
        }
        let (a, b) = piece.pair()?;
        let (a, b) = (self.value(a)?, self.value(b)?);
        match piece.operator {
            "Add" => Some(a.plus(&b)),
            "Sub" => Some(a.plus(&b.scaled(-1.0))),
            "Mul" => a.times(&b),
            "Div" => {
                b.constant().filter(|divisor| divisor.abs() > 0.0).map(|divisor| a.scaled(1.0 / divisor))
            }
            _ => {
                let exponent = b.constant()?;
                let whole = (1..=DEGREE).find(|whole| (exponent - *whole as f64).abs() < 1e-9)?;
                let mut power = a;
                for _ in 1..whole {
                    power = power.times(&a)?;
                }
                Some(power)
            }
        }
    }
}

/// Values under the arithmetic that ends in `piece`, nearest first, without numbers and without repetition.
pub(super) fn values_under(view: &View<'_>, piece: &Piece<'_>) -> Vec<ValueId> {
    let mut found: Vec<ValueId> = Vec::new();
    let mut next = 0;
    extend(view, piece, &mut found);
    while next < found.len() {
        if let Some(piece) = view.piece(found[next]).filter(|piece| is_arithmetic(piece.operator)) {
            extend(view, &piece, &mut found);
        }
        next += 1;
    }
    found
}

fn extend(view: &View<'_>, piece: &Piece<'_>, found: &mut Vec<ValueId>) {
    for input in piece.inputs.iter().flatten() {
        let input = view.resolve(*input);
        // The numbers met here need not be part of the pattern: asked of a view of their own.
        if found.len() < MAX_VALUES
            && !found.contains(&input)
            && View::new(view.graph).number(input).is_none()
        {
            found.push(input);
        }
    }
}

/// What may be the `x` of an expression: the value itself, then what its arithmetic is made of.
pub(super) fn candidates(view: &View<'_>, id: ValueId) -> Vec<ValueId> {
    let id = view.resolve(id);
    let mut candidates = vec![id];
    if let Some(piece) = view.piece(id).filter(|piece| is_arithmetic(piece.operator)) {
        candidates.extend(values_under(view, &piece));
    }
    candidates
}
