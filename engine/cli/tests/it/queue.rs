//! `mailstack queue`: from one host to another, by files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::host::binary;
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

    // One octet of a body, in a segment that another follows: each start begins one, and retries may have moved what
    // an earlier one held.
    world.start().stop();
    let segments = || {
        let entries = fs::read_dir(world.host.path("var/spool/mailstack/segments")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let place =
        |path: &PathBuf| fs::read(path).unwrap().windows(13).position(|part| part == b"X-Serial: 2\r\n");
    if segments().last().and_then(place).is_some() {
        world.start().stop();
    }
    let (found, at) = segments().iter().find_map(|path| Some((path.clone(), place(path)?))).unwrap();
    let mut octets = fs::read(&found).unwrap();
    octets[at] ^= 1;
    fs::write(&found, octets).unwrap();
    let verified = world.host.mailstack(&["queue", "verify"]).with(7);
    assert!(verified.out.starts_with("2 messages whole"), "{}", verified.out);
    assert!(verified.err.contains("damaged"), "{}", verified.err);
}

fn json(world: &World, arguments: &[&str], code: i32) -> Vec<serde_json::Value> {
    let ended = world.host.mailstack(&[&["queue"], arguments, &["--json"]].concat()).with(code);
    let value: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    value.as_array().unwrap().clone()
}

/// Once nothing is being tried.
fn at_rest(world: &World) {
    wait_until("nothing is being tried", || {
        let listed = json(world, &["list"], 0);
        listed.iter().flat_map(|one| one["recipients"].as_array().unwrap()).all(|to| to["active"] == false)
    });
}

/// Selected by sender, recipient, destination and age, and all of it must be so.
fn selections(world: &World, ids: &[String]) {
    let far = "to-2-0@FAR.example";
    for (selection, count) in [
        (&["--sender", "sender-3@far.example"][..], 1),
        (&["--sender", "@far.example"], 6),
        (&["--sender", "@far.example", "--recipient", far], 1),
        (&["--sender", "sender-3", "--recipient", far], 0),
        (&["--recipient", "to-*-2@far.example"], 2),
        (&["--destination", "[127.0.0.1]:*"], 6),
        (&["--destination", "local"], 0),
        (&["--younger-than", "1h"], 6),
        (&["--older-than", "1h"], 0),
        (&[&ids[1], &ids[4]], 2),
    ] {
        assert_eq!(json(world, &[&["list"], selection].concat(), 0).len(), count, "{selection:?}");
    }
}

/// What is shown of the message with the number 2.
fn looks(world: &World, id: &str) {
    let shown = world.host.mailstack(&["queue", "show", id]).with(0).out;
    for part in [id, "<sender-2@far.example>", "to-2-0@far.example", "held by an operator", "Subject: load"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("of message 2"), "{shown}");
    let whole = world.host.mailstack(&["queue", "show", id, "--body"]).with(0).out;
    let octets = String::from_utf8(Serial(2).octets()).unwrap();
    assert!(whole.ends_with(&octets), "{whole}");
    let mailq =
        Command::new(binary()).args(["mailq", "-v"]).env("MAILSTACK_ROOT", world.host.root()).output();
    let mailq = String::from_utf8(mailq.unwrap().stdout).unwrap();
    assert!(mailq.contains(&format!("{}?", id)) && mailq.contains("(to [127.0.0.1]:"), "{mailq}");
}

#[test]
fn an_operator_holds_releases_removes_and_returns_what_is_selected() {
    let (world, daemon, _) = filled(6);
    let ids: Vec<String> =
        json(&world, &["list"], 0).iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    // Not to everything by leaving something out.
    for command in ["hold", "release", "remove", "requeue", "bounce"] {
        world.host.mailstack(&["queue", command]).with(2);
    }
    world.host.mailstack(&["queue", "remove", "ZZZZ"]).with(2);
    let unknown = world.host.mailstack(&["queue", "hold", "000000000ZZZZ"]).with(2);
    assert!(unknown.out.contains("not in the queue"), "{}", unknown.out);

    let tried = json(&world, &["hold", "--all", "--dry-run"], 0);
    assert_eq!((tried.len(), tried[0]["text"].as_str()), (6, Some("would be held")));
    assert_eq!(
        world.host.mailstack(&["queue", "list"]).with(0).out.matches("held by an operator").count(),
        0
    );
    assert_eq!(json(&world, &["hold", "--all"], 0).len(), 6);
    at_rest(&world);

    selections(&world, &ids);

    // One recipient of three alone; the rest of the message stays.
    let removed = json(&world, &["remove", "--recipient", "to-5-2@far.example"], 0);
    assert_eq!(removed[0]["recipients"], serde_json::json!(["to-5-2@far.example"]));
    assert_eq!(json(&world, &["list", "--sender", "sender-5"], 0).len(), 1);
    let bounced = json(&world, &["bounce", "--sender", "sender-5", "--reason", "no contract"], 0);
    assert_eq!(bounced[0]["recipients"].as_array().unwrap().len(), 2);
    assert_eq!(json(&world, &["list", "--sender", "sender-5"], 0).len(), 0);
    let report = json(&world, &["list", "--sender", "<>"], 0);
    assert_eq!((report.len(), &report[0]["recipients"][0]["address"]), (1, &"sender-5@far.example".into()));

    looks(&world, &ids[1]);

    // What is held stays so over a restart, and can be looked at meanwhile.
    daemon.stop();
    let stopped = world.host.mailstack(&["queue", "list"]).with(0);
    assert!(stopped.err.contains("does not run"), "{}", stopped.err);
    // Each recipient has a line of its own.
    assert_eq!(stopped.out.matches("held by an operator (uid ").count(), 9, "{}", stopped.out);
    looks(&world, &ids[1]);
    let refused = world.host.mailstack(&["queue", "remove", "--all"]).with(7);
    assert!(refused.err.contains("does not run"), "{}", refused.err);
    let daemon = world.start();
    world.sink.set_down(false);
    wait_until("the report has gone", || world.sink.count() == 1);
    assert_eq!(world.queued(), 5);
    let mut release = Command::new(binary());
    release.args(["queue", "release", "-"]).env("MAILSTACK_ROOT", world.host.root());
    let mut release = release.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    release
        .stdin
        .take()
        .unwrap()
        .write_all(format!("{} and more\n\n{}\n", ids[0], ids[1]).as_bytes())
        .unwrap();
    assert!(release.wait().unwrap().success());
    wait_until("they have gone", || world.queued() == 3);
    assert_eq!(json(&world, &["release", "--all"], 0).len(), 3);
    wait_until("all have gone", || world.queued() == 0);
    daemon.stop();
    let lines = world.lines();
    let logged = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(logged("held by an operator, nrcpts="), 6);
    assert_eq!((logged("stat=Removed (by uid "), logged("bounced by an operator, nrcpts=2")), (1, 1));
}

#[test]
fn others_than_root_change_nothing_and_see_what_is_theirs() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: another user can be had by root alone");
        return;
    }
    let (world, daemon, _) = filled(1);
    let id = json(&world, &["list"], 0)[0]["id"].as_str().unwrap().to_owned();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).env("MAILSTACK_ROOT", world.host.root()).uid(65534).gid(65534);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for command in ["hold", "release", "remove", "requeue", "bounce"] {
        let (code, said) = as_nobody(&["queue", command, "--all"]);
        assert!(code == 7 && said.contains("only root and the MTA's own user"), "{command}: {code} {said}");
    }
    let (code, said) = as_nobody(&["queue", "show", &id]);
    assert!(code == 7 && said.contains("is not in the queue"), "{code} {said}");
    daemon.stop();
    let (code, said) = as_nobody(&["queue", "list"]);
    assert!(code == 7 && said.contains("ask as root"), "{code} {said}");
    assert_eq!(json(&world, &["list"], 0).len(), 1);
}

