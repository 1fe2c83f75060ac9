//! Where layers stand in the tree of modules.
//!
//! Most files tell: by names of parameters, by notes of an exporter. In files whose optimiser dropped the notes, layers without
//! parameters (rectifiers, sums, pools) tell nothing, and would stand outside of the modules that they belong to.

use std::collections::{BTreeMap, BTreeSet};

use super::Layer;
use super::outline::levels;

/// Where a layer stands: in the module that the first levels of a layer's name are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The layer whose name tells: itself, or an earlier one.
    pub(super) of: usize,
    /// How many of its levels.
    pub(super) levels: usize,
}

/// The place of every layer: in the module that its name tells, as `told` says; without one, in the module that its inputs
/// suggest.
///
/// That is the deepest module around the last computed input which every other input is in as well, or enters: a value from
/// outside enters a module where another of its layers takes it. So the sum of a residual block is in its block, which the
/// shortcut's value enters, and a join of branches is in the module of all of them.
pub(super) fn places(layers: &[Layer], told: &[bool]) -> Vec<Place> {
    let mut modules = Modules::default();
    let of_value: BTreeMap<&str, usize> =
        layers.iter().enumerate().map(|(position, layer)| (layer.value.as_str(), position)).collect();
    // By layer: the modules around it, from outside to inside, and those that take its value.
    let mut around: Vec<Vec<usize>> = Vec::with_capacity(layers.len());
    let mut entered: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); layers.len()];
    let mut places: Vec<Place> = Vec::with_capacity(layers.len());
    for (position, (layer, told)) in layers.iter().zip(told).enumerate() {
        let inputs = layer.inputs.iter().filter_map(|input| of_value.get(input.as_str()).copied());
        let inputs: Vec<usize> = inputs.filter(|input| *input < position).collect();
        let last = inputs.iter().max().copied().filter(|_| !told);
        let chain = match last {
            None if *told => modules.around(&layer.name),
            None => Vec::new(),
            Some(last) => {
                let mut chain = around[last].clone();
                let holds = |module: &usize| {
                    inputs
                        .iter()
                        .all(|input| around[*input].contains(module) || entered[*input].contains(module))
                };
                while chain.last().is_some_and(|module| !holds(module)) {
                    chain.pop();
                }
                chain
            }
        };
        places.push(Place { of: last.map_or(position, |last| places[last].of), levels: chain.len() });
        for input in inputs {
            entered[input].extend(&chain);
        }
        around.push(chain);
    }
    places
}

/// Modules, numbered as they are met: by the number of the module around and the last part of the name.
#[derive(Default)]
struct Modules<'a>(BTreeMap<(Option<usize>, &'a str), usize>);

impl<'a> Modules<'a> {
    /// Those around what is called `name`.
    fn around(&mut self, name: &'a str) -> Vec<usize> {
        let mut names = levels(name);
        names.pop();
        let mut chain = Vec::new();
        for name in names {
            let next = self.0.len();
            chain.push(*self.0.entry((chain.last().copied(), name)).or_insert(next));
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers by name and inputs, each computing a value of its name; those whose name begins with `_` tell no module.
    fn placed(layers: &[(&str, &[&str])]) -> Vec<String> {
        let told: Vec<bool> = layers.iter().map(|(name, _)| !name.starts_with('_')).collect();
        let layers: Vec<Layer> = layers
            .iter()
            .map(|(name, inputs)| Layer {
                name: (*name).to_owned(),
                value: (*name).to_owned(),
                inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
                ..Layer::default()
            })
            .collect();
        let path = |(layer, place): (&Layer, Place)| {
            let around = levels(&layers[place.of].name)[..place.levels].join(".");
            let last = levels(&layer.name).pop().unwrap_or_default();
            if around.is_empty() { last.to_owned() } else { format!("{around}.{last}") }
        };
        layers.iter().zip(places(&layers, &told)).map(path).collect()
    }

    #[test]
    fn what_tells_nothing_stands_in_its_block() {
        let found = placed(&[
            ("conv1", &["x"]),
            ("_relu", &["conv1"]),
            ("layer1.0.conv1", &["_relu"]),
            ("_relu_1", &["layer1.0.conv1"]),
            ("layer1.0.conv2", &["_relu_1"]),
            ("layer1.0.downsample.0", &["_relu"]),
            ("_add", &["layer1.0.conv2", "layer1.0.downsample.0"]),
            ("_relu_2", &["_add"]),
            ("layer1.1.conv1", &["_relu_2"]),
            ("_relu_3", &["layer1.1.conv1"]),
            ("layer1.1.conv2", &["_relu_3"]),
            ("_add_1", &["layer1.1.conv2", "_relu_2"]),
        ]);
        let untold: Vec<&str> =
            found.iter().filter(|place| place.contains('_')).map(String::as_str).collect();
        let wanted = [
            "_relu",
            "layer1.0._relu_1",
            "layer1.0._add",
            "layer1.0._relu_2",
            "layer1.1._relu_3",
            "layer1.1._add_1",
        ];
        assert_eq!(untold, wanted);
    }

    #[test]
    fn branches_join_in_the_module_of_all() {
        let found = placed(&[
            ("mixed.branch1.conv", &["x"]),
            ("_relu", &["mixed.branch1.conv"]),
            ("mixed.branch2.conv", &["x"]),
            ("_relu_1", &["mixed.branch2.conv"]),
            ("_concat", &["_relu", "_relu_1"]),
            ("head.fc", &["_concat"]),
            ("_sum_of_both", &["mixed.branch1.conv", "head.fc"]),
        ]);
        assert_eq!(found[1], "mixed.branch1._relu");
        assert_eq!(found[4], "mixed._concat");
        assert_eq!(found[6], "_sum_of_both", "no module holds both");
    }
}
