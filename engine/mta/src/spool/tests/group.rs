//! Syncs per message, counted: concurrent sessions share them, a lone one waits for nobody and commits by itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::envelope;
use super::hooked::Hooked;
use super::model::ModelDisk;
use crate::message::{Outcome, QueueId};
use crate::spool::{Change, Options, Spool};

/// Has so many sessions send so many messages each, on a disk whose syncs take so long; returns the syncs that it took.
async fn syncs(sessions: usize, each: usize, latency: Duration) -> usize {
    let syncs = Arc::new(AtomicUsize::new(0));
    let taken = syncs.clone();
    let slow = Hooked::new(Arc::new(ModelDisk::default()), move || {
        taken.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(latency);
    });
    let (spool, _) = Spool::on(Arc::new(slow), Options { reserve: 0, ..Options::default() }).unwrap();
    let before = syncs.load(Ordering::SeqCst);
    let session = |spool: Spool| async move {
        for _ in 0..each {
            let mut incoming = spool.begin();
            incoming.write(b"words\r\n").await.unwrap();
            incoming.commit(envelope(1)).await.unwrap();
        }
    };
    let running: Vec<_> = (0..sessions).map(|_| tokio::spawn(session(spool.clone()))).collect();
    for running in running {
        running.await.unwrap();
    }
    syncs.load(Ordering::SeqCst) - before
}

/// The time that a message takes is the time of its syncs. The first that comes back does not take one for itself
/// alone, which all others would wait for: that would be two for twenty messages.
#[tokio::test]
async fn twenty_sessions_share_nearly_every_sync() {
    let latency = Duration::from_millis(20);
    assert_eq!(syncs(1, 20, latency).await, 20, "a lone session has one sync for each message, at once");
    let shared = syncs(20, 20, latency).await;
    assert!(shared * 14 <= 400, "{shared} syncs for 400 messages");
}

#[tokio::test]
async fn no_message_ever_takes_more_than_one_sync() {
    for sessions in [1, 2, 3, 7] {
        let taken = syncs(sessions, 10, Duration::from_millis(5)).await;
        assert!(taken <= sessions * 10, "{taken} syncs for {} messages", sessions * 10);
    }
}

/// The threads that synced, by name.
type Threads = Arc<Mutex<Vec<String>>>;

fn watched(latency: Duration, segment_size: u64) -> (Spool, ModelDisk, Threads) {
    let (model, threads) = (ModelDisk::default(), Threads::default());
    let taken = threads.clone();
    let disk = Hooked::new(Arc::new(model.clone()), move || {
        taken.lock().unwrap().push(std::thread::current().name().unwrap_or_default().to_owned());
        std::thread::sleep(latency);
    });
    let (spool, _) =
        Spool::on(Arc::new(disk), Options { segment_size, reserve: 0, memory: 0, ahead: 4096 }).unwrap();
    threads.lock().unwrap().clear();
    (spool, model, threads)
}

async fn send(spool: Spool, size: usize) -> QueueId {
    let mut incoming = spool.begin();
    incoming.write(&vec![b'x'; size]).await.unwrap();
    incoming.commit(envelope(1)).await.unwrap()
}

/// Syncs of forty messages of one session, one after the other, by the thread of the spool and by others.
async fn one_session(latency: Duration) -> (usize, usize) {
    let (spool, _, threads) = watched(latency, Options::default().segment_size);
    for _ in 0..40 {
        tokio::spawn(send(spool.clone(), 100)).await.unwrap();
    }
    let threads = threads.lock().unwrap();
    let own = threads.iter().filter(|name| *name == "spool").count();
    (own, threads.len() - own)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_session_commits_by_itself_where_the_disk_is_fast() {
    let (own, callers) = one_session(Duration::ZERO).await;
    assert!(own >= 1 && callers >= 20 && own + callers == 40, "{own} by the thread, {callers} by callers");
    let (own, callers) = one_session(Duration::from_millis(5)).await;
    assert_eq!((own, callers), (40, 0), "a slow disk blocks no worker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_only_worker_is_never_blocked() {
    assert_eq!(one_session(Duration::ZERO).await, (40, 0));
}

#[tokio::test]
async fn a_runtime_of_one_thread_is_never_blocked() {
    assert_eq!(one_session(Duration::ZERO).await, (40, 0));
}

/// Until something is so; what callers leave is looked after once a second.
async fn comes(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_note_becomes_durable_and_gives_its_space_back() {
    let (spool, model, threads) = watched(Duration::ZERO, 16 * 1024);
    for _ in 0..40 {
        let id = tokio::spawn(send(spool.clone(), 3000)).await.unwrap();
        let gone = vec![Change::Done { recipient: 0, outcome: Outcome::Removed { uid: 0 } }];
        let spool = spool.clone();
        tokio::spawn(async move { spool.note(id, gone).await }).await.unwrap().unwrap();
    }
    let synced = threads.lock().unwrap().len();
    comes("the last note is synced", || threads.lock().unwrap().len() > synced).await;
    comes("only the head is left", || {
        model.files().keys().filter(|name| name.ends_with(".seg")).count() == 1
    })
    .await;
    // All is done, and the thread sleeps; the next one wakes it.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let synced = threads.lock().unwrap().len();
    let id = tokio::spawn(send(spool.clone(), 100)).await.unwrap();
    let held = vec![Change::Released];
    let noted = spool.clone();
    tokio::spawn(async move { noted.note(id, held).await }).await.unwrap().unwrap();
    comes("what was noted later is synced", || threads.lock().unwrap().len() > synced + 1).await;
}
