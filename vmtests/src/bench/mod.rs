//! `mailstack-vmtests bench`: mailstack beside other MTAs, on this machine, in one run.
//!
//! Owns: what is measured and in which order. Each peer runs in a root and a network namespace of its own; Postfix's
//! smtp-source sends through it into Postfix's smtp-sink, and a run is over when the sink has counted every message.
//! Peers take turns within a cell, so that what else the machine does hits all of them.

mod backlog;
mod cells;
mod idle;
mod lab;
mod peers;
mod relay;
mod submission;
mod table;
mod usage;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use self::lab::Lab;
use self::peers::Peer;
use self::table::Report;
use crate::netns::namespaces as ns;
use crate::report::say;
use crate::turns;

/// Marks the process that runs inside the world of its own.
const INSIDE: &str = "MAILSTACK_BENCH_INSIDE";
/// This machine lacks what the benchmark needs.
const MISSING: u8 = 7;

/// What to measure.
#[derive(Args)]
pub struct BenchArguments {
    /// A short run: two rounds of the main cells, of about a second each
    #[arg(long)]
    quick: bool,
    /// Only these peers (mailstack, postfix, exim, opensmtpd, sendmail, dma, nullmailer, msmtp)
    #[arg(long, value_name = "PEER", value_enum, value_delimiter = ',')]
    peer: Vec<Peer>,
    /// Only cells whose name contains this, or one of them where it is given several times; `--list` shows the names
    #[arg(long, value_name = "TEXT")]
    cell: Vec<String>,
    /// List the cells, and end
    #[arg(long)]
    list: bool,
    /// Rounds of each cell [default: 3, with --quick 2]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Messages of a run, where the rate of the peer shall not decide
    #[arg(long, value_name = "N")]
    messages: Option<u32>,
    /// Messages of the backlog [default: 20000, with --quick 2000]
    #[arg(long, value_name = "N")]
    backlog: Option<u32>,
    /// Where the peers' roots are, or are made [default: private-roots in the build directory]
    #[arg(long, value_name = "DIR")]
    roots: Option<PathBuf>,
    /// The binary under test. Default: `mailstack` beside this program
    #[arg(long, value_name = "FILE")]
    mailstack: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the results as Markdown tables
    #[arg(long)]
    markdown: bool,
}

impl BenchArguments {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 3 }).max(1)
    }

    /// Seconds that a run should take.
    fn target(&self) -> f64 {
        if self.quick { 0.8 } else { 2.0 }
    }

    fn wants_peer(&self, peer: Peer) -> bool {
        self.peer.is_empty() || self.peer.contains(&peer)
    }

    fn wants(&self, cell: &str) -> bool {
        self.cell.is_empty() || self.cell.iter().any(|part| cell.contains(part.as_str()))
    }

    fn relays(&self) -> Vec<Peer> {
        Peer::RELAYS.iter().copied().filter(|peer| self.wants_peer(*peer)).collect()
    }
}

/// Runs the benchmark. Exit status 0; 1 if messages were missing in the sink; 7 if this machine lacks what it needs.
pub fn run(arguments: &BenchArguments) -> io::Result<ExitCode> {
    if arguments.list {
        cells::names().iter().for_each(|name| say(name));
        return Ok(ExitCode::SUCCESS);
    }
    if std::env::var_os(INSIDE).is_none() {
        return outside(arguments);
    }
    ns::die_with_parent()?;
    ns::make_mounts_private()?;
    ns::mount_type("proc", Path::new("/proc"), None)?;
    let mut lab = Lab::open(&roots(arguments)?)?;
    let mut report = Report::new(&lab, arguments);
    measure(arguments, &mut lab, &mut report)?;
    match (arguments.json, arguments.markdown) {
        (true, _) => serde_json::to_writer_pretty(io::stdout(), &report)?,
        (_, true) => print!("{}", report.markdown()),
        _ => print!("{}", report.text()),
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Unpacks what is missing, where the network is this machine's, then enters a world of its own.
fn outside(arguments: &BenchArguments) -> io::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("mailstack-vmtests: the benchmark needs root: it makes network namespaces and roots");
        return Ok(ExitCode::from(MISSING));
    }
    let mailstack = match &arguments.mailstack {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("mailstack"),
    };
    if let Err(error) = peers::unpack(&roots(arguments)?, arguments, &mailstack) {
        eprintln!("mailstack-vmtests: {error}");
        return Ok(ExitCode::from(MISSING));
    }
    let _turn = turns::take("mailstack-bench")?;
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    ns::run_in_new_world(&words, INSIDE)
}

fn roots(arguments: &BenchArguments) -> io::Result<PathBuf> {
    match &arguments.roots {
        Some(dir) => Ok(dir.clone()),
        None => crate::world::private_roots(),
    }
}

fn measure(arguments: &BenchArguments, lab: &mut Lab, report: &mut Report) -> io::Result<()> {
    if arguments.wants("source into sink") {
        relay::straight(arguments, lab, report)?;
    }
    for cell in cells::relay(arguments.quick).into_iter().filter(|cell| arguments.wants(&cell.name())) {
        relay::run(arguments, lab, &cell, report)?;
    }
    if arguments.wants(cells::SUBMISSION) {
        submission::run(arguments, lab, report)?;
    }
    if arguments.wants(cells::IDLE) {
        idle::run(arguments, lab, report)?;
    }
    if arguments.wants(cells::BACKLOG) {
        backlog::run(arguments, lab, report)?;
    }
    Ok(())
}
