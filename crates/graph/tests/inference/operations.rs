//! Elementwise operators, products, reductions, normalisations, selections.

use crate::table::check;

#[test]
fn elementwise() {
    check(&[
        ("Relu(float32[n, 3])", "float32[n, 3]"),
        ("Gelu(float16?)", "float16?"),
        ("Sigmoid(int64[3])", "error: input 0 is int64, expected floats"),
        ("Add(float32[n, 3, 1], float32[4])", "float32[n, 3, 4]"),
        ("Mul(float32[n, h], float32[n, h])", "float32[n, h]"),
        ("Mul(float32[n, h], float32[n, w])", "float32[n, ?y.1]"),
        ("Mul(float32[n, 4], float32[n, w])", "float32[n, 4]"),
        ("Mul(float32[0, 4], float32[1, 1])", "float32[0, 4]"),
        ("Mul(float32[], float32[2])", "float32[2]"),
        ("Sub(float32[2, 3], float32[2])", "error: cannot broadcast [2, 3] with [2]"),
        ("Sub(float32[0], float32[2])", "error: cannot broadcast [0] with [2]"),
        ("Add(float32[2], int64[2])", "error: input 0 is float32 and input 1 is int64, expected one type"),
        ("Add(float32[2])", "error: found 1 inputs, expected 2"),
        ("Add(bool[2], bool[2])", "error: input 0 is bool, expected numbers"),
        ("Pow(float32[n], int64[1])", "float32[n]"),
        ("Max(float32[n, 1], float32[4], float32[1, 1])", "float32[n, 4]"),
        ("Sum(int64[2], int64[2])", "error: input 0 is int64, expected floats"),
        ("Equal(float32[n], float32[])", "bool[n]"),
        ("And(bool[n, 1], bool[3])", "bool[n, 3]"),
        ("And(float32[2], bool[2])", "error: input 0 is float32, expected bool"),
        ("IsNaN(float32[n])", "bool[n]"),
        ("Where(bool[n, 1], float32[3], float32[])", "float32[n, 3]"),
        ("Where(float32[1], float32[3], float32[3])", "error: input 0 is float32, expected bool"),
        ("Clip(float32[n], f#0, f#6)", "float32[n]"),
        ("Clip(float32[n], float32[2])", "error: input 1 has the shape [2], expected one element"),
        ("PRelu(float32[n, 3, 4], float32[3, 1])", "float32[n, 3, 4]"),
        (
            "PRelu(float32[n, 3], float32[2, 1, 3])",
            "error: the slope of shape [2, 1, 3] cannot be broadcast to [n, 3] by PRelu",
        ),
        ("Cast(float32[n]) to=7", "int64[n]"),
        ("Cast(float32[n]) to=8", "error: attribute to 8 is no element type that tensors here can have"),
        ("CastLike(int64[n], float16[])", "float16[n]"),
        ("Dropout(float32[n, 3]) outputs=2", "float32[n, 3]; bool[n, 3]"),
        ("Relu(float32[3]) outputs=2", "error: found 2 outputs, expected 1"),
        ("QuantizeLinear(float32[n, 3], f#0.5)", "uint8[n, 3]"),
        ("QuantizeLinear(float32[n, 3], float32[3], int8[3]) axis=1", "int8[n, 3]"),
        ("DequantizeLinear(int8[n, 3], float16[])", "float16[n, 3]"),
        ("DequantizeLinear(int8[n, 3], float32[4])", "error: 4 scales for axis 1 of [n, 3]"),
        ("Fancy(float32[3])", "error: the operator is not known"),
    ]);
}

