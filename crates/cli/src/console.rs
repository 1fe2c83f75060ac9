//! Progress on standard error, Ctrl-C, and what the terminal can show.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pellucid::Progress;
use pellucid::render::terminal::Style;
use pellucid_train::{Epoch, Moment, Watcher};

/// Shows how far a run is, and stops it on Ctrl-C.
pub(crate) struct Console {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
}

impl Console {
    /// A bar on standard error, where that is a terminal.
    pub(crate) fn new() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        // A second handler cannot be set; then the default one ends the program, which is as good.
        let _ = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed));
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(8));
        let console = Self { bar, stop };
        console.count("evaluations");
        console
    }

    /// The same, for rows that are read and written a few at a time.
    pub(crate) fn by_rows() -> Self {
        let console = Self::new();
        console.count("rows");
        console
    }

    fn count(&self, what: &str) {
        let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{elapsed}}, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            self.bar.set_style(style);
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Console {
    fn report(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A run of training on a terminal: a bar with what is measured, a line an epoch, and what should be known.
pub(crate) struct Training {
    console: Console,
    /// Whether lines are printed; JSON stands alone.
    lines: bool,
    notes: Mutex<Vec<String>>,
}

impl Training {
    pub(crate) fn new(lines: bool) -> Self {
        let console = Console::new();
        let template = "epoch {prefix} {bar:20} {pos}/{len}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            console.bar.set_style(style);
        }
        Self { console, lines, notes: Mutex::default() }
    }

    /// What was told, and the bar is gone.
    pub(crate) fn finish(self) -> Vec<String> {
        self.console.finish();
        self.notes.into_inner().unwrap_or_default()
    }

    fn line(&self, text: &str) {
        if self.lines {
            self.console.bar.suspend(|| eprintln!("{text}"));
        }
    }
}

impl Watcher for Training {
    fn step(&self, moment: &Moment) {
        let bar = &self.console.bar;
        bar.set_prefix(format!("{}/{}", moment.epoch, moment.epochs));
        bar.set_length(moment.steps);
        bar.set_position(moment.step);
        let accuracy =
            moment.accuracy.map_or_else(String::new, |share| format!("  accuracy {:.1} %", share * 100.0));
        bar.set_message(format!("loss {:.4}{accuracy}  {} left", moment.loss, spoken(moment.left)));
    }

    fn epoch(&self, epoch: &Epoch) {
        let share =
            |share: Option<f64>| share.map_or_else(String::new, |share| format!(" ({:.2} %)", share * 100.0));
        let held = epoch.validation_loss.map_or_else(String::new, |loss| {
            format!("  held out {loss:.4}{}", share(epoch.validation_accuracy))
        });
        self.line(&format!(
            "epoch {:>3}  loss {:.4}{}{held}  rate {:.2e}  {}",
            epoch.epoch,
            epoch.loss,
            share(epoch.accuracy),
            epoch.learning_rate,
            spoken(epoch.seconds)
        ));
    }

    fn note(&self, text: &str) {
        self.line(&format!("note: {text}"));
        if let Ok(mut notes) = self.notes.lock() {
            notes.push(text.to_owned());
        }
    }

    fn is_cancelled(&self) -> bool {
        self.console.is_cancelled()
    }
}

/// Seconds as people say them.
pub(crate) fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// What standard output can show. `NO_COLOR` and plain terminals get text alone.
pub(crate) fn style() -> Style {
    let terminal = std::io::stdout().is_terminal();
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colours = std::env::var("COLORTERM").is_ok_and(|value| value == "truecolor" || value == "24bit");
    let columns = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
    Style { columns, colours: terminal && wanted && colours }
}

/// Prints text to standard output. A reader that has gone away, as `head` does, is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
}
