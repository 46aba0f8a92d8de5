//! What goes to stderr: notes and progress, the latter only where somebody watches.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Writes a note for people.
pub(crate) fn note(text: &str) {
    // There is nobody to tell when stderr itself fails.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether stderr is watched.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether stderr takes colours.
pub(crate) fn color_on_stderr() -> bool {
    is_watched() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A progress bar over tasks; invisible where nobody watches.
pub(crate) fn progress(count: u64) -> ProgressBar {
    let target = if is_watched() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(count), target);
    let template = "{spinner} {wide_bar} {pos}/{len} tasks  {msg}  {elapsed}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
