//! Sizes that may be symbolic: affine expressions of named symbols with floor division.
//!
//! A size that cannot be expressed becomes a fresh symbol, so every size is a `Dim` and two sizes are known to be
//! equal exactly when their expressions are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A building block of a [`Dim`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Symbol(Arc<str>),
    /// Floor of an expression divided by a positive constant.
    FloorDiv(Box<Dim>, i64),
}

/// One size: `constant + Σ coefficient · atom`.
///
/// Arithmetic is checked: an operation that leaves `i64` returns `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Dim {
    constant: i64,
    terms: BTreeMap<Atom, i64>,
}

/// The sizes of a tensor's axes.
pub type Shape = Vec<Dim>;

impl Dim {
    /// A known size.
    pub fn known(size: i64) -> Self {
        Self { constant: size, terms: BTreeMap::new() }
    }

    /// A size named `name`.
    pub fn symbol(name: impl Into<Arc<str>>) -> Self {
        Self { constant: 0, terms: BTreeMap::from([(Atom::Symbol(name.into()), 1)]) }
    }

    /// The number, where it is known.
    pub fn value(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The number as an array size, where it is known and not negative.
    pub fn size(&self) -> Option<usize> {
        self.value().and_then(|size| usize::try_from(size).ok())
    }

    /// Sum.
    #[must_use]
    pub fn plus(&self, other: &Dim) -> Option<Dim> {
        let mut sum = self.clone();
        sum.constant = sum.constant.checked_add(other.constant)?;
        for (atom, coefficient) in &other.terms {
            let entry = sum.terms.entry(atom.clone()).or_insert(0);
            *entry = entry.checked_add(*coefficient)?;
        }
        sum.terms.retain(|_, coefficient| *coefficient != 0);
        Some(sum)
    }

    /// Difference.
    #[must_use]
    pub fn minus(&self, other: &Dim) -> Option<Dim> {
        self.plus(&other.scaled(-1)?)
    }

    /// Multiple.
    #[must_use]
    pub fn scaled(&self, factor: i64) -> Option<Dim> {
        let constant = self.constant.checked_mul(factor)?;
        let mut terms = BTreeMap::new();
        if factor != 0 {
            for (atom, coefficient) in &self.terms {
                terms.insert(atom.clone(), coefficient.checked_mul(factor)?);
            }
        }
        Some(Dim { constant, terms })
    }

    /// Product; `None` also where neither factor is known.
    #[must_use]
    pub fn times(&self, other: &Dim) -> Option<Dim> {
        match (self.value(), other.value()) {
            (Some(factor), _) => other.scaled(factor),
            (_, Some(factor)) => self.scaled(factor),
            _ => None,
        }
    }

    /// Floor of the quotient by a positive number.
    #[must_use]
    pub fn floor_div(&self, divisor: i64) -> Option<Dim> {
        if divisor <= 0 {
            return None;
        }
        if let Some(value) = self.value() {
            return Some(Dim::known(value.div_euclid(divisor)));
        }
        // floor((d·a + r) / d) = a + floor(r / d): take out every term that divides.
        let mut whole = Dim::default();
        let mut rest = Dim::known(self.constant.rem_euclid(divisor));
        whole.constant = self.constant.div_euclid(divisor);
        for (atom, coefficient) in &self.terms {
            if coefficient % divisor == 0 {
                whole.terms.insert(atom.clone(), coefficient / divisor);
            } else {
                rest.terms.insert(atom.clone(), *coefficient);
            }
        }
        if rest.terms.is_empty() {
            return Some(whole);
        }
        let quotient =
            Dim { constant: 0, terms: BTreeMap::from([(Atom::FloorDiv(Box::new(rest), divisor), 1)]) };
        whole.plus(&quotient)
    }

    /// The exact quotient of two expressions, where one is a known multiple of the other: `6·n / 2·n = 3`.
    pub fn exact_quotient(&self, divisor: &Dim) -> Option<Dim> {
        if let Some(divisor) = divisor.value() {
            let divides = divisor > 0
                && self.constant % divisor == 0
                && self.terms.values().all(|coefficient| coefficient % divisor == 0);
            return if divides { self.floor_div(divisor) } else { None };
        }
        let (atom, denominator) = divisor.terms.iter().next()?;
        let numerator = self.terms.get(atom)?;
        if *denominator == 0 || numerator % denominator != 0 {
            return None;
        }
        let factor = numerator / denominator;
        (divisor.scaled(factor)? == *self).then(|| Dim::known(factor))
    }

    /// Puts numbers in place of symbols; symbols that `sizes` does not name stay.
    #[must_use]
    pub fn bind(&self, sizes: &BTreeMap<String, i64>) -> Option<Dim> {
        let mut bound = Dim::known(self.constant);
        for (atom, coefficient) in &self.terms {
            let value = match atom {
                Atom::Symbol(name) => match sizes.get(name.as_ref()) {
                    Some(size) => Dim::known(*size),
                    None => Dim { constant: 0, terms: BTreeMap::from([(atom.clone(), 1)]) },
                },
                Atom::FloorDiv(inner, divisor) => inner.bind(sizes)?.floor_div(*divisor)?,
            };
            bound = bound.plus(&value.scaled(*coefficient)?)?;
        }
        Some(bound)
    }

    /// Adds the names of the symbols in this expression to `names`.
    pub fn symbols(&self, names: &mut std::collections::BTreeSet<String>) {
        for atom in self.terms.keys() {
            match atom {
                Atom::Symbol(name) => {
                    names.insert(name.to_string());
                }
                Atom::FloorDiv(inner, _) => inner.symbols(names),
            }
        }
    }

    /// The name, where the size is one bare symbol.
    pub fn as_symbol(&self) -> Option<&str> {
        let mut terms = self.terms.iter();
        match (self.constant, terms.next(), terms.next()) {
            (0, Some((Atom::Symbol(name), 1)), None) => Some(name),
            _ => None,
        }
    }
}

impl From<usize> for Dim {
    /// Sizes past `i64::MAX` do not exist in memory; they saturate.
    fn from(size: usize) -> Self {
        Dim::known(i64::try_from(size).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (atom, coefficient) in &self.terms {
            let sign = match (first, *coefficient < 0) {
                (true, true) => "-",
                (true, false) => "",
                (false, true) => "-",
                (false, false) => "+",
            };
            f.write_str(sign)?;
            if coefficient.unsigned_abs() != 1 {
                write!(f, "{}*", coefficient.unsigned_abs())?;
            }
            match atom {
                Atom::Symbol(name) => f.write_str(name)?,
                Atom::FloorDiv(inner, divisor) => write!(f, "({inner})//{divisor}")?,
            }
            first = false;
        }
        if first {
            write!(f, "{}", self.constant)
        } else if self.constant != 0 {
            write!(f, "{:+}", self.constant)
        } else {
            Ok(())
        }
    }
}

/// A shape as text: `[n, 3, 224, 224]`.
pub fn display_shape(shape: &[Dim]) -> String {
    let sizes: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n() -> Dim {
        Dim::symbol("n")
    }

    #[test]
    fn arithmetic_is_canonical() {
        let twice = n().plus(&n()).unwrap();
        assert_eq!(twice, n().scaled(2).unwrap());
        assert_eq!(twice.minus(&n()).unwrap(), n());
        assert_eq!(n().minus(&n()).unwrap(), Dim::known(0));
        assert_eq!(n().scaled(17).unwrap().exact_quotient(&n()), Some(Dim::known(17)));
        assert_eq!(n().exact_quotient(&Dim::known(2)), None);
    }

    #[test]
    fn floor_division_takes_out_what_divides() {
        let h = Dim::symbol("h");
        let halved = h.plus(&Dim::known(1)).unwrap().floor_div(2).unwrap();
        assert_eq!(halved.to_string(), "(h+1)//2");
        let even = h.scaled(4).unwrap().plus(&Dim::known(6)).unwrap().floor_div(2).unwrap();
        assert_eq!(even.to_string(), "2*h+3");
        let bound = halved.bind(&BTreeMap::from([("h".to_owned(), 7)])).unwrap();
        assert_eq!(bound.value(), Some(4));
    }

    #[test]
    fn overflow_is_none() {
        assert_eq!(Dim::known(i64::MAX).plus(&Dim::known(1)), None);
        assert_eq!(n().scaled(i64::MAX).unwrap().scaled(2), None);
        assert_eq!(n().times(&Dim::symbol("m")), None);
    }
}
