//! Constant tensors of a file: from any of ONNX's ways of writing elements to little-endian bytes.

use bytes::Bytes;

use super::error::DecodeError;
use super::limits::Limits;
use super::proto;
use super::scan::{check, count};
use crate::element::ElementType;
use crate::tensor::{Tensor, element_count};

/// Element type, sizes and bytes that a tensor's header declares.
pub(super) struct Header {
    pub(super) element: ElementType,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: usize,
}

fn problem(tensor: &proto::Tensor, problem: impl Into<String>) -> DecodeError {
    DecodeError::Tensor { name: tensor.name.clone(), problem: problem.into() }
}

/// What a type of elements that is not read is called.
pub(super) fn foreign_type(code: i32) -> String {
    let name = match code {
        0 => return "no element type is given".to_owned(),
        8 => "strings",
        14 => "complex64",
        15 => "complex128",
        17..=20 | 24 => "8-bit floats",
        21 | 22 => "4-bit integers",
        23 => "4-bit floats",
        25 | 26 => "2-bit integers",
        _ => return format!("element type {code} is not one of ONNX"),
    };
    format!("elements are {name}, which are not supported")
}

/// Checks a tensor's header.
pub(super) fn header(tensor: &proto::Tensor, limits: &Limits) -> Result<Header, DecodeError> {
    let element = ElementType::from_onnx_code(tensor.data_type)
        .ok_or_else(|| problem(tensor, foreign_type(tensor.data_type)))?;
    let mut shape = Vec::with_capacity(tensor.dims.len());
    for size in &tensor.dims {
        shape.push(usize::try_from(*size).map_err(|_| {
            problem(tensor, format!("sizes {:?} hold the negative number {size}", tensor.dims))
        })?);
    }
    let elements = element_count(&shape);
    let bytes = elements
        .and_then(|count| count.checked_mul(element.size()))
        .ok_or_else(|| problem(tensor, format!("sizes {:?} multiply past the address range", tensor.dims)))?;
    check("elements in a tensor", count(elements.unwrap_or(usize::MAX)), limits.tensor_elements)?;
    Ok(Header { element, shape, bytes })
}

/// The constant that a file's tensor stands for. External bytes must have been fetched before.
pub(super) fn decode(tensor: &proto::Tensor, limits: &Limits) -> Result<Tensor, DecodeError> {
    let Header { element, shape, bytes: expected } = header(tensor, limits)?;
    let typed = [
        ("float_data", tensor.float_data.len()),
        ("int32_data", tensor.int32_data.len()),
        ("int64_data", tensor.int64_data.len()),
        ("double_data", tensor.double_data.len()),
        ("uint64_data", tensor.uint64_data.len()),
        ("string_data", tensor.string_data.len()),
    ];
    let mut filled = typed.iter().filter(|(_, length)| *length > 0);
    let (field, other) = (filled.next(), filled.next());
    let raw = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty() || field.is_none());
    let bytes = match (raw, field) {
        (Some(_), Some((name, _))) => {
            return Err(problem(tensor, format!("elements are given twice, in raw_data and in {name}")));
        }
        (Some(raw), None) => raw.clone(),
        (None, None) => Bytes::new(),
        (None, Some((name, _))) => {
            if let Some((second, _)) = other {
                return Err(problem(tensor, format!("elements are given twice, in {name} and in {second}")));
            }
            let wanted = field_of(element);
            if *name != wanted {
                return Err(problem(tensor, format!("{element} elements stand in {name}, not in {wanted}")));
            }
            Bytes::from(unpack(tensor, element)?)
        }
    };
    if bytes.len() != expected {
        return Err(problem(
            tensor,
            format!("{element} of shape {shape:?} needs {expected} bytes, found {}", bytes.len()),
        ));
    }
    Tensor::new(element, shape, bytes).map_err(|error| problem(tensor, error.to_string()))
}

/// The typed field in which ONNX keeps elements of a type.
fn field_of(element: ElementType) -> &'static str {
    match element {
        ElementType::F32 => "float_data",
        ElementType::F64 => "double_data",
        ElementType::I64 => "int64_data",
        ElementType::U32 | ElementType::U64 => "uint64_data",
        _ => "int32_data",
    }
}