#[test]
fn numbers() {
    check(&[
        ("Add(<n, 3>, {1})", "int64[2] = [n+1, 4]"),
        ("Mul(<n, h>, <h, 2>)", "int64[2] = [h*n, 2*h]"),
        ("Div(<n, 7>, {2})", "int64[2] = [(n)//2, 3]"),
        ("Div({-7, 7}, {2, -2})", "int64[2] = [-3, -3]"),
        ("Div({1}, {0})", "int64[1] = [!y.0]"),
        ("Mod({-7, 7}, {3, -3})", "int64[2] = [2, -2]"),
        ("Mod({-7, 7}, {3, -3}) fmod=1", "int64[2] = [-1, 1]"),
        ("Mod(<n>, {4})", "int64[1] = [n-4*((n)//4)]"),
        ("Neg(<n>)", "int64[1] = [-n]"),
        ("Abs({-3, 4})", "int64[2] = [3, 4]"),
        ("Sign(<n, 0>)", "int64[2] = [1, 0]"),
        ("Pow(<n, 3>, {2})", "int64[2] = [n*n, 9]"),
        ("Min(<n, 3>, {5})", "int64[2] = [!y.0, 3]"),
        ("Max(<n, 3>, {1})", "int64[2] = [n, 3]"),
        ("Clip(<n, 9>, #1, #5)", "int64[2] = [!y.0, 5]"),
        ("Equal(<n, 3>, {-1})", "bool[2] = [0, 0]"),
        ("Greater(<n, 3>, {3})", "bool[2] = [!y.0, 0]"),
        ("GreaterOrEqual(<n>, {1})", "bool[1] = [1]"),
        ("Not(b{1, 0})", "bool[2] = [0, 1]"),
        ("Or(b{1, 0}, b{0})", "bool[2] = [1, 0]"),
        ("Xor(b{1, 0}, b{1})", "bool[2] = [0, 1]"),
        ("Where(b{1, 0}, <n, h>, {5})", "int64[2] = [n, 5]"),
        ("Identity(<n>)", "int64[1] = [n]"),
        ("Cast(<n, 300>) to=2", "uint8[2] = [n, !y.1]"),
        ("Cast(<n, 0>) to=9", "bool[2] = [1, 0]"),
        ("Cast(<n, 0>) to=1", "float32[2]"),
        ("Cast(f{2, 3}) to=7", "int64[2] = [2, 3]"),
        ("Cast(f{2, 0.5}) to=7", "int64[2]"),
        ("ReduceProd(<n, 3, h>)", "int64[1] = [3*h*n]"),
        ("ReduceSum(<n, 3>, {0}) keepdims=0", "int64[] = [n+3]"),
        ("ReduceMax({4, 9, 2}) keepdims=0", "int64[] = [9]"),
    ]);
}

#[test]
fn products() {
    check(&[
        ("MatMul(float32[n, 3], float32[3, 4])", "float32[n, 4]"),
        ("MatMul(float32[n, h, 2, 3], float32[3, 4])", "float32[n, h, 2, 4]"),
        ("MatMul(float32[n, 1, 2, 3], float32[5, 3, 4])", "float32[n, 5, 2, 4]"),
        ("MatMul(float32[3], float32[3, 4])", "float32[4]"),
        ("MatMul(float32[n, 3], float32[3])", "float32[n]"),
        ("MatMul(float32[3], float32[3])", "float32[]"),
        ("MatMul(float32[2, 0], float32[0, 3])", "float32[2, 3]"),
        (
            "MatMul(float32[2, 3], float32[4, 5])",
            "error: cannot multiply [2, 3] with [4, 5]: 3 columns meet 4 rows",
        ),
        ("MatMul(float32[], float32[4, 5])", "error: input 0 has the shape [], expected at least 1 axes"),
        ("MatMul(float32[2, 4, 3], float32[5, 3, 1])", "error: cannot broadcast [2] with [5]"),
        ("Gemm(float32[n, 3], float32[4, 3], float32[4]) transB=1", "float32[n, 4]"),
        ("Gemm(float32[3, n], float32[3, 4]) transA=1", "float32[n, 4]"),
        ("Gemm(float32?, float32[3, 4])", "float32[?y.0, 4]"),
        (
            "Gemm(float32[2, 3], float32[4, 3])",
            "error: cannot multiply [2, 3] with [4, 3]: 3 columns meet 4 rows",
        ),
        (
            "Gemm(float32[2, 3], float32[3, 4], float32[5])",
            "error: the bias of shape [5] cannot be broadcast to [2, 4] by Gemm",
        ),
        ("Gemm(float32[1, 2, 3], float32[3, 4])", "error: input 0 has the shape [1, 2, 3], expected 2 axes"),
        ("Einsum(float32[n, 3], float32[3, 4]) equation=ij,jk->ik", "float32[n, 4]"),
        ("Einsum(float32[n, 3], float32[3, 4]) equation=ij,jk", "float32[n, 4]"),
        ("Einsum(float32[n, h, 3, 4], float32[h, 4, 5]) equation=...ij,...jk->...ik", "float32[n, h, 3, 5]"),
        ("Einsum(float32[3, 3]) equation=ii->", "float32[]"),
        ("Einsum(float32[2, 3]) equation=ii->i", "error: the equation \"ii->i\" gives 'i' the sizes 2 and 3"),
        (
            "Einsum(float32[2, 3]) equation=ij->ii",
            "error: the equation \"ij->ii\" has 'i' twice in its result",
        ),
        ("Einsum(float32[2, 3]) equation=ij->k", "error: the equation \"ij->k\" has 'k' in its result alone"),
        (
            "Einsum(float32[2, 3]) equation=ijk->k",
            "error: the equation \"ijk->k\" names 3 axes of input 0 of shape [2, 3]",
        ),
        (
            "Einsum(float32[2, 3]) equation=ij,jk->ik",
            "error: the equation \"ij,jk->ik\" has 2 operands, found 1 inputs",
        ),
        ("Einsum(float32[2, 3]) equation=i1->i", "error: the equation has '1' where a letter is expected"),
    ]);
}

