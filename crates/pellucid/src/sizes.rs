//! Sizes that a model's inputs leave open, set to numbers, so that the sizes inside are known before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{Dim, Graph};

use crate::error::Error;

/// A common size of pictures, for what nobody named.
pub(crate) const TYPICAL: i64 = 224;

/// Symbols of the inputs' first axes.
fn rows_of(graph: &Graph) -> BTreeSet<String> {
    let first = |id| graph.value(id).shape.as_ref()?.first().and_then(Dim::as_symbol).map(str::to_owned);
    graph.inputs().iter().filter_map(|id| first(*id)).collect()
}

/// `graph` with every size known that can be: rows as given, or left open; others as `given`, or 224. Returns the
/// symbols that were set to 224 as well.
///
/// # Errors
/// [`Error::Setting`] where a size is given that the model does not have, or where the sizes contradict each other.
pub(crate) fn bound(
    graph: &Graph,
    rows: Option<usize>,
    given: &BTreeMap<String, i64>,
) -> Result<(Graph, Vec<String>), Error> {
    let refused = |problem: String| Error::Setting { name: "size".to_owned(), problem };
    let symbols = graph.symbols();
    let names = || symbols.iter().cloned().collect::<Vec<_>>().join(", ");
    if let Some(unknown) = given.keys().find(|name| !symbols.contains(*name)) {
        return Err(refused(if symbols.is_empty() {
            format!("the model has no size {unknown:?}: it leaves none open")
        } else {
            format!("the model has no size {unknown:?}; it leaves open: {}", names())
        }));
    }
    let first = rows_of(graph);
    let (mut sizes, mut guessed) = (BTreeMap::new(), Vec::new());
    for symbol in &symbols {
        let size = match given.get(symbol) {
            Some(size) => *size,
            None if first.contains(symbol) => match rows {
                Some(rows) => i64::try_from(rows).unwrap_or(i64::MAX),
                None => continue,
            },
            None => {
                guessed.push(symbol.clone());
                TYPICAL
            }
        };
        sizes.insert(symbol.clone(), size);
    }
    if sizes.is_empty() {
        return Ok((graph.clone(), guessed));
    }
    let bound = graph.bind(&sizes);
    match bound {
        Ok(bound) => Ok((bound, guessed)),
        Err(error) => Err(refused(format!("{error}; the model leaves open: {}", names()))),
    }
}
