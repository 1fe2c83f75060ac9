//! The race itself: who runs when, for how long, and what is kept of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::agreement::{self, bound, distances, middle};
use crate::cases::{CASES, Case, title};
use crate::contestant::{Contestant, LAYOUTS, Places, Side};
use crate::equal_error::{self, Reached, Search};
use crate::error::Error;
use crate::process::{Heatmap, timed};
use crate::report::{self, EqualError, Line, Memory, Results};
use crate::statistics::Spread;
use crate::{Race, machine};

/// A ratio whose middle half is narrower than this share of its median needs no more rounds.
const NARROW: f64 = 0.02;

/// Rows that PyTorch may be given at once by methods of many evaluations; the best number is measured.
const CHUNKS: [usize; 3] = [1, 4, 8];

/// Runs the whole race and writes the table.
pub(crate) fn race(options: &Race) -> Result<(), Error> {
    let places = Places {
        python: &options.python,
        bench: &options.bench,
        folder: &options.folder,
        threads: options.threads,
    };
    if let Some(unknown) = options.methods.iter().find(|name| CASES.iter().all(|case| case.method != **name))
    {
        return Err(Error::Option(format!("method {unknown:?} is not raced")));
    }
    prepare(&places, &options.networks)?;
    let mut clock = Clock::new(options);
    let mut results =
        Results { machine: machine::processor(), threads: options.threads, ..Results::default() };
    results.load = machine::load();
    for network in &options.networks {
        Arena::new(options, &places, network)?.race(&mut clock, &mut results)?;
        start_to_heatmap(options, &places, network, &mut clock, &mut results)?;
        memory(options, &places, network, &mut results)?;
        // A race that is stopped has written what it found until then.
        results.seconds = clock.start.elapsed().as_secs_f64();
        results.load_after = machine::load();
        report::write(options, &results)?;
    }
    Ok(())
}

/// Has prepare.py write what is missing.
fn prepare(places: &Places<'_>, networks: &[String]) -> Result<(), Error> {
    let there = networks.iter().all(|name| places.folder.join(format!("{name}.npy")).exists());
    if there {
        return Ok(());
    }
    eprintln!("writing the networks and inputs to {}", places.folder.display());
    std::fs::create_dir_all(places.folder).map_err(Error::file(places.folder))?;
    timed(places.python("prepare.py").arg(places.folder)).map(|_| ())
}

/// Shares the time out among what is still to be raced.
struct Clock {
    start: Instant,
    seconds: f64,
    quick: bool,
    /// Weights of everything that is still to come.
    left: f64,
}

impl Clock {
    fn new(options: &Race) -> Self {
        let mut left = 0.0;
        for network in &options.networks {
            for case in chosen(options, network) {
                left += batches(options, case).iter().map(|batch| weight(network, case, *batch)).sum::<f64>();
            }
            left += EQUAL_ERROR * cost(network) + HEATMAPS * cost(network);
        }
        Self { start: Instant::now(), seconds: options.seconds, quick: options.quick, left }
    }

    /// The moment, in seconds since the start, at which something of `weight` should be done.
    fn until(&mut self, weight: f64) -> f64 {
        let now = self.start.elapsed().as_secs_f64();
        let share = (weight / self.left.max(weight)).clamp(0.0, 1.0);
        self.left -= weight;
        now + share * (self.seconds - now).max(0.0)
    }

    /// Whether another round is to be run after `ratios`.
    fn again(&self, ratios: &[Spread], rounds: usize, fewest: usize, until: f64) -> bool {
        if self.quick {
            return rounds < 2;
        }
        if rounds < fewest {
            return true;
        }
        let narrow = ratios.iter().all(|ratio| ratio.width() < NARROW) && rounds >= 7;
        rounds < 25 && !narrow && self.start.elapsed().as_secs_f64() < until
    }
}

/// What searching to equal error and starting programs take, in evaluations.
const EQUAL_ERROR: f64 = 1000.0;
const HEATMAPS: f64 = 1000.0;

