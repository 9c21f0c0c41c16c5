//! The daemon is killed in the middle of its work, again and again.
//!
//! `MAILSTACK_KILLS=100 MAILSTACK_KILL_SEED=7 cargo test -p mailstack --test it killed -- --nocapture`

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::account::balance;
use super::daemon::World;
use super::sender::{Client, Serial, Told};
use super::{Chance, wait_until};

/// Kills where `MAILSTACK_KILLS` says nothing.
const KILLS: u64 = 8;
/// Clients at once.
const CLIENTS: u64 = 6;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// All that clients were told.
type Book = Arc<Mutex<BTreeMap<Serial, Told>>>;

fn client(port: u16, number: u64, book: Book, stop: Arc<AtomicBool>) {
    let mut serial = number * 1_000_000;
    while !stop.load(Ordering::SeqCst) {
        let Ok(mut client) = Client::connect(port) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !stop.load(Ordering::SeqCst) {
            serial += 1;
            let told = client.send(Serial(serial));
            let is_over = !matches!(told, Ok(Told::Accepted | Told::Refused(_)));
            // Broken before the final dot, nothing was accepted.
            book.lock().unwrap().insert(Serial(serial), told.unwrap_or(Told::Refused(0)));
            if is_over {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn killed_at_random_it_loses_nothing_and_names_what_may_arrive_twice() {
    let (kills, seed) = (variable("MAILSTACK_KILLS", KILLS), variable("MAILSTACK_KILL_SEED", 1));
    let world = World::new("limits.connections = 50\nlimits.connections_per_client = 50\n");
    let (book, stop) = (Book::default(), Arc::new(AtomicBool::new(false)));
    let mut daemon = world.start();
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|number| {
            let (book, stop) = (book.clone(), stop.clone());
            let port = world.port;
            thread::spawn(move || client(port, number, book, stop))
        })
        .collect();
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(50 + chance.below(400)));
        daemon.kill();
        daemon = world.start();
    }
    stop.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    wait_until("the queue is empty", || world.queued() == 0);
    daemon.stop();
    let told = book.lock().unwrap().clone();
    let balance = balance(&told, &world.sink.arrivals(), &world.lines());
    println!("MAILSTACK_KILLS={kills} MAILSTACK_KILL_SEED={seed}: {balance:?}");
    assert!(balance.accepted > kills as usize, "{balance:?}");
}
