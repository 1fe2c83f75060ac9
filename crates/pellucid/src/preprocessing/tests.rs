//! Descriptions of how a picture becomes numbers.

use image::Rgb;

use super::*;

fn close(found: &[f32], expected: &[f32]) -> bool {
    found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6)
}

fn imagenet() -> ImageInput {
    let mut image = ImageInput::default();
    for (key, value) in [
        ("layout", "nchw"),
        ("resize", "256"),
        ("interpolation", "bicubic"),
        ("antialias", "true"),
        ("crop", "224"),
        ("range", "0,1"),
        ("mean", "0.485,0.456,0.406"),
        ("std", "0.229,0.224,0.225"),
    ] {
        image.set(key, value).unwrap();
    }
    image
}

#[test]
fn values_are_pixel_less_mean_times_scale() {
    let photograph = RgbImage::from_pixel(3, 2, Rgb([255, 127, 0]));
    let image = ImageInput { mean: vec![127.0], scale: vec![0.5, 1.0, 2.0], ..ImageInput::default() };
    let (values, geometry) = image.apply("a", &photograph).unwrap();
    assert_eq!(values.shape(), [3, 2, 3]);
    assert!(close(&[values[[0, 1, 2]], values[[1, 0, 0]], values[[2, 0, 0]]], &[64.0, 0.0, -254.0]));
    assert_eq!(geometry, Geometry::whole(3, 2));
    let last = ImageInput {
        layout: Layout::Nhwc,
        color: Color::Bgr,
        range: Some([-1.0, 1.0]),
        ..ImageInput::default()
    };
    let (values, _) = last.apply("a", &photograph).unwrap();
    assert_eq!(values.shape(), [2, 3, 3]);
    assert!(close(&[values[[1, 2, 0]], values[[1, 2, 2]]], &[-1.0, 1.0]));
    let gray = ImageInput { color: Color::Gray, ..ImageInput::default() };
    let (values, _) = gray.apply("a", &photograph).unwrap();
    assert_eq!((values.shape(), values[[0, 0, 0]]), (&[1, 2, 3][..], 151.0));
}

#[test]
fn the_shorter_side_and_the_crop_are_torchvisions() {
    let photograph = RgbImage::new(451, 300);
    let (values, geometry) = imagenet().apply("a", &photograph).unwrap();
    assert_eq!(values.shape(), [3, 224, 224]);
    let expected = Geometry { original: (451, 300), resized: (384, 256), offset: (80, 16), crop: (224, 224) };
    assert_eq!(geometry, expected);
    assert!((values[[0, 0, 0]] - (0.0 - 0.485) / 0.229).abs() < 1e-6);
    // round(0.5) = 0, round(1.5) = 2, round(2.5) = 2.
    assert_eq!([1, 3, 5].map(half), [0, 2, 2]);
}

#[test]
fn toml_and_json_say_the_same_as_the_settings() {
    let image = imagenet();
    let text = image.to_toml("x");
    let read: toml::Table = text.parse().unwrap();
    let section = read["preprocessing"]["x"].clone();
    assert_eq!(section.try_into::<ImageInput>().unwrap(), image);
    let json = serde_json::to_string(&image).unwrap();
    assert_eq!(serde_json::from_str::<ImageInput>(&json).unwrap(), image);
    assert!(ImageInput::default().to_toml("input.1").starts_with("[preprocessing.\"input.1\"]\n"));
}

#[test]
fn meaningless_descriptions_are_told() {
    let base = imagenet;
    let resize = |shorter_side, size| {
        Some(Resize { shorter_side, size, interpolation: Interpolation::Bilinear, antialias: true })
    };
    let cases = [
        (
            ImageInput { resize: resize(None, None), ..base() },
            "m: resize: expected either shorter_side or size = [height, width]",
        ),
        (
            ImageInput { resize: resize(Some(0), None), ..base() },
            "m: resize.shorter_side: 0 found, expected 1 to 8192 pixels",
        ),
        (ImageInput { crop: Some([224, 9000]), ..base() }, "m: crop: 9000 found, expected 1 to 8192 pixels"),
        (
            ImageInput { resize: resize(Some(100), None), ..base() },
            "m: crop: 224 × 224 found, expected at most the shorter side of the resize, 100",
        ),
        (
            ImageInput { mean: vec![1.0, 2.0], ..base() },
            "m: mean: 2 numbers found, expected one, or one for each of 3 channels",
        ),
        (ImageInput { mean: vec![f32::NAN], ..base() }, "m: mean: expected finite numbers"),
        (
            ImageInput { scale: vec![1.0], ..base() },
            "m: scale and std: expected one of them, std is 1 / scale",
        ),
        (ImageInput { std: vec![0.0], ..base() }, "m: scale and std: expected no zero"),
        (
            ImageInput { range: Some([1.0, 0.0]), ..base() },
            "m: range: expected [low, high], the lower number first",
        ),
    ];
    for (image, message) in cases {
        assert_eq!(image.check("m").unwrap_err().to_string(), message);
    }
    imagenet().check("m").unwrap();
}

#[test]
fn wrong_settings_are_told() {
    for (key, value, message) in [
        ("layout", "CHW", r#"layout: "CHW" found, expected NCHW or NHWC"#),
        ("crop", "a", r#"crop: "a" found, expected a number of pixels or HEIGHTxWIDTH, such as 224x224"#),
        ("mean", "x,1", r#"mean: "x,1" found, expected numbers between commas, such as 0.485,0.456,0.406"#),
        ("range", "1", r#"range: "1" found, expected two numbers"#),
        ("antialias", "true", "antialias: expected a resize before it, such as resize=256"),
    ] {
        let mut image = ImageInput::default();
        assert_eq!(image.set(key, value).unwrap_err().to_string(), message);
    }
    let error = ImageInput::default().set("means", "1").unwrap_err().to_string();
    assert!(
        error.starts_with(r#"there is no preprocessing setting "means"; did you mean "mean"?"#),
        "{error}"
    );
}

#[test]
fn a_picture_smaller_than_the_crop_or_too_narrow_is_refused() {
    let crop = ImageInput { crop: Some([8, 8]), ..ImageInput::default() };
    assert_eq!(
        crop.apply("a.png", &RgbImage::new(4, 20)).unwrap_err().to_string(),
        "a.png: the picture is 4 × 20 before the crop, expected at least 8 × 8; add a resize to the preprocessing"
    );
    assert_eq!(
        imagenet().apply("a.png", &RgbImage::new(1, 300)).unwrap_err().to_string(),
        "a.png: the picture is too narrow: it would be resized to 256 × 76800"
    );
}
