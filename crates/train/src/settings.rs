//! What is said of a run: a TOML file, and single settings over it.

use std::path::{Path, PathBuf};

use pellucid::Error;
use pellucid_compile::training::{
    ClassTargets, Loss, Optimizer, Sharing, Statistics, TrainingConfig, WeightRule,
};
use pellucid_data::Augment;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// Everything that a run depends on, beside the model and the data themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Passes over the data.
    pub epochs: u32,
    /// Rows of a step.
    pub batch: usize,
    /// Seed of everything random: order, what is held out, what is changed of pictures, what is dropped.
    pub seed: u64,
    /// What is minimised: `cross-entropy`, `binary-cross-entropy`, `mse` or `huber`; by the data without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossName>,
    /// Label smoothing, for cross-entropy.
    pub smoothing: f64,
    /// Weights of the classes: `balanced`, or a number for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// Where Huber's loss becomes linear.
    pub delta: f64,
    /// By which statistics batches are normalised: `batch` or `frozen`.
    pub statistics: StatisticsName,
    /// Which weights are one: `by-module`, `shared` or `separate`.
    pub sharing: SharingName,
    /// Weight of the old in a running average of the weights, which is then what is measured and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// Epochs without a better validation loss after which the run stops; the best weights are written then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// Seconds between checkpoints inside an epoch; there is one at the end of each.
    pub checkpoint_seconds: f64,
    /// Steps between checkpoints inside an epoch, beside those by time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_steps: Option<u64>,
    /// The output that is trained; the first without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Outputs of a fresh last layer, which takes the place of the model's before the first step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<usize>,
    /// The data.
    pub data: DataSettings,
    /// The optimizer.
    pub optimizer: OptimizerSettings,
    /// How the learning rate goes.
    pub schedule: Schedule,
    /// How pictures change.
    pub augment: AugmentSettings,
    /// What is said of some layers; later entries win.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 128,
            seed: 0,
            loss: None,
            smoothing: 0.0,
            class_weights: None,
            delta: 1.0,
            statistics: StatisticsName::Batch,
            sharing: SharingName::ByModule,
            average: None,
            patience: None,
            checkpoint_seconds: 60.0,
            checkpoint_steps: None,
            output: None,
            head: None,
            data: DataSettings::default(),
            optimizer: OptimizerSettings::default(),
            schedule: Schedule::default(),
            augment: AugmentSettings::default(),
            layers: Vec::new(),
        }
    }
}

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSettings {
    /// File or folder.
    pub path: PathBuf,
    /// Another with rows to measure on in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Of a table the columns to predict; of an `.npy` file the file of targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<String>,
    /// Share of the rows that is held out to measure on after each epoch, of each class the same.
    pub validation: f64,
    /// Rows to train on, chosen by the seed, of each class the same share; all without it. What is held out is of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// Height and width that pictures become, where the model's input leaves them open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// Whether each epoch has the rows in an order of its own; without it they stand as in the data.
    pub shuffle: bool,
    /// Whether broken pictures are left out.
    pub skip_broken: bool,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            test: None,
            targets: None,
            validation: 0.1,
            rows: None,
            size: None,
            shuffle: true,
            skip_broken: false,
        }
    }
}

/// Names of losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossName {
    /// One class a row.
    CrossEntropy,
    /// Any number of labels a row.
    BinaryCrossEntropy,
    /// Squared differences.
    Mse,
    /// Huber's.
    Huber,
}

/// Weights of classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"balanced\", or a list with a number for each class")]
pub enum ClassWeights {
    /// Rows / (classes · rows of the class), so that each class counts the same.
    Named(Balanced),
    /// These.
    List(Vec<f64>),
}

/// The one word for weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balanced {
    /// By the rows of each class.
    Balanced,
}

/// Names of statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatisticsName {
    /// Those of the batch.
    Batch,
    /// Those that the file holds.
    Frozen,
}

/// Names of sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharingName {
    /// By modules.
    ByModule,
    /// As the file has it.
    Shared,
    /// A weight for each layer.
    Separate,
}

/// Names of optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Stochastic gradient descent.
    Sgd,
    /// Adam with decoupled decay.
    Adamw,
}

/// The optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSettings {
    /// `adamw` or `sgd`.
    pub name: OptimizerName,
    /// Learning rate η, which the schedule multiplies; 0.001 for `adamw` and 0.05 for `sgd` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Of `sgd`: μ.
    pub momentum: f64,
    /// Of `sgd`: whether the derivative counts at once.
    pub nesterov: bool,
    /// Of `adamw`: β₁ and β₂.
    pub betas: [f64; 2],
    /// Of `adamw`: ε.
    pub epsilon: f64,
    /// λ; biases and normalisations do not decay.
    pub weight_decay: f64,
    /// Largest norm of all derivatives together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self {
            name: OptimizerName::Adamw,
            learning_rate: None,
            momentum: 0.9,
            nesterov: true,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.0,
            clip: None,
        }
    }
}

