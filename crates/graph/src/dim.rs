//! Sizes that may be symbolic: polynomials of named symbols with floor division.
//!
//! A size that cannot be expressed becomes a fresh symbol, so every size is a `Dim` and two sizes are known to be
//! equal exactly when their expressions are.
//!
//! A symbol stands for a size of at least 1, as in the files of every exporter; one whose name begins with `?` is a
//! size that nothing bounds from below but 0, and one that begins with `!` is any number at all. Inference on bound
//! sizes is exact, an empty axis included.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A building block of a [`Dim`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Symbol(Arc<str>),
    /// Floor of an expression divided by a positive constant.
    FloorDiv(Box<Dim>, i64),
    /// Two or more atoms, sorted, none of them a product.
    Product(Vec<Atom>),
}

/// One size: `constant + Σ coefficient · atom`.
///
/// Arithmetic is checked: an operation that leaves `i64`, or grows past a fixed complexity, returns `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Dim {
    constant: i64,
    terms: BTreeMap<Atom, i64>,
}

/// The sizes of a tensor's axes.
pub type Shape = Vec<Dim>;

/// An expression of more atoms than this is not kept: graphs from strangers must not build towers of them.
const WEIGHT_LIMIT: usize = 64;

impl Dim {
    /// A known size.
    pub fn known(size: i64) -> Self {
        Self { constant: size, terms: BTreeMap::new() }
    }

    /// A size named `name`.
    pub fn symbol(name: impl Into<Arc<str>>) -> Self {
        Self::atom(Atom::Symbol(name.into()))
    }

    fn atom(atom: Atom) -> Self {
        Self { constant: 0, terms: BTreeMap::from([(atom, 1)]) }
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
            sum.add_term(atom.clone(), *coefficient)?;
        }
        sum.bounded()
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

    /// Product.
    #[must_use]
    pub fn times(&self, other: &Dim) -> Option<Dim> {
        match (self.value(), other.value()) {
            (Some(factor), _) => return other.scaled(factor),
            (_, Some(factor)) => return self.scaled(factor),
            _ if self.terms.len() * other.terms.len() > WEIGHT_LIMIT => return None,
            _ => {}
        }
        let mut product = Dim::known(self.constant.checked_mul(other.constant)?);
        for (atom, coefficient) in &self.terms {
            product.add_term(atom.clone(), coefficient.checked_mul(other.constant)?)?;
            for (with, factor) in &other.terms {
                product.add_term(atom.times(with), coefficient.checked_mul(*factor)?)?;
            }
        }
        for (atom, coefficient) in &other.terms {
            product.add_term(atom.clone(), coefficient.checked_mul(self.constant)?)?;
        }
        product.bounded()
    }

    /// Floor of the quotient by a positive number.
    #[must_use]
    pub fn floor_div(&self, divisor: i64) -> Option<Dim> {
        if divisor <= 0 {
            return None;
        }
        // floor((d·a + r) / d) = a + floor(r / d): take out every term that divides.
        let mut whole = Dim::known(self.constant.div_euclid(divisor));
        let mut rest = Dim::known(self.constant.rem_euclid(divisor));
        let mut common = divisor;
        for (atom, coefficient) in &self.terms {
            if coefficient % divisor == 0 {
                whole.terms.insert(atom.clone(), coefficient / divisor);
            } else {
                rest.terms.insert(atom.clone(), *coefficient);
                common = gcd(common, *coefficient);
            }
        }
        if rest.terms.is_empty() {
            return Some(whole);
        }
        // floor((g·a + c) / (g·d)) = floor((a + floor(c / g)) / d).
        rest.constant = rest.constant.div_euclid(common);
        rest.terms.values_mut().for_each(|coefficient| *coefficient /= common);
        let divisor = divisor / common;
        // floor((floor(a / m) + b) / d) = floor((a + m·b) / (m·d)): one division in place of a tower.
        let nested = rest.terms.iter().find_map(|(atom, coefficient)| match atom {
            Atom::FloorDiv(inner, by) if *coefficient == 1 => Some((atom.clone(), inner.clone(), *by)),
            _ => None,
        });
        let quotient = if let Some((atom, inner, by)) = nested {
            rest.terms.remove(&atom);
            inner.plus(&rest.scaled(by)?)?.floor_div(by.checked_mul(divisor)?)?
        } else {
            Dim::atom(Atom::FloorDiv(Box::new(rest), divisor))
        };
        whole.plus(&quotient)
    }

