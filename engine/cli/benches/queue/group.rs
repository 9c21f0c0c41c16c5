//! Sessions that share syncs, on a disk whose syncs take five milliseconds more than they do.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mailstack_mta::spool::{Options, RealDisk, Spool};

use crate::backlog::{body, envelope, runtime};
use crate::hooked::Hooked;

const LATENCY: Duration = Duration::from_millis(5);
const RUN: Duration = Duration::from_secs(3);

pub fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let one = rate(&directory.path().join("one"), 1);
    println!("1 session    {:>6.0}/s  {:.3} syncs a message", one.0, one.1);
    for sessions in [20, 100] {
        let many = rate(&directory.path().join(sessions.to_string()), sessions);
        println!(
            "{sessions} sessions  {:>6.0}/s  {:.3} syncs a message, {:.1}x",
            many.0,
            many.1,
            many.0 / one.0
        );
    }
}

/// Messages a second that so many sessions have durable, and the syncs that each took.
fn rate(directory: &Path, sessions: usize) -> (f64, f64) {
    let syncs = Arc::new(AtomicU64::new(0));
    let taken = syncs.clone();
    let disk = Hooked::new(Arc::new(RealDisk::open(directory).unwrap()), move || {
        taken.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(LATENCY);
    });
    let (spool, _) = Spool::on(Arc::new(disk), Options::default()).unwrap();
    let before = syncs.load(Ordering::SeqCst);
    let session = |spool: Spool, end: Instant| async move {
        let mut sent = 0_u64;
        while Instant::now() < end {
            let mut incoming = spool.begin();
            incoming.write(&body()).await.unwrap();
            incoming.commit(envelope("bob@far.example")).await.unwrap();
            sent += 1;
        }
        sent
    };
    runtime().block_on(async {
        let begin = Instant::now();
        let running: Vec<_> =
            (0..sessions).map(|_| tokio::spawn(session(spool.clone(), begin + RUN))).collect();
        let mut sent = 0;
        for running in running {
            sent += running.await.unwrap();
        }
        let taken = syncs.load(Ordering::SeqCst) - before;
        (sent as f64 / begin.elapsed().as_secs_f64(), taken as f64 / sent as f64)
    })
}
