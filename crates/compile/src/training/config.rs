//! What is chosen of a training step.

/// What is minimised.
#[derive(Debug, Clone, PartialEq)]
pub enum Loss {
    /// Mean cross-entropy of the softmax, one class a row.
    CrossEntropy {
        /// How classes are told.
        targets: ClassTargets,
        /// Share ε of the target that is spread over all classes: q = (1 − ε) · t + ε / classes.
        ///
        /// Source: C. Szegedy et al. (2016), Rethinking the Inception architecture for computer vision,
        /// arXiv:1512.00567.
        smoothing: f64,
        /// A weight for each class. With classes as numbers the mean divides by the weights of the rows' classes, with
        /// probabilities by the number of rows, as PyTorch's `CrossEntropyLoss`.
        class_weights: Option<Vec<f64>>,
    },
    /// Mean cross-entropy of each output's logistic function by itself: several labels a row.
    BinaryCrossEntropy {
        /// A factor for the positive rows of each output, PyTorch's `pos_weight`.
        positive_weights: Option<Vec<f64>>,
    },
    /// Mean squared difference.
    MeanSquared,
    /// Mean of Huber's loss.
    Huber {
        /// Where it goes from square to linear.
        delta: f64,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Self::CrossEntropy { targets: ClassTargets::Numbers, smoothing: 0.0, class_weights: None }
    }
}

/// How the classes of rows are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClassTargets {
    /// int64 `[n]`. A number that is no class counts as a row of loss 0.
    #[default]
    Numbers,
    /// Floats `[n, classes]`: a distribution a row, as mixing rows makes them.
    Probabilities,
}

/// How weights follow from derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// v ← μ·v + g, w ← w − η·v, where g holds λ·w for weights that decay; with `nesterov` w ← w − η·(g + μ·v).
    ///
    /// Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986), Learning representations by back-propagating
    /// errors, doi:10.1038/323533a0; I. Sutskever, J. Martens, G. Dahl, G. Hinton (2013), On the importance of
    /// initialization and momentum in deep learning, PMLR 28(3):1139–1147.
    Sgd {
        /// Whether there is a velocity v; its factor μ is an input of the step.
        momentum: bool,
        /// Whether the derivative counts at once.
        nesterov: bool,
    },
    /// w ← w − η·λ·w − η · m̂ / (√v̂ + ε), where m̂ and v̂ are means of g and g² with weights that fall by β₁ and β₂ a step.
    ///
    /// Source: D. P. Kingma, J. Ba (2015), Adam: a method for stochastic optimization, arXiv:1412.6980; I. Loshchilov,
    /// F. Hutter (2019), Decoupled weight decay regularization, arXiv:1711.05101.
    AdamW {
        /// β₁.
        beta1: f64,
        /// β₂.
        beta2: f64,
        /// ε.
        epsilon: f64,
    },
}

impl Optimizer {
    /// Adam with decoupled decay, its constants those of the paper.
    pub const ADAM_W: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

/// By which statistics a `BatchNormalization` normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistics {
    /// Those of the batch; the running ones follow with the factor that the file says, their variance unbiased, as
    /// PyTorch's. Where the scale is frozen, the running ones stay and count.
    ///
    /// Source: S. Ioffe, C. Szegedy (2015), Batch normalization, arXiv:1502.03167.
    #[default]
    Batch,
    /// The running ones, which stay.
    Frozen,
}

/// What becomes of a constant that several layers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Layers of one module share it, and so do layers that differ in kind; layers of several modules that use it in
    /// the same way get one each, since an exporter stores equal weights once.
    #[default]
    ByModule,
    /// All layers share it.
    Shared,
    /// Each layer gets its own.
    Separate,
}

/// What is said of some weights.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WeightRule {
    /// Which: the start of a weight's name or of the path of its module, up to a dot or the end; `*` stands for any
    /// text. `*` alone is all of them.
    pub pattern: String,
    /// Factor on the learning rate.
    pub learning_rate: Option<f64>,
    /// Whether they stay as they are.
    pub frozen: Option<bool>,
    /// Whether they decay.
    pub decay: Option<bool>,
}

/// What a training step does.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingConfig {
    /// What is minimised.
    pub loss: Loss,
    /// How weights follow from derivatives.
    pub optimizer: Optimizer,
    /// λ, for weights that decay: those that inputs are multiplied by, but no biases, no scales of normalisations, and
    /// nothing that is added.
    pub weight_decay: f64,
    /// Largest norm of all derivatives together: where it is greater, all are divided by the excess.
    ///
    /// Source: R. Pascanu, T. Mikolov, Y. Bengio (2013), On the difficulty of training recurrent neural networks,
    /// arXiv:1211.5063.
    pub clip: Option<f64>,
    /// By which statistics batches are normalised.
    pub statistics: Statistics,
    /// Weight d of the old in a running average of the weights, a ← d·a + (1 − d)·w, which is another result of the
    /// training.
    ///
    /// Source: B. T. Polyak, A. B. Juditsky (1992), Acceleration of stochastic approximation by averaging,
    /// doi:10.1137/0330046.
    pub average: Option<f64>,
    /// What is said of some weights; later rules win.
    pub weights: Vec<WeightRule>,
    /// The output that is trained; the first without it.
    pub output: Option<String>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            loss: Loss::default(),
            optimizer: Optimizer::Sgd { momentum: true, nesterov: false },
            weight_decay: 0.0,
            clip: None,
            statistics: Statistics::default(),
            average: None,
            weights: Vec::new(),
            output: None,
        }
    }
}

impl WeightRule {
    /// Whether a name or one of the paths of modules fits the pattern.
    pub(super) fn fits<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        names.into_iter().any(|name| starts_with(name, &self.pattern))
    }
}

/// Whether `name` begins with what `pattern` says, and then ends or goes on with a dot.
fn starts_with(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        Some((before, "")) => name.starts_with(before),
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let starts = rest.char_indices().map(|(at, _)| at);
            starts.into_iter().any(|at| starts_with(&rest[at..], after))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_end_at_dots() {
        let fits = |pattern: &str, name: &str| {
            WeightRule { pattern: pattern.to_owned(), ..WeightRule::default() }.fits([name])
        };
        assert!(fits("layer1", "layer1.0.conv.weight"));
        assert!(!fits("layer1", "layer10.conv.weight"));
        assert!(fits("*", "fc.weight"));
        assert!(fits("layer*.conv", "layer1.0.conv.weight"));
        assert!(!fits("layer*.bn", "layer1.0.conv.weight"));
        assert!(fits("*.weight", "fc.weight"));
        assert!(!fits("*.weight", "fc.bias"));
    }
}
