//! The drop directory, which anybody may write into.

use std::os::unix::fs::{PermissionsExt, symlink};

use mailstack_mta::message::Origin;
use mailstack_mta::submission::Request;
use mailstack_mta::submission::drop::write_drop;
use mailstack_policy::ReversePath;

use super::*;

fn digits(n: u32) -> String {
    format!("drop-{n:032x}")
}

fn put(directory: &Path) -> String {
    let request = Request::new(ReversePath::Null, vec!["alice".parse().unwrap()]);
    write_drop(directory, &config().limits, &request, &mut b"Subject: x\n\nbody\n".as_slice()).unwrap()
}

#[tokio::test]
async fn only_regular_files_of_one_link_are_taken() {
    let outside = tempfile::tempdir().unwrap();
    let mut world = World::start().await;
    let drop = world.drop_directory();
    let victim = outside.path().join(put(outside.path()));
    symlink(&victim, drop.join(digits(1))).unwrap();
    std::fs::hard_link(&victim, drop.join(digits(2))).unwrap();
    nix::unistd::mkfifo(&drop.join(digits(3)), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(drop.join(digits(4))).unwrap();
    std::fs::write(drop.join("another-name"), "x").unwrap();
    std::fs::write(drop.join(digits(5)), "not a drop file, and much longer than an end mark is\n").unwrap();
    let unfinished = drop.join(digits(6));
    std::fs::write(&unfinished, "mailstack-drop 1\n").unwrap();
    world.server.handle().scan_drop();
    let mut refused = Vec::new();
    while refused.len() < 4 {
        refused.push(
            world
                .event(|event| match event {
                    Event::DropRefused { file, .. } => Some(file.clone()),
                    _ => None,
                })
                .await,
        );
    }
    refused.sort_unstable();
    assert_eq!(refused, ["another-name".to_owned(), digits(1), digits(2), digits(3)]);
    assert_eq!(world.queued().await, 0);
    assert!(victim.exists() && unfinished.exists() && drop.join(digits(5)).exists());
    assert_eq!(std::fs::metadata(drop.join("refused")).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(drop.join("refused").join(digits(3)).symlink_metadata().is_ok());
}

#[tokio::test]
async fn the_owner_is_the_sender() {
    let mut world = World::start().await;
    let name = put(&world.drop_directory());
    let me = nix::unistd::geteuid().as_raw();
    let owner = if me == 0 { 1000 } else { me };
    std::os::unix::fs::chown(world.drop_directory().join(&name), Some(owner), None).unwrap();
    world.server.handle().scan_drop();
    let taken = world.event(|event| match event {
        Event::DropTaken { file, uid, .. } => Some((file.clone(), *uid)),
        _ => None,
    });
    assert_eq!(taken.await, (name.clone(), owner));
    let (envelope, text) = world.next_message().await;
    assert_eq!(envelope.origin, Origin::Local { uid: owner });
    assert!(text.starts_with("Received: (from alice@localhost)\r\n"), "{text}");
    assert!(!world.drop_directory().join(name).exists());
}

#[tokio::test]
async fn what_smtp_refuses_is_refused_in_a_drop_file() {
    let mut world = World::start_with(|config| config.limits.message_size = 1000).await;
    let drop = world.drop_directory();
    let head = "mailstack-drop 1\n{\"sender\":\"\",\"recipients\":[\"alice\"],\"eight_bit\":true,\"ret\":null,\"envid\":null,\"notify\":null}\n";
    let large = "x".repeat(1001);
    let messages = ["a\r\n.\nb\r\n", "a\rb\r\n", "a\0\r\n", "no end", &large];
    for (n, message) in (1..).zip(messages) {
        let file = format!("{head}{message}mailstack-end {:016x}\n", message.len());
        std::fs::write(drop.join(digits(n)), file).unwrap();
    }
    world.server.handle().scan_drop();
    for _ in messages {
        world.event(|event| matches!(event, Event::DropRefused { .. }).then_some(())).await;
    }
    assert_eq!(world.queued().await, 0);
}

#[tokio::test]
async fn what_another_user_put_in_the_place_for_refused_files_leaves_it() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path());
    let aside = root.path("var/spool/mailstack-drop/refused");
    std::fs::create_dir(&aside).unwrap();
    std::os::unix::fs::chown(&aside, Some(1000), None).unwrap();
    std::fs::write(root.path("var/spool/mailstack-drop/junk"), "x").unwrap();
    let mut world = World::start_in(root, |_| {}).await;
    world.event(|event| matches!(event, Event::DropRefused { .. }).then_some(())).await;
    let meta = std::fs::metadata(&aside).unwrap();
    assert_eq!((std::os::unix::fs::MetadataExt::uid(&meta), meta.permissions().mode() & 0o777), (0, 0o700));
    assert!(aside.join("junk").exists());
}

#[tokio::test]
async fn files_that_are_never_finished_hide_nobody_elses() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path());
    let drop = root.path("var/spool/mailstack-drop");
    for n in 0..5000 {
        std::fs::write(drop.join(digits(n)), "mailstack-drop 1\n").unwrap();
    }
    let name = put(&drop);
    let mut world = World::start_in(root, |_| {}).await;
    let taken = world.event(|event| match event {
        Event::DropTaken { file, .. } => Some(file.clone()),
        _ => None,
    });
    assert_eq!(taken.await, name);
}

#[tokio::test]
async fn an_envelope_id_that_smtp_refuses_is_refused() {
    let mut world = World::start().await;
    for envid in ["a b", "a\r\nRCPT TO:<b>", "", &"x".repeat(101)] {
        let mut request = Request::new(ReversePath::Null, vec!["alice".parse().unwrap()]);
        request.envid = Some(envid.to_owned());
        write_drop(&world.drop_directory(), &config().limits, &request, &mut b"\nx\n".as_slice()).unwrap();
        world.server.handle().scan_drop();
        world.event(|event| matches!(event, Event::DropRefused { .. }).then_some(())).await;
    }
    assert_eq!(world.queued().await, 0);
}