/// How much longer an evaluation of a network takes than one of the smallest.
fn cost(network: &str) -> f64 {
    if network == "resnet50" { 3.0 } else { 1.0 }
}

/// Seconds' worth of a case, in evaluations of the smallest network; short cases get a little more.
fn weight(network: &str, case: &Case, batch: usize) -> f64 {
    cost(network) * (20.0 + case.evaluations) * batch as f64
}

fn chosen<'a>(options: &'a Race, network: &'a str) -> impl Iterator<Item = &'static Case> + use<'a> {
    let asked = |case: &&Case| options.methods.is_empty() || options.methods.iter().any(|m| m == case.method);
    CASES.iter().filter(|case| case.is_on(network)).filter(asked)
}

/// The batches that a method is raced at.
fn batches<'a>(options: &'a Race, case: &Case) -> &'a [usize] {
    if case.evaluations > 1.0 { &options.long_batches } else { &options.batches }
}

/// Everybody who races on one network.
struct Arena<'a> {
    options: &'a Race,
    folder: &'a Path,
    network: &'a str,
    ours: Vec<Contestant>,
    theirs: Vec<Contestant>,
    /// PyTorch in float64.
    reference: Option<Contestant>,
    places: &'a Places<'a>,
    tuned: BTreeMap<usize, Tuned>,
    /// Seconds of PyTorch's layouts and row counts.
    calibration: Vec<(String, f64)>,
}

/// What suits PyTorch best at a batch.
#[derive(Debug, Clone, Copy)]
struct Tuned {
    /// Number of the layout for one derivative of the batch.
    gradient: usize,
    /// Layout and rows at once for many derivatives.
    backward: (usize, usize),
    /// Layout and rows at once for many evaluations.
    forward: (usize, usize),
}

impl Tuned {
    fn of(&self, case: &Case) -> (usize, usize) {
        match case {
            case if case.forward_only => self.forward,
            case if case.evaluations > 1.0 => self.backward,
            _ => (self.gradient, 1),
        }
    }
}

impl<'a> Arena<'a> {
    fn new(options: &'a Race, places: &'a Places<'a>, network: &'a str) -> Result<Self, Error> {
        eprintln!("{}", title(network));
        let start = |side: Side| Contestant::start(&side, places, network);
        let ours = options
            .engines
            .iter()
            .map(|engine| start(Side::Ours { engine: engine.clone() }))
            .collect::<Result<_, _>>()?;
        let theirs =
            LAYOUTS.into_iter().map(|layout| start(Side::Theirs { layout })).collect::<Result<_, _>>()?;
        Ok(Self {
            options,
            folder: places.folder,
            network,
            ours,
            theirs,
            reference: None,
            places,
            tuned: BTreeMap::new(),
            calibration: Vec::new(),
        })
    }

    fn race(mut self, clock: &mut Clock, results: &mut Results) -> Result<(), Error> {
        if results.versions.is_empty() {
            let answer = self.theirs[0].ask(&json!({"do": "versions"}))?;
            results.versions = report::versions(&answer);
        }
        self.calibrate()?;
        for case in chosen(self.options, self.network) {
            let mut own = None;
            for batch in batches(self.options, case).to_vec() {
                let line = self.case(case, batch, &mut own, clock)?;
                eprintln!("  {}", line.plain());
                results.lines.push(line);
            }
        }
        results.calibration.append(&mut self.calibration.clone());
        if self.options.methods.is_empty() {
            let line = self.equal_error(clock)?;
            results.equal_error.extend(line);
        }
        Ok(())
    }

