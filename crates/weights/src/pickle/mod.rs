//! The part of Python's pickle that tensors need, read without running anything.
//!
//! A pickle is a program for a machine with a stack. This one knows numbers, texts, lists, tuples, dictionaries and the
//! names of [`allowed`]; it calls nothing, imports nothing, and ends at the first opcode or name beyond. What it may take
//! is bounded: steps by [`MOST_STEPS`], and a step adds one value to the stack and one cell at most; texts stay in the
//! file; there is no recursion.

mod allowed;
mod call;
mod values;

use std::collections::HashMap;

pub(crate) use values::{Cell, Storage, TensorOf, Unpickled, Value};

/// Most opcodes of one pickle. A tensor takes about thirty.
pub(crate) const MOST_STEPS: usize = 1 << 20;

/// The protocols that there are.
const NEWEST_PROTOCOL: u8 = 5;

/// What is wrong, and where: the byte of the opcode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) at: usize,
    pub(crate) what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "byte {}: {}", self.at, self.what)
    }
}

/// Reads the pickle that `bytes` begin with; more may follow.
pub(crate) fn read(bytes: &[u8]) -> Result<Unpickled<'_>, Problem> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        cells: Vec::new(),
        copied: 0,
    };
    for _ in 0..MOST_STEPS {
        let at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => return Ok(Unpickled { root, cells: machine.cells, end: machine.at }),
            Err(what) => return Err(Problem { at, what }),
        }
    }
    Err(Problem { at: machine.at, what: format!("it has more than {MOST_STEPS} steps") })
}

type Step<T> = Result<T, String>;

struct Machine<'p> {
    bytes: &'p [u8],
    at: usize,
    stack: Vec<Value<'p>>,
    /// Heights of the stack at marks that are open.
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'p>>,
    cells: Vec<Cell<'p>>,
    /// Pairs that were copied from lists into dictionaries.
    copied: usize,
}

