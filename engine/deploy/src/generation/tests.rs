use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;

fn contents(table: &str) -> Contents {
    let entry = |text: &str, kind| Entry { bytes: text.as_bytes().to_vec(), mode: 0o644, kind };
    let mut contents = Contents {
        role: "gateway".to_owned(),
        source: b"# why\nschema = 1\n".to_vec(),
        declaration: b"{}".to_vec(),
        ..Contents::default()
    };
    contents.files.insert("etc/mail/mailertable".to_owned(), entry(table, Kind::Table));
    contents.files.insert("etc/mailstack/mta.toml".to_owned(), entry("version = 1\n", Kind::Mta));
    contents
}

#[test]
fn the_digest_covers_files_and_modes_but_neither_the_source_nor_what_is_derived() {
    let first = contents("a\n").seal();
    let mut same = contents("a\n");
    same.source = b"schema = 1\n".to_vec();
    same.derived.insert("etc/mail/sendmail.cf".to_owned(), (b"cf".to_vec(), 0o644, "cf 8.17".to_owned()));
    assert_eq!(first.digest(), same.seal().digest());
    assert_ne!(first.digest(), contents("b\n").seal().digest());
    let mut closed = contents("a\n");
    if let Some(entry) = closed.files.get_mut("etc/mail/mailertable") {
        entry.mode = 0o600;
    }
    assert_ne!(first.digest(), closed.seal().digest());
}

#[test]
fn a_generation_is_written_once_and_its_drift_is_named() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::below(root.path());
    let candidate = contents("a\n").seal();
    assert!(store.put(&candidate).unwrap());
    assert!(!store.put(&candidate).unwrap());
    let stored = store.get(candidate.digest()).unwrap().unwrap();
    assert_eq!(stored.drift().unwrap(), []);

    fs::write(stored.dir.join("etc/mail/mailertable"), "b\n").unwrap();
    fs::write(stored.dir.join("etc/mail/access"), "").unwrap();
    fs::set_permissions(stored.dir.join("etc/mailstack/mta.toml"), fs::Permissions::from_mode(0o666))
        .unwrap();
    fs::remove_file(stored.dir.join(DECLARATION)).unwrap();
    let expected = [
        Drift::Missing { path: DECLARATION.to_owned() },
        Drift::Changed { path: "etc/mail/mailertable".to_owned() },
        Drift::Mode {
            path: "etc/mailstack/mta.toml".to_owned(),
            written: "0644".to_owned(),
            found: "0666".to_owned(),
        },
        Drift::Added { path: "etc/mail/access".to_owned() },
    ];
    assert_eq!(stored.drift().unwrap(), expected);

    assert!(store.put(&candidate).unwrap(), "a drifted generation is written again");
    assert_eq!(store.get(candidate.digest()).unwrap().unwrap().drift().unwrap(), []);
}

#[test]
fn a_forged_manifest_is_drift() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::below(root.path());
    let candidate = contents("a\n").seal();
    store.put(&candidate).unwrap();
    let stored = store.get(candidate.digest()).unwrap().unwrap();
    let mut forged = stored.manifest.clone();
    forged.files.retain(|file| file.kind != Kind::Table);
    fs::write(stored.dir.join(MANIFEST), forged.to_json()).unwrap();
    fs::remove_file(stored.dir.join("etc/mail/mailertable")).unwrap();
    let found = store.get(candidate.digest()).unwrap().unwrap().drift().unwrap();
    assert_eq!(found, [Drift::Manifest { path: MANIFEST.to_owned() }]);
}

#[test]
fn the_history_is_what_one_goes_back_through() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::below(root.path());
    let (first, second) = (contents("a\n").seal(), contents("b\n").seal());
    for candidate in [&first, &second] {
        store.put(candidate).unwrap();
        store.switch(candidate.digest()).unwrap();
        store.record(candidate.digest()).unwrap();
    }
    assert_eq!(store.current().as_ref(), Some(second.digest()));
    assert_eq!(store.before(second.digest()).unwrap().digest(), first.digest());
    let torn = store.dir().join("history");
    let whole = fs::read_to_string(&torn).unwrap();
    fs::write(&torn, &whole[..whole.len() - 9]).unwrap();
    assert_eq!(store.last_good().as_ref(), Some(first.digest()));
    store.record(second.digest()).unwrap();
    assert_eq!(store.last_good().as_ref(), Some(second.digest()));
}