#[test]
fn status_says_who_takes_nothing_and_what_to_do() {
    let (world, daemon, _) = filled(3);
    let said = || world.host.mailstack(&["status"]).with(0).err;
    wait_until("the next hop is named", || said().contains("6 recipients wait for hosts that take nothing"));
    let text = said();
    assert!(text.contains("[127.0.0.1]:") && text.contains("queue flush --destination"), "{text}");
    world.sink.set_down(false);
    wait_until("the queue is empty", || {
        world.host.mailstack(&["queue", "flush"]);
        world.queued() == 0
    });
    assert!(!said().contains("take nothing"), "{}", said());
    daemon.stop();
}

#[test]
fn what_is_counted_is_printed_and_put_into_a_file_in_one_step() {
    let (world, daemon, _) = filled(3);
    at_rest(&world);
    let text = world.host.mailstack(&["metrics"]).with(0).out;
    for line in [
        "mailstack_queue_messages 3\n",
        "mailstack_queue_recipients{state=\"waiting\"} 6\n",
        "mailstack_messages_accepted_total{client=\"network\"} 3\n",
        "mailstack_recipients_deferred_total{status=\"4.4\"} ",
        "mailstack_spool_sync_seconds_count ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let file = world.host.path("mailstack.prom");
    let write = || world.host.mailstack(&["metrics", "--output", file.to_str().unwrap()]);
    write().with(0);
    write().with(0);
    assert!(fs::read_to_string(&file).unwrap().contains("mailstack_queue_messages 3\n"));
    let left: Vec<_> =
        fs::read_dir(world.host.root()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.iter().filter(|name| name.to_string_lossy().contains(".prom")).count(), 1, "{left:?}");
    world.host.mailstack(&["metrics", "-o", "/nonexistent/x.prom"]).with(2);
    daemon.stop();
    write().with(7);
    if let Ok(found) = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn() {
        let mut found = found;
        found.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(found.wait().unwrap().success());
    }
}