/// Elements of a typed field as little-endian bytes.
fn unpack(tensor: &proto::Tensor, element: ElementType) -> Result<Vec<u8>, DecodeError> {
    let outside = |value: String| problem(tensor, format!("{value} is no {element}"));
    let mut bytes = Vec::new();
    match element {
        ElementType::F32 => bytes.extend(tensor.float_data.iter().flat_map(|value| value.to_le_bytes())),
        ElementType::F64 => bytes.extend(tensor.double_data.iter().flat_map(|value| value.to_le_bytes())),
        ElementType::I64 => bytes.extend(tensor.int64_data.iter().flat_map(|value| value.to_le_bytes())),
        ElementType::U64 => bytes.extend(tensor.uint64_data.iter().flat_map(|value| value.to_le_bytes())),
        ElementType::U32 => {
            for value in &tensor.uint64_data {
                let value = u32::try_from(*value).map_err(|_| outside(value.to_string()))?;
                bytes.extend(value.to_le_bytes());
            }
        }
        ElementType::I32 => bytes.extend(tensor.int32_data.iter().flat_map(|value| value.to_le_bytes())),
        ElementType::I8 => {
            for value in &tensor.int32_data {
                bytes.extend(i8::try_from(*value).map_err(|_| outside(value.to_string()))?.to_le_bytes());
            }
        }
        ElementType::I16 => {
            for value in &tensor.int32_data {
                bytes.extend(i16::try_from(*value).map_err(|_| outside(value.to_string()))?.to_le_bytes());
            }
        }
        ElementType::U8 => {
            for value in &tensor.int32_data {
                bytes.push(u8::try_from(*value).map_err(|_| outside(value.to_string()))?);
            }
        }
        // Half-precision numbers stand as the bits of an unsigned 16-bit integer.
        ElementType::U16 | ElementType::F16 | ElementType::BF16 => {
            for value in &tensor.int32_data {
                bytes.extend(u16::try_from(*value).map_err(|_| outside(value.to_string()))?.to_le_bytes());
            }
        }
        ElementType::Bool => bytes.extend(tensor.int32_data.iter().map(|value| u8::from(*value != 0))),
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data_type: i32, dims: &[i64]) -> proto::Tensor {
        proto::Tensor { name: "w".to_owned(), data_type, dims: dims.to_vec(), ..proto::Tensor::default() }
    }

    fn message(tensor: &proto::Tensor) -> String {
        decode(tensor, &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn typed_fields_and_raw_bytes_agree() {
        for element in ElementType::ALL {
            let expected = Tensor::from_values(element, vec![3], &[0.0, 1.0, 1.0]).unwrap();
            let mut typed = tensor(element.onnx_code(), &[3]);
            match field_of(element) {
                "float_data" => typed.float_data = vec![0.0, 1.0, 1.0],
                "double_data" => typed.double_data = vec![0.0, 1.0, 1.0],
                "int64_data" => typed.int64_data = vec![0, 1, 1],
                "uint64_data" => typed.uint64_data = vec![0, 1, 1],
                _ => {
                    let one = match element {
                        ElementType::F16 => 0x3c00,
                        ElementType::BF16 => 0x3f80,
                        _ => 1,
                    };
                    typed.int32_data = vec![0, one, one];
                }
            }
            assert_eq!(decode(&typed, &Limits::default()).unwrap(), expected, "{element}");
            let mut raw = tensor(element.onnx_code(), &[3]);
            raw.raw_data = Some(expected.bytes().clone());
            assert_eq!(decode(&raw, &Limits::default()).unwrap(), expected, "{element}");
        }
    }

    #[test]
    fn messages_say_what_was_found() {
        let mut twice = tensor(1, &[1]);
        twice.raw_data = Some(Bytes::from_static(&[0; 4]));
        twice.float_data = vec![0.0];
        assert_eq!(message(&twice), "tensor \"w\": elements are given twice, in raw_data and in float_data");
        assert_eq!(
            message(&tensor(1, &[2, 3])),
            "tensor \"w\": float32 of shape [2, 3] needs 24 bytes, found 0"
        );
        assert_eq!(message(&tensor(1, &[2, -3])), "tensor \"w\": sizes [2, -3] hold the negative number -3");
        assert_eq!(
            message(&tensor(1, &[i64::MAX, i64::MAX])),
            "tensor \"w\": sizes [9223372036854775807, 9223372036854775807] multiply past the address range"
        );
        assert_eq!(message(&tensor(8, &[1])), "tensor \"w\": elements are strings, which are not supported");
        let mut wrong = tensor(3, &[1]);
        wrong.int32_data = vec![300];
        assert_eq!(message(&wrong), "tensor \"w\": 300 is no int8");
        wrong.int32_data.clear();
        wrong.float_data = vec![0.0];
        assert_eq!(message(&wrong), "tensor \"w\": int8 elements stand in float_data, not in int32_data");
        assert_eq!(
            message(&tensor(1, &[1 << 40])),
            "the model has 1099511627776 elements in a tensor, the limit is 68719476736"
        );
    }
}