    /// Measures which layout and how many rows at once suit PyTorch.
    fn calibrate(&mut self) -> Result<(), Error> {
        let rounds = if self.options.quick { 2 } else { 3 };
        let mut table: BTreeMap<(&str, usize, usize), f64> = BTreeMap::new();
        // A quick race measures no more rows than it runs.
        let most =
            if self.options.quick { self.options.batches.iter().copied().max().unwrap_or(1) } else { 8 };
        for rows in CHUNKS.into_iter().filter(|rows| *rows <= most) {
            for method in ["gradient", "forward"] {
                let command =
                    json!({"do": "run", "method": method, "rows": rows, "targets": crate::cases::TARGETS});
                for (layout, rival) in self.theirs.iter_mut().enumerate() {
                    let mut best = f64::INFINITY;
                    for _ in 0..=rounds {
                        let answer = rival.ask(&command)?;
                        best = best.min(rival.number(&answer, "seconds")? / rows as f64);
                    }
                    table.insert((method, rows, layout), best);
                }
            }
        }
        let best = |method: &str, rows: Option<usize>| {
            let fits =
                table.iter().filter(|((m, r, _), _)| *m == method && rows.is_none_or(|rows| rows == *r));
            let found = fits.min_by(|a, b| a.1.total_cmp(b.1)).map(|((_, rows, layout), _)| (*layout, *rows));
            found.unwrap_or((0, 1))
        };
        let (backward, forward) = (best("gradient", None), best("forward", None));
        for batch in self.options.batches.iter().chain(&self.options.long_batches) {
            let gradient = best("gradient", Some(if *batch >= 8 && most >= 8 { 8 } else { 1 })).0;
            self.tuned.insert(*batch, Tuned { gradient, backward, forward });
        }
        for ((method, rows, layout), seconds) in table {
            let what = format!("{}, {method}, {rows} at once, {}", title(self.network), LAYOUTS[layout]);
            self.calibration.push((what, seconds));
        }
        Ok(())
    }

