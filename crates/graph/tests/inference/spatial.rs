//! Convolution, pooling, resizing.

use crate::table::check;

#[test]
fn convolution() {
    check(&[
        (
            "Conv(float32[n, 3, 224, 224], float32[64, 3, 7, 7]) strides=[2, 2] pads=[3, 3, 3, 3]",
            "float32[n, 64, 112, 112]",
        ),
        (
            "Conv(float32[n, 3, h, w], float32[8, 3, 3, 3], float32[8]) strides=[2, 2] pads=[1, 1, 1, 1]",
            "float32[n, 8, (h+1)//2, (w+1)//2]",
        ),
        ("Conv(float32[2, 4, 10], float32[6, 2, 3]) group=2 dilations=[2]", "float32[2, 6, 6]"),
        ("Conv(float32[1, 1, 5, 6, 7], float32[2, 1, 1, 2, 3])", "float32[1, 2, 5, 5, 5]"),
        ("Conv(float32[0, 1, 5], float32[2, 1, 3])", "float32[0, 2, 3]"),
        (
            "Conv(float32[1, 3, 8, 8], float32[8, 3, 3, 3]) auto_pad=SAME__UPPER strides=[2, 3]",
            "float32[1, 8, 4, 3]",
        ),
        ("Conv(float32?, float32[8, 3, 3, 3])", "float32[?y.0, 8, ?y.2, ?y.3]"),
        ("Conv(float32[n, 3, 8, 8], float32?) kernel_shape=[3, 3]", "float32[n, ?y.1, 6, 6]"),
        ("Conv(float16[n, c, 8], float16[4, 2, 3])", "float16[n, 4, 6]"),
        (
            "Conv(float32[1, 4, 8, 8], float32[8, 3, 3, 3])",
            "error: input of shape [1, 4, 8, 8] and weights of shape [8, 3, 3, 3] with 1 groups: the numbers of input channels differ",
        ),
        (
            "Conv(float32[1, 4, 8, 8], float32[7, 2, 3, 3]) group=2",
            "error: input of shape [1, 4, 8, 8] and weights of shape [7, 2, 3, 3] with 2 groups: the channels are no multiple of the groups",
        ),
        (
            "Conv(float32[1, 3, 8], float32[8, 3, 3, 3])",
            "error: input of shape [1, 3, 8] and weights of shape [8, 3, 3, 3] with 1 groups: the ranks differ",
        ),
        (
            "Conv(float32[1, 3], float32[8, 3])",
            "error: input 0 has the shape [1, 3], expected at least 3 axes",
        ),
        (
            "Conv(float32[1, 3, 8], float32[8, 3, 3], float32[7])",
            "error: input 2 has the shape [7], expected [8]",
        ),
        (
            "Conv(float32[1, 3, 8], float64[8, 3, 3])",
            "error: input 0 is float32 and input 1 is float64, expected one type",
        ),
        ("Conv(int64[1, 3, 8], int64[8, 3, 3])", "error: input 0 is int64, expected floats"),
        ("Conv(float32[1, 3, 8], float32[8, 3, 3]) group=0", "error: attribute group 0 must be at least 1"),
        (
            "Conv(float32[1, 3, 8], float32[8, 3, 3]) kernel_shape=[5]",
            "error: attribute kernel_shape [5] contradicts the kernel [3]",
        ),
        ("Conv(float32[1, 3, 8])", "error: found 1 inputs, expected 2 to 3"),
        ("Conv(_, float32[8, 3, 3])", "error: input 0 is missing"),
    ]);
}

#[test]
fn transposed_convolution() {
    check(&[
        (
            "ConvTranspose(float32[n, 4, h], float32[4, 3, 3]) strides=[2] pads=[1, 1] output_padding=[1]",
            "float32[n, 3, 2*h]",
        ),
        ("ConvTranspose(float32[1, 4, 5], float32[4, 3, 3]) group=2 strides=[2]", "float32[1, 6, 11]"),
        (
            "ConvTranspose(float32[1, 4, h], float32[4, 3, 3]) strides=[2] output_shape=[12]",
            "float32[1, 3, 12]",
        ),
        (
            "ConvTranspose(float32[1, 4, 5, 5], float32[4, 3, 3, 3]) strides=[2, 3] auto_pad=SAME__LOWER",
            "float32[1, 3, 10, 15]",
        ),
        (
            "ConvTranspose(float32[1, 5, 5], float32[4, 3, 3])",
            "error: input of shape [1, 5, 5] and weights of shape [4, 3, 3] with 1 groups: the numbers of input channels differ",
        ),
        (
            "ConvTranspose(float32[1, 4, 1], float32[4, 3, 3]) pads=[2, 2]",
            "error: pads (2, 2) leave nothing of spatial axis 0 of 3",
        ),
    ]);
}

