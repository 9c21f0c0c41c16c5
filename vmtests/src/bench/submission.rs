//! `sendmail -t`, one after the other, from a shell; the time of the empty loop is measured too.

use std::fs;
use std::io;
use std::time::Instant;

use super::BenchArguments;
use super::cells::SUBMISSION;
use super::lab::{Lab, Mode};
use super::peers::Peer;
use super::table::{Measured, Report};

/// Who hands mail in: alice, in every root.
const USER: &str = "1001:1001";
const MESSAGE: &str = "To: c@sink.example\nSubject: cron\n\nnothing to report\n";

/// Measures it.
pub fn run(arguments: &BenchArguments, lab: &mut Lab, report: &mut Report) -> io::Result<()> {
    let messages: u64 = if arguments.quick { 50 } else { 200 };
    let peers: Vec<Peer> = Peer::ALL.iter().copied().filter(|peer| arguments.wants_peer(*peer)).collect();
    for peer in peers {
        let role = (peer == Peer::Mailstack).then_some("nullclient");
        let running = lab.start(peer, Mode::Plain, role)?;
        fs::write(lab.root(peer).join("tmp/message"), MESSAGE)?;
        for round in 0..arguments.rounds() {
            for (what, program) in [("", "/usr/sbin/sendmail -t"), ("empty loop: ", "/bin/true")] {
                let before = lab.counted()?;
                let words = format!(
                    "i=0; while [ $i -lt {messages} ]; do {program} </tmp/message >/dev/null 2>&1 || exit 1; i=$((i+1)); done"
                );
                let begun = Instant::now();
                let status = lab.command(&running, USER, &words)?.status()?;
                let milliseconds = begun.elapsed().as_secs_f64() * 1000.0 / messages as f64;
                if !status.success() {
                    return Err(io::Error::other(format!("{}: {program} failed", peer.name())));
                }
                let wanted: u64 = if what.is_empty() { messages } else { 0 };
                let complete = lab.wait_for(before + wanted)?;
                let missing = if complete { 0 } else { before + wanted - lab.counted()? };
                report.add(
                    SUBMISSION,
                    Some(peer),
                    Measured::Submission { round, milliseconds, empty: !what.is_empty(), missing },
                );
            }
        }
    }
    Ok(())
}
