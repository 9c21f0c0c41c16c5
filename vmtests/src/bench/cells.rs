//! What is measured: the cells of the table.

/// `sendmail -t`.
pub const SUBMISSION: &str = "sendmail -t";
/// Memory of what does nothing.
pub const IDLE: &str = "idle";
/// A queue that waits for its next hop.
pub const BACKLOG: &str = "backlog";

/// One way of sending mail through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Octets of a message.
    pub size: u32,
    /// Sessions at once.
    pub sessions: u32,
    /// Messages follow each other in a session, else each has a connection of its own.
    pub kept: bool,
    /// Recipients of a message.
    pub recipients: u32,
}

const fn cell(kilobytes: u32, sessions: u32, kept: bool, recipients: u32) -> Cell {
    Cell { size: kilobytes * 1024, sessions, kept, recipients }
}

/// The cells whose ratios are promised come first.
const CELLS: &[Cell] = &[
    cell(4, 20, true, 1),
    cell(4, 100, true, 1),
    cell(4, 1, true, 1),
    cell(4, 20, false, 1),
    cell(1, 20, true, 1),
    cell(100, 20, true, 1),
    cell(4, 20, true, 10),
    cell(1, 1, true, 1),
    cell(100, 1, true, 1),
    cell(4, 1, false, 1),
    cell(1, 100, true, 1),
    cell(100, 100, true, 1),
    cell(4, 100, false, 1),
];
/// How many of them a short run has.
const QUICK: usize = 4;

impl Cell {
    /// As it is named in the table and by `--cell`.
    pub fn name(&self) -> String {
        let sessions =
            if self.sessions == 1 { "1 session".to_owned() } else { format!("{} sessions", self.sessions) };
        let kept = if self.kept { "connection kept" } else { "one message per connection" };
        let recipients =
            if self.recipients == 1 { String::new() } else { format!(", {} recipients", self.recipients) };
        format!("{} KB, {sessions}, {kept}{recipients}", self.size / 1024)
    }
}

/// The relay cells of a run.
pub fn relay(quick: bool) -> Vec<Cell> {
    CELLS[..if quick { QUICK } else { CELLS.len() }].to_vec()
}

/// The names of all cells.
pub fn names() -> Vec<String> {
    let others = ["source into sink", SUBMISSION, IDLE, BACKLOG].map(str::to_owned);
    CELLS.iter().map(Cell::name).chain(others).collect()
}
