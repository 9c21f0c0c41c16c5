//! The relay cells: peers take turns, round by round.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::BenchArguments;
use super::cells::Cell;
use super::lab::{Lab, Mode, Running};
use super::peers::Peer;
use super::table::{Measured, Report, Run};

/// Messages of the run before the first round: it starts what a peer starts, and says how fast it is about.
const WARM: u32 = 200;
/// The most messages of a run.
const MOST: u32 = 60_000;
/// The wait between two looks at a peer's memory.
const LOOK: Duration = Duration::from_millis(100);

/// smtp-source straight into smtp-sink: what of the machine is left to an MTA.
pub fn straight(arguments: &BenchArguments, lab: &mut Lab, report: &mut Report) -> io::Result<()> {
    let cell = Cell { size: 4096, sessions: 20, kept: true, recipients: 1 };
    for round in 0..arguments.rounds() {
        let run = one(lab, None, &cell, if arguments.quick { 5000 } else { 20_000 })?;
        report.add("source into sink", None, Measured::Round { round, run });
    }
    Ok(())
}

/// One cell.
pub fn run(arguments: &BenchArguments, lab: &mut Lab, cell: &Cell, report: &mut Report) -> io::Result<()> {
    let name = cell.name();
    let mut peers = Vec::new();
    for peer in arguments.relays() {
        let running = lab.start(peer, Mode::Plain, None)?;
        let warm = one(lab, Some(&running), cell, warm(cell))?;
        let messages = arguments.messages.unwrap_or_else(|| enough(&warm, cell, arguments.target()));
        peers.push((running, messages));
    }
    for round in 0..arguments.rounds() {
        let mut turn: Vec<usize> = (0..peers.len()).collect();
        turn.rotate_left(round as usize % peers.len().max(1));
        for at in turn {
            let (running, messages) = &peers[at];
            let run = one(lab, Some(running), cell, *messages)?;
            report.add(&name, Some(running.peer), Measured::Round { round, run });
        }
    }
    for (running, messages) in peers {
        let peer = running.peer;
        drop(running);
        let observed = observe(lab, peer, cell, (messages / 2).max(WARM))?;
        report.add(&name, Some(peer), observed);
    }
    Ok(())
}

fn warm(cell: &Cell) -> u32 {
    WARM.max(2 * cell.sessions)
}

/// Messages for a run of about so many seconds.
fn enough(warm: &Run, cell: &Cell, target: f64) -> u32 {
    let messages = (warm.rate() * target) as u32;
    // Whole rounds of the sessions, so that none ends early.
    let messages = messages.clamp(WARM, MOST) / cell.sessions * cell.sessions;
    messages.max(2 * cell.sessions)
}

/// One run: all sent, all counted by the sink.
fn one(lab: &Lab, running: Option<&Running>, cell: &Cell, messages: u32) -> io::Result<Run> {
    let before = lab.counted()?;
    let used = running.map(Running::seconds).transpose()?;
    let begun = Instant::now();
    let accepted = lab.send(running.map(|running| running.peer), cell, messages)?;
    let complete = lab.wait_for(before + u64::from(messages))?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = match (running, used) {
        (Some(running), Some(used)) => Some(running.seconds()? - used),
        _ => None,
    };
    let missing = if complete { 0 } else { (before + u64::from(messages)).saturating_sub(lab.counted()?) };
    Ok(Run { messages, seconds, accepted: accepted.as_secs_f64(), cpu, missing })
}

/// A run under a tracer that notes each sync, with looks at the memory.
fn observe(lab: &mut Lab, peer: Peer, cell: &Cell, messages: u32) -> io::Result<Measured> {
    let running = lab.start(peer, Mode::Counted, None)?;
    let warm = one(lab, Some(&running), cell, cell.sessions)?;
    let before = running.syncs();
    let (peak, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(running.memory(), Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        let run = one(lab, Some(&running), cell, messages);
        done.store(true, Ordering::Relaxed);
        run
    })?;
    // Syncs that come after the last message was counted are the messages' as well.
    std::thread::sleep(Duration::from_millis(300));
    let syncs = running.syncs() - before;
    Ok(Measured::Observed {
        syncs_per_message: syncs as f64 / f64::from(run.messages),
        peak_memory: peak.into_inner(),
        missing: run.missing + warm.missing,
    })
}
