//! The nodes of this suite with some of their numbers replaced: most are almost valid.

use std::collections::BTreeMap;

use pellucid_graph::Dim;
use proptest::prelude::*;

use crate::table::{build, facts};

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn changed_numbers_neither_panic_nor_pass_the_limits(
        seed in proptest::sample::select(seeds()),
        changes in proptest::collection::vec((any::<usize>(), proptest::sample::select(&CHANGES[..])), 1..4),
    ) {
        let mut node = seed;
        for (place, number) in changes {
            node = change(&node, place, number);
        }
        facts(&node);
    }

    /// What is inferred of symbols holds for every size that they may stand for.
    #[test]
    fn symbols_keep_their_promise(
        seed in proptest::sample::select(seeds()),
        changes in proptest::collection::vec((any::<usize>(), proptest::sample::select(&SMALL[..])), 0..4),
        sizes in proptest::collection::vec(1..12i64, SYMBOLS.len()),
    ) {
        let mut node = seed;
        for (place, number) in changes {
            node = change(&node, place, number);
        }
        let (graph, id) = build(&node);
        let sizes: BTreeMap<String, i64> =
            SYMBOLS.iter().map(|name| (*name).to_owned()).zip(sizes.iter().copied()).collect();
        // Some sizes are not allowed: a window that does not fit, an axis that does not divide.
        if let (Ok(id), Ok(bound)) = (id, graph.bind(&sizes)) {
            for output in graph.node(id).outputs.iter().flatten() {
                let (symbolic, exact) = (graph.value(*output), bound.value(*output));
                prop_assert_eq!(symbolic.element, exact.element);
                let agree = |symbolic: &Dim, exact: &Dim| {
                    let value = symbolic.bind(&sizes).and_then(|dim| dim.value());
                    value.is_none() || exact.value().is_none() || value == exact.value()
                };
                if let (Some(a), Some(b)) = (&symbolic.shape, &exact.shape) {
                    prop_assert_eq!(a.len(), b.len());
                    prop_assert!(a.iter().zip(b).all(|(a, b)| agree(a, b)), "{node} at {sizes:?}: {a:?}, {b:?}");
                }
                if let (Some(a), Some(b)) = (&symbolic.contents, &exact.contents) {
                    prop_assert_eq!(a.len(), b.len());
                    prop_assert!(a.iter().zip(b).all(|(a, b)| agree(a, b)), "{node} at {sizes:?}: {a:?}, {b:?}");
                }
            }
        }
    }
}

const SYMBOLS: [&str; 5] = ["n", "c", "h", "w", "m"];

const SMALL: [&str; 12] =
    ["0", "1", "-1", "2", "3", "-2", "4", "n", "h", "w", "-9223372036854775808", "2147483647"];

const CHANGES: [&str; 14] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "-2",
    "5",
    "64",
    "n",
    "2147483647",
    "2147483648",
    "1099511627776",
    "9223372036854775807",
    "-9223372036854775808",
];

/// Every node that the tables of this suite hold.
fn seeds() -> Vec<String> {
    let sources = [include_str!("operations.rs"), include_str!("spatial.rs"), include_str!("layout.rs")];
    let literals = sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let nodes =
        literals.filter(|text| text.starts_with(|c: char| c.is_ascii_uppercase()) && text.contains('('));
    nodes.map(str::to_owned).collect()
}

/// `node` with its number at `place`, counted round, replaced; sizes take symbols, other numbers do not.
fn change(node: &str, place: usize, number: &str) -> String {
    let is_digit =
        |at: usize| node.as_bytes().get(at).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
    let separators =
        |at: usize| at == 0 || matches!(node.as_bytes()[at - 1], b'[' | b'{' | b'<' | b' ' | b'#' | b'=');
    let starts: Vec<usize> = (0..node.len())
        .filter(|at| is_digit(*at) && separators(*at) && !node[..*at].ends_with("outputs="))
        .collect();
    let Some(start) = starts.get(place.checked_rem(starts.len()).unwrap_or(0)).copied() else {
        return node.to_owned();
    };
    let length = node[start..].find([',', ']', '}', '>', ' ', ')']).unwrap_or(node.len() - start);
    let in_sizes = node[..start].rfind(['[', '<', '{', '=', '#']).is_some_and(|at| {
        let before = &node[..at];
        node.as_bytes()[at] == b'<' || (node.as_bytes()[at] == b'[' && !before.ends_with('='))
    });
    let number = if number.parse::<i64>().is_err() && !in_sizes { "7" } else { number };
    format!("{}{number}{}", &node[..start], &node[start + length..])
}
