//! A state dictionary held against the weights that a network has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use pellucid_graph::{ElementType, Tensor};

use crate::{Error, StateDictionary, wrong};

/// A weight that a network has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Name.
    pub name: String,
    /// Sizes.
    pub shape: Vec<usize>,
}

/// Weights for a network.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// `float32` tensors by the network's names: every one that it wants.
    pub tensors: BTreeMap<String, Tensor>,
    /// What should be known: wrappers, prefixes, other element types.
    pub notes: Vec<String>,
}

/// What programs put in front of every name: data parallelism, compilation, a module around the network.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// PyTorch's count of batches, which nothing depends on.
const IGNORED: &str = "num_batches_tracked";

impl StateDictionary {
    /// The prefix that every name has, where names without it fit better.
    fn prefix(&self, wanted: &BTreeSet<&str>) -> String {
        let mut prefix = String::new();
        let fits = |prefix: &str| {
            self.names()
                .filter_map(|name| name.strip_prefix(prefix))
                .filter(|name| wanted.contains(name))
                .count()
        };
        loop {
            let more = PREFIXES.iter().map(|more| format!("{prefix}{more}"));
            let more = more.into_iter().find(|more| self.names().all(|name| name.starts_with(more.as_str())));
            match more {
                Some(more) if fits(&more) >= fits(&prefix) => prefix = more,
                _ => return prefix,
            }
        }
    }

    /// The sizes of the tensor called `name`, behind the prefix that every name has where there is one.
    pub fn sizes_of(&self, name: &str) -> Option<&[usize]> {
        let prefix = self.prefix(&BTreeSet::from([name]));
        self.shape(&format!("{prefix}{name}")).map(|(_, shape)| shape)
    }

    /// A tensor for each weight that `network` has. `num_batches_tracked` is left out, and so is a prefix that every
    /// name has (`module.`, `_orig_mod.`, `model.`).
    ///
    /// # Errors
    /// One error that lists every name that is missing, that the network does not have, or whose sizes are others; element
    /// types that are no floats.
    pub fn fit(&self, network: &str, wanted: &[Wanted]) -> Result<Fitted, Error> {
        let names: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        let prefix = self.prefix(&names);
        let mut differences = Differences::default();
        let mut tensors = BTreeMap::new();
        let mut others: BTreeMap<ElementType, usize> = BTreeMap::new();
        for Wanted { name, shape } in wanted {
            let stored = format!("{prefix}{name}");
            match self.shape(&stored) {
                None => differences.missing.push(name.clone()),
                Some((_, found)) if found != shape => {
                    differences.sizes.push(format!("{name} is {found:?}, expected {shape:?}"));
                }
                Some((element, _)) if !element.is_float() => {
                    differences.sizes.push(format!("{name} is of {element}, expected floats"));
                }
                Some((element, _)) => {
                    if differences.is_empty() {
                        tensors.insert(name.clone(), self.floats(&stored)?);
                    }
                    if element != ElementType::F32 {
                        *others.entry(element).or_default() += 1;
                    }
                }
            }
        }
        for name in self.names().chain(self.others.iter().map(String::as_str)) {
            let own = name.strip_prefix(prefix.as_str()).unwrap_or(name);
            let ignored = own.rsplit('.').next() == Some(IGNORED);
            if !ignored && !names.contains(own) {
                differences.unexpected.push(own.to_owned());
            }
        }
        if !differences.is_empty() {
            return Err(wrong(self.place(), differences.told(network)));
        }
        let mut notes = Vec::new();
        if !self.within().is_empty() {
            notes
                .push(format!("the state dictionary stands under {:?} in the file", self.within().join(".")));
        }
        if !prefix.is_empty() {
            notes.push(format!("every name begins with {prefix:?}, which is left out"));
        }
        for (element, count) in others {
            notes.push(format!("{count} tensors are of {element} in the file, and became float32"));
        }
        Ok(Fitted { tensors, notes })
    }

    fn floats(&self, name: &str) -> Result<Tensor, Error> {
        let tensor = self.tensor(name)?;
        if tensor.element() == ElementType::F32 {
            return Ok(tensor);
        }
        Tensor::from_f32(tensor.shape().to_vec(), &tensor.to_f32())
            .map_err(|error| Error::Internal(error.to_string()))
    }
}

/// Where a dictionary and a network part.
#[derive(Debug, Default)]
struct Differences {
    missing: Vec<String>,
    unexpected: Vec<String>,
    sizes: Vec<String>,
}

impl Differences {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.sizes.is_empty()
    }

    fn told(&self, network: &str) -> String {
        let mut text = format!("its tensors are not those of {network}");
        for (what, names) in [
            ("missing", &self.missing),
            ("that the network does not have", &self.unexpected),
            ("of other sizes or types", &self.sizes),
        ] {
            if !names.is_empty() {
                // Names come from the file: nothing in them may reach a terminal as it is.
                let names: Vec<String> = names.iter().map(|name| name.escape_debug().to_string()).collect();
                let _ = write!(text, "; {} {what}: {}", names.len(), names.join(", "));
            }
        }
        text
    }
}
