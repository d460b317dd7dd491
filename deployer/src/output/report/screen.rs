//! The terminal on stderr: permanent lines, and below them the bars that indicatif draws.
//!
//! When a window becomes narrower, its lines wrap. indicatif remembers how many rows the bars took when it drew them
//! and would leave a copy behind after each change of size. This module recounts the rows for the current width before
//! it clears them.

use std::io::{self, Write as _};

use console::{Term, measure_text_width, truncate_str};
use indicatif::TermLike;
use parking_lot::{Mutex, MutexGuard};

/// The only screen.
static SCREEN: Mutex<Screen> = Mutex::new(Screen { moving: Vec::new(), widths: Vec::new() });

struct Screen {
    /// The lines of the bars.
    moving: Vec<String>,
    /// The width that they were painted for.
    widths: Vec<usize>,
}

/// Prints permanent lines above the bars.
pub fn print(lines: &str) {
    screen().paint(Some(lines));
}

/// Replaces the lines of the bars.
pub fn show(moving: Vec<String>) {
    let mut screen = screen();
    screen.moving = moving;
    screen.paint(None);
}

/// A terminal for indicatif: everything written between two flushes is one frame of bars.
pub struct Frames {
    written: Mutex<Vec<String>>,
    columns: fn() -> usize,
    show: Box<dyn Fn(Vec<String>) + Send + Sync>,
}

impl Frames {
    /// Frames with this many columns, each of which is passed to `show`.
    pub fn new(columns: fn() -> usize, show: impl Fn(Vec<String>) + Send + Sync + 'static) -> Self {
        Frames { written: Mutex::default(), columns, show: Box::new(show) }
    }

    fn written(&self) -> MutexGuard<'_, Vec<String>> {
        self.written.lock()
    }
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

impl TermLike for Frames {
    fn width(&self) -> u16 {
        u16::try_from((self.columns)()).unwrap_or(u16::MAX)
    }

    /// Lines that do not fit the window are left out when they are painted.
    fn height(&self) -> u16 {
        u16::MAX
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)?;
        self.write_str("")
    }

    /// Each line is followed by blanks that fill its row.
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.written().push(text.to_owned());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let written = std::mem::take(&mut *self.written());
        (self.show)(written.into_iter().step_by(2).collect());
        Ok(())
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints a prompt.
pub fn prompt(text: &str) {
    write(text);
}

/// The number of columns, on a terminal.
pub fn columns() -> Option<usize> {
    Some(Term::stderr()).filter(Term::is_term).map(|term| term.size().1.into())
}

/// A line cut to this many columns.
pub fn fit(line: &str, columns: usize) -> String {
    truncate_str(line, columns, "…").into_owned()
}

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock()
}

impl Screen {
    fn paint(&mut self, above: Option<&str>) {
        let mut text = String::new();
        if !self.widths.is_empty() || !self.moving.is_empty() {
            let (rows, columns) = Term::stderr().size();
            let height = rows_of(&self.widths, columns.into());
            if height > 0 {
                text += &format!("\r\u{1b}[{height}A\u{1b}[J");
            }
            self.widths.clear();
            above.iter().for_each(|lines| text += &format!("{lines}\n"));
            // One row is kept for the cursor; lines scrolled out of the window could not be cleared any more.
            for line in self.moving.iter().take(usize::from(rows).saturating_sub(1)) {
                let line = fit(line, usize::from(columns).saturating_sub(1));
                self.widths.push(measure_text_width(&line));
                text += &format!("{line}\n");
            }
        } else {
            above.iter().for_each(|lines| text += &format!("{lines}\n"));
        }
        write(&text);
    }
}

/// The number of rows that lines of these widths take in a window with this many columns.
fn rows_of(widths: &[usize], columns: usize) -> usize {
    widths.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum()
}

/// A closed terminal is not an error.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_as_many_rows_as_the_window_breaks_it_into() {
        assert_eq!(rows_of(&[40, 79, 0], 80), 3);
        assert_eq!(rows_of(&[40, 79, 0], 50), 4);
        assert_eq!(rows_of(&[40, 79, 0], 40), 4, "a full row is one row");
        assert_eq!(rows_of(&[40, 79, 0], 39), 6);
        assert_eq!(rows_of(&[], 0), 0);
    }
}