    /// The exact quotient of two expressions, where the divisor is not zero and divides: `6·n·h / 2·n = 3·h`.
    pub fn exact_quotient(&self, divisor: &Dim) -> Option<Dim> {
        if let Some(divisor) = divisor.value() {
            let divides = divisor > 0
                && self.constant % divisor == 0
                && self.terms.values().all(|coefficient| coefficient % divisor == 0);
            return if divides { self.floor_div(divisor) } else { None };
        }
        let (atom, denominator) = divisor.terms.iter().next()?;
        if divisor.constant == 0 && divisor.terms.len() == 1 {
            if self.constant != 0 {
                return None;
            }
            let mut quotient = Dim::default();
            for (term, numerator) in &self.terms {
                let part = term.quotient(atom, *numerator, *denominator)?;
                quotient = quotient.plus(&part)?;
            }
            return Some(quotient);
        }
        // A quotient of one term shows in any term of the dividend.
        self.terms
            .iter()
            .filter_map(|(term, numerator)| term.quotient(atom, *numerator, *denominator))
            .find(|candidate| divisor.times(candidate).as_ref() == Some(self))
    }

    /// Puts numbers in place of symbols; symbols that `sizes` does not name stay.
    #[must_use]
    pub fn bind(&self, sizes: &BTreeMap<String, i64>) -> Option<Dim> {
        let mut bound = Dim::known(self.constant);
        for (atom, coefficient) in &self.terms {
            bound = bound.plus(&atom.bind(sizes)?.scaled(*coefficient)?)?;
        }
        Some(bound)
    }

    /// Adds the names of the symbols in this expression to `names`.
    pub fn symbols(&self, names: &mut BTreeSet<String>) {
        for atom in self.terms.keys() {
            atom.symbols(names);
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

    /// A number that the expression never falls below, where one is evident.
    pub fn lower_bound(&self) -> Option<i64> {
        // floor(a / d) ≤ a / d: with a negative coefficient, bound d times the expression instead. The quotient of
        // the largest expression goes first, for smaller ones in it may then cancel against what is outside.
        let quotients = self.terms.iter().filter_map(|(atom, coefficient)| match atom {
            Atom::FloorDiv(inner, by) if *coefficient < 0 => Some((atom, inner, *by, *coefficient)),
            _ => None,
        });
        let negative = quotients.max_by_key(|(_, inner, ..)| inner.weight());
        if let Some((atom, inner, by, coefficient)) = negative {
            let mut rest = self.clone();
            rest.terms.remove(atom);
            let scaled = rest.scaled(by)?.plus(&inner.scaled(coefficient)?)?;
            return Some(scaled.lower_bound()?.checked_add(by - 1)?.div_euclid(by));
        }
        self.terms.iter().try_fold(self.constant, |sum, (atom, coefficient)| {
            if *coefficient < 0 {
                return None;
            }
            sum.checked_add(atom.lower_bound()?.checked_mul(*coefficient)?)
        })
    }

    /// Whether the expression is evidently never above `other`.
    pub fn at_most(&self, other: &Dim) -> bool {
        other.minus(self).and_then(|difference| difference.lower_bound()).is_some_and(|bound| bound >= 0)
    }

    /// Whether every symbol stands for a size, so that the number is not one that means something else, such as −1.
    pub(crate) fn is_of_sizes(&self) -> bool {
        let mut names = BTreeSet::new();
        self.symbols(&mut names);
        !names.iter().any(|name| name.starts_with('!'))
    }

    fn add_term(&mut self, atom: Atom, coefficient: i64) -> Option<()> {
        let sum = self.terms.get(&atom).copied().unwrap_or(0).checked_add(coefficient)?;
        if sum == 0 {
            self.terms.remove(&atom);
        } else {
            self.terms.insert(atom, sum);
        }
        Some(())
    }

    fn weight(&self) -> usize {
        self.terms.keys().map(Atom::weight).sum()
    }

    fn bounded(self) -> Option<Self> {
        (self.weight() <= WEIGHT_LIMIT).then_some(self)
    }
}

fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.saturating_abs()
}

impl Atom {
    fn factors(&self) -> &[Atom] {
        match self {
            Self::Product(factors) => factors,
            _ => std::slice::from_ref(self),
        }
    }

    fn times(&self, other: &Atom) -> Atom {
        let mut factors = [self.factors(), other.factors()].concat();
        factors.sort();
        Self::Product(factors)
    }

