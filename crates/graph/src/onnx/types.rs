//! Declared types of inputs.

use std::collections::BTreeSet;

use super::error::DecodeError;
use super::proto::{self, DimensionKind, TypeKind};
use super::tensor::foreign_type;
use crate::dim::{Dim, Shape};
use crate::element::ElementType;

/// What an input declares: element type and sizes. Only inputs of bodies may leave the type out.
pub(super) fn declared(
    input: &proto::ValueInfo,
    required: bool,
) -> Result<(Option<ElementType>, Option<proto::TensorShape>), DecodeError> {
    let problem = |problem: String| DecodeError::Input { name: input.name.clone(), problem };
    let kind = input.r#type.as_ref().and_then(|declared| declared.value.as_ref());
    match kind {
        Some(TypeKind::Tensor(tensor)) if tensor.elem_type == 0 && !required => {
            Ok((None, tensor.shape.clone()))
        }
        Some(TypeKind::Tensor(tensor)) => match ElementType::from_onnx_code(tensor.elem_type) {
            Some(element) => Ok((Some(element), tensor.shape.clone())),
            None => Err(problem(foreign_type(tensor.elem_type))),
        },
        None if required => Err(problem("no type is declared".to_owned())),
        None => Ok((None, None)),
        Some(TypeKind::Sequence(_)) => {
            Err(problem("it is a sequence; only tensors are supported".to_owned()))
        }
        Some(TypeKind::Map(_)) => Err(problem("it is a map; only tensors are supported".to_owned())),
        Some(TypeKind::Sparse(_)) => {
            Err(problem("it is a sparse tensor; only dense ones are supported".to_owned()))
        }
        Some(TypeKind::Optional(_)) => Err(problem("it is optional; only tensors are supported".to_owned())),
    }
}

/// Names of sizes in `shapes`, so that the ones made up for unnamed sizes differ.
pub(super) fn size_names<'a>(shapes: impl Iterator<Item = &'a proto::TensorShape>) -> BTreeSet<String> {
    shapes
        .flat_map(|shape| &shape.dim)
        .filter_map(|dimension| match &dimension.value {
            Some(DimensionKind::Parameter(name)) if !name.is_empty() => Some(name.clone()),
            _ => None,
        })
        .collect()
}

/// Sizes as symbols and numbers; an unnamed size is a symbol named after the input and the axis.
pub(super) fn sizes(
    input: &str,
    shape: &proto::TensorShape,
    names: &BTreeSet<String>,
) -> Result<Shape, DecodeError> {
    let mut sizes = Vec::with_capacity(shape.dim.len());
    for (axis, dimension) in shape.dim.iter().enumerate() {
        sizes.push(match &dimension.value {
            Some(DimensionKind::Value(size)) if *size > 0 => Dim::known(*size),
            Some(DimensionKind::Value(size)) => {
                let problem =
                    format!("size {size} of axis {axis} is not positive: leave it out where it is not known");
                return Err(DecodeError::Input { name: input.to_owned(), problem });
            }
            Some(DimensionKind::Parameter(text)) if !text.is_empty() => {
                expression(text, names).unwrap_or_else(|| Dim::symbol(text.as_str()))
            }
            _ => {
                let mut name = format!("{input}.{axis}");
                while names.contains(&name) {
                    name.push('\'');
                }
                Dim::symbol(name)
            }
        });
    }
    Ok(sizes)
}

/// A size written as an expression of sizes that inputs have: `2*n+1`, `(h+1)//2`.
///
/// Only text that [`Dim`] would print itself, of names that stand alone elsewhere, is taken as one; anything else
/// (`batch-size`) is a name.
fn expression(text: &str, names: &BTreeSet<String>) -> Option<Dim> {
    let mut parser = Parser { rest: text, names, depth: 0 };
    let dim = parser.sum()?;
    let compound = dim.value().is_none() && dim.as_symbol().is_none();
    (parser.rest.is_empty() && compound && dim.to_string() == text).then_some(dim)
}

struct Parser<'a> {
    rest: &'a str,
    names: &'a BTreeSet<String>,
    depth: u32,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn number(&mut self) -> Option<i64> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let number = digits.parse().ok()?;
        self.rest = rest;
        Some(number)
    }

    fn sum(&mut self) -> Option<Dim> {
        let mut sum = Dim::known(0);
        let mut first = true;
        loop {
            let sign = if self.eat("-") {
                -1
            } else if self.eat("+") || first {
                1
            } else {
                return Some(sum);
            };
            first = false;
            sum = sum.plus(&self.term()?.scaled(sign)?)?;
        }
    }

    fn term(&mut self) -> Option<Dim> {
        let mut term = if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            Dim::known(self.number()?)
        } else {
            self.factor()?
        };
        while self.eat("*") {
            term = term.times(&self.factor()?)?;
        }
        Some(term)
    }

    fn factor(&mut self) -> Option<Dim> {
        if self.eat("(") {
            self.depth += 1;
            if self.depth > 16 {
                return None;
            }
            let inner = self.sum()?;
            if !self.eat(")") {
                return None;
            }
            self.depth -= 1;
            return if self.eat("//") { inner.floor_div(self.number()?) } else { Some(inner) };
        }
        let end = self.rest.find(['+', '-', '*', '(', ')', '/']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if !self.names.contains(name) {
            return None;
        }
        self.rest = rest;
        Some(Dim::symbol(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_known_names_are_read() {
        let names = BTreeSet::from(["n".to_owned(), "h".to_owned(), "batch".to_owned()]);
        for text in ["2*n", "n+1", "(h+1)//2", "h+2*n-3", "-n+7", "2*h*n+1", "2*((h+1)//2)", "n*((h+1)//2)"] {
            let dim = expression(text, &names).unwrap_or_else(|| panic!("{text} is an expression"));
            assert_eq!(dim.to_string(), text);
        }
        for text in ["batch-size", "n + 1", "n", "2", "x*2", "(h+1", "((((((((((((((((((n"] {
            assert_eq!(expression(text, &names), None, "{text} is a name");
        }
    }
}
