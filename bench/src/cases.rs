//! What is raced: networks, methods and their settings, which mean the same on both sides.

use serde_json::{Value, json};

/// The networks that prepare.py writes.
pub(crate) fn networks() -> Vec<String> {
    ["resnet50", "efficientnet-lite0"].map(str::to_owned).to_vec()
}

/// A network's name as people write it.
pub(crate) fn title(network: &str) -> &str {
    match network {
        "resnet50" => "ResNet-50",
        "efficientnet-lite0" => "EfficientNet-Lite0",
        other => other,
    }
}

/// The class of each row, the same on both sides, so that nobody has to predict first.
pub(crate) const TARGETS: [usize; 8] = [285, 967, 872, 657, 285, 967, 872, 657];

/// A method with its settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Its name in Pellucid's registry.
    pub(crate) method: &'static str,
    /// What the table says of it.
    pub(crate) title: &'static str,
    /// Its settings, of either side.
    settings: fn() -> Value,
    /// Model evaluations for a row, roughly: shares of the time go by it.
    pub(crate) evaluations: f64,
    /// Whether it needs no derivative.
    pub(crate) forward_only: bool,
    /// Whether both sides must see the same random numbers to agree.
    pub(crate) random: bool,
    /// The only network it is raced on, where the other side cannot pass the others.
    only: Option<&'static str>,
}

impl Case {
    pub(crate) fn settings(&self) -> Value {
        (self.settings)()
    }

    /// Whether it is raced on a network.
    pub(crate) fn is_on(&self, network: &str) -> bool {
        self.only.is_none_or(|only| only == network)
    }

    /// The command that runs it.
    pub(crate) fn command(&self, rows: usize, chunk: usize) -> Value {
        json!({
            "do": "run", "method": self.method, "rows": rows, "chunk": chunk,
            "targets": TARGETS, "settings": self.settings(),
        })
    }
}

/// Every method of the race.
pub(crate) const CASES: [Case; 7] = [
    Case {
        method: "gradient",
        title: "gradient",
        settings: || json!({}),
        evaluations: 1.0,
        forward_only: false,
        random: false,
        only: None,
    },
    Case {
        method: "grad-cam",
        title: "Grad-CAM, last layer",
        settings: || json!({}),
        evaluations: 0.5,
        forward_only: false,
        random: false,
        only: None,
    },
    Case {
        method: "integrated-gradients",
        title: "integrated gradients, 50 Gauss-Legendre steps",
        settings: || json!({"quadrature": "gauss-legendre", "steps": 50}),
        evaluations: 50.0,
        forward_only: false,
        random: false,
        only: None,
    },
    Case {
        method: "smoothgrad",
        title: "SmoothGrad, 20 samples",
        settings: || json!({"samples": 20, "noise": 0.15}),
        evaluations: 20.0,
        forward_only: false,
        random: true,
        only: None,
    },
    Case {
        method: "occlusion",
        title: "occlusion, window 32, stride 16",
        settings: || json!({"window": 32, "stride": 16}),
        evaluations: 70.0,
        forward_only: true,
        random: false,
        only: None,
    },
    Case {
        method: "lrp-epsilon-plus",
        title: "LRP, epsilon plus (Zennit)",
        settings: || json!({"epsilon": 1e-6}),
        evaluations: 1.0,
        forward_only: false,
        random: false,
        only: Some("resnet50"),
    },
    Case {
        method: "deeplift",
        title: "DeepLIFT, rescale",
        settings: || json!({}),
        evaluations: 1.0,
        forward_only: false,
        random: false,
        only: Some("resnet50"),
    },
];
