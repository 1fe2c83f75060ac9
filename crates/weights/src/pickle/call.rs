//! What the names of [`allowed`](super::allowed) stand for.

use super::allowed::Global;
use super::{Cell, MOST_STEPS, Machine, Step, Storage, TensorOf, Value};

/// Most axes of a tensor.
const MOST_AXES: usize = 32;
/// Most arguments of a call.
const MOST_ARGUMENTS: usize = 64;

impl<'p> Machine<'p> {
    /// A name and its arguments: what stands for the result.
    pub(super) fn call(&mut self) -> Step<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Global(global) = callee else {
            return Err("something is called that is no name".to_owned());
        };
        let arguments = self.tuple(arguments).ok_or("a call has no tuple of arguments")?;
        let value = match global {
            Global::OrderedDict => self.ordered(&arguments)?,
            Global::RebuildTensor => self.tensor(&arguments)?,
            Global::RebuildParameter => match arguments.first() {
                Some(tensor @ Value::Tensor(_)) => *tensor,
                _ => return Err("a parameter is made of no tensor".to_owned()),
            },
            Global::Size => match arguments.first() {
                Some(sizes @ Value::Tuple(_)) => *sizes,
                _ => return Err("a size is made of no tuple".to_owned()),
            },
            Global::Device => Value::Other,
            Global::ElementType | Global::Storage(_) => {
                return Err("an element type is called, which no tensor needs".to_owned());
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn tuple(&self, value: Value<'p>) -> Option<Vec<Value<'p>>> {
        match value {
            Value::Tuple(cell) => match self.cells.get(cell) {
                Some(Cell::Items(items)) if items.len() <= MOST_ARGUMENTS => Some(items.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// `OrderedDict()`, or of a list of pairs, as Python 2 wrote it.
    fn ordered(&mut self, arguments: &[Value<'p>]) -> Step<Value<'p>> {
        let wrong = || "an OrderedDict is made of what is no list of pairs".to_owned();
        let mut pairs = Vec::new();
        if let Some(first) = arguments.first() {
            let items = |value: Value<'p>| match value {
                Value::List(cell) | Value::Tuple(cell) => match self.cells.get(cell) {
                    Some(Cell::Items(items)) => Some(items.as_slice()),
                    _ => None,
                },
                _ => None,
            };
            for pair in items(*first).ok_or_else(wrong)? {
                let Some([key, value]) = items(*pair) else { return Err(wrong()) };
                pairs.push((*key, *value));
            }
        }
        // The same list may be given again and again.
        self.copied += pairs.len();
        if self.copied > MOST_STEPS {
            return Err("it copies more than it may".to_owned());
        }
        Ok(Value::Dictionary(self.cell(Cell::Pairs(pairs))))
    }

    /// `_rebuild_tensor_v2(storage, offset, size, strides, …)`; what follows is of training.
    fn tensor(&mut self, arguments: &[Value<'p>]) -> Step<Value<'p>> {
        let [Value::Storage(storage), Value::Int(offset), size, strides, ..] = arguments else {
            return Err("a tensor is made of no storage, offset, size and strides".to_owned());
        };
        let shape = self.sizes(*size).ok_or("a tensor's sizes are no numbers from 0 up")?;
        let strides = self.sizes(*strides).ok_or("a tensor's strides are no numbers from 0 up")?;
        if shape.len() != strides.len() {
            return Err(format!("a tensor has {} sizes and {} strides", shape.len(), strides.len()));
        }
        let offset = u64::try_from(*offset).map_err(|_| "a tensor begins in front of its storage")?;
        let tensor = TensorOf { storage: *storage, offset, shape, strides };
        Ok(Value::Tensor(self.cell(Cell::Tensor(tensor))))
    }

    fn sizes(&self, value: Value<'p>) -> Option<Vec<usize>> {
        let items = self.tuple(value).filter(|items| items.len() <= MOST_AXES)?;
        let size = |value: &Value<'p>| match value {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        items.iter().map(size).collect()
    }

    /// State for what was made: of a dictionary its notes (`_metadata`), which are left.
    pub(super) fn build(&mut self) -> Step<()> {
        let _state = self.pop()?;
        match self.top()? {
            Value::Dictionary(_) => Ok(()),
            _ => Err("state is set of what is no dictionary".to_owned()),
        }
    }

    /// `("storage", type, key, location, length)`, and of old files the part of it that is meant.
    pub(super) fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        let parts = self.tuple(id).ok_or("what is kept outside is named by no tuple")?;
        match parts.first() {
            Some(Value::Text("storage")) => {}
            Some(Value::Text("module")) => {
                return Err("it holds a whole model, which is a program; in PyTorch, save the state dictionary alone: \
                            torch.save(model.state_dict(), FILE)"
                    .to_owned());
            }
            _ => return Err("something other than a storage is kept outside".to_owned()),
        }
        let [_, Value::Global(Global::Storage(element)), Value::Text(key), _, Value::Int(length), rest @ ..] =
            parts.as_slice()
        else {
            return Err("a storage has no type, key and length".to_owned());
        };
        let length = u64::try_from(*length).map_err(|_| "a storage has fewer elements than none")?;
        let view = match rest.first() {
            Some(view @ Value::Tuple(_)) => Some(self.part(*view).ok_or("a part of a storage has no place")?),
            _ => None,
        };
        let storage = Storage { key, element: *element, length, view };
        let cell = self.cell(Cell::Storage(storage));
        self.stack.push(Value::Storage(cell));
        Ok(())
    }

    /// `(key, first, length)`.
    fn part(&self, view: Value<'p>) -> Option<(u64, u64)> {
        let [_, Value::Int(first), Value::Int(length)] = *self.tuple(view)?.as_slice() else { return None };
        Some((u64::try_from(first).ok()?, u64::try_from(length).ok()?))
    }
}
