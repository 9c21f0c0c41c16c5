//! The spool as sessions and deliveries use it.

use std::sync::{Arc, Condvar, Mutex};

use super::hooked::Hooked;
use super::model::{Faults, ModelDisk};
use super::{disk, envelope};
use crate::message::{Outcome, QueueId};
use crate::spool::{Change, Notice, Options, Place, Spool, SpoolError, Unreadable, inspect};

const SMALL: Options = Options { segment_size: 64 * 1024, reserve: 1024, memory: 0, ahead: 4096 };

async fn send(spool: &Spool, body: &[u8]) -> Result<QueueId, SpoolError> {
    let mut incoming = spool.begin();
    incoming.write(body).await?;
    incoming.commit(envelope(1)).await
}

async fn read(spool: &Spool, id: QueueId) -> Vec<u8> {
    spool.body(id).unwrap().beginning(usize::MAX).await.unwrap()
}

fn done() -> Vec<Change> {
    vec![Change::Done { recipient: 0, outcome: Outcome::Removed { uid: 0 } }]
}

#[tokio::test]
async fn a_message_comes_back_as_it_was_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(directory.path(), Options::default()).unwrap();
    let mut sent = Vec::new();
    for size in [0, 1, 4096, 64 * 1024, 64 * 1024 + 1, 300_000] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        sent.push((send(&spool, &body).await.unwrap(), body));
    }
    assert!(matches!(Spool::open(directory.path(), Options::default()), Err(SpoolError::InUse)));
    assert!(matches!(inspect(directory.path()), Err(SpoolError::InUse)));
    for (id, body) in &sent {
        assert_eq!(&read(&spool, *id).await, body);
    }
    drop(spool);
    let (spool, recovery) = reopened(directory.path()).await;
    assert_eq!((recovery.messages, recovery.torn, recovery.unreadable), (sent.len(), 0, Vec::new()));
    for (id, body) in &sent {
        assert_eq!(&read(&spool, *id).await, body);
        assert_eq!(spool.message(*id).unwrap().envelope, envelope(1));
    }
}

/// The committer closes the spool a moment after the last handle is gone.
async fn reopened(directory: &std::path::Path) -> (Spool, crate::spool::Recovery) {
    for _ in 0..10_000 {
        match Spool::open(directory, Options::default()) {
            Err(SpoolError::InUse) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
        std::thread::yield_now();
    }
    panic!("the spool stays in use");
}

#[tokio::test]
async fn ids_are_not_given_again_after_everything_is_gone() {
    let (model, shared) = disk();
    let (spool, _) = Spool::on(shared.clone(), SMALL).unwrap();
    let id = send(&spool, b"x\r\n").await.unwrap();
    spool.record(id, done()).await.unwrap();
    assert_eq!(spool.count(), 0);
    let uncommitted = spool.begin().id();
    let (spool, _) = Spool::on(Arc::new(ModelDisk::of(model.files())), SMALL).unwrap();
    assert!(send(&spool, b"y\r\n").await.unwrap() > uncommitted.max(id));
}

#[tokio::test]
async fn a_notice_takes_the_place_of_its_message() {
    let (model, shared) = disk();
    let (spool, _) = Spool::on(shared, SMALL).unwrap();
    let id = send(&spool, b"x\r\n").await.unwrap();
    let failed = Outcome::Failed { status: "5.1.1".into(), diagnostic: "no".into(), notice: None };
    let changes = vec![Change::Done { recipient: 0, outcome: failed }];
    let notice = Notice { envelope: envelope(1), octets: b"returned\r\n".to_vec() };
    let notice = spool.conclude(id, changes, Some(notice)).await.unwrap().unwrap();
    let (spool, _) = Spool::on(Arc::new(ModelDisk::of(model.files())), SMALL).unwrap();
    assert_eq!(spool.ids(), [notice]);
    assert_eq!(read(&spool, notice).await, b"returned\r\n");
    assert!(matches!(spool.record(id, done()).await, Err(SpoolError::Unknown(_))));
}

#[tokio::test]
async fn a_disk_that_fails_is_said_and_survived() {
    let cases = [
        ("sync", Faults { fail_sync: Some(0), ..Faults::default() }, false),
        ("write", Faults { fail_append: Some(0), ..Faults::default() }, true),
        ("full", Faults { free: Some(10), ..Faults::default() }, true),
        ("read-only", Faults { read_only: true, ..Faults::default() }, false),
    ];
    for (name, faults, full) in cases {
        let (model, shared) = disk();
        let (spool, _) = Spool::on(shared, SMALL).unwrap();
        let first = send(&spool, b"first\r\n").await.unwrap();
        model.set(faults);
        let error = send(&spool, b"second\r\n").await.unwrap_err();
        assert_eq!(error.is_full(), full, "{name}: {error}");
        model.set(Faults::default());
        let third = send(&spool, b"third\r\n").await.unwrap();
        let (spool, recovery) = Spool::on(Arc::new(ModelDisk::of(model.files())), SMALL).unwrap();
        assert_eq!((spool.ids(), recovery.unreadable), (vec![first, third], Vec::new()), "{name}");
    }
}

#[tokio::test]
async fn outcomes_are_recorded_from_the_reserve() {
    let (model, shared) = disk();
    let (spool, _) = Spool::on(shared, SMALL).unwrap();
    let id = send(&spool, b"first\r\n").await.unwrap();
    model.set(Faults { free: Some(10), ..Faults::default() });
    assert!(spool.record(id, done()).await.is_ok());
}

#[tokio::test]
async fn damage_is_told_of_and_the_rest_is_there() {
    let (model, shared) = disk();
    let (spool, _) = Spool::on(shared, SMALL).unwrap();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(send(&spool, &[b'x'; 20_000]).await.unwrap());
    }
    let mut files = model.files();
    let first = files.get_mut("00000001.seg").unwrap();
    // In the description of the first message: it is lost, and said to be.
    first[64 + 36 + 5] ^= 1;
    let (spool, recovery) = Spool::on(Arc::new(ModelDisk::of(files)), SMALL).unwrap();
    // A start does not read it; who does is told.
    assert_eq!((spool.ids(), recovery.unreadable), (ids.clone(), Vec::new()));
    let found: Vec<_> = ids.iter().map(|id| spool.check(*id).unwrap()).collect();
    assert_eq!(found[0].as_ref().unwrap_err().id, Some(ids[0]));
    assert_eq!(found[1..], vec![Ok(20_000); 4]);
    assert!(matches!(spool.message(ids[0]), Err(SpoolError::Damaged(..))));
}

