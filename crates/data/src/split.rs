//! Parts of a data set.

use std::collections::BTreeMap;

use crate::dataset::{Dataset, Targets};
use crate::random::Stream;

/// Rows of two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Rows to learn from.
    pub train: Vec<usize>,
    /// Rows to measure on.
    pub held_out: Vec<usize>,
}

/// Holds out a share of the rows, of each class the same share (to the nearest row, at least one of each class with two
/// rows), chosen by `seed`. Each part is in the order of the data.
pub fn split(data: &Dataset, share: f64, seed: u64) -> Split {
    let mut groups: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    match &data.targets {
        Targets::Classes(classes) => {
            for (row, class) in classes.iter().enumerate() {
                groups.entry(*class).or_default().push(row);
            }
        }
        Targets::Numbers(_) => {
            groups.insert(0, (0..data.len()).collect());
        }
    }
    let mut split = Split { train: Vec::new(), held_out: Vec::new() };
    for (class, group) in &mut groups {
        Stream::new(seed, &[0x5b1f, class.cast_unsigned()]).shuffle(group);
        let wanted = (group.len() as f64 * share).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a number of rows that was a usize"
        )]
        let wanted = wanted as usize;
        let least = usize::from(group.len() > 1 && share > 0.0);
        let most = group.len().saturating_sub(usize::from(share < 1.0));
        let count = wanted.clamp(least.min(most), most);
        split.held_out.extend(&group[..count]);
        split.train.extend(&group[count..]);
    }
    split.train.sort_unstable();
    split.held_out.sort_unstable();
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Rows;

    #[test]
    fn each_class_gives_its_share_and_seeds_repeat() {
        let classes: Vec<i64> = (0..100).map(|row| i64::from(row % 10 == 0)).collect();
        let data = Dataset::new(
            "d",
            Rows::Floats(vec![0.0; 100]),
            Targets::Classes(classes.clone()),
            vec![1],
            String::new(),
        )
        .unwrap();
        let parts = split(&data, 0.2, 7);
        assert_eq!((parts.train.len(), parts.held_out.len()), (80, 20));
        let rare = parts.held_out.iter().filter(|row| classes[**row] == 1).count();
        assert_eq!(rare, 2);
        assert_eq!(parts, split(&data, 0.2, 7));
        assert_ne!(parts, split(&data, 0.2, 8));
        // Numbers that are no class of any model are rows like others, and take no memory.
        let wild = |class: i64| if class == 1 { i64::MAX } else { -5 };
        let mut wide = data.clone();
        wide.targets = Targets::Classes(classes.iter().map(|class| wild(*class)).collect());
        let found = split(&wide, 0.2, 7);
        assert_eq!((found.train.len(), found.held_out.len()), (80, 20));
        let mut all = [parts.train, parts.held_out].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }
}
