//! Tables that fit the terminal: long cells are cut, and columns that matter less are left out.

use std::{borrow::Cow, fmt::Write as _, process::ExitCode};

use anyhow::Result;
use console::{Alignment, Term, measure_text_width, pad_str, truncate_str};

use serde_json::Value;

use super::render::{plain, print_json, print_line};
use gemhook::config::environment;

/// Between two columns.
const GAP: usize = 2;
const CUT: &str = "…";

/// A column, and what happens to it where the table is too wide.
#[derive(Clone, Copy)]
pub struct Column {
    head: &'static str,
    /// To which width it may be cut.
    shortest: Option<usize>,
    /// Whether it may be left out.
    optional: bool,
}

/// A column that is always there, and whole: what other commands take as an argument.
pub const fn whole(head: &'static str) -> Column {
    Column { head, shortest: None, optional: false }
}

impl Column {
    /// Its cells may be cut to this width.
    pub const fn cut_to(self, shortest: usize) -> Self {
        Self { shortest: Some(shortest), ..self }
    }

    /// It may be left out.
    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// A list as one JSON document or as a table, and a sentence where it is empty.
pub fn print_list(
    rows: &[Value],
    json: bool,
    none: &str,
    columns: &[Column],
    cells: fn(&Value) -> Vec<String>,
) -> Result<ExitCode> {
    if json {
        print_json(&rows)?;
    } else if rows.is_empty() {
        print_line(none)?;
    } else {
        print_table(columns, &rows.iter().map(cells).collect::<Vec<_>>())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn print_table(columns: &[Column], rows: &[Vec<String>]) -> Result<()> {
    lines(columns, rows, width()).iter().try_for_each(|line| print_line(line))
}

/// How wide a table may be: COLUMNS, else the terminal's width. Anything else than a terminal gets whole rows.
fn width() -> Option<usize> {
    let set = environment("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    let terminal = Term::stdout();
    set.or_else(|| {
        terminal.is_term().then(|| terminal.size_checked()).flatten().map(|(_, width)| width.into())
    })
}

fn lines(columns: &[Column], rows: &[Vec<String>], limit: Option<usize>) -> Vec<String> {
    let rows: Vec<Vec<Cow<str>>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let natural = |at: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| measure_text_width(cell));
        cells.chain([column.head.len()]).max().unwrap_or(0)
    };
    let widths = columns.iter().enumerate().map(|(at, column)| Some(natural(at, column))).collect();
    let widths = fit(columns, widths, limit);
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            if let Some(width) = width {
                let cell = truncate_str(cell, *width, CUT);
                let _ = write!(line, "{}{:GAP$}", pad_str(&cell, *width, Alignment::Left, None), "");
            }
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut columns.iter().map(|column| column.head))];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(AsRef::as_ref))));
    lines
}

/// The widths within a limit: the last columns are cut first, then the last optional ones are left out. What must stay
/// whole does, even beyond the limit.
fn fit(columns: &[Column], mut widths: Vec<Option<usize>>, limit: Option<usize>) -> Vec<Option<usize>> {
    let Some(limit) = limit else { return widths };
    let excess = |widths: &[Option<usize>]| {
        let sum: usize = widths.iter().flatten().map(|width| width + GAP).sum();
        sum.saturating_sub(GAP).saturating_sub(limit)
    };
    for at in (0..columns.len()).rev() {
        let over = excess(&widths);
        if let (Some(Column { shortest: Some(shortest), .. }), Some(Some(width))) =
            (columns.get(at), widths.get_mut(at))
        {
            *width = width.saturating_sub(over).max((*width).min(*shortest));
        }
    }
    for at in (0..columns.len()).rev() {
        if excess(&widths) > 0
            && columns.get(at).is_some_and(|column| column.optional)
            && let Some(width) = widths.get_mut(at)
        {
            *width = None;
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        whole("TIME").optional(),
        whole("JOB").cut_to(8),
        whole("ID"),
        whole("LAST ERROR").cut_to(10).optional(),
    ];

    fn table(limit: Option<usize>) -> Vec<String> {
        let row = ["12:00", "batches/0123456789", "msg_1", "the result could not be read \u{1b}[31m at all"];
        lines(&COLUMNS, &[row.map(str::to_owned).to_vec()], limit)
    }

    #[test]
    fn without_a_limit_everything_is_whole() {
        let [head, row] = table(None).try_into().unwrap();
        assert_eq!(head, "TIME   JOB                 ID     LAST ERROR");
        assert_eq!(row, "12:00  batches/0123456789  msg_1  the result could not be read \\u{1b}[31m at all");
    }

    #[test]
    fn the_last_columns_are_cut_first_and_optional_ones_left_out_last() {
        for (limit, row) in [
            (60, "12:00  batches/0123456789  msg_1  the result could not be r…"),
            (40, "12:00  batches/01234…  msg_1  the resul…"),
            (36, "12:00  batches/0…  msg_1  the resul…"),
            (30, "12:00  batches…  msg_1"),
            (20, "batches…  msg_1"),
            (3, "batches…  msg_1"),
        ] {
            let shown = table(Some(limit)).pop().unwrap();
            assert_eq!(shown, row, "{limit}");
            assert!(shown.chars().count() <= limit.max(15), "{limit}");
        }
    }
}
