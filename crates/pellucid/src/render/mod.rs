//! Explanations as pictures, pages and tables. No file is written here, and nothing is computed but what is shown.

mod cividis;
pub mod colour;
pub mod evaluation;
#[cfg(test)]
pub(crate) mod example;
mod figure;
mod grid;
pub mod heat;
mod html;
mod inside;
pub mod json;
mod layout;
mod picture;
mod pictures;
mod plot;
mod scene;
pub mod summary;
mod table;
mod template;
pub mod terminal;
mod text;
mod tiles;
mod trace;
pub mod words;

use crate::attribution::Explanation;
use crate::compare::Comparison;
use crate::error::Error;
use crate::inspect::{FeatureMaps, Inspection, Strongest};
use scene::Theme;

/// The picture of one row as PNG: photograph with overlay, scale with limits, numbers.
pub fn png(explanation: &Explanation, row: usize) -> Result<Vec<u8>, Error> {
    explanation.check()?;
    figure::figure(explanation, row).to_png()
}

/// The same as SVG, self-contained, with real text.
pub fn svg(explanation: &Explanation, row: usize) -> Result<Vec<u8>, Error> {
    explanation.check()?;
    Ok(figure::figure(explanation, row).to_svg(Theme::White)?.into_bytes())
}

/// The report on every row: one HTML file that needs nothing else.
pub fn html(explanation: &Explanation) -> Result<Vec<u8>, Error> {
    explanation.check()?;
    Ok(html::report(explanation)?.into_bytes())
}

/// A comparison as one PNG: a row an input, a column a method, limits of colours, rank correlations.
pub fn comparison_png(comparison: &Comparison) -> Result<Vec<u8>, Error> {
    checked(comparison)?;
    grid::grid(comparison).to_png()
}

/// The same as SVG, self-contained, with real text.
pub fn comparison_svg(comparison: &Comparison) -> Result<Vec<u8>, Error> {
    checked(comparison)?;
    Ok(grid::grid(comparison).to_svg(Theme::White)?.into_bytes())
}

/// The same in one HTML file that needs nothing else, with what each method cost.
pub fn comparison_html(comparison: &Comparison) -> Result<Vec<u8>, Error> {
    checked(comparison)?;
    Ok(html::comparison(comparison)?.into_bytes())
}

/// Histograms of activations and errors by layer as PNG.
pub fn inspection_png(inspection: &Inspection) -> Result<Vec<u8>, Error> {
    inside::drawing(inspection).to_png()
}

/// The same as SVG, self-contained, with real text.
pub fn inspection_svg(inspection: &Inspection) -> Result<Vec<u8>, Error> {
    Ok(inside::drawing(inspection).to_svg(Theme::White)?.into_bytes())
}

/// A layer's maps as one picture, PNG.
pub fn maps_png(maps: &FeatureMaps) -> Result<Vec<u8>, Error> {
    pictures::maps(maps).to_png()
}

/// The same as SVG, self-contained, with real text.
pub fn maps_svg(maps: &FeatureMaps) -> Result<Vec<u8>, Error> {
    Ok(pictures::maps(maps).to_svg(Theme::White)?.into_bytes())
}

/// The examples that excite units most as one picture, PNG.
pub fn strongest_png(strongest: &Strongest) -> Result<Vec<u8>, Error> {
    pictures::strongest(strongest).to_png()
}

/// The same as SVG, self-contained, with real text.
pub fn strongest_svg(strongest: &Strongest) -> Result<Vec<u8>, Error> {
    Ok(pictures::strongest(strongest).to_svg(Theme::White)?.into_bytes())
}