    /// `numerator·self / denominator·divisor`, where it is whole.
    fn quotient(&self, divisor: &Atom, numerator: i64, denominator: i64) -> Option<Dim> {
        if numerator.checked_rem(denominator)? != 0 {
            return None;
        }
        let mut factors = self.factors().to_vec();
        for factor in divisor.factors() {
            let position = factors.iter().position(|candidate| candidate == factor)?;
            factors.remove(position);
        }
        let whole = numerator / denominator;
        match factors.len() {
            0 => Some(Dim::known(whole)),
            1 => Dim::atom(factors.remove(0)).scaled(whole),
            _ => Dim::atom(Self::Product(factors)).scaled(whole),
        }
    }

    fn bind(&self, sizes: &BTreeMap<String, i64>) -> Option<Dim> {
        match self {
            Self::Symbol(name) => Some(match sizes.get(name.as_ref()) {
                Some(size) => Dim::known(*size),
                None => Dim::atom(self.clone()),
            }),
            Self::FloorDiv(inner, divisor) => inner.bind(sizes)?.floor_div(*divisor),
            Self::Product(factors) => {
                factors.iter().try_fold(Dim::known(1), |product, factor| product.times(&factor.bind(sizes)?))
            }
        }
    }

    fn symbols(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::Symbol(name) => {
                names.insert(name.to_string());
            }
            Self::FloorDiv(inner, _) => inner.symbols(names),
            Self::Product(factors) => factors.iter().for_each(|factor| factor.symbols(names)),
        }
    }

    fn lower_bound(&self) -> Option<i64> {
        match self {
            Self::Symbol(name) if name.starts_with('!') => None,
            Self::Symbol(name) => Some(i64::from(!name.starts_with('?'))),
            Self::FloorDiv(inner, divisor) => Some(inner.lower_bound()?.div_euclid(*divisor)),
            Self::Product(factors) => factors.iter().try_fold(1i64, |product, factor| {
                let bound = factor.lower_bound().filter(|bound| *bound >= 0)?;
                product.checked_mul(bound)
            }),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Symbol(_) => 1,
            Self::FloorDiv(inner, _) => 1 + inner.weight(),
            Self::Product(factors) => factors.iter().map(Atom::weight).sum(),
        }
    }