#[test]
fn reductions() {
    check(&[
        ("ReduceMean(float32[n, 3, h, w], {2, 3})", "float32[n, 3, 1, 1]"),
        ("ReduceMean(float32[n, 3, h, w], {-1, -2}) keepdims=0", "float32[n, 3]"),
        ("ReduceSum(float32[n, 3])", "float32[1, 1]"),
        ("ReduceSum(float32[n, 3]) keepdims=0", "float32[]"),
        ("ReduceSum(float32[n, 3]) noop_with_empty_axes=1", "float32[n, 3]"),
        ("ReduceSum(float32[n, 0], {1}) keepdims=0", "float32[n]"),
        ("ReduceMax(float32[n, 3], int64[1])", "float32[?y.0, ?y.1]"),
        ("ReduceMax(float32[n, 3], int64[1]) keepdims=0", "float32?"),
        ("ReduceL2(float32[n, 3], {2})", "error: axis 2 is outside the 2 axes"),
        ("ReduceL2(float32[n, 3]) axes=[1]", "error: axes are an input of this form, found an attribute"),
        ("ArgMax(float32[n, 3]) axis=1 keepdims=0", "int64[n]"),
        ("ArgMin(float32[n, 3])", "int64[1, 3]"),
        ("ArgMin(float32[0, 3])", "error: axis 0 of [0, 3] is empty and has no extreme"),
        ("TopK(float32[n, 9], {5}) outputs=2", "float32[n, 5]; int64[n, 5]"),
        ("TopK(float32[n, 9], int64[1]) outputs=2", "float32[n, ?y.1]; int64[n, ?y.1]"),
        ("TopK(float32[n, 9], {10}) outputs=2", "error: cannot take 10 of axis 1 of [n, 9]"),
        ("Softmax(float32[n, 9]) axis=1", "float32[n, 9]"),
        ("LogSoftmax(float32[n, 9]) axis=2", "error: axis 2 is outside the 2 axes"),
        ("CumSum(float32[n, 9], #1)", "float32[n, 9]"),
        ("CumSum(float32[n, 9], #5)", "error: axis 5 is outside the 2 axes"),
    ]);
}

