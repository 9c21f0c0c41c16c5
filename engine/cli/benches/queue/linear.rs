//! The rate of a host with a long queue beside that of one with an empty queue, turn by turn.

use std::thread;
use std::time::Instant;

use crate::backlog::fill;
use crate::load::daemon::World;
use crate::load::sender::{Client, Serial, Told};
use crate::load::wait_until;
use crate::median;

const SESSIONS: u64 = 20;
/// Messages of a session in one turn.
const EACH: u64 = 250;
const TURNS: usize = 7;
/// Nobody listens there.
const MORE: &str = "mailertable.\"dead.example\" = \"smtp:[127.99.99.99]\"\n";

pub fn measure(count: u64) {
    let (empty, long) = (World::new(MORE), World::new(MORE));
    fill(&long.host.path("var/spool/mailstack"), count, "dead.example");
    let running = (empty.start(), long.start());
    let (mut of_empty, mut of_long) = (Vec::new(), Vec::new());
    let mut serial = 0;
    for turn in 0..=TURNS {
        let rates = (rate(&empty, &mut serial), rate(&long, &mut serial));
        // The first turn fills caches, and the queue is still being scheduled.
        if turn > 0 {
            of_empty.push(rates.0);
            of_long.push(rates.1);
        }
    }
    let shown = |rates: &[f64]| rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(" ");
    println!("empty queue           {:.0}/s end to end ({})", median(of_empty.clone()), shown(&of_empty));
    println!("{count} queued         {:.0}/s end to end ({})", median(of_long.clone()), shown(&of_long));
    let ratios = of_long.iter().zip(&of_empty).map(|(long, empty)| long / empty).collect();
    println!("ratio, median of {TURNS}    {:.2}", median(ratios));
    running.0.kill();
    running.1.kill();
}

/// Messages a second, from the first command to the arrival of the last at the sink.
fn rate(world: &World, serial: &mut u64) -> f64 {
    let (before, begin) = (world.sink.count(), Instant::now());
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|session| {
            let (port, first) = (world.port, *serial + session * EACH);
            thread::spawn(move || {
                let mut client = Client::connect(port).unwrap();
                for number in first..first + EACH {
                    assert_eq!(client.send(small(number)).unwrap(), Told::Accepted);
                }
            })
        })
        .collect();
    sessions.into_iter().for_each(|session| session.join().unwrap());
    *serial += SESSIONS * EACH;
    wait_until("all have arrived", || world.sink.count() >= before + (SESSIONS * EACH) as usize);
    (SESSIONS * EACH) as f64 / begin.elapsed().as_secs_f64()
}

/// A message with one recipient, who is there: of all numbers those that give one.
fn small(number: u64) -> Serial {
    Serial(number * 420 + 30)
}