/// How pictures change; nothing without it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentSettings {
    /// Mirrored left to right, every second one.
    pub flip: bool,
    /// Most places that they move.
    pub shift: usize,
    /// Most degrees that they turn.
    pub rotate: f64,
    /// Most relative change of brightness and contrast.
    pub colour: f64,
    /// Chance of a black rectangle.
    pub erase: f64,
    /// α of mixing rows.
    pub mixup: f64,
}

/// What is said of some layers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSettings {
    /// The start of names of weights or modules; `*` is any text.
    pub name: String,
    /// Factor on the learning rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Whether they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<bool>,
    /// Whether they decay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<bool>,
}

/// Largest file of settings, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// Files that cannot be read; unknown keys and values without a meaning, with their line.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let place = path.display().to_string();
        if std::fs::metadata(path).map_err(failed)?.len() > LARGEST_FILE {
            return Err(Error::Description { place, problem: "it is larger than 1 MiB".to_owned() });
        }
        Self::parse(&place, &std::fs::read_to_string(path).map_err(failed)?)
    }

    /// Reads the text of a TOML file; `place` is named in errors.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn parse(place: &str, text: &str) -> Result<Self, Error> {
        let settings: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count()) + 1;
            Error::Description {
                place: format!("{place}, line {line}"),
                problem: error.message().trim().to_owned(),
            }
        })?;
        settings.check()?;
        Ok(settings)
    }

    /// The same as the text of a TOML file.
    ///
    /// # Errors
    /// None for settings that were checked.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|error| Error::Internal(format!("settings cannot be written: {error}")))
    }

    /// The same with single settings changed: `epochs=3`, `optimizer.name=sgd`, `data.validation=0.2`; values are
    /// TOML's, and words need no quotes.
    ///
    /// # Errors
    /// Unknown keys and values without a meaning.
    pub fn with(&self, changes: &[(String, String)]) -> Result<Self, Error> {
        let mut table: toml::Table = toml::from_str(&self.to_toml()?)
            .map_err(|error| Error::Internal(format!("settings cannot be read again: {error}")))?;
        for (key, text) in changes {
            let value = format!("value = {text}")
                .parse::<toml::Table>()
                .ok()
                .and_then(|mut table| table.remove("value"))
                .unwrap_or_else(|| toml::Value::String(text.clone()));
            let mut at = &mut table;
            let mut parts: Vec<&str> = key.split('.').collect();
            let last = parts.pop().unwrap_or_default();
            for part in parts {
                let inner = at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
                at = inner.as_table_mut().ok_or_else(|| Error::Setting {
                    name: key.clone(),
                    problem: format!("{part:?} is a single value, expected the name of a group"),
                })?;
            }
            at.insert(last.to_owned(), value);
            let told = || Error::Setting { name: key.clone(), problem: String::new() };
            let settings: Result<Self, _> = toml::Value::Table(table.clone()).try_into();
            if let Err(error) = settings {
                let Error::Setting { name, .. } = told() else { continue };
                return Err(Error::Setting { name, problem: error.message().trim().to_owned() });
            }
        }
        let settings: Self = toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| {
            Error::Setting { name: "settings".to_owned(), problem: error.message().trim().to_owned() }
        })?;
        settings.check()?;
        Ok(settings)
    }

    /// Refuses numbers outside their range.
    fn check(&self) -> Result<(), Error> {
        let require = |holds: bool, name: &str, expected: &str| {
            if holds {
                return Ok(());
            }
            Err(Error::Setting { name: name.to_owned(), problem: format!("expected {expected}") })
        };
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value > 0.0 && value.is_finite();
        require(self.epochs > 0, "epochs", "at least 1")?;
        require((1..=1 << 20).contains(&self.batch), "batch", "at least 1 row")?;
        require(
            self.optimizer.learning_rate.is_none_or(positive),
            "optimizer.learning_rate",
            "a number above 0",
        )?;
        require(share(self.optimizer.momentum), "optimizer.momentum", "at least 0 and below 1")?;
        require(share(self.data.validation), "data.validation", "a share of at least 0 and below 1")?;
        require(self.data.rows.is_none_or(|rows| rows > 0), "data.rows", "at least 1")?;
        require(share(self.schedule.warm_up), "schedule.warm_up", "a share of at least 0 and below 1")?;
        require(positive(self.schedule.every), "schedule.every", "a share above 0")?;
        require(
            share(self.schedule.rise) && self.schedule.rise > 0.0,
            "schedule.rise",
            "a share above 0, below 1",
        )?;
        let from_0_to_1 = |value: f64| (0.0..=1.0).contains(&value);
        require(from_0_to_1(self.schedule.warm_up_from), "schedule.warm_up_from", "a part between 0 and 1")?;
        require(from_0_to_1(self.schedule.last), "schedule.last", "a part between 0 and 1")?;
        require(positive(self.schedule.factor), "schedule.factor", "a number above 0")?;
        require(positive(self.schedule.div), "schedule.div", "a number above 0")?;
        require(positive(self.schedule.final_div), "schedule.final_div", "a number above 0")?;
        require((0.0..=1.0).contains(&self.augment.erase), "augment.erase", "a chance between 0 and 1")?;
        require((0.0..=180.0).contains(&self.augment.rotate), "augment.rotate", "degrees between 0 and 180")?;
        require(share(self.augment.colour), "augment.colour", "at least 0 and below 1")?;
        require(self.augment.mixup >= 0.0 && self.augment.mixup.is_finite(), "augment.mixup", "at least 0")?;
        require(positive(self.checkpoint_seconds), "checkpoint_seconds", "a number above 0")?;
        require(self.checkpoint_steps != Some(0), "checkpoint_steps", "at least 1")
    }

    /// η.
    pub fn learning_rate(&self) -> f64 {
        self.optimizer.learning_rate.unwrap_or(match self.optimizer.name {
            OptimizerName::Sgd => 0.05,
            OptimizerName::Adamw => 1e-3,
        })
    }

    /// What changes of pictures.
    pub fn augment(&self) -> Augment {
        let AugmentSettings { flip, shift, rotate, colour, erase, mixup } = self.augment.clone();
        Augment { flip, shift, rotate, colour, erase, mixup }
    }

    /// What becomes of shared weights.
    pub fn sharing(&self) -> Sharing {
        match self.sharing {
            SharingName::ByModule => Sharing::ByModule,
            SharingName::Shared => Sharing::Shared,
            SharingName::Separate => Sharing::Separate,
        }
    }

    /// What the compiler is told. `loss` is what is minimised, `by_class` the rows of each class.
    pub(crate) fn config(&self, loss: LossName, by_class: &[usize]) -> TrainingConfig {
        let class_weights = match &self.class_weights {
            None => None,
            Some(ClassWeights::List(list)) => Some(list.clone()),
            Some(ClassWeights::Named(Balanced::Balanced)) => {
                let rows: usize = by_class.iter().sum();
                let each = rows as f64 / by_class.len().max(1) as f64;
                Some(by_class.iter().map(|count| each / (*count).max(1) as f64).collect())
            }
        };
        let loss = match loss {
            LossName::CrossEntropy => Loss::CrossEntropy {
                targets: if self.augment.mixup > 0.0 {
                    ClassTargets::Probabilities
                } else {
                    ClassTargets::Numbers
                },
                smoothing: self.smoothing,
                class_weights,
            },
            LossName::BinaryCrossEntropy => Loss::BinaryCrossEntropy { positive_weights: class_weights },
            LossName::Mse => Loss::MeanSquared,
            LossName::Huber => Loss::Huber { delta: self.delta },
        };
        let optimizer = match self.optimizer.name {
            OptimizerName::Sgd => {
                Optimizer::Sgd { momentum: self.optimizer.momentum > 0.0, nesterov: self.optimizer.nesterov }
            }
            OptimizerName::Adamw => {
                let [beta1, beta2] = self.optimizer.betas;
                Optimizer::AdamW { beta1, beta2, epsilon: self.optimizer.epsilon }
            }
        };
        let weights = self.layers.iter().map(|layer| WeightRule {
            pattern: layer.name.clone(),
            learning_rate: layer.learning_rate,
            frozen: layer.frozen,
            decay: layer.decay,
        });
        TrainingConfig {
            loss,
            optimizer,
            weight_decay: self.optimizer.weight_decay,
            clip: self.optimizer.clip,
            statistics: match self.statistics {
                StatisticsName::Batch => Statistics::Batch,
                StatisticsName::Frozen => Statistics::Frozen,
            },
            average: self.average,
            weights: weights.collect(),
            output: self.output.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_and_go_unchanged() {
        let text = "epochs = 3\nclass_weights = \"balanced\"\n[optimizer]\nname = \"sgd\"\nclip = 1.0\n[[layers]]\nname = \"layer1\"\nfrozen = true\n";
        let settings = Settings::parse("s", text).unwrap();
        assert_eq!(settings.optimizer.name, OptimizerName::Sgd);
        assert_eq!(Settings::parse("s", &settings.to_toml().unwrap()).unwrap(), settings);
        let changed = settings
            .with(&[("optimizer.name".into(), "adamw".into()), ("schedule.shape".into(), "one-cycle".into())])
            .unwrap();
        assert_eq!(changed.optimizer.name, OptimizerName::Adamw);
        assert_eq!(changed.optimizer.clip, Some(1.0));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |text: &str| Settings::parse("s.toml", text).unwrap_err().to_string();
        assert!(
            told("\nepoch = 3\n").starts_with("s.toml, line 2: unknown field `epoch`"),
            "{}",
            told("\nepoch = 3\n")
        );
        assert_eq!(told("epochs = 0"), "epochs: expected at least 1");
        let change = |key: &str, value: &str| {
            Settings::default().with(&[(key.to_owned(), value.to_owned())]).unwrap_err().to_string()
        };
        assert!(change("optimizer.rate", "1").starts_with("optimizer.rate: unknown field `rate`"));
        assert!(change("epochs", "many").starts_with("epochs: invalid type"), "{}", change("epochs", "many"));
        assert_eq!(
            change("epochs.x", "1"),
            "epochs.x: \"epochs\" is a single value, expected the name of a group"
        );
    }
}