#[test]
fn normalisations() {
    check(&[
        (
            "BatchNormalization(float32[n, 3, h, w], float32[3], float32[3], float32[3], float32[3])",
            "float32[n, 3, h, w]",
        ),
        (
            "BatchNormalization(float32[n, 3, h], float32[3], float32[3], float32[3], float32[3]) training_mode=1 outputs=3",
            "float32[n, 3, h]; float32[3]; float32[3]",
        ),
        (
            "BatchNormalization(float32[n, 3, h, w], float32[3], float32[4], float32[3], float32[3])",
            "error: input 2 has the shape [4], expected [3]",
        ),
        (
            "LayerNormalization(float32[n, 7, 5], float32[5], float32[5]) outputs=3",
            "float32[n, 7, 5]; float32[n, 7, 1]; float32[n, 7, 1]",
        ),
        (
            "LayerNormalization(float16[n, 7, 5], float16[7, 5]) axis=1 outputs=2",
            "float16[n, 7, 5]; float32[n, 1, 1]",
        ),
        (
            "LayerNormalization(float32[n, 7, 5], float32[6])",
            "error: the scale of shape [6] cannot be broadcast to [5] by LayerNormalization",
        ),
        ("InstanceNormalization(float32[n, 3, h], float32[3], float32[3])", "float32[n, 3, h]"),
        (
            "InstanceNormalization(float32[n, 3, h], float32[3], float32[2])",
            "error: input 2 has the shape [2], expected [3]",
        ),
        ("GroupNormalization(float32[n, 6, h], float32[2], float32[2]) num_groups=2", "float32[n, 6, h]"),
        (
            "GroupNormalization(float32[n, 6, h], float32[4], float32[4]) num_groups=4",
            "error: 6 channels cannot be split into 4 groups",
        ),
        ("LRN(float32[n, 6, h, w]) size=5", "float32[n, 6, h, w]"),
        ("LRN(float32[n, 6, h, w])", "error: attribute size 0 must be at least 1"),
        ("LpNormalization(float32[n, 6]) axis=1", "float32[n, 6]"),
        ("MeanVarianceNormalization(float32[n, 6, h, w])", "float32[n, 6, h, w]"),
    ]);
}

#[test]
fn slices() {
    check(&[
        ("Slice(float32[n, 10], {0, 1}, {2, 3})", "float32[?y.0, 2]"),
        ("Slice(float32[n, 10], {1}, {9223372036854775807}, {1}, {2})", "float32[n, 5]"),
        ("Slice(float32[n, 10], {-3}, {-1}, {1})", "float32[n, 2]"),
        ("Slice(float32[n, 10], {-1}, {-9223372036854775808}, {1}, {-3})", "float32[n, 4]"),
        ("Slice(float32[n, 10], {100}, {200}, {1})", "float32[n, 0]"),
        ("Slice(float32[n, 10], {7}, {3}, {1})", "float32[n, 0]"),
        ("Slice(float32[n, h], {0}, {2147483647}, {1})", "float32[n, h]"),
        ("Slice(float32[n, h], {1}, {9223372036854775807}, {1})", "float32[n, h-1]"),
        ("Slice(float32[n, h], {0}, {-1}, {1})", "float32[n, h-1]"),
        ("Slice(float32[n, h], {0}, {1}, {1})", "float32[n, 1]"),
        ("Slice(float32[n, h], {0}, {9223372036854775807}, {1}, {2})", "float32[n, (h+1)//2]"),
        ("Slice(float32[n, h], {-1}, {-9223372036854775808}, {1}, {-1})", "float32[n, h]"),
        ("Slice(float32[n, h], {2}, {9}, {1})", "float32[n, ?y.1]"),
        ("Slice(float32[n, h], int64[1], int64[1], {1})", "float32[n, ?y.1]"),
        ("Slice(float32[n, h], int64[1], int64[1], int64[1])", "float32[?y.0, ?y.1]"),
        ("Slice(<n, 3, h, w>, {2}, {4})", "int64[2] = [h, w]"),
        ("Slice(<n, 3, h, w>, {3}, {-9}, {0}, {-2})", "int64[2] = [w, 3]"),
        ("Slice(float32[n, 10], {0}, {1}, {2})", "error: axis 2 is outside the 2 axes"),
        ("Slice(float32[n, 10], {0}, {1}, {1}, {0})", "error: a step is 0"),
        ("Slice(float32[n, 10], {0}, {1, 2}, {1})", "error: input 2 has the shape [2], expected [1]"),
        ("Slice(float32[10], {0, 0}, {1, 1})", "error: 2 starts for 1 axes"),
    ]);
}

