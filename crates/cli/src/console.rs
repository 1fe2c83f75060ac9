//! Progress on standard error, Ctrl-C, and what the terminal can show.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pellucid::Progress;
use pellucid::render::terminal::Style;

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
