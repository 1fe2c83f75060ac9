//! The state dictionary in what a pickle built.

use std::collections::{BTreeMap, HashMap};

use crate::pickle::{Storage, Unpickled, Value};
use crate::stored::Stored;

/// Keys that training programs keep a state dictionary under.
const WRAPPERS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// Longest name of a tensor.
const LONGEST_NAME: usize = 1024;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Keys that it stood under.
    pub(crate) within: Vec<String>,
    pub(crate) tensors: BTreeMap<String, Stored>,
    /// Names of what is no tensor.
    pub(crate) others: Vec<String>,
}

/// Where the bytes of a storage are: by its key, first byte and number.
pub(crate) type Places<'a> = dyn FnMut(&Storage<'_>) -> Result<(usize, usize), String> + 'a;

/// Finds the dictionary and its tensors; `place` says where storages are.
pub(crate) fn find(read: &Unpickled<'_>, place: &mut Places<'_>) -> Result<Found, String> {
    let mut found = Found::default();
    let mut at = read.root;
    // A dictionary may hold itself.
    for _ in 0..4 {
        let inner = WRAPPERS.iter().find_map(|key| Some((*key, read.get(at, key)?)));
        let Some((key, inner @ Value::Dictionary(_))) = inner else { break };
        found.within.push(key.to_owned());
        at = inner;
    }
    let pairs = read.pairs(at).ok_or_else(|| match read.root {
        Value::Tensor(_) => "it holds a single tensor, expected a state dictionary".to_owned(),
        _ => "it holds no dictionary, expected a state dictionary".to_owned(),
    })?;
    let mut known: HashMap<String, (usize, usize)> = HashMap::new();
    for (key, value) in pairs {
        let Value::Text(name) = key else { return Err(holds(read, at, "a name in it is no text")) };
        if name.len() > LONGEST_NAME {
            return Err(format!("a name in it has {} bytes, expected at most {LONGEST_NAME}", name.len()));
        }
        let Some((tensor, storage)) = read.tensor(*value) else {
            found.others.push((*name).to_owned());
            continue;
        };
        let at = if let Some(place) = known.get(storage.key) {
            *place
        } else {
            let place = place(storage).map_err(|problem| format!("{name:?}: {problem}"))?;
            known.insert(storage.key.to_owned(), place);
            place
        };
        let needed = storage.length.checked_mul(u64::try_from(storage.element.size()).unwrap_or(u64::MAX));
        if needed.is_none_or(|needed| u64::try_from(at.1).is_ok_and(|there| needed > there)) {
            return Err(format!(
                "{name:?}: its storage should have {} elements of {}, and has {} bytes",
                storage.length, storage.element, at.1
            ));
        }
        let stored = Stored::of(tensor, storage, at).map_err(|problem| format!("{name:?}: {problem}"))?;
        found.tensors.insert((*name).to_owned(), stored);
    }
    if found.tensors.is_empty() {
        return Err(holds(read, at, "there is no tensor in it"));
    }
    Ok(found)
}

/// A problem, with the names that are there.
fn holds(read: &Unpickled<'_>, at: Value<'_>, problem: &str) -> String {
    let keys = read.pairs(at).unwrap_or_default().iter().filter_map(|(key, _)| match key {
        Value::Text(name) => Some(format!("{:?}", name.chars().take(40).collect::<String>())),
        _ => None,
    });
    let keys: Vec<String> = keys.take(8).collect();
    let keys = if keys.is_empty() { "nothing that is named".to_owned() } else { keys.join(", ") };
    format!(
        "{problem}: it holds {keys}; expected a state dictionary, or one under {}",
        WRAPPERS.map(|key| format!("{key:?}")).join(", ")
    )
}
