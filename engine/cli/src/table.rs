//! Columns, times and sizes, as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Rows in columns, parted by two blanks; the last column is as wide as it is.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A time of this host, from seconds since 1970.
pub fn time(seconds: u64) -> String {
    let stamp = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default();
    stamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago, in the largest unit that fits.
pub fn ago(seconds: u64) -> String {
    let past = u64::try_from(Timestamp::now().as_second()).unwrap_or(0).saturating_sub(seconds);
    match past {
        0..120 => format!("{past} s"),
        120..7200 => format!("{} min", past / 60),
        7200..172_800 => format!("{} h", past / 3600),
        _ => format!("{} days", past / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let rows = [vec!["a".to_owned(), "bcd".to_owned()], vec!["efg".to_owned(), String::new()]];
        assert_eq!(table(&rows), "a    bcd\nefg\n");
    }
}
