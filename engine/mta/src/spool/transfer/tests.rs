//! Exports and their way back, whole, cut and spoilt.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::super::tests::envelope;
use super::super::tests::model::{Faults, ModelDisk};
use super::files;
use super::import::import_on;
use super::*;
use crate::message::{Notify, Outcome, QueueId, Ret, Timestamp};
use crate::spool::{Change, Options, Recovery, Spool, SpoolError, Standing, Wait, inspect};

const SIZES: [usize; 7] = [0, 2, 4096, 64 * 1024, 64 * 1024 + 2, 128 * 1024, 300_000];

async fn opened(spool: &Path) -> (Spool, Recovery) {
    loop {
        match Spool::open(spool, Options::default()) {
            Err(SpoolError::InUse) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// Waits until a spool that was dropped is closed.
async fn close(spool: Spool, path: &Path) {
    drop(spool);
    while matches!(inspect(path), Err(SpoolError::InUse)) {
        std::thread::yield_now();
    }
}

fn lines(size: usize) -> Vec<u8> {
    let mut octets = vec![b'x'; size];
    for at in (0..size).step_by(64) {
        let end = (at + 64).min(size);
        octets[end - 2..end].copy_from_slice(b"\r\n");
    }
    octets
}

fn wait() -> Wait {
    Wait {
        attempts: 3,
        next: Timestamp(1_900_000_000_123),
        status: "4.4.1".into(),
        diagnostic: "late".into(),
    }
}

/// A queue with messages of all sizes; of the last one recipient is done and one waits.
async fn filled(path: &Path) -> Vec<QueueId> {
    let (spool, _) = opened(path).await;
    let mut ids = Vec::new();
    for size in SIZES {
        let mut incoming = spool.begin();
        incoming.write(&lines(size)).await.unwrap();
        let mut envelope = envelope(3);
        envelope.ret = Some(Ret::Headers);
        envelope.envid = Some("x+2By".into());
        envelope.recipients[0].notify = Some(Notify { success: true, failure: false, delay: true });
        envelope.recipients[1].notify = Some(Notify::default());
        envelope.recipients[2].orcpt = Some("rfc822;a@b.example".into());
        envelope.recipients[2].expanded_from = Some("all".parse().unwrap());
        ids.push(incoming.commit(envelope).await.unwrap());
    }
    let outcome = Outcome::Removed { uid: 0 };
    let changes =
        vec![Change::Done { recipient: 0, outcome }, Change::Deferred { recipient: 1, wait: wait() }];
    spool.record(*ids.last().unwrap(), changes).await.unwrap();
    close(spool, path).await;
    ids
}

struct World {
    dir: TempDir,
    ids: Vec<QueueId>,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ids = filled(&dir.path().join("from")).await;
        Self { dir, ids }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn export(&self) -> PathBuf {
        let to = self.path("export");
        let exported = export(&self.path("from"), &to).unwrap();
        assert_eq!((exported.messages, exported.unreadable), (SIZES.len() as u64, Vec::new()));
        to
    }
}

#[tokio::test]
async fn a_queue_goes_out_and_comes_back_the_same() {
    let world = World::new().await;
    let (from, to) = (world.path("from"), world.path("to"));
    let out = world.export();
    assert_eq!(verify(&from).unwrap().messages, SIZES.len() as u64);
    let imported = import(&to, &out).unwrap();
    let count = SIZES.len() as u64;
    assert_eq!(imported, Imported { messages: count, released: count, ..Imported::default() });
    let (before, _) = inspect(&from).unwrap();
    let (after, recovery) = inspect(&to).unwrap();
    assert_eq!(recovery.unreadable, []);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((&old.envelope, old.size, &old.progress), (&new.envelope, new.size, &new.progress));
    }
    let last = &after.last().unwrap().progress;
    assert_eq!(
        (last.of(0), last.of(1), last.of(2)),
        (&Standing::Done, &Standing::Deferred(wait()), &Standing::Fresh)
    );
    let (spool, _) = opened(&to).await;
    for (id, size) in spool.ids().into_iter().zip(SIZES) {
        assert_eq!(spool.body(id).unwrap().beginning(usize::MAX).await.unwrap(), lines(size));
    }
}

#[tokio::test]
async fn what_was_imported_is_not_imported_again_even_after_it_was_delivered() {
    let world = World::new().await;
    let (out, to) = (world.export(), world.path("to"));
    import(&to, &out).unwrap();
    let (spool, _) = opened(&to).await;
    let delivered = spool.ids()[0];
    let done = |recipient| Change::Done { recipient, outcome: Outcome::Removed { uid: 0 } };
    spool.record(delivered, (0..3).map(done).collect()).await.unwrap();
    close(spool, &to).await;
    let again = import(&to, &out).unwrap();
    assert_eq!(again, Imported { already: true, ..Imported::default() });
    assert_eq!(inspect(&to).unwrap().0.len(), SIZES.len() - 1);
    let elsewhere = import(&world.path("third"), &out);
    assert!(matches!(elsewhere, Err(TransferError::Elsewhere { .. })), "{elsewhere:?}");
}

#[tokio::test]
async fn an_import_that_is_cut_anywhere_goes_on_and_takes_nothing_in_twice() {
    let world = World::new().await;
    let out = world.export();
    let checked = files::check(&out).unwrap();
    let mut cuts = 0;
    for fail_at in 0..40 {
        let _ = fs::remove_file(out.join(files::DONE));
        let disk = ModelDisk::default();
        disk.set(match fail_at % 2 {
            0 => Faults { fail_append: Some(fail_at / 2), ..Faults::default() },
            _ => Faults { fail_sync: Some(fail_at / 2), ..Faults::default() },
        });
        let first = import_on(Arc::new(disk.clone()), Path::new("x"), &out, &checked);
        cuts += u32::from(first.is_err());
        // Nothing is delivered before all of it is there.
        let (files, done) = (disk.files(), out.join(files::DONE).exists());
        let (spool, _) = Spool::on(Arc::new(ModelDisk::of(files.clone())), Options::default()).unwrap();
        let free = |id: &QueueId| !spool.message(*id).unwrap().progress.held;
        assert!(done || !spool.ids().iter().any(free), "{fail_at}");
        let again = ModelDisk::of(files);
        import_on(Arc::new(again.clone()), Path::new("x"), &out, &checked).unwrap();
        let (spool, _) = Spool::on(Arc::new(again), Options::default()).unwrap();
        let sizes: BTreeMap<u64, u32> = spool.ids().into_iter().fold(BTreeMap::new(), |mut sizes, id| {
            let stored = spool.message(id).unwrap();
            assert!(!stored.progress.held);
            *sizes.entry(stored.size).or_default() += 1;
            sizes
        });
        assert_eq!(sizes, SIZES.map(|size| (size as u64, 1)).into(), "{fail_at}");
    }
    assert!(cuts > 10, "{cuts}");
}

#[tokio::test]
async fn what_is_held_stays_held_and_the_rest_is_released() {
    let world = World::new().await;
    let (spool, _) = opened(&world.path("from")).await;
    spool.record(world.ids[2], vec![Change::Held]).await.unwrap();
    close(spool, &world.path("from")).await;
    let imported = import(&world.path("to"), &world.export()).unwrap();
    assert_eq!(imported.released, SIZES.len() as u64 - 1);
    let held: Vec<bool> =
        inspect(&world.path("to")).unwrap().0.iter().map(|stored| stored.progress.held).collect();
    assert_eq!(held, [false, false, true, false, false, false, false]);
}

#[tokio::test]
async fn what_an_import_holds_is_told_from_what_an_operator_does() {
    let world = World::new().await;
    let (to, out) = (world.path("to"), world.export());
    import(&to, &out).unwrap();
    let (spool, _) = opened(&to).await;
    let ids = spool.ids();
    // As one that was cut leaves it, and one that an operator holds since.
    spool.record(ids[0], vec![Change::Held]).await.unwrap();
    spool.record(ids[1], vec![Change::HeldBy { uid: 7 }]).await.unwrap();
    let states = |id| spool.message(id).map(|stored| (stored.is_importing, stored.progress.held_by)).unwrap();
    assert_eq!((states(ids[0]), states(ids[1])), ((true, None), (false, Some(7))));
    close(spool, &to).await;
    assert_eq!(import(&to, &out).unwrap().released, 1);
    let held: Vec<bool> = inspect(&to).unwrap().0.iter().map(|stored| stored.progress.held).collect();
    assert_eq!(held[..3], [false, true, false]);
    // Nor does an import that is not whole go out with an export as if somebody held it.
    let (spool, _) = opened(&to).await;
    spool.record(ids[2], vec![Change::Held]).await.unwrap();
    close(spool, &to).await;
    let again = world.path("again");
    export(&to, &again).unwrap();
    let is_held = |id: &QueueId| {
        fs::read_to_string(again.join(format!("{id}.json"))).unwrap().contains("\"held\": true")
    };
    assert_eq!(ids[..3].iter().map(is_held).collect::<Vec<_>>(), [false, true, false]);
}

/// What is spoilt, how, and what is said of it.
#[tokio::test]
async fn an_export_that_is_not_whole_is_refused_whole() {
    type Spoil = fn(&Path, &str);
    fn edit(path: &Path, from: &str, to: &str) {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
    let cases: [(Spoil, &str); 15] = [
        (|dir, _| fs::remove_file(dir.join("export.json")).unwrap(), "export.json: is not there"),
        (
            |dir, _| edit(&dir.join("export.json"), "\"messages\": 7", "\"messages\": 8"),
            "export.json: it counts 8 messages, and 7 are here",
        ),
        (|dir, id| fs::remove_file(dir.join(format!("{id}.eml"))).unwrap(), ".eml: is not there"),
        (
            |dir, id| fs::remove_file(dir.join(format!("{id}.json"))).unwrap(),
            ".eml: has no envelope beside it",
        ),
        (|dir, _| fs::write(dir.join("notes"), "x").unwrap(), "notes: is no file of an export"),
        (
            |dir, id| fs::write(dir.join(format!("{id}.eml")), "x\r\n").unwrap(),
            ".eml: 3 octets, and the envelope says 4096",
        ),
        (
            |dir, id| {
                fs::write(
                    dir.join(format!("{id}.eml")),
                    lines(4096).iter().map(|&b| if b == b'x' { b'y' } else { b }).collect::<Vec<_>>(),
                )
                .unwrap()
            },
            ".eml: its crc32 is",
        ),
        (
            |dir, id| fs::write(dir.join(format!("{id}.eml")), "x\r\nab\n").unwrap(),
            ".eml:2:3: a line ends with LF alone",
        ),
        (
            |dir, id| fs::write(dir.join(format!("{id}.eml")), "x\ry\r\n").unwrap(),
            ".eml:1:3: a CR within a line",
        ),
        (|dir, id| edit(&dir.join(format!("{id}.json")), "\"held\"", "\"hold\""), "unknown field `hold`"),
        (|dir, id| edit(&dir.join(format!("{id}.json")), "user1@corp.example", "user1@"), ".json:"),
        (
            |dir, id| edit(&dir.join(format!("{id}.json")), "1970-01-01T", "1970-01-41T"),
            "arrived: `1970-01-41T",
        ),
        (|dir, id| edit(&dir.join(format!("{id}.json")), "\"NEVER\"", "\"SOON\""), "notify: `SOON`"),
        (
            |dir, id| edit(&dir.join(format!("{id}.json")), "\"version\": 1", "\"version\": 2"),
            ".json: version 2",
        ),
        (|dir, id| edit(&dir.join(format!("{id}.json")), "\"HDRS\"", "\"SOME\""), "ret: `SOME`"),
    ];
    for (spoil, said) in cases {
        let world = World::new().await;
        let out = world.export();
        spoil(&out, &world.ids[2].to_string());
        match import(&world.path("to"), &out) {
            Err(TransferError::Malformed { faults, .. }) => {
                assert!(faults.iter().any(|fault| fault.to_string().contains(said)), "{said}: {faults:?}");
            }
            other => panic!("{said}: {other:?}"),
        }
        assert!(!world.path("to").exists(), "{said}: something was done");
    }
}

#[tokio::test]
async fn what_is_damaged_is_named_and_left_out() {
    let world = World::new().await;
    let from = world.path("from");
    // A later segment says how much of the first one counts.
    close(opened(&from).await.0, &from).await;
    let path = from.join("segments/00000001.seg");
    let mut octets = fs::read(&path).unwrap();
    // In the body of the last message, which is the last in the file but for the record of its outcomes.
    let at = octets.len() - 20_000;
    octets[at] ^= 1;
    fs::write(&path, octets).unwrap();
    let last = *world.ids.last().unwrap();
    let verified = verify(&from).unwrap();
    assert_eq!(verified.messages, SIZES.len() as u64 - 1);
    assert_eq!(verified.unreadable.iter().map(|found| found.id).collect::<Vec<_>>(), [Some(last)]);
    let exported = export(&from, &world.path("export")).unwrap();
    assert_eq!((exported.messages, exported.unreadable.len()), (SIZES.len() as u64 - 1, 1));
    import(&world.path("to"), &world.path("export")).unwrap();
    assert_eq!(inspect(&world.path("to")).unwrap().0.len(), SIZES.len() - 1);
}

#[tokio::test]
async fn neither_works_on_a_queue_that_is_served_nor_into_a_directory_that_has_something() {
    let world = World::new().await;
    let out = world.export();
    assert!(matches!(export(&world.path("from"), &out), Err(TransferError::NotEmpty { .. })));
    let (spool, _) = opened(&world.path("from")).await;
    for refused in [
        export(&world.path("from"), &world.path("other")).map(drop),
        import(&world.path("from"), &out).map(drop),
        verify(&world.path("from")).map(drop),
    ] {
        assert!(
            matches!(refused, Err(TransferError::Spool { source: SpoolError::InUse, .. })),
            "{refused:?}"
        );
    }
    assert!(!world.path("other").exists());
    drop(spool);
}
