//! Moves raw `float32` elements to addresses of whole elements, within the file's own buffer.
//!
//! Protobuf puts elements wherever the bytes before them end, and an engine reads them where they lie only if they are
//! aligned. In front of them stand their tag and length, which are decoded already: elements are moved down into these
//! by up to three bytes, rather than copied beside a file that stays in memory.

use bytes::Bytes;

use super::proto;
use crate::element::ElementType;

/// Shorter contents are copied out of the file's buffer: longer ones have a length of two bytes or more, and so at least
/// three bytes of tag and length.
const SHORT: usize = 4096;

/// Where contents lie in the buffer.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: usize,
    length: usize,
    floats: bool,
}

/// Aligns the elements of `model`, which was decoded from `bytes`. Where somebody else holds these bytes, nothing moves.
pub(super) fn align(model: &mut proto::Model, bytes: Bytes) {
    let base = bytes.as_ptr().addr();
    let mut ranges: Vec<Option<Range>> = Vec::new();
    // Every view of the buffer is taken away, so that the buffer is ours alone.
    visit(model, &mut |contents, floats| {
        let length = contents.len();
        let start = contents.as_ptr().addr().checked_sub(base).filter(|start| {
            length > SHORT && start.checked_add(length).is_some_and(|end| end <= bytes.len())
        });
        ranges.push(start.map(|start| Range { start, length, floats }));
        *contents = if start.is_some() { Bytes::new() } else { Bytes::copy_from_slice(contents) };
    });
    let bytes = match bytes.try_into_mut() {
        Ok(mut buffer) => {
            move_down(&mut buffer, &mut ranges);
            buffer.freeze()
        }
        Err(shared) => shared,
    };
    let mut ranges = ranges.into_iter();
    visit(model, &mut |contents, _| {
        if let Some(Some(Range { start, length, .. })) = ranges.next() {
            *contents = bytes.slice(start..start + length);
        }
    });
}

/// Moves each range of floats to the aligned address before it, where that is free.
fn move_down(buffer: &mut [u8], ranges: &mut [Option<Range>]) {
    let base = buffer.as_ptr().addr();
    let mut order: Vec<&mut Range> = ranges.iter_mut().flatten().collect();
    order.sort_by_key(|range| range.start);
    let mut free = 0;
    for range in order {
        let end = range.start + range.length;
        let shift = (base + range.start) % size_of::<f32>();
        if range.floats && shift > 0 && range.start >= free + shift {
            buffer.copy_within(range.start..end, range.start - shift);
            range.start -= shift;
        }
        free = end;
    }
}

/// Called with contents, and whether they are `float32` elements.
type Visitor<'a> = dyn FnMut(&mut Bytes, bool) + 'a;

/// Calls `visitor` with everything of the model that is a view of the file, always in the same order.
fn visit(model: &mut proto::Model, visitor: &mut Visitor<'_>) {
    if let Some(graph) = &mut model.graph {
        visit_graph(graph, visitor);
    }
    for function in &mut model.functions {
        function
            .node
            .iter_mut()
            .flat_map(|node| &mut node.attribute)
            .for_each(|a| visit_attribute(a, visitor));
        function.attribute_proto.iter_mut().for_each(|attribute| visit_attribute(attribute, visitor));
    }
}

fn visit_graph(graph: &mut proto::Graph, visitor: &mut Visitor<'_>) {
    graph.initializer.iter_mut().for_each(|tensor| visit_tensor(tensor, visitor));
    graph
        .sparse_initializer
        .iter_mut()
        .flat_map(|sparse| &mut sparse.values)
        .for_each(|tensor| visit_tensor(tensor, visitor));
    graph.node.iter_mut().flat_map(|node| &mut node.attribute).for_each(|a| visit_attribute(a, visitor));
}

fn visit_attribute(attribute: &mut proto::Attribute, visitor: &mut Visitor<'_>) {
    attribute.s.iter_mut().chain(&mut attribute.strings).for_each(|contents| visitor(contents, false));
    if let Some(tensor) = &mut attribute.t {
        visit_tensor(tensor, visitor);
    }
    if let Some(body) = &mut attribute.g {
        visit_graph(body, visitor);
    }
}

fn visit_tensor(tensor: &mut proto::Tensor, visitor: &mut Visitor<'_>) {
    let floats = tensor.data_type == ElementType::F32.onnx_code();
    tensor.string_data.iter_mut().for_each(|contents| visitor(contents, false));
    if let Some(contents) = &mut tensor.raw_data {
        visitor(contents, floats);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// A model of weights of odd names, so that elements lie anywhere.
    fn model() -> proto::Model {
        let tensor = |number: usize, data_type: i32, width: usize| proto::Tensor {
            name: "w".repeat(number + 1),
            dims: vec![2000],
            data_type,
            raw_data: Some(
                (0..2000 * width).map(|i| u8::try_from((i * 7 + number) % 251).unwrap()).collect(),
            ),
            ..proto::Tensor::default()
        };
        let mut initializer: Vec<proto::Tensor> = (0..9).map(|number| tensor(number, 1, 4)).collect();
        initializer.push(tensor(3, ElementType::I64.onnx_code(), 8));
        initializer.push(proto::Tensor { raw_data: Some(Bytes::new()), ..tensor(1, 1, 4) });
        let attribute = proto::Attribute {
            s: Some(Bytes::from_static(b"text")),
            t: Some(tensor(2, 1, 4)),
            ..proto::Attribute::default()
        };
        let node = vec![proto::Node { attribute: vec![attribute], ..proto::Node::default() }];
        let graph = proto::Graph { node, initializer, ..proto::Graph::default() };
        proto::Model { graph: Some(graph), ..proto::Model::default() }
    }

    fn misaligned(model: &mut proto::Model) -> usize {
        let mut count = 0;
        visit(model, &mut |contents, floats| {
            count += usize::from(floats && !contents.is_empty() && contents.as_ptr().addr() % 4 != 0);
        });
        count
    }

    #[test]
    fn floats_are_aligned_in_place_and_nothing_else_changes() {
        let expected = model();
        let bytes = Bytes::from(expected.encode_to_vec());
        let range = bytes.as_ptr().addr()..bytes.as_ptr().addr() + bytes.len();
        let mut decoded = proto::Model::decode(bytes.clone()).unwrap();
        assert!(misaligned(&mut decoded) > 0, "the file is no test");
        align(&mut decoded, bytes);
        assert_eq!(decoded, expected);
        assert_eq!(misaligned(&mut decoded), 0);
        visit(&mut decoded, &mut |contents, _| {
            assert!(contents.len() <= SHORT || range.contains(&contents.as_ptr().addr()), "it was copied");
        });
    }

    #[test]
    fn bytes_that_somebody_holds_stay() {
        let expected = model();
        let bytes = Bytes::from(expected.encode_to_vec());
        let before = bytes.to_vec();
        let mut decoded = proto::Model::decode(bytes.clone()).unwrap();
        align(&mut decoded, bytes.clone());
        assert_eq!(decoded, expected);
        assert_eq!(bytes, before);
    }
}