#[test]
fn gathering_and_scattering() {
    check(&[
        ("Gather(float32[n, 197, 768], #0) axis=1", "float32[n, 768]"),
        ("Gather(float32[50, 8], int64[n, 6])", "float32[n, 6, 8]"),
        ("Gather(<n, 3, h>, #2)", "int64[] = [h]"),
        ("Gather(<n, 3, h>, {-1, 0})", "int64[2] = [h, n]"),
        ("Gather(float32[n, 5], {5}) axis=1", "error: index 5 is outside an axis of size 5"),
        ("Gather(float32[n, 5], f{1}) axis=1", "error: input 1 is float32, expected integers"),
        ("GatherElements(float32[n, 5], int64[n, 2]) axis=1", "float32[n, 2]"),
        (
            "GatherElements(float32[2, 5], int64[3, 2]) axis=1",
            "error: indices of shape [3, 2] do not fit [2, 5] along axis 1",
        ),
        ("GatherND(float32[2, 3, 4], int64[n, 2])", "float32[n, 4]"),
        ("GatherND(float32[2, 3, 4], int64[2, 1]) batch_dims=1", "float32[2, 4]"),
        (
            "GatherND(float32[2, 3], int64[n, 3])",
            "error: indices of 3 numbers with batch_dims 0 do not fit the shape [2, 3]",
        ),
        ("ScatterElements(float32[n, 5], int64[n, 2], float32[n, 2]) axis=1", "float32[n, 5]"),
        (
            "ScatterElements(float32[n, 5], int64[n, 2], float32[n, 3]) axis=1",
            "error: updates of shape [n, 3] do not fit indices of shape [n, 2]",
        ),
        ("ScatterND(float32[4, 5], int64[2, 1], float32[2, 5])", "float32[4, 5]"),
        (
            "ScatterND(float32[4, 5], int64[2, 1], float32[2, 4])",
            "error: indices of 1 numbers and updates of shape [2, 4] do not fit the shape [4, 5]",
        ),
        ("OneHot(int64[n], #7, f{0, 1})", "float32[n, 7]"),
        ("OneHot(int64[n], {7}, f{0, 1}) axis=0", "float32[7, n]"),
        ("NonZero({3, 0, 4})", "int64[1, 2] = [0, 2]"),
        ("NonZero(float32[n, 3])", "int64[2, ?y.1]"),
        ("Trilu(float32[n, h, h])", "float32[n, h, h]"),
        ("EyeLike(float32[3, h]) dtype=9", "bool[3, h]"),
        ("EyeLike(float32[3])", "error: input 0 has the shape [3], expected 2 axes"),
    ]);
}

#[test]
fn padding_and_making() {
    check(&[
        ("Pad(float32[n, 3, 8, 8], {0, 0, 1, 2, 0, 0, 3, 4})", "float32[n, 3, 12, 14]"),
        ("Pad(float32[n, 3, h], {1, -2}, _, {2})", "float32[n, 3, h-1]"),
        ("Pad(float32[n, 3, 8], int64[6])", "float32[?y.0, ?y.1, ?y.2]"),
        ("Pad(float32[2, 8], {7, 7}, _, {1}) mode=reflect", "float32[2, 22]"),
        (
            "Pad(float32[2, 8], {8, 0}, _, {1}) mode=reflect",
            "error: axis 1 of [2, 8] is too short for reflect pads (8, 0)",
        ),
        (
            "Pad(float32[2, 0], {1, 0}, _, {1}) mode=edge",
            "error: axis 1 of [2, 0] is too short for edge pads (1, 0)",
        ),
        ("Pad(float32[2, 0], {1, 0}, _, {1})", "float32[2, 1]"),
        (
            "Pad(float32[2, 8], {-5, -4}, _, {1})",
            "error: pads (-5, -4) take more from axis 1 than its size 8",
        ),
        ("Pad(float32[2, 8], {1, 1})", "error: input 1 has the shape [2], expected [4]"),
        ("ConstantOfShape(<n, 3>)", "float32[n, 3]"),
        ("ConstantOfShape({0, 3})", "float32[0, 3]"),
        ("ConstantOfShape(int64[2])", "float32[?y.0, ?y.1]"),
        ("ConstantOfShape({-1})", "error: the output's shape [-1] has a negative size"),
        ("Range(#0, #6, #2)", "int64[3] = [0, 2, 4]"),
        ("Range(#5, #0, #-2)", "int64[3] = [5, 3, 1]"),
        ("Range(#5, #0, #1)", "int64[0] = []"),
        ("Range(f#0, f#1, f#0.3)", "float32[4]"),
        ("Range(f#0, f#1, f#0)", "error: a range from 0 to 1 by 0 has too many elements"),
        ("Range(#0, #6, #0)", "error: the step is 0"),
        ("Range(#0, int64[], #1)", "int64[?y.0]"),
    ]);
}