#[test]
fn a_generation_is_found_by_the_beginning_of_its_name() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::below(root.path());
    let (first, second) = (contents("a\n").seal(), contents("b\n").seal());
    store.put(&first).unwrap();
    store.put(&second).unwrap();
    assert_eq!(store.find(first.digest().short()).unwrap().digest(), first.digest());
    assert!(matches!(store.find(""), Err(StoreError::Ambiguous { .. })));
    assert!(matches!(store.find("zz"), Err(StoreError::Unknown { .. })));
}

#[test]
fn what_a_killed_run_left_is_swept() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::below(root.path());
    let candidate = contents("a\n").seal();
    store.put(&candidate).unwrap();
    let left = store.dir().join("generations/.staging-half/etc");
    fs::create_dir_all(&left).unwrap();
    store.sweep().unwrap();
    assert!(!left.exists());
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn a_build_replaces_a_build_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    export(&contents("a\n").seal(), &out).unwrap();
    export(&contents("b\n").seal(), &out).unwrap();
    assert_eq!(fs::read_to_string(out.join("etc/mail/mailertable")).unwrap(), "b\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");

    let precious = dir.path().join("home");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("thesis"), "…").unwrap();
    let refused = export(&contents("a\n").seal(), &precious);
    assert!(matches!(refused, Err(StoreError::NotABuild { .. })), "{refused:?}");
    assert!(precious.join("thesis").exists());
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut written = contents("a\n");
    written.derived.insert("etc/mail/x.db".to_owned(), (Vec::new(), 0o664, String::new()));
    let candidate = written.seal();
    // Of the whole process: no other test depends on it, which is the point.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    export(&candidate, &out).unwrap();
    nix::sys::stat::umask(before);
    let mode = |path: &str| fs::metadata(out.join(path)).unwrap().mode() & 0o7777;
    assert_eq!(
        (mode("etc/mail/x.db"), mode("etc/mail/mailertable"), mode("etc/mail"), mode("")),
        (0o664, 0o644, 0o755, 0o755)
    );
    assert!(Path::new(&out).join(MANIFEST).is_file());
}

#[test]
fn of_those_written_in_one_second_the_newest_went_live_last() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::below(root.path());
    let second = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let all = ["a\n", "b\n", "c\n", "d\n"].map(|table| {
        let candidate = contents(table).seal();
        store.put(&candidate).unwrap();
        let manifest = std::fs::File::open(store.place(candidate.digest()).join(MANIFEST)).unwrap();
        manifest.set_modified(second).unwrap();
        candidate.digest().clone()
    });
    // Whatever the order of the digests is, one of the two differs from it.
    for order in [[0, 1, 2], [2, 1, 0]] {
        order.iter().for_each(|at| store.record(&all[*at]).unwrap());
        let listed: Vec<Digest> = store.list().unwrap().iter().map(|one| one.digest().clone()).collect();
        let mut expected: Vec<Digest> = order.iter().rev().map(|at| all[*at].clone()).collect();
        expected.push(all[3].clone());
        assert_eq!(listed, expected);
    }
}

#[test]
fn what_is_live_or_good_is_never_collected() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::below(root.path());
    let all: Vec<Digest> = ["a\n", "b\n", "c\n", "d\n"]
        .iter()
        .map(|table| {
            let candidate = contents(table).seal();
            store.put(&candidate).unwrap();
            candidate.digest().clone()
        })
        .collect();
    store.record(&all[0]).unwrap();
    store.switch(&all[1]).unwrap();
    let mut removed = store.collect(0).unwrap();
    removed.sort();
    let mut expected = vec![all[2].clone(), all[3].clone()];
    expected.sort();
    assert_eq!(removed, expected);
    let left: Vec<Digest> = store.list().unwrap().iter().map(|one| one.digest().clone()).collect();
    assert!(left.len() == 2 && left.contains(&all[0]) && left.contains(&all[1]));
    assert_eq!(store.collect(0).unwrap(), []);
}