#[tokio::test]
async fn what_is_damaged_hides_nothing_from_who_looks_at_a_spool_that_nobody_serves() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(directory.path(), SMALL).unwrap();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(send(&spool, &[b'x'; 20_000]).await.unwrap());
    }
    drop(spool);
    let path = directory.path().join("segments/00000001.seg");
    let mut first = std::fs::read(&path).unwrap();
    first[64 + 36 + 5] ^= 1;
    std::fs::write(&path, first).unwrap();
    drop(reopened(directory.path()).await); // waits until it is closed
    let (stored, recovery) = loop {
        match inspect(directory.path()) {
            Err(SpoolError::InUse) => tokio::task::yield_now().await,
            found => break found.unwrap(),
        }
    };
    assert_eq!(stored.iter().map(|stored| stored.id).collect::<Vec<_>>(), ids[1..]);
    let [found] = &recovery.unreadable[..] else { panic!("{recovery:?}") };
    assert_eq!((found.id, found.file.as_str()), (Some(ids[0]), "00000001.seg"));
    let place = Place { segment: 2, offset: 64 };
    let found = Unreadable::message(ids[1], &SpoolError::Damaged(ids[1], place));
    assert_eq!((found.file.as_str(), found.offset), ("00000002.seg", 64));
}

#[tokio::test]
async fn space_comes_back() {
    let (model, shared) = disk();
    let (spool, _) = Spool::on(shared, SMALL).unwrap();
    let stays = send(&spool, b"stays\r\n").await.unwrap();
    for _ in 0..200 {
        let id = send(&spool, &[b'x'; 10_000]).await.unwrap();
        spool.record(id, done()).await.unwrap();
    }
    let files = model.files();
    assert!(files.len() <= 3, "{:?}", files.keys());
    let (spool, _) = Spool::on(Arc::new(ModelDisk::of(files)), SMALL).unwrap();
    assert_eq!(spool.ids(), [stays]);
    assert_eq!(read(&spool, stays).await, b"stays\r\n");
}

/// Where a sync waits until it is let go.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, closed: bool) {
        self.state.lock().unwrap().0 = closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| state.0).unwrap());
    }

    fn wait_for_arrivals(&self, arrivals: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.1 < arrivals).unwrap());
    }

    fn arrivals(&self) -> usize {
        self.state.lock().unwrap().1
    }
}

#[tokio::test]
async fn a_lone_commit_takes_one_sync_and_twenty_share_theirs() {
    let gate = Arc::new(Gate::default());
    let entered = gate.clone();
    let disk = Hooked::new(Arc::new(ModelDisk::default()), move || entered.pass());
    let (spool, _) = Spool::on(Arc::new(disk), Options { reserve: 0, ..Options::default() }).unwrap();
    let before = gate.arrivals();
    send(&spool, b"alone\r\n").await.unwrap();
    assert_eq!(gate.arrivals() - before, 1);

    gate.set(true);
    let before = gate.arrivals();
    let send_one = |spool: Spool| tokio::spawn(async move { send(&spool, b"together\r\n").await });
    let mut sessions = vec![send_one(spool.clone())];
    // The first is in its sync; the others come meanwhile.
    tokio::task::yield_now().await;
    let waiting = gate.clone();
    tokio::task::spawn_blocking(move || waiting.wait_for_arrivals(before + 1)).await.unwrap();
    sessions.extend((0..19).map(|_| send_one(spool.clone())));
    // One thread runs the sessions: after a turn each has handed in its commit.
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
    gate.set(false);
    for session in sessions {
        session.await.unwrap().unwrap();
    }
    assert_eq!(gate.arrivals() - before, 2);
}

/// Zeros are written ahead of what is small; a segment that is full ends where its records end, durably, or the next
/// one says where.
#[tokio::test]
async fn zeros_written_ahead_are_no_damage() {
    for faults in [Faults::default(), Faults { fail_truncate: true, ..Faults::default() }] {
        let (model, shared) = disk();
        let (spool, _) = Spool::on(shared, Options { segment_size: 10_000, ..SMALL }).unwrap();
        model.set(faults);
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(send(&spool, &[b'x'; 2000]).await.unwrap());
        }
        model.set(Faults::default());
        let files = model.files();
        let ends_in_zeros = |file: &Vec<u8>| file.ends_with(&[0; 100]);
        let padded =
            files.iter().filter(|(name, file)| name.ends_with(".seg") && ends_in_zeros(file)).count();
        let expected = if faults.fail_truncate { files.len() - 1 } else { 1 };
        assert_eq!(padded, expected, "{:?}", files.iter().map(|(n, f)| (n, f.len())).collect::<Vec<_>>());
        let (spool, recovery) = Spool::on(Arc::new(ModelDisk::of(files)), SMALL).unwrap();
        assert_eq!((spool.ids(), recovery.torn, recovery.unreadable), (ids, 0, Vec::new()));
    }
}