    /// One method at one batch. `own` is PyTorch's own error, measured once a method.
    fn case(
        &mut self,
        case: &Case,
        batch: usize,
        own: &mut Option<f64>,
        clock: &mut Clock,
    ) -> Result<Line, Error> {
        let until = clock.until(weight(self.network, case, batch));
        let (layout, chunk) = self.tuned[&batch].of(case);
        let own = match *own {
            Some(own) => own,
            None => *own.insert(self.own_error(case, layout, chunk)?),
        };
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); self.ours.len() + 1];
        let checked = self.check(case, batch, (layout, chunk), own)?;
        // A run of many evaluations warms itself.
        if case.evaluations * batch as f64 >= 200.0 {
            for (all, first) in seconds.iter_mut().zip(&checked.seconds) {
                all.push(*first);
            }
        }
        let command = case.command(batch, chunk);
        let fewest = if case.evaluations * batch as f64 >= 200.0 { 3 } else { 5 };
        let mut rounds = seconds[0].len();
        let mut ratios = Vec::new();
        while clock.again(&ratios, rounds, fewest, until) {
            // Everybody is first in turn: whoever runs after PyTorch finds its threads still waiting.
            let count = seconds.len();
            for place in 0..count {
                let turn = (place + rounds) % count;
                let contestant = match turn.checked_sub(1) {
                    None => &mut self.theirs[layout],
                    Some(number) => &mut self.ours[number],
                };
                let answer = contestant.ask(&command)?;
                seconds[turn].push(contestant.number(&answer, "seconds")?);
            }
            rounds += 1;
            ratios = report::ratios(&seconds);
        }
        Ok(Line {
            network: self.network.to_owned(),
            case: *case,
            batch,
            layout: LAYOUTS[layout],
            chunk,
            engines: self.options.engines.clone(),
            seconds,
            distances: checked.distances,
            own,
        })
    }

    fn file(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}.npy", self.network))
    }

    /// The error of PyTorch in float32 against float64, and of each engine, which may be at most twice as large.
    fn own_error(&mut self, case: &Case, layout: usize, chunk: usize) -> Result<f64, Error> {
        let rows = if case.evaluations > 1.0 { 1 } else { 8 };
        let (noise, wanted) = (self.file("noise"), self.file(&format!("{}.float64", case.method)));
        let theirs = self.file("pytorch");
        let mut command = case.command(rows, chunk);
        command["save"] = json!(theirs);
        if case.random {
            command["points"] = json!(noise);
        }
        self.theirs[layout].ask(&command)?;
        if let Some(command) = command.as_object_mut() {
            command.remove("points");
        }
        if case.random {
            command["noise"] = json!(noise);
        }
        if !wanted.exists() {
            let mut command = command.clone();
            (command["save"], command["double"]) = (json!(wanted), json!(true));
            if self.reference.is_none() {
                let side = Side::Theirs { layout: LAYOUTS[0] };
                self.reference = Some(Contestant::start(&side, self.places, self.network)?);
            }
            if let Some(reference) = &mut self.reference {
                reference.ask(&command)?;
            }
        }
        let wanted = agreement::read(&wanted)?;
        let distance = |path: &Path| {
            distances(&agreement::read(path)?, &wanted)
                .map(|distances| distances.into_iter().fold(0.0, f64::max))
                .ok_or_else(|| Error::Disagreement(format!("{}: the shapes differ", case.title)))
        };
        let mut own = distance(&theirs)?;
        // Rounding turns a rectifier over in some rows and not in others: what it can do shows in several tries.
        for seed in 1..=if case.evaluations > 1.0 { 1 } else { 4 } {
            command["rounded"] = json!(seed);
            self.theirs[layout].ask(&command)?;
            own = own.max(distance(&theirs)?);
        }
        if let Some(command) = command.as_object_mut() {
            command.remove("rounded");
        }
        let path = self.file("ours");
        command["save"] = json!(path);
        for contestant in &mut self.ours {
            contestant.ask(&command)?;
            let found = distance(&path)?;
            if found > bound(own) {
                return Err(Error::Disagreement(format!(
                    "{}, {}, {}: {found:.2e} from float64, where PyTorch's own float32 is {own:.2e} away",
                    title(self.network),
                    case.title,
                    contestant.name
                )));
            }
        }
        Ok(own)
    }

    /// Whether everybody computes the same at this batch as PyTorch; the seconds of doing so, PyTorch first.
    fn check(
        &mut self,
        case: &Case,
        batch: usize,
        (layout, chunk): (usize, usize),
        own: f64,
    ) -> Result<Checked, Error> {
        let (noise, path) = (self.file("noise"), self.file("found"));
        let mut command = case.command(batch, chunk);
        command["save"] = json!(path);
        let rival = &mut self.theirs[layout];
        if case.random {
            command["points"] = json!(noise);
        }
        let answer = rival.ask(&command)?;
        let mut checked = Checked { seconds: vec![rival.number(&answer, "seconds")?], distances: Vec::new() };
        let wanted = agreement::read(&path)?;
        if let Some(command) = command.as_object_mut() {
            command.remove("points");
        }
        if case.random {
            command["noise"] = json!(noise);
        }
        for contestant in &mut self.ours {
            let answer = contestant.ask(&command)?;
            checked.seconds.push(contestant.number(&answer, "seconds")?);
            let found =
                distances(&agreement::read(&path)?, &wanted).map_or(f64::INFINITY, |all| middle(&all));
            // Both sides may be off by as much.
            let allowed = bound(own) + own;
            if found > allowed {
                return Err(Error::Disagreement(format!(
                    "{}, {}, batch {batch}: {} is {found:.2e} from PyTorch, at most {allowed:.2e} is rounding",
                    title(self.network),
                    case.title,
                    contestant.name
                )));
            }
            checked.distances.push(found);
        }
        Ok(checked)
    }

    fn equal_error(&mut self, clock: &mut Clock) -> Result<Vec<EqualError>, Error> {
        let until = clock.until(EQUAL_ERROR * cost(self.network));
        let batch = self.options.batches.first().copied().unwrap_or(1);
        let (layout, chunk) = self.tuned[&batch].backward;
        let mut reached: Vec<Reached> = Vec::new();
        for contestant in &mut self.ours {
            let answer = contestant.ask(&equal_error::ours())?;
            reached.push(equal_error::reached(contestant, &answer)?);
        }
        let rival = &mut self.theirs[layout];
        let mut search = Search { rival, chunk, folder: self.folder, known: BTreeMap::new() };
        let default = search.reached(50)?;
        let found = search.fewest()?;
        let steps = found.map_or(50, |(steps, _)| steps);
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); self.ours.len() + 1];
        let mut rounds = 0;
        while clock.again(&report::ratios(&seconds), rounds, 3, until) {
            let rival = &mut self.theirs[layout];
            let answer = rival.ask(&equal_error::theirs(steps, chunk))?;
            seconds[0].push(rival.number(&answer, "seconds")?);
            for (contestant, seconds) in self.ours.iter_mut().zip(&mut seconds[1..]) {
                let answer = contestant.ask(&equal_error::ours())?;
                seconds.push(contestant.number(&answer, "seconds")?);
            }
            rounds += 1;
        }
        let lines = self.options.engines.iter().zip(&reached).enumerate().map(|(number, (engine, ours))| {
            EqualError {
                network: self.network.to_owned(),
                engine: engine.clone(),
                ours: *ours,
                default,
                theirs: found.map(|(_, reached)| reached),
                seconds: vec![seconds[0].clone(), seconds[number + 1].clone()],
            }
        });
        let lines: Vec<EqualError> = lines.collect();
        for line in &lines {
            eprintln!("  {}", line.plain());
        }
        Ok(lines)
    }
}

