//! What a state dictionary may name: the few functions and types that `torch.save` writes for tensors. Nothing is looked
//! up anywhere: a name stands for what this crate does for it, and any other name ends the reading.

use pellucid_graph::ElementType;

/// A name that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `torch.Size`.
    Size,
    /// `torch.device`.
    Device,
    /// `torch.float32` and its like, which settings of a checkpoint may name.
    ElementType,
    /// `torch.FloatStorage` and its like.
    Storage(ElementType),
}

/// What `module.name` stands for; `None` where it is not allowed.
pub(crate) fn find(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "Size") => Global::Size,
        ("torch", "device") => Global::Device,
        ("torch", _) => return of_torch(name),
        _ => return None,
    })
}

fn of_torch(name: &str) -> Option<Global> {
    let element = match name {
        "FloatStorage" => ElementType::F32,
        "DoubleStorage" => ElementType::F64,
        "HalfStorage" => ElementType::F16,
        "BFloat16Storage" => ElementType::BF16,
        "LongStorage" => ElementType::I64,
        "IntStorage" => ElementType::I32,
        "ShortStorage" => ElementType::I16,
        "CharStorage" => ElementType::I8,
        "ByteStorage" => ElementType::U8,
        "BoolStorage" => ElementType::Bool,
        "float16" | "float32" | "float64" | "bfloat16" | "int8" | "int16" | "int32" | "int64" | "uint8"
        | "bool" => return Some(Global::ElementType),
        _ => return None,
    };
    Some(Global::Storage(element))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tensors_need_is_known() {
        assert_eq!(find("torch", "HalfStorage"), Some(Global::Storage(ElementType::F16)));
        for (module, name) in [
            ("posix", "system"),
            ("os", "system"),
            ("builtins", "eval"),
            ("torch", "load"),
            ("torch._utils", "import_module"),
            ("torch.hub", "load"),
            ("collections", "deque"),
            ("numpy.core.multiarray", "_reconstruct"),
        ] {
            assert_eq!(find(module, name), None, "{module}.{name}");
        }
    }
}
