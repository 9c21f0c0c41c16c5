//! Programs of this host: the submission socket, the control socket.

use mailstack_mta::control::{self, Client, Facts, Item};
use mailstack_mta::message::{Origin, Timestamp};
use mailstack_mta::submission::{MAX_RECIPIENTS, Request, SubmitError, Submitted, submit};
use mailstack_policy::ReversePath;

use super::*;

fn request(sender: &str, to: &[&str]) -> Request {
    let sender = ReversePath::try_from(sender.to_owned()).unwrap();
    Request::new(sender, to.iter().map(|to| to.parse().unwrap()).collect())
}

async fn hand_in(world: &World, request: Request, message: &'static str) -> Result<Submitted, SubmitError> {
    let (root, config) = (world.root.clone(), Arc::clone(&world.config));
    let handed =
        tokio::task::spawn_blocking(move || submit(&root, &config, &request, &mut message.as_bytes()));
    timeout(DEADLINE, handed).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_over_a_long_path_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a-directory-with-a-long-name/".repeat(6));
    let mut world = World::start_in(tree(&deep), |_| {}).await;
    let message = "Subject: cron\n\n.\nbody\n";
    let submitted = hand_in(&world, request("root", &["root", "alice@corp.example"]), message).await.unwrap();
    let Submitted::Queued { reply, refused } = submitted else { panic!("{submitted:?}") };
    assert!(reply.text().ends_with("Message accepted for delivery") && refused.is_empty(), "{reply}");
    let (envelope, text) = world.next_message().await;
    assert_eq!(envelope.origin, Origin::Local { uid: nix::unistd::geteuid().as_raw() });
    assert_eq!(envelope.sender.to_string(), "<root@gw.corp.example>");
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, ".\r\nbody\r\n");
    for field in ["Received: (from ", "Date: ", "Message-ID: <", "From: ", "Subject: cron"] {
        assert!(header.contains(field), "{field} in {header}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_recipients_are_told_and_exit_codes_follow() {
    let world = World::start().await;
    let both = hand_in(&world, request("alice", &["alice", "joe%@corp.example"]), "\nx\n").await.unwrap();
    assert!(matches!(&both, Submitted::Queued { refused, .. } if refused.len() == 1), "{both:?}");
    let none = hand_in(&world, request("alice", &["joe%@corp.example"]), "\nx\n").await.unwrap_err();
    assert_eq!(
        (none.exit_code(), none.to_string().as_str()),
        (69, "553 5.1.3 <joe%@corp.example>... Hostname required")
    );
    assert_eq!(world.queued().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_recipients_is_for_the_network_alone() {
    let mut world = World::start().await;
    let most = MAX_RECIPIENTS as usize;
    let to: Vec<String> = (0..most).map(|n| format!("{}{n}%@corp.example", "a".repeat(40))).collect();
    let mut names: Vec<&str> = to.iter().map(String::as_str).collect();
    // All are refused, but one.
    names[most - 1] = "alice@corp.example";
    let submitted = hand_in(&world, request("alice", &names), "\nx\n").await.unwrap();
    assert_eq!(submitted.exit_code(), 65);
    let Submitted::Queued { refused, .. } = submitted else { panic!("{submitted:?}") };
    assert_eq!(refused.len(), most - 1);
    assert_eq!(world.next_message().await.0.recipients.len(), 1);
    let partners: Vec<String> = (0..most).map(|n| format!("{}{n}@partner.example", "a".repeat(40))).collect();
    let partners: Vec<&str> = partners.iter().map(String::as_str).collect();
    let submitted = hand_in(&world, request("alice", &partners), "\nx\n").await.unwrap();
    assert_eq!(submitted.exit_code(), 0);
    let listed = world.queue.list(None, 10).await.unwrap();
    assert_eq!(listed.last().unwrap().recipients.len(), most);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_serves_so_it_is_dropped_and_taken_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path());
    let submitted =
        submit(&root, &config(), &request("alice", &["nobody"]), &mut b"Subject: x\n\nlate\n".as_slice());
    assert!(matches!(submitted.unwrap(), Submitted::Dropped { .. }));
    let mut world = World::start_in(root, |_| {}).await;
    world.event(|event| matches!(event, Event::DropTaken { .. }).then_some(())).await;
    let (envelope, text) = world.next_message().await;
    assert_eq!(envelope.recipients[0].address.to_string(), "nobody@gw.corp.example");
    assert!(text.ends_with("\r\n\r\nlate\r\n"), "{text}");
    let left = std::fs::read_dir(world.drop_directory()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_answers() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path());
    let segments = root.path(&config().paths.spool).join("segments");
    std::fs::create_dir_all(&segments).unwrap();
    std::fs::write(segments.join("junk"), "").unwrap();
    let refused = root.path(&config().paths.drop).join("refused");
    std::fs::create_dir(&refused).unwrap();
    let name = |n: u32| format!("drop-{n:032x}");
    std::fs::write(refused.join(name(1)), "").unwrap();
    std::fs::write(root.path(&config().paths.drop).join(name(2)), "").unwrap();
    let world = World::start_in(root, |_| {}).await;
    hand_in(&world, request("alice", &["alice"]), "\nx\n").await.unwrap();
    hand_in(&world, request("alice", &["root"]), "\nx\n").await.unwrap();
    let socket = unix::bind(&world.root.path(&world.config.paths.control_socket), 0o666).unwrap();
    socket.set_nonblocking(true).unwrap();
    let facts = Facts {
        privacy: world.config.privacy.clone(),
        role: world.config.role,
        hostname: "gw.corp.example".into(),
        since: Timestamp(0),
        listening: Vec::new(),
        confinement: mailstack_mta::run::Confinement::default(),
        queue: world.queue.clone(),
        server: world.server.handle(),
        events: mailstack_mta::event::Events::new(mailstack_mta::event::Log::Off),
        acceptor: None,
    };
    tokio::spawn(control::serve(UnixListener::from_std(socket).unwrap(), facts));
    let (root, paths) = (world.root.clone(), world.config.paths.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(&root, &paths).unwrap();
        let status = client.status().unwrap();
        assert_eq!((status.dropped, status.refused), (1, 1));
        client.flush().unwrap();
        client.scan_drop().unwrap();
        let all: Vec<Item> =
            client.queue_list(None, None, Default::default()).unwrap().map(Result::unwrap).collect();
        let Item::Damaged(found) = &all[0] else { panic!("{all:?}") };
        assert_eq!((status.damaged, found.file.as_str()), (1, "junk"));
        assert!(found.to_string().starts_with("segments/junk octet 0: no name of a segment; "), "{found}");
        let one =
            Client::connect(&root, &paths).unwrap().queue_list(None, Some(1), Default::default()).unwrap();
        let one = one.map(Result::unwrap).filter(|item| matches!(item, Item::Message(_)));
        (status.queued, all.len(), one.count())
    });
    assert_eq!(timeout(DEADLINE, asked).await.unwrap().unwrap(), (2, 3, 1));
}
