//! A queue that fills while the next hop is down: listed, restarted, flushed.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::BenchArguments;
use super::cells::{BACKLOG, Cell};
use super::lab::{Lab, Mode};
use super::peers::Peer;
use super::table::{Measured, Report};

/// Measures it.
pub fn run(arguments: &BenchArguments, lab: &mut Lab, report: &mut Report) -> io::Result<()> {
    let messages = arguments.backlog.unwrap_or(if arguments.quick { 2000 } else { 20_000 });
    for peer in arguments.relays() {
        // Those that take minutes for twenty thousand get a tenth: it is a rate that is compared.
        let messages = if matches!(peer, Peer::Exim | Peer::Sendmail) { messages / 10 } else { messages };
        lab.stop_sink();
        let measured = one(lab, peer, messages);
        // The next peer is not to suffer from it.
        lab.start_sink()?;
        report.add(BACKLOG, Some(peer), measured?);
    }
    Ok(())
}

fn one(lab: &mut Lab, peer: Peer, messages: u32) -> io::Result<Measured> {
    let Some((list, flush)) = peer.queue_commands() else {
        return Err(io::Error::other("a peer without a queue"));
    };
    let cell = Cell { size: 4096, sessions: 20, kept: true, recipients: 1 };
    let mut running = lab.start(peer, Mode::Plain, None)?;
    let filled = lab.send(Some(peer), &cell, messages)?.as_secs_f64();
    // What was being tried is put off.
    std::thread::sleep(Duration::from_secs(3));
    let begun = Instant::now();
    let listed = lab.command(&running, "0:0", list)?.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let list = begun.elapsed().as_secs_f64();
    if !listed.success() {
        return Err(io::Error::other(format!("{}: its queue cannot be listed", peer.name())));
    }
    running.stop();
    let begun = Instant::now();
    let running = lab.resume(running, Mode::Plain, None)?;
    let restart = begun.elapsed().as_secs_f64();
    let memory = running.memory();
    lab.start_sink()?;
    let begun = Instant::now();
    let mut flushing =
        lab.command(&running, "0:0", flush)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let complete = lab.wait_for(u64::from(messages))?;
    let flushed = begun.elapsed().as_secs_f64();
    let _ = flushing.wait();
    let missing = if complete { 0 } else { u64::from(messages).saturating_sub(lab.counted()?) };
    Ok(Measured::Backlog {
        messages,
        filled,
        list,
        restart,
        flush_rate: f64::from(messages) / flushed,
        memory,
        missing,
    })
}
