//! A restart with a very long queue.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::backlog::fill;
use crate::host::binary;
use crate::load::daemon::World;
use crate::load::wait_until;
use crate::median;

/// Listings that the median is taken of.
const LISTINGS: usize = 15;

pub fn measure(count: u64) {
    let world = World::new("");
    let filled = fill(&world.host.path("var/spool/mailstack"), count, "far.example");
    println!("{count} messages of 1 KiB, filled in at {filled:.0}/s");
    let begin = Instant::now();
    let daemon = world.start();
    let answers = begin.elapsed();
    wait_until("the first delivery", || world.sink.count() > 0);
    println!(
        "restart to the first delivery  {:.2} s (it answers after {:.2} s)",
        begin.elapsed().as_secs_f64(),
        answers.as_secs_f64()
    );
    let listings = (0..LISTINGS).map(|_| list(&world)).collect();
    println!("queue list --limit 50          {:.1} ms, at once", median(listings));
    settle(daemon.0.id());
    let listings = (0..LISTINGS).map(|_| list(&world)).collect();
    println!("queue list --limit 50          {:.1} ms, once all is scheduled", median(listings));
    let resident = memory(daemon.0.id(), "VmHWM");
    println!(
        "resident at most               {:.0} MiB, {} octets a message",
        resident as f64 / 1024.0,
        resident * 1024 / count
    );
    println!("delivered meanwhile            {}", world.sink.count());
    daemon.kill();
}

/// Milliseconds of the whole command.
fn list(world: &World) -> f64 {
    let begin = Instant::now();
    let mut command = Command::new(binary());
    command.args(["queue", "list", "--limit", "50", "--root"]).arg(world.host.root());
    let output = command.output().unwrap();
    let took = begin.elapsed().as_secs_f64() * 1000.0;
    let lines = output.stdout.iter().filter(|octet| **octet == b'\n').count();
    assert_eq!(lines, 51, "{}", String::from_utf8_lossy(&output.stderr));
    took
}

/// Waits until the daemon's memory has not grown for two seconds.
fn settle(pid: u32) {
    let (mut last, mut since) = (memory(pid, "VmHWM"), Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(50));
        let now = memory(pid, "VmHWM");
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// KiB, as the kernel counts them.
fn memory(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
