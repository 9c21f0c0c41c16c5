//! `mailstack queue`: from one host to another, by files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::load::account::balance;
use crate::load::daemon::World;
use crate::load::sender::{Client, Serial, Told};
use crate::load::wait_until;

/// A host with so many messages in its queue, which runs and cannot deliver.
fn filled(count: u64) -> (World, crate::load::daemon::Daemon, BTreeMap<Serial, Told>) {
    let world = World::new("");
    world.sink.set_down(true);
    let daemon = world.start();
    let mut client = Client::connect(world.port).unwrap();
    let told = (1..=count).map(|serial| (Serial(serial), client.send(Serial(serial)).unwrap())).collect();
    (world, daemon, told)
}

#[test]
fn a_queue_moves_to_another_host_and_arrives_from_there_once() {
    let (old, daemon, told) = filled(25);
    let out = old.host.path("export");
    let out = out.to_str().unwrap();

    let listed = old.host.mailstack(&["queue", "list", "--limit", "3", "--json"]).with(0).out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    let behind = old.host.mailstack(&["queue", "list", "--after", ids[2], "--json"]).with(0).out;
    assert_eq!(behind.matches("\"sender\"").count(), 22);
    let last = old.host.mailstack(&["queue", "list", "--after", "ZZZZZZZZZZZZZ"]);
    assert_eq!((last.code, last.out.as_str()), (2, ""), "no queue id is that high");

    let verified = old.host.mailstack(&["queue", "verify", "--json"]).with(0).out;
    let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
    assert_eq!((verified["messages"].as_u64(), &verified["damaged"]), (Some(25), &serde_json::json!([])));
    let refused = old.host.mailstack(&["queue", "export", out]).with(7);
    assert!(refused.err.contains("mailstack stop"), "{}", refused.err);
    daemon.stop();

    assert!(old.host.mailstack(&["queue", "verify"]).with(0).out.starts_with("25 messages whole"));
    let exported = old.host.mailstack(&["queue", "export", out]).with(0).out;
    assert!(exported.starts_with("25 messages"), "{exported}");
    old.host.mailstack(&["queue", "export", out]).with(2);

    let new = World::new("");
    let imported = new.host.mailstack(&["queue", "import", out, "--json"]).with(0).out;
    let imported: serde_json::Value = serde_json::from_str(&imported).unwrap();
    assert_eq!((imported["messages"].as_u64(), imported["released"].as_u64()), (Some(25), Some(25)));
    if nix::unistd::geteuid().is_root() {
        for entry in fs::read_dir(new.host.path("var/spool/mailstack/segments")).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().uid(), 64999, "the MTA could not read it");
        }
    }
    let daemon = new.start();
    wait_until("the queue is empty", || new.queued() == 0);
    daemon.stop();
    let again = new.host.mailstack(&["queue", "import", out]).with(0);
    assert!(again.err.contains("nothing was taken in again"), "{}", again.err);
    let balanced = balance(&told, &new.sink.arrivals(), &new.lines());
    assert_eq!((balanced.accepted, balanced.copies), (25, 0));
}

#[test]
fn what_cannot_be_imported_is_told_with_its_place_and_damage_is_named() {
    let (world, daemon, _) = filled(3);
    daemon.stop();
    let out = world.host.path("export");
    world.host.mailstack(&["queue", "export", out.to_str().unwrap()]).with(0);
    let mut names: Vec<_> = fs::read_dir(&out).unwrap().flatten().map(|entry| entry.path()).collect();
    names.sort();
    let envelope = names.iter().find(|path| path.extension().unwrap() == "json").unwrap();
    let text = fs::read_to_string(envelope).unwrap();
    fs::write(envelope, text.replacen("\"held\": false", "\"held\": 3", 1)).unwrap();
    let refused = world.host.mailstack(&["queue", "import", out.to_str().unwrap()]).with(1);
    let name = envelope.file_name().unwrap().to_str().unwrap();
    let line = text.lines().position(|line| line.contains("\"held\"")).unwrap() + 1;
    assert!(refused.err.contains(&format!("{name}:{line}:")), "{}", refused.err);
    world.host.mailstack(&["queue", "import", "/nonexistent"]).with(2);

    // One octet of a body, in a segment that another follows.
    world.start().stop();
    let segment = world.host.path("var/spool/mailstack/segments/00000001.seg");
    let segment = [segment, world.host.path("var/spool/mailstack/segments/00000002.seg")];
    let found = segment.iter().find(|path| fs::read(path).is_ok_and(|octets| octets.len() > 1000)).unwrap();
    let mut octets = fs::read(found).unwrap();
    let at = octets.windows(13).position(|part| part == b"X-Serial: 2\r\n").unwrap();
    octets[at] ^= 1;
    fs::write(found, octets).unwrap();
    let verified = world.host.mailstack(&["queue", "verify"]).with(7);
    assert!(verified.out.starts_with("2 messages whole"), "{}", verified.out);
    assert!(verified.err.contains("damaged"), "{}", verified.err);
}
