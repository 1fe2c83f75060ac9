//! Summaries of models, and differences between two, as text, pages and pictures.

mod chart;
mod figure;
mod html;
mod terminal;

use crate::error::Error;
use crate::render::scene::Theme;
use crate::summary::{Difference, Row, Size, Summary, WeightStatistics};

pub use terminal::{difference, summary};

/// A summary as one HTML file that needs nothing else: modules and layers, the graph, weights.
pub fn html(summary: &Summary) -> Result<Vec<u8>, Error> {
    Ok(html::summary(summary)?.into_bytes())
}

/// A difference as one HTML file that needs nothing else.
pub fn difference_html(difference: &Difference) -> Result<Vec<u8>, Error> {
    Ok(html::difference(difference)?.into_bytes())
}

/// A plot of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    /// The graph, modules of the first level as boxes.
    Graph,
    /// Parameters and multiply-adds by module.
    Costs,
    /// How the weights of every layer are distributed.
    Weights,
    /// The filters of the first layer.
    Filters,
}

impl Plot {
    /// Every plot.
    pub const ALL: [Self; 4] = [Self::Graph, Self::Costs, Self::Weights, Self::Filters];

    /// Its name, as files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Costs => "costs",
            Self::Weights => "weights",
            Self::Filters => "filters",
        }
    }

    fn scene(self, summary: &Summary) -> Option<super::scene::Scene> {
        match self {
            Self::Graph => Some(chart::scene(summary)),
            Self::Costs => Some(figure::costs(summary)),
            Self::Weights => figure::weights(summary),
            Self::Filters => figure::filters(summary),
        }
    }

    /// As PNG; `None` where the summary has nothing to draw, as weights were not read or the first layer sees no picture.
    pub fn png(self, summary: &Summary) -> Result<Option<Vec<u8>>, Error> {
        self.scene(summary).map(|scene| scene.to_png()).transpose()
    }

    /// As SVG, self-contained, with real text.
    pub fn svg(self, summary: &Summary) -> Result<Option<Vec<u8>>, Error> {
        self.scene(summary).map(|scene| Ok(scene.to_svg(Theme::White)?.into_bytes())).transpose()
    }
}

/// Everything that is drawn of a summary, in one PNG: costs, filters, weights.
pub fn png(summary: &Summary) -> Result<Vec<u8>, Error> {
    figure::all(summary).to_png()
}

/// The same as SVG, self-contained, with real text.
pub fn svg(summary: &Summary) -> Result<Vec<u8>, Error> {
    Ok(figure::all(summary).to_svg(Theme::White)?.into_bytes())
}

/// How far weights moved, in one PNG.
pub fn difference_png(difference: &Difference) -> Result<Vec<u8>, Error> {
    figure::moved(difference).to_png()
}

/// The same as SVG, self-contained, with real text.
pub fn difference_svg(difference: &Difference) -> Result<Vec<u8>, Error> {
    Ok(figure::moved(difference).to_svg(Theme::White)?.into_bytes())
}

/// A shape: `1 × 64 × 112 × 112`.
fn shape(sizes: &[Size]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

fn times<T: ToString>(sizes: &[T]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

/// What a row is: the operator of a layer, the number of layers of a module.
fn what(row: &Row) -> String {
    match (&row.kind, row.layers) {
        (Some(kind), _) => kind.clone(),
        (None, 1) => "1 layer".to_owned(),
        (None, layers) => format!("{layers} layers"),
    }
}

/// A histogram in words.
fn told(weight: &WeightStatistics) -> String {
    let number = |value: f64| super::words::number(super::words::to_f32(value));
    format!(
        "from {} to {}, half of it between {} and {}",
        number(weight.quantiles[0]),
        number(weight.quantiles[6]),
        number(weight.quantiles[2]),
        number(weight.quantiles[4])
    )
}
