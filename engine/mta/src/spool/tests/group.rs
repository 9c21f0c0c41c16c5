//! Syncs per message, counted: concurrent sessions share them, a lone one waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::envelope;
use super::hooked::Hooked;
use super::model::ModelDisk;
use crate::spool::{Options, Spool};

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