#[test]
fn pooling() {
    check(&[
        (
            "MaxPool(float32[n, 64, 112, 112]) kernel_shape=[3, 3] strides=[2, 2] pads=[1, 1, 1, 1]",
            "float32[n, 64, 56, 56]",
        ),
        (
            "MaxPool(float32[n, 64, 13, 13]) kernel_shape=[3, 3] strides=[2, 2] ceil_mode=1 outputs=2",
            "float32[n, 64, 6, 6]; int64[n, 64, 6, 6]",
        ),
        ("AveragePool(float32[1, 2, h]) kernel_shape=[3] strides=[2] ceil_mode=1", "float32[1, 2, (h)//2]"),
        ("MaxPool(float32[1, 2, 5]) kernel_shape=[1] strides=[3] ceil_mode=1", "float32[1, 2, 2]"),
        (
            "LpPool(float32[1, 2, 6, 6, 6]) kernel_shape=[2, 2, 2] dilations=[1, 2, 3]",
            "float32[1, 2, 5, 4, 3]",
        ),
        ("MaxPool(float32[1, 2, 5]) kernel_shape=[3] auto_pad=SAME__UPPER strides=[2]", "float32[1, 2, 3]"),
        ("MaxPool(float32[1, 2, 5]) kernel_shape=[3] auto_pad=VALID pads=[1, 1]", "float32[1, 2, 3]"),
        ("MaxPool(float32[1, 2, 5])", "error: attribute kernel_shape is missing"),
        (
            "MaxPool(float32[1, 2, 2]) kernel_shape=[3]",
            "error: a window of 3 does not fit spatial axis 0 of size 2 with pads (0, 0)",
        ),
        (
            "MaxPool(float32[1, 2, 5, 5]) kernel_shape=[3]",
            "error: the kernel [3] has 1 spatial axes, the input has 2",
        ),
        ("GlobalAveragePool(float32[n, 8, h, w])", "float32[n, 8, 1, 1]"),
        ("GlobalMaxPool(float32[n, 8, 5])", "float32[n, 8, 1]"),
        ("GlobalLpPool(float32?)", "float32?"),
    ]);
}

#[test]
fn resizing() {
    check(&[
        ("Resize(float32[n, 3, 4, 5], _, f{1, 1, 2, 2})", "float32[n, 3, 8, 10]"),
        ("Resize(float32[1, 3, 5, h], _, f{1, 1, 0.5, 0.5})", "float32[1, 3, 2, (h)//2]"),
        ("Resize(float32[1, 3, 5, h], _, f{1, 1, 0.7, 0.7})", "float32[1, 3, 3, ?y.3]"),
        ("Resize(float32[1, 3, 5, 9], _, f{1, 1, 0.7, 0.7})", "float32[1, 3, 3, 6]"),
        ("Resize(float32[n, 3, 4, 4], _, _, {9, 7}) axes=[2, 3]", "float32[n, 3, 9, 7]"),
        ("Resize(float32[n, 3, 4, 4], f{}, f{}, <n, 3, h, w>) mode=linear", "float32[n, 3, h, w]"),
        (
            "Resize(float32[1, 3, 4, 8], _, _, {8, 8}) axes=[2, 3] keep_aspect_ratio_policy=not__larger",
            "float32[1, 3, 4, 8]",
        ),
        ("Resize(float32[1, 3, 4, 8], _, _, int64[4])", "float32[?y.0, ?y.1, ?y.2, ?y.3]"),
        (
            "Resize(float32[1, 3, 4, 4], f{0, 0, 1, 1}, f{2, 2}) axes=[2, 3] coordinate_transformation_mode=tf__crop__and__resize",
            "float32[1, 3, 8, 8]",
        ),
        ("Resize(float32[n, 3, 4, 4])", "error: neither scales nor sizes are given, expected one"),
        ("Resize(float32[n, 3, 4, 4], _, f{1, 1}, _)", "error: input 2 has the shape [2], expected [4]"),
        (
            "Resize(float32[1, 3, 4, 4], _, f{1, 1, -1, 1})",
            "error: scale -1 of axis 2 is not a positive number",
        ),
    ]);
}

#[test]
fn blocks() {
    check(&[
        ("DepthToSpace(float32[n, 12, h, 5]) blocksize=2", "float32[n, 3, 2*h, 10]"),
        ("SpaceToDepth(float32[n, 3, 4, 6]) blocksize=2", "float32[n, 12, 2, 3]"),
        ("SpaceToDepth(float32[n, 3, h, 6]) blocksize=2", "float32[n, 12, ?y.2, 3]"),
        ("DepthToSpace(float32[n, 10, 4, 5]) blocksize=2", "error: axis 1 of size 10 is no multiple of 4"),
        (
            "DepthToSpace(float32[n, 10, 4, 5]) blocksize=0",
            "error: attribute blocksize 0 must be from 1 to 1048576",
        ),
    ]);
}
