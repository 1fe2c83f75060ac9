//! What a pickle builds: values that are numbers, texts of the file itself, or places in a list of cells. Nothing owns
//! another value, so that whatever is nested how deep is dropped, copied and shared in one step.

use pellucid_graph::ElementType;

use super::allowed::Global;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'p> {
    /// None, a float, bytes, a number of too many digits: nothing that a tensor is made of.
    Other,
    Bool(bool),
    Int(i64),
    /// A number of more than eight bytes, as the file has it.
    Long(&'p [u8]),
    Text(&'p str),
    Global(Global),
    /// A cell of [`Cell::Items`] that does not change.
    Tuple(usize),
    /// A cell of [`Cell::Items`].
    List(usize),
    /// A cell of [`Cell::Pairs`].
    Dictionary(usize),
    /// A cell of [`Cell::Storage`].
    Storage(usize),
    /// A cell of [`Cell::Tensor`].
    Tensor(usize),
}

/// What values point to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'p> {
    Items(Vec<Value<'p>>),
    Pairs(Vec<(Value<'p>, Value<'p>)>),
    Storage(Storage<'p>),
    Tensor(TensorOf),
}

/// Numbers in a row that tensors are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Storage<'p> {
    /// What the file calls it.
    pub(crate) key: &'p str,
    pub(crate) element: ElementType,
    /// Elements of all of it.
    pub(crate) length: u64,
    /// The part that is meant: first element and number, where it is not all.
    pub(crate) view: Option<(u64, u64)>,
}

/// A tensor: a storage, and where its numbers lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorOf {
    /// The cell of its storage.
    pub(crate) storage: usize,
    /// Elements in front of the first.
    pub(crate) offset: u64,
    pub(crate) shape: Vec<usize>,
    /// Elements between neighbours of each axis.
    pub(crate) strides: Vec<usize>,
}

/// What was built.
#[derive(Debug, Clone)]
pub(crate) struct Unpickled<'p> {
    pub(crate) root: Value<'p>,
    pub(crate) cells: Vec<Cell<'p>>,
    /// Bytes that were read.
    pub(crate) end: usize,
}

impl<'p> Unpickled<'p> {
    /// Keys and values of a dictionary.
    pub(crate) fn pairs(&self, value: Value<'p>) -> Option<&[(Value<'p>, Value<'p>)]> {
        match value {
            Value::Dictionary(cell) => match self.cells.get(cell) {
                Some(Cell::Pairs(pairs)) => Some(pairs),
                _ => None,
            },
            _ => None,
        }
    }

    /// Items of a list or a tuple.
    pub(crate) fn items(&self, value: Value<'p>) -> Option<&[Value<'p>]> {
        match value {
            Value::List(cell) | Value::Tuple(cell) => match self.cells.get(cell) {
                Some(Cell::Items(items)) => Some(items),
                _ => None,
            },
            _ => None,
        }
    }

    /// The tensor of a value, and its storage.
    pub(crate) fn tensor(&self, value: Value<'p>) -> Option<(&TensorOf, &Storage<'p>)> {
        let Value::Tensor(cell) = value else { return None };
        let Some(Cell::Tensor(tensor)) = self.cells.get(cell) else { return None };
        match self.cells.get(tensor.storage) {
            Some(Cell::Storage(storage)) => Some((tensor, storage)),
            _ => None,
        }
    }

    /// What a dictionary has under a text; the last one, as a dictionary keeps it.
    pub(crate) fn get(&self, value: Value<'p>, key: &str) -> Option<Value<'p>> {
        let pairs = self.pairs(value)?;
        pairs.iter().rev().find(|(found, _)| *found == Value::Text(key)).map(|(_, value)| *value)
    }
}