    /// The atom as a factor: a quotient in parentheses.
    fn fmt_factor(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) => f.write_str(name),
            Self::FloorDiv(..) => write!(f, "({self})"),
            Self::Product(_) => write!(f, "{self}"),
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) => f.write_str(name),
            Self::FloorDiv(inner, divisor) => write!(f, "({inner})//{divisor}"),
            Self::Product(factors) => {
                for (index, factor) in factors.iter().enumerate() {
                    if index > 0 {
                        f.write_str("*")?;
                    }
                    factor.fmt_factor(f)?;
                }
                Ok(())
            }
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
            f.write_str(if *coefficient < 0 {
                "-"
            } else if first {
                ""
            } else {
                "+"
            })?;
            match coefficient.unsigned_abs() {
                1 if *coefficient > 0 => write!(f, "{atom}")?,
                1 => atom.fmt_factor(f)?,
                many => {
                    write!(f, "{many}*")?;
                    atom.fmt_factor(f)?;
                }
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
    use proptest::prelude::*;

    use super::*;

    fn n() -> Dim {
        Dim::symbol("n")
    }

    fn h() -> Dim {
        Dim::symbol("h")
    }

    fn add(dim: &Dim, number: i64) -> Dim {
        dim.plus(&Dim::known(number)).unwrap()
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
    fn products_multiply_out_and_divide() {
        let area = n().times(&add(&h().scaled(2).unwrap(), 1)).unwrap();
        assert_eq!(area.to_string(), "n+2*h*n");
        assert_eq!(area, add(&h().scaled(2).unwrap(), 1).times(&n()).unwrap());
        assert_eq!(area.exact_quotient(&n()).unwrap().to_string(), "2*h+1");
        assert_eq!(area.exact_quotient(&add(&h().scaled(2).unwrap(), 1)), Some(n()));
        assert_eq!(area.exact_quotient(&h()), None);
        assert_eq!(n().exact_quotient(&n().times(&n()).unwrap()), None);
        let bound = area.bind(&BTreeMap::from([("n".to_owned(), 4)])).unwrap();
        assert_eq!(bound.to_string(), "8*h+4");
        let half = h().floor_div(2).unwrap().times(&n()).unwrap().scaled(3).unwrap();
        assert_eq!(half.to_string(), "3*n*((h)//2)");
    }

    #[test]
    fn floor_division_takes_out_what_divides() {
        let halved = add(&h(), 1).floor_div(2).unwrap();
        assert_eq!(halved.to_string(), "(h+1)//2");
        let even = add(&h().scaled(4).unwrap(), 6).floor_div(2).unwrap();
        assert_eq!(even.to_string(), "2*h+3");
        assert_eq!(add(&h().scaled(4).unwrap(), 7).floor_div(8).unwrap(), add(&h(), 1).floor_div(2).unwrap());
        let bound = halved.bind(&BTreeMap::from([("h".to_owned(), 7)])).unwrap();
        assert_eq!(bound.value(), Some(4));
    }

    #[test]
    fn five_halvings_are_one_division() {
        let mut size = h();
        for _ in 0..5 {
            size = add(&size, 1).floor_div(2).unwrap();
        }
        assert_eq!(size.to_string(), "(h+31)//32");
    }

    #[test]
    fn overflow_is_none() {
        assert_eq!(Dim::known(i64::MAX).plus(&Dim::known(1)), None);
        assert_eq!(n().scaled(i64::MAX).unwrap().scaled(2), None);
        assert_eq!(n().scaled(i64::MAX).unwrap().times(&h().scaled(2).unwrap()), None);
        assert_eq!(n().scaled(i64::MIN).unwrap().exact_quotient(&n().scaled(-1).unwrap()), None);
    }

    #[test]
    fn towers_are_refused() {
        let mut size = n();
        let mut steps = 0;
        while let Some(next) = size.times(&h()) {
            size = next;
            steps += 1;
            assert!(steps < 1000);
        }
        let mut sum = Dim::known(0);
        let terms = (0..1000).map_while(|index| {
            sum = sum.plus(&Dim::symbol(format!("s{index}")))?;
            Some(())
        });
        assert!(terms.count() < 1000);
    }

    #[test]
    fn bounds_follow_from_what_symbols_stand_for() {
        assert_eq!(add(&h(), -1).lower_bound(), Some(0));
        assert_eq!(Dim::symbol("?x.0").lower_bound(), Some(0));
        assert_eq!(Dim::symbol("!x.0").lower_bound(), None);
        assert_eq!(h().scaled(-1).unwrap().lower_bound(), None);
        assert!(h().floor_div(2).unwrap().at_most(&h()));
        assert!(!h().at_most(&h().floor_div(2).unwrap()));
        // A size is at most itself rounded up to a multiple: −7·⌊−a / 7⌋ for a = ⌊h / 4⌋.
        let quarter = h().floor_div(4).unwrap();
        let padded = quarter.scaled(-1).unwrap().floor_div(7).unwrap().scaled(-7).unwrap();
        assert!(quarter.at_most(&padded));
        assert!(!padded.at_most(&quarter));
        assert!(h().at_most(&h().times(&n()).unwrap().plus(&h()).unwrap()));
    }

    /// A random expression and its value at h and n, with the bounds that it must keep.
    fn expressions() -> impl Strategy<Value = (Dim, i64)> {
        let steps = proptest::collection::vec((0..5u8, 1..7i64), 0..8);
        (steps, 1..50i64, 1..50i64).prop_map(|(steps, height, batch)| {
            let (mut dim, mut value) = (h(), height);
            for (step, number) in steps {
                let next = match step {
                    0 => dim.plus(&Dim::known(number - 3)).map(|next| (next, value + number - 3)),
                    1 => dim.scaled(number).map(|next| (next, value * number)),
                    2 => dim.floor_div(number).map(|next| (next, value.div_euclid(number))),
                    3 => dim.plus(&n()).map(|next| (next, value + batch)),
                    _ => dim.times(&n()).map(|next| (next, value * batch)),
                };
                if let Some(next) = next {
                    (dim, value) = next;
                }
            }
            let bound = dim.bind(&BTreeMap::from([("h".to_owned(), height), ("n".to_owned(), batch)]));
            assert_eq!(bound.and_then(|bound| bound.value()), Some(value), "{dim} at h={height}, n={batch}");
            (dim, value)
        })
    }

    proptest! {
        #[test]
        fn expressions_keep_their_value_and_bound((dim, value) in expressions()) {
            if let Some(bound) = dim.lower_bound() {
                prop_assert!(bound <= value, "{dim} is {value}, below {bound}");
            }
        }
    }
}