/// What checking came to.
struct Checked {
    seconds: Vec<f64>,
    distances: Vec<f64>,
}

/// Methods of which whole programs are raced.
const PROGRAMS: [&str; 3] = ["grad-cam", "gradient", "integrated-gradients"];

fn start_to_heatmap(
    options: &Race,
    places: &Places<'_>,
    network: &str,
    clock: &mut Clock,
    results: &mut Results,
) -> Result<(), Error> {
    let pellucid = match &options.pellucid {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(Error::file("this program"))?.with_file_name("pellucid"),
    };
    let until = clock.until(HEATMAPS * cost(network));
    let start = clock.start.elapsed().as_secs_f64();
    let methods: Vec<&str> = PROGRAMS.into_iter().filter(|method| results.has(network, method)).collect();
    for (number, method) in methods.iter().copied().enumerate() {
        let share = start + (until - start) * (number + 1) as f64 / methods.len() as f64;
        let heatmap = Heatmap { places, pellucid: &pellucid, network, method };
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); options.engines.len() + 1];
        let mut rounds = 0;
        // The first start of a program reads it from disk.
        heatmap.theirs()?;
        for engine in &options.engines {
            heatmap.ours(engine)?;
        }
        while clock.again(&report::ratios(&seconds), rounds, 3, share) {
            seconds[0].push(heatmap.theirs()?);
            for (engine, seconds) in options.engines.iter().zip(&mut seconds[1..]) {
                seconds.push(heatmap.ours(engine)?);
            }
            rounds += 1;
        }
        let line = report::Program { network: network.to_owned(), method, seconds };
        eprintln!("  {}", line.plain(&options.engines));
        results.programs.push(line);
    }
    Ok(())
}

/// Peaks of fresh processes that do one thing.
fn memory(options: &Race, places: &Places<'_>, network: &str, results: &mut Results) -> Result<(), Error> {
    let lines: Vec<(Case, usize, &'static str, usize)> = results
        .lines
        .iter()
        .filter(|line| line.network == network && (line.batch == 1 || line.case.evaluations <= 1.0))
        .map(|line| (line.case, line.batch, line.layout, line.chunk))
        .collect();
    for (case, batch, layout, chunk) in lines {
        let mut sides = vec![Side::Theirs { layout }];
        sides.extend(options.engines.iter().map(|engine| Side::Ours { engine: engine.clone() }));
        let mut bytes = Vec::new();
        for side in &sides {
            let mut contestant = Contestant::start(side, places, network)?;
            contestant.ask(&case.command(batch, chunk))?;
            let answer = contestant.ask(&json!({"do": "memory"}))?;
            bytes.push(contestant.number(&answer, "bytes")?);
        }
        let line = Memory { network: network.to_owned(), case, batch, bytes };
        eprintln!("  {}", line.plain(&options.engines));
        results.memory.push(line);
    }
    Ok(())
}