fn checked(comparison: &Comparison) -> Result<(), Error> {
    if comparison.methods.is_empty() {
        return Err(Error::Internal("the comparison has no method".to_owned()));
    }
    comparison.methods.iter().try_for_each(|method| method.explanation.check())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ndarray::{ArrayD, IxDyn};

    use super::example::{explanation, invented, of_photograph};
    use super::*;
    use crate::array::Array;
    use crate::input::Inputs;
    use crate::photograph;
    use crate::resample::Interpolation;

    fn series() -> Explanation {
        let wave = |at: usize| (at as f32 / 9.0).sin() * (at as f32 / 60.0);
        let values = ArrayD::from_shape_fn(IxDyn(&[1, 3, 200]), |at| wave(at[2] + 20 * at[1]) * 0.4);
        let array = Array::F32(ArrayD::zeros(IxDyn(&[1, 3, 200])));
        explanation(Inputs::from_arrays(vec![("ecg".into(), array)]).unwrap(), "ecg", values)
    }

    fn vector() -> Explanation {
        let values = ArrayD::from_shape_fn(IxDyn(&[1, 30]), |at| 3.0 / (at[1] as f32 - 8.5));
        let array = ArrayD::from_shape_fn(IxDyn(&[1, 30]), |at| at[1] as f32 / 7.0 - 1.0);
        let array = Array::F32(array);
        explanation(Inputs::from_arrays(vec![("features".into(), array)]).unwrap(), "features", values)
    }

    /// Small pictures, compared with those in `tests/data`; `PELLUCID_BLESS=1` writes them anew, to be looked at.
    #[test]
    fn pictures_look_as_they_did() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let signed = of_photograph("a.png", example::photograph(96, 64), 48, invented(48, true));
        let cam = of_photograph("a.png", example::photograph(64, 96), 48, invented(7, false));
        for (name, explanation) in
            [("signed", signed), ("cam", cam), ("series", series()), ("vector", vector())]
        {
            let file = folder.join(format!("{name}.png"));
            // A quarter of the size: layout and colours show, single letters do not.
            let drawn = photograph::decode(name, &png(&explanation, 0).unwrap()).unwrap();
            let (width, height) = (drawn.width() / 4, drawn.height() / 4);
            let small = crate::resample::resize(&drawn, width, height, Interpolation::Bilinear, true);
            if std::env::var_os("PELLUCID_BLESS").is_some() {
                std::fs::write(&file, scene::png(&small).unwrap()).unwrap();
            }
            let expected = photograph::decode(name, &std::fs::read(&file).unwrap()).unwrap();
            assert_eq!(small.dimensions(), expected.dimensions(), "{name}");
            let far = small.iter().zip(expected.iter()).filter(|(a, b)| a.abs_diff(**b) > 24).count();
            assert!(far * 1000 < small.len(), "{name}: {far} of {} bytes differ", small.len());
        }
    }

    /// Writes what people see to the folder in `PELLUCID_SHOW`, to be looked at.
    #[test]
    #[ignore = "for people: PELLUCID_SHOW=folder cargo test -p pellucid show -- --ignored"]
    fn show() {
        let Some(folder) = std::env::var_os("PELLUCID_SHOW").map(PathBuf::from) else { return };
        let photographs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../assets/photographs");
        for name in ["chelsea.png", "coffee.png", "rocket.jpg", "camera.png"] {
            let bytes = std::fs::read(photographs.join(name)).unwrap();
            let picture = photograph::decode(name, &bytes).unwrap();
            let signed = of_photograph(name, picture.clone(), 224, invented(224, true));
            let cam = of_photograph(name, picture, 224, invented(7, false));
            std::fs::write(folder.join(format!("{name}.signed.png")), png(&signed, 0).unwrap()).unwrap();
            std::fs::write(folder.join(format!("{name}.cam.png")), png(&cam, 0).unwrap()).unwrap();
            std::fs::write(folder.join(format!("{name}.signed.svg")), svg(&signed, 0).unwrap()).unwrap();
            std::fs::write(folder.join(format!("{name}.signed.html")), html(&signed).unwrap()).unwrap();
            std::fs::write(folder.join(format!("{name}.cam.html")), html(&cam).unwrap()).unwrap();
        }
        let several = example::with_contrast(&vector());
        std::fs::write(folder.join("several.html"), html(&several).unwrap()).unwrap();
        std::fs::write(folder.join("several.png"), png(&several, 0).unwrap()).unwrap();
        for (name, explanation) in [("series", series()), ("vector", vector())] {
            std::fs::write(folder.join(format!("{name}.png")), png(&explanation, 0).unwrap()).unwrap();
            std::fs::write(folder.join(format!("{name}.svg")), svg(&explanation, 0).unwrap()).unwrap();
            std::fs::write(folder.join(format!("{name}.html")), html(&explanation).unwrap()).unwrap();
        }
    }
}
