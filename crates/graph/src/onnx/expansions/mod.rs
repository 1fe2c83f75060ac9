//! Operators that are read by expansion: a table of domain, name, and the function that writes the node in operators
//! of `ai.onnx`.
//!
//! Here stand the fused operators that ONNX Runtime's optimiser writes, and quantised operators, which become
//! dequantise, float operator, quantise. An expansion is exact up to rounding: what it cannot express is an error.
//! An operator that has neither a form in [`crate::operators`] nor a line here is named in the error of reading.

mod fused;
mod integer;
mod normalise;
mod product;
mod quantised;
mod site;

pub(super) use site::Site;

/// Writes a node's outputs.
type Expansion = fn(&mut Site<'_, '_>) -> Result<(), String>;

/// ONNX Runtime's own operators.
const ORT: &str = "com.microsoft";
/// `ai.onnx`.
const ONNX: &str = "";

/// Domain, name, expansion; sorted for [`lookup`].
static TABLE: &[(&str, &str, Expansion)] = &[
    (ONNX, "ConvInteger", integer::convolution),
    (ONNX, "DynamicQuantizeLinear", integer::dynamic_quantize),
    (ONNX, "MatMulInteger", integer::matrix_product),
    (ONNX, "QLinearConv", quantised::convolution),
    (ONNX, "QLinearMatMul", quantised::matrix_product),
    (ONNX, "RMSNormalization", normalise::root_mean_square),
    (ONNX, "SimplifiedLayerNormalization", normalise::root_mean_square),
    (ORT, "BiasAdd", fused::bias_add),
    (ORT, "BiasGelu", fused::bias_gelu),
    (ORT, "BiasSplitGelu", fused::bias_split_gelu),
    (ORT, "DynamicQuantizeMatMul", integer::dynamic_matrix_product),
    (ORT, "EmbedLayerNormalization", normalise::embed),
    (ORT, "FastGelu", fused::fast_gelu),
    (ORT, "FusedConv", product::convolution),
    (ORT, "FusedGemm", product::gemm),
    (ORT, "FusedMatMul", product::matrix_product),
    (ORT, "Gelu", fused::gelu),
    (ORT, "GroupNorm", normalise::group),
    (ORT, "MatMulIntegerToFloat", integer::matrix_product_to_float),
    (ORT, "NhwcMaxPool", fused::max_pool_channels_last),
    (ORT, "QGemm", quantised::gemm),
    (ORT, "QLinearAdd", |site| quantised::binary(site, "Add")),
    (ORT, "QLinearAveragePool", quantised::average_pool),
    (ORT, "QLinearConcat", quantised::concat),
    (ORT, "QLinearConv", quantised::convolution),
    (ORT, "QLinearGlobalAveragePool", quantised::global_average_pool),
    (ORT, "QLinearLeakyRelu", |site| quantised::unary(site, "LeakyRelu")),
    (ORT, "QLinearMul", |site| quantised::binary(site, "Mul")),
    (ORT, "QLinearSigmoid", |site| quantised::unary(site, "Sigmoid")),
    (ORT, "QLinearSoftmax", quantised::softmax),
    (ORT, "QLinearWhere", quantised::choose),
    (ORT, "QuickGelu", fused::quick_gelu),
    (ORT, "SimplifiedLayerNormalization", normalise::root_mean_square),
    (ORT, "SkipGroupNorm", normalise::skip_group),
    (ORT, "SkipLayerNormalization", normalise::skip),
    (ORT, "SkipSimplifiedLayerNormalization", normalise::skip_root_mean_square),
    (ORT, "TransposeMatMul", product::matrix_product),
];

/// The expansion of an operator, where there is one.
pub(super) fn lookup(domain: &str, operator: &str) -> Option<Expansion> {
    let position = TABLE.binary_search_by(|(own, name, _)| (*own, *name).cmp(&(domain, operator))).ok()?;
    Some(TABLE[position].2)
}

/// Domain and name of every operator that is read by expansion into operators of [`crate::operators`].
pub fn expanded() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|(domain, name, _)| (*domain, *name))
}

/// The opset of `ai.onnx` in whose meaning an operator of another domain is read, where it is one of its operators.
pub(super) fn alias(domain: &str, operator: &str) -> Option<i64> {
    (domain == ORT && matches!(operator, "DequantizeLinear" | "QuantizeLinear" | "Trilu")).then_some(21)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_hides_no_operator() {
        assert!(TABLE.windows(2).all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1)));
        for (domain, name, _) in TABLE {
            assert!(lookup(domain, name).is_some(), "{domain}::{name}");
            assert!(*domain != ONNX || crate::operators::lookup(name).is_none(), "{name} is read as it is");
        }
        assert!(lookup(ORT, "QAttention").is_none());
        assert!(lookup("ai.onnx.ml", "QLinearConv").is_none());
    }
}
