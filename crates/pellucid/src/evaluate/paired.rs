//! Two models on the same rows.
//!
//! McNemar's exact test looks at the rows that exactly one of the two has right, b and c of them: were the models equally
//! good, either would be as likely, and the two-sided probability of counts at least as far apart is
//! min(1, 2 · Σ_{k ≤ min(b, c)} C(b + c, k) / 2^{b + c}).
//!
//! Source: Q. McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages,
//! doi:10.1007/BF02295996.

use serde::Serialize;

/// What two models differ in, on the same rows: the first less the second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// The differences of measures.
    pub differences: Vec<Difference>,
    /// McNemar's test, where rows are right or wrong.
    pub test: Option<McNemar>,
}

/// A measure of the first model less that of the second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The measure.
    pub name: String,
    /// The difference; `None` where either is not defined.
    pub value: Option<f64>,
    /// The bootstrap's interval, from replicates of the same rows.
    pub interval: Option<[f64; 2]>,
    /// Two-sided probability of such a difference where there is none, by the bootstrap.
    pub p: Option<f64>,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Whether it is a share, from 0 to 1.
    pub is_share: bool,
}

/// McNemar's exact test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct McNemar {
    /// Rows that both have right.
    pub both: u64,
    /// Rows that only the first has right.
    pub first: u64,
    /// Rows that only the second has right.
    pub second: u64,
    /// Rows that neither has right.
    pub neither: u64,
    /// Two-sided probability of counts so far apart where both are as good.
    pub p: f64,
}

impl McNemar {
    /// The test of counts.
    pub fn new(both: u64, first: u64, second: u64, neither: u64) -> Self {
        Self { both, first, second, neither, p: two_sided(first, second) }
    }
}

/// The exact two-sided probability. Cost: min(b, c) terms.
fn two_sided(b: u64, c: u64) -> f64 {
    let n = b + c;
    if b == c {
        return 1.0;
    }
    // Terms of the sum as logarithms: ln C(n, k) − n ln 2.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut terms = Vec::new();
    for k in 0..=b.min(c) {
        terms.push(term);
        term += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = terms.iter().map(|term| (term - most).exp()).sum::<f64>();
    (2.0 * sum * most.exp()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.binomtest(b, b + c).pvalue`, SciPy 1.17.
    #[test]
    fn probabilities_are_those_of_the_binomial_test() {
        for (b, c, expected) in [
            (0, 0, 1.0),
            (0, 5, 0.0625),
            (5, 5, 1.0),
            (2, 10, 0.038_574_218_75),
            (59, 31, 0.004_165_114_015_824_443_5),
            (12_000, 12_500, 0.001_432_142_504_802_650_6),
        ] {
            let found = McNemar::new(1, b, c, 1).p;
            assert!((found / expected - 1.0).abs() < 1e-9, "{b} {c}: {found} {expected}");
            assert!((two_sided(c, b) - found).abs() < 1e-15);
        }
    }
}
