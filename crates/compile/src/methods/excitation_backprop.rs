//! Excitation backpropagation.

use super::lrp;
use super::{Definition, Form, Source};

pub(super) const DEFINITION: Definition = Definition {
    name: "excitation-backprop",
    summary: "Excitation backpropagation: a winner is drawn back through what raises each result, and each input gets the probability that it is reached",
    formula: "z⁺ at every layer, in proportion at sums and average pooling",
    conventions: "As Zennit's composite of this name. The paper divides probabilities by what raises a result at layers of \
                  activations that are not negative, and leaves negative inputs out; here those count with negative weights. \
                  Relevance starts as the score and not as 1: divide by the score for probabilities. Everything else is as \
                  with lrp-z-plus, of which it is another name on networks whose activations are rectifiers",
    source: Source {
        authors: "J. Zhang, Z. Lin, J. Brandt, X. Shen, S. Sclaroff",
        year: 2016,
        title: "Top-down Neural Attention by Excitation Backprop",
        id: "arXiv:1608.00507",
    },
    parameters: &[lrp::STABILIZER, lrp::RULES],
    claims: &[],
    cost: "1 forward and 1 backward, and at each layer up to 4 of its own evaluations",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| Ok(lrp::method(lrp::z_plus_everywhere(settings), settings))),
};
