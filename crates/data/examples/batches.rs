//! Writes the batches of a training run to standard output, for another program to learn from the very same rows:
//! `batches DATA EPOCHS BATCH SEED SHIFT`, pictures in memory, mirrored by chance and shifted by at most SHIFT places.
//!
//! A batch is its rows as float32, then its classes as int64, both little-endian; the test part follows the last epoch,
//! in its own order and unchanged.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use pellucid::preprocessing::{Color, ImageInput};
use pellucid_data::{Augment, Batch, BatchTargets, Batches, Dataset, Plan, Source, open};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, epochs, batch, seed, shift] = arguments.as_slice() else {
        return Err("usage: batches DATA EPOCHS BATCH SEED SHIFT".into());
    };
    let (epochs, batch, seed, shift): (u64, usize, u64, usize) =
        (epochs.parse()?, batch.parse()?, seed.parse()?, shift.parse()?);
    let opened = open(&Source { data: PathBuf::from(data), ..Source::default() })?;
    let (mut train, mut test) = (opened.train, opened.test.ok_or("the data has no test part")?);
    let scaling = train.statistics(false)?.ok_or("its rows are no pictures in memory")?;
    // What `train` draws up for a model that says nothing of pictures and takes them as they are.
    let color = if scaling.mean.len() == 1 { Color::Gray } else { Color::Rgb };
    let (mean, std) = (scaling.mean, scaling.std);
    let image = ImageInput { color, range: Some([0.0, 1.0]), mean, std, ..ImageInput::default() };
    let shape = train.shape.clone();
    train.prepare(&image, &shape)?;
    test.prepare(&image, &shape)?;
    let train = Arc::new(train);
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    for epoch in 0..epochs {
        let mut plan = Plan::shuffled(train.len(), batch, seed, epoch);
        plan.augment = Augment { flip: true, shift, ..Augment::default() };
        write_all(&train, plan, &mut out)?;
    }
    let rows = test.len();
    write_all(&Arc::new(test), Plan::in_order(rows, batch), &mut out)?;
    Ok(out.flush()?)
}

fn write_all(data: &Arc<Dataset>, plan: Plan, out: &mut impl Write) -> Result<()> {
    for made in Batches::start(Arc::clone(data), plan, 0, 1, 4) {
        let Batch { rows, targets, .. } = made?;
        let BatchTargets::Classes(classes) = targets else { return Err("its targets are no classes".into()) };
        out.write_all(&rows.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())?;
        out.write_all(&classes.iter().flat_map(|class| class.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    Ok(())
}
