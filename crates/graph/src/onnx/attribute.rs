//! Attributes of a file's nodes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::draft::DraftAttribute;
use super::error::DecodeError;
use super::limits::Limits;
use super::proto::{self, kind};
use super::tensor;
use crate::element::ElementType;
use crate::node::Attribute;
use crate::tensor::Tensor;

/// Why an attribute is refused.
pub(super) enum Error {
    /// What is wrong with it.
    Problem(String),
    /// Its tensor is not usable.
    Tensor(DecodeError),
}

/// The number of the kind; files of the first format versions leave it out.
fn kind_of(attribute: &proto::Attribute) -> i32 {
    match attribute.kind {
        Some(kind) if kind != 0 => kind,
        _ if attribute.f.is_some() => kind::FLOAT,
        _ if attribute.i.is_some() => kind::INT,
        _ if attribute.s.is_some() => kind::STRING,
        _ if attribute.t.is_some() => kind::TENSOR,
        _ if attribute.g.is_some() => kind::GRAPH,
        _ if !attribute.floats.is_empty() => kind::FLOATS,
        _ if !attribute.strings.is_empty() => kind::STRINGS,
        _ => kind::INTS,
    }
}

/// The body that an attribute holds, if it holds one.
pub(super) fn body(attribute: &proto::Attribute) -> Result<Option<&proto::Graph>, String> {
    if kind_of(attribute) != kind::GRAPH {
        return Ok(None);
    }
    match &attribute.g {
        Some(body) => Ok(Some(body)),
        None => Err(format!("attribute {:?} is a body, but holds none", attribute.name)),
    }
}

/// The value of an attribute that is no body.
pub(super) fn plain(attribute: &proto::Attribute, limits: &Limits) -> Result<Attribute, Error> {
    let name = &attribute.name;
    let text = |bytes: &Bytes| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| Error::Problem(format!("attribute {name:?} is text that is not UTF-8")))
    };
    Ok(match kind_of(attribute) {
        kind::FLOAT => Attribute::Float(attribute.f.unwrap_or_default()),
        kind::INT => Attribute::Int(attribute.i.unwrap_or_default()),
        kind::STRING => Attribute::String(text(&attribute.s.clone().unwrap_or_default())?),
        kind::TENSOR => match &attribute.t {
            Some(tensor) => Attribute::Tensor(tensor::decode(tensor, limits).map_err(Error::Tensor)?),
            None => return Err(Error::Problem(format!("attribute {name:?} is a tensor, but holds none"))),
        },
        kind::FLOATS => Attribute::Floats(attribute.floats.clone()),
        kind::INTS => Attribute::Ints(attribute.ints.clone()),
        kind::STRINGS => Attribute::Strings(attribute.strings.iter().map(text).collect::<Result<_, _>>()?),
        other => {
            let what = match other {
                9 => "tensors",
                10 => "graphs",
                11 | 12 => "a sparse tensor",
                13 | 14 => "a type",
                _ => "of an unknown kind",
            };
            return Err(Error::Problem(format!("attribute {name:?} is {what}, which is not supported")));
        }
    })
}

/// The tensor of a `Constant` node.
pub(super) fn constant(attributes: &BTreeMap<String, DraftAttribute>) -> Result<Tensor, String> {
    let mut given = attributes.iter();
    let (Some((name, value)), None) = (given.next(), given.next()) else {
        return Err(format!("a constant has one attribute, this one has {}", attributes.len()));
    };
    let DraftAttribute::Plain(value) = value else {
        return Err(format!("attribute {name:?} is a body"));
    };
    let made = match (name.as_str(), value) {
        ("value", Attribute::Tensor(tensor)) => Ok(tensor.clone()),
        ("value_int", Attribute::Int(value)) => Tensor::from_i64(Vec::new(), &[*value]),
        ("value_ints", Attribute::Ints(values)) => Ok(Tensor::integers(values)),
        ("value_float", Attribute::Float(value)) => Tensor::from_f32(Vec::new(), &[*value]),
        ("value_floats", Attribute::Floats(values)) => Tensor::from_f32(vec![values.len()], values),
        // `Constant(value_floats = [])` written without a kind reads as integers.
        ("value_floats", Attribute::Ints(values)) if values.is_empty() => {
            Tensor::new(ElementType::F32, vec![0], Bytes::new())
        }
        _ => return Err(format!("a constant given as {name:?} is not supported")),
    };
    made.map_err(|error| error.to_string())
}