impl<'p> Machine<'p> {
    /// Does one step; what the pickle is once it stops.
    fn step(&mut self) -> Step<Option<Value<'p>>> {
        let [opcode] = self.take::<1>()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => self.protocol()?,
            // A frame: how many bytes follow, for readers of streams.
            0x95 => drop(self.take::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'N' => self.stack.push(Value::Other),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' | b'M' | b'J' | 0x8a | b'G' => self.number(opcode)?,
            b'X' | 0x8c | 0x8d | b'U' | b'T' => self.text(opcode)?,
            b'C' | b'B' | 0x8e => self.raw(opcode)?,
            b')' => self.items(Vec::new(), Value::Tuple),
            0x85..=0x87 => self.small_tuple(usize::from(opcode - 0x84))?,
            b't' => {
                let items = self.above_mark()?;
                self.items(items, Value::Tuple);
            }
            b']' => self.items(Vec::new(), Value::List),
            b'l' => {
                let items = self.above_mark()?;
                self.items(items, Value::List);
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.append(items)?;
            }
            b'}' => self.dictionary(Vec::new()),
            b'd' => {
                let pairs = paired(&self.above_mark()?)?;
                self.dictionary(pairs);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(vec![(key, value)])?;
            }
            b'u' => {
                let pairs = paired(&self.above_mark()?)?;
                self.insert(pairs)?;
            }
            b'q' | b'r' | 0x94 => self.memoize(opcode)?,
            b'h' | b'j' => self.recall(opcode)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err("the name of what it would import is no text".to_owned());
                };
                self.global(module, name)?;
            }
            b'R' | 0x81 => self.call()?,
            b'b' => self.build()?,
            b'Q' => self.persistent()?,
            opcode => return Err(format!("opcode 0x{opcode:02x} found, which no tensor needs")),
        }
        Ok(None)
    }

    fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        let found = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let found = found.ok_or_else(|| "it ends in the middle; the file is cut".to_owned())?;
        self.at += N;
        Ok(*found)
    }

    /// So many bytes of the file.
    fn slice(&mut self, length: u64) -> Step<&'p [u8]> {
        let left = self.bytes.len() - self.at;
        let found = usize::try_from(length).ok().filter(|length| *length <= left);
        let length = found.ok_or_else(|| format!("{length} bytes are promised, and {left} follow"))?;
        let slice = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(slice)
    }

    /// Up to the end of the line, which is left out.
    fn line(&mut self) -> Step<&'p str> {
        let rest = &self.bytes[self.at..];
        let length = memchr::memchr(b'\n', rest).ok_or("it ends in the middle of a name")?;
        self.at += length + 1;
        utf8(&rest[..length])
    }

    fn protocol(&mut self) -> Step<()> {
        let [version] = self.take()?;
        if version > NEWEST_PROTOCOL {
            return Err(format!("protocol {version} found, expected at most {NEWEST_PROTOCOL}"));
        }
        Ok(())
    }

    fn pop(&mut self) -> Step<Value<'p>> {
        if self.marks.last().is_some_and(|mark| *mark >= self.stack.len()) {
            return Err("a value is missing behind a mark".to_owned());
        }
        self.stack.pop().ok_or_else(|| "a value is missing on the stack".to_owned())
    }

    /// The values above the last mark.
    fn above_mark(&mut self) -> Step<Vec<Value<'p>>> {
        let mark = self.marks.pop().ok_or("a mark is missing on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    fn number(&mut self, opcode: u8) -> Step<()> {
        let value = match opcode {
            b'K' => Value::Int(i64::from(self.take::<1>()?[0])),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.take()?))),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.take()?))),
            b'G' => {
                self.take::<8>()?;
                Value::Other
            }
            _ => {
                let [length] = self.take()?;
                long(self.slice(u64::from(length))?)
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, opcode: u8) -> Step<()> {
        let length = match opcode {
            0x8c | b'U' => u64::from(self.take::<1>()?[0]),
            0x8d => u64::from_le_bytes(self.take()?),
            _ => u64::from(u32::from_le_bytes(self.take()?)),
        };
        let text = utf8(self.slice(length)?)?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// Bytes, which are passed over.
    fn raw(&mut self, opcode: u8) -> Step<()> {
        let length = match opcode {
            b'C' => u64::from(self.take::<1>()?[0]),
            b'B' => u64::from(u32::from_le_bytes(self.take()?)),
            _ => u64::from_le_bytes(self.take()?),
        };
        self.slice(length)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn items(&mut self, items: Vec<Value<'p>>, as_value: fn(usize) -> Value<'p>) {
        let cell = self.cell(Cell::Items(items));
        self.stack.push(as_value(cell));
    }

    fn dictionary(&mut self, pairs: Vec<(Value<'p>, Value<'p>)>) {
        let cell = self.cell(Cell::Pairs(pairs));
        self.stack.push(Value::Dictionary(cell));
    }

    fn cell(&mut self, cell: Cell<'p>) -> usize {
        self.cells.push(cell);
        self.cells.len() - 1
    }

    fn small_tuple(&mut self, length: usize) -> Step<()> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.items(items, Value::Tuple);
        Ok(())
    }

    /// The value on top, which stays.
    fn top(&mut self) -> Step<Value<'p>> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    fn append(&mut self, more: Vec<Value<'p>>) -> Step<()> {
        match self.top()? {
            Value::List(cell) => match self.cells.get_mut(cell) {
                Some(Cell::Items(items)) => items.extend(more),
                _ => return Err("a list is missing".to_owned()),
            },
            _ => return Err("something is appended to what is no list".to_owned()),
        }
        Ok(())
    }

    fn insert(&mut self, more: Vec<(Value<'p>, Value<'p>)>) -> Step<()> {
        match self.top()? {
            Value::Dictionary(cell) => match self.cells.get_mut(cell) {
                Some(Cell::Pairs(pairs)) => pairs.extend(more),
                _ => return Err("a dictionary is missing".to_owned()),
            },
            _ => return Err("something is put into what is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn memoize(&mut self, opcode: u8) -> Step<()> {
        let place = match opcode {
            b'q' => u64::from(self.take::<1>()?[0]),
            b'r' => u64::from(u32::from_le_bytes(self.take()?)),
            _ => u64::try_from(self.memo.len()).unwrap_or(u64::MAX),
        };
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Step<()> {
        let place = match opcode {
            b'h' => u64::from(self.take::<1>()?[0]),
            _ => u64::from(u32::from_le_bytes(self.take()?)),
        };
        let found = self.memo.get(&place).copied();
        self.stack.push(found.ok_or_else(|| format!("nothing was noted under {place}"))?);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Step<()> {
        let known = allowed::find(module, name);
        let known = known.ok_or_else(|| {
            let full: String = format!("{module}.{name}").chars().take(120).collect();
            format!(
                "it would import {full:?}, which no tensor needs, and is not read; in PyTorch, save the state \
                 dictionary alone: torch.save(model.state_dict(), FILE)"
            )
        })?;
        self.stack.push(Value::Global(known));
        Ok(())
    }
}

fn utf8(bytes: &[u8]) -> Step<&str> {
    std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8".to_owned())
}

/// A number in two's complement, the lowest byte first.
fn long(bytes: &[u8]) -> Value<'_> {
    let Some(last) = bytes.last() else { return Value::Int(0) };
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let mut whole = [if last & 0x80 > 0 { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}

fn paired<'p>(items: &[Value<'p>]) -> Step<Vec<(Value<'p>, Value<'p>)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key has no value".to_owned());
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn numbers_texts_and_containers_are_read() {
        // {"a": [1, -2, 300], "b": (True, "ü")}
        let bytes =
            b"\x80\x02}q\x00(X\x01\x00\x00\x00a](K\x01J\xfe\xff\xff\xffM\x2c\x01eX\x01\x00\x00\x00b\x88X\x02\x00\x00\x00\xc3\xbc\x86u.rest";
        let read = read(bytes).unwrap();
        assert_eq!(read.end, bytes.len() - 4);
        let list = read.get(read.root, "a").unwrap();
        assert_eq!(read.items(list).unwrap(), [Value::Int(1), Value::Int(-2), Value::Int(300)]);
        let tuple = read.get(read.root, "b").unwrap();
        assert_eq!(read.items(tuple).unwrap(), [Value::Bool(true), Value::Text("ü")]);
    }

    #[test]
    fn what_is_noted_is_shared_and_the_newest_protocol_is_read() {
        // x = []; [x, x], with frames, short texts and memoize.
        let bytes = b"\x80\x05\x95\x10\x00\x00\x00\x00\x00\x00\x00]\x94(]\x94h\x01\x8c\x01ke.";
        let read = read(bytes).unwrap();
        assert_eq!(read.items(read.root).unwrap(), [Value::List(1), Value::List(1), Value::Text("k")]);
    }

    #[test]
    fn numbers_of_any_length() {
        assert_eq!(long(&[]), Value::Int(0));
        assert_eq!(long(&[0xff]), Value::Int(-1));
        assert_eq!(long(&[0xff, 0]), Value::Int(255));
        assert_eq!(long(&[0; 9]), Value::Long(&[0; 9]));
    }

    #[test]
    fn imports_are_refused_and_named() {
        let system = told(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.");
        assert_eq!(
            system,
            "byte 2: it would import \"posix.system\", which no tensor needs, and is not read; in PyTorch, save the state \
             dictionary alone: torch.save(model.state_dict(), FILE)"
        );
        let stacked = told(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.");
        assert!(stacked.contains("it would import \"builtins.eval\""), "{stacked}");
        // Opcodes that import by other ways: INST, OBJ, EXT1, and a buffer from outside.
        for (bytes, opcode) in [
            (b"(iposix\nsystem\n.".as_slice(), "0x69"),
            (b"(o.", "0x6f"),
            (b"\x82\x01.", "0x82"),
            (b"\x97.", "0x97"),
        ] {
            assert!(told(bytes).ends_with(&format!("opcode {opcode} found, which no tensor needs")));
        }
        // What is known is still not called with anything.
        assert!(told(b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.").contains("OrderedDict"));
        assert!(told(b"\x80\x02ctorch\nFloatStorage\nK\x01\x85R.").contains("is called"));
    }

    #[test]
    fn huge_lengths_are_compared_with_what_is_there() {
        assert_eq!(
            told(b"\x80\x02X\xff\xff\xff\xffabc"),
            "byte 2: 4294967295 bytes are promised, and 3 follow"
        );
        assert_eq!(
            told(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"),
            "byte 2: 18446744073709551615 bytes are promised, and 0 follow"
        );
    }

    #[test]
    fn depth_takes_no_stack_and_steps_are_bounded() {
        // 400,000 lists, each in the one before; a list that holds itself.
        let mut nested = vec![b']'; 400_000];
        nested.extend(vec![b'a'; 399_999]);
        nested.push(b'.');
        assert!(read(&nested).is_ok());
        assert!(read(b"]q\x00h\x00a.").is_ok());
        assert_eq!(
            told(&vec![b'N'; MOST_STEPS + 1]),
            format!("byte {MOST_STEPS}: it has more than {MOST_STEPS} steps")
        );
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        let good = b"\x80\x02}q\x00(X\x01\x00\x00\x00a](K\x01J\xfe\xff\xff\xffM\x2c\x01eX\x01\x00\x00\x00b\x88\x85u.";
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_err());
        }
        for place in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut changed = good.to_vec();
                changed[place] = byte;
                let _ = read(&changed);
            }
        }
    }
}
