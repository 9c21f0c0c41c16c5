//! The whole way from the queue to an outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mailstack_mta::delivery::helper::Helper;
use mailstack_mta::delivery::remote::Remote;
use mailstack_mta::delivery::{self, Context};
use mailstack_mta::event::{Event, Events, Log};
use mailstack_mta::host::{Root, Users};
use mailstack_mta::message::{Envelope, Notify, Origin, QueueId, Recipient, Timestamp};
use mailstack_mta::queue::{Destination, Queue, What};
use mailstack_mta::spool::Standing;
use mailstack_policy::rules::{AliasTarget, HopHost, NextHop, Qualify, Rules};
use mailstack_policy::{Here, Route, Target};
use mailstack_runtime::{Config, Limits, MailboxFormat, Mailboxes, Paths, Role};
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinHandle;

use super::helper::Tree;
use super::names;
use super::sink::{At, Plan, Sink};

const MESSAGE: &[u8] = b"From: bob@corp.example\r\nSubject: hi\r\n\r\nwords\r\n";
const NAME: &str = "gw.corp.example";

/// `team`: one here, and those of a file; its errors are carol's.
fn lists() -> BTreeMap<String, Vec<AliasTarget>> {
    let address = |text: &str| AliasTarget::Address(text.parse().unwrap());
    BTreeMap::from([
        ("team".to_owned(), vec![address("bob"), AliasTarget::Include("/etc/team".to_owned())]),
        ("owner-team".to_owned(), vec![address("carol")]),
    ])
}

pub(super) fn config(mail_host: SocketAddr, has_mailboxes: bool) -> Config {
    let rules = Rules {
        access: Default::default(),
        qualify: Qualify::OwnHost,
        local_mailboxes: has_mailboxes,
        local_domains: BTreeSet::from(["corp.example".parse().unwrap()]),
        relay_domains: BTreeSet::new(),
        relay_networks: BTreeSet::new(),
        masquerade: None,
        generics: None,
        virtual_domains: BTreeSet::new(),
        virtusertable: BTreeMap::new(),
        aliases: lists(),
        mailertable: BTreeMap::new(),
        mail_hosts: vec![NextHop { host: HopHost::Address(mail_host.ip()), port: mail_host.port() }],
    };
    let path = |name: &str| format!("/var/lib/mailstack/{name}").into();
    Config {
        version: mailstack_runtime::VERSION,
        role: Role::Gateway,
        hostname: Some(NAME.parse().unwrap()),
        sendmail: None,
        restricted: None,
        listener_kinds: Default::default(),
        tls: Default::default(),
        auth: None,
        listeners: BTreeSet::new(),
        served_by: mailstack_runtime::ServedBy::Daemon,
        nice: 0,
        paths: Paths {
            spool: path("spool"),
            submission_socket: path("submit"),
            drop: path("drop"),
            control_socket: path("control"),
            pid_file: path("pid"),
        },
        checks: Default::default(),
        greeting: String::new(),
        privacy: Default::default(),
        limits: Limits {
            free_space: 0,
            message_size: 1 << 20,
            recipients: 100,
            header_size: 32768,
            hops: 25,
            connections: 10,
            connections_per_client: 10,
        },
        queue: mailstack_runtime::Queue {
            first_retry: 300,
            longest_retry: 3600,
            lifetime: 432_000,
            connections_per_destination: 4,
        },
        mailboxes: has_mailboxes.then(|| Mailboxes { format: MailboxFormat::Mbox, path: "/var/mail".into() }),
        rules,
    }
}

/// A queue with its deliverer, below a tree of its own.
struct Host {
    tree: Tree,
    queue: Queue,
    events: broadcast::Receiver<Event>,
    running: JoinHandle<()>,
    _stop: oneshot::Sender<()>,
}

impl Host {
    fn start(sink: &Sink, has_mailboxes: bool) -> Self {
        let tree = Tree::new();
        let helper = has_mailboxes.then(|| tree.helper(MailboxFormat::Mbox, "/var/mail", 1));
        Self::start_with(sink, tree, helper)
    }

    fn start_with(sink: &Sink, tree: Tree, helper: Option<Helper>) -> Self {
        let has_mailboxes = helper.is_some();
        let root = Root::new(tree.path(""));
        let config = Arc::new(config(sink.address, has_mailboxes));
        fs::create_dir_all(tree.path("var/lib/mailstack")).unwrap();
        let hostname: mailstack_policy::DomainName = NAME.parse().unwrap();
        let rules = config.rules.clone();
        let here = hostname.clone();
        let route =
            move |to: &Recipient| match mailstack_policy::route(&rules, Here::named(&here), &to.address) {
                Route::Local { .. } | Route::Program { .. } | Route::File { .. } => Destination::Local,
                Route::Hops(hops) => Destination::Hops(hops),
                Route::Mx { domain, .. } => Destination::Mx(domain),
                Route::Literal { addr, .. } => Destination::Literal(addr),
                Route::Fail(_) => Destination::Nowhere,
            };
        let (queue, dispatcher, _) = Queue::open(&config, root.as_path(), Box::new(route)).unwrap();
        let events = Events::new(Log::Off);
        let seen = events.subscribe();
        let remote = Remote::new(names::hosts(""), hostname.clone());
        let users = Users::of(&root);
        let context = Context { config, root, hostname, remote, helper, restricted: None, users, events };
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let running = tokio::spawn(delivery::run(context, queue.clone(), dispatcher, stopped));
        Self { tree, queue, events: seen, running, _stop: stop }
    }

    async fn send(&self, sender: &str, recipients: Vec<Recipient>) {
        self.send_message(sender, recipients, MESSAGE).await;
    }

    async fn send_message(&self, sender: &str, recipients: Vec<Recipient>, message: &[u8]) {
        let mut incoming = self.queue.begin();
        incoming.write(message).await.unwrap();
        incoming.commit(envelope(sender, recipients)).await.unwrap();
    }

    /// The next event of that kind.
    async fn event(&mut self, is: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("it does not happen")).unwrap();
            if is(&event) {
                return event;
            }
        }
    }

    /// The events up to the one that concludes the `count`th message.
    async fn concluded(&mut self, count: usize) -> Vec<Event> {
        let (mut seen, mut left) = (Vec::new(), count);
        while left > 0 {
            let event = tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("{left} are not concluded: {seen:#?}")).unwrap();
            left -= usize::from(matches!(event, Event::Concluded { .. }));
            seen.push(event);
        }
        seen
    }
}

fn envelope(sender: &str, recipients: Vec<Recipient>) -> Envelope {
    Envelope {
        sender: sender.to_owned().try_into().unwrap(),
        recipients,
        arrived: now(),
        origin: Origin::Local { uid: 1000 },
        eight_bit: false,
        smtputf8: false,
        ret: None,
        envid: None,
    }
}

fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(now.as_millis()).unwrap())
}

fn recipient(address: &str) -> Recipient {
    Recipient {
        address: address.parse().unwrap(),
        expanded_from: None,
        orcpt: None,
        notify: None,
        target: Target::Address,
    }
}

fn count(events: &[Event], is: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| is(event)).count()
}

#[tokio::test]
async fn a_refused_recipient_comes_back_in_one_bounce() {
    let refuse = vec![("no", 550, "5.1.1 no such user"), ("neither", 550, "5.1.1 no such user")];
    let sink = Sink::start(Plan { refuse, ..Plan::default() }).await;
    let mut host = Host::start(&sink, true);
    let to = ["yes@far.example", "no@far.example", "neither@far.example"].map(recipient).to_vec();
    host.send("bob@corp.example", to).await;
    let events = host.concluded(2).await;
    assert_eq!(sink.taken()[0].to, ["yes@far.example"]);
    assert_eq!(count(&events, |event| matches!(event, Event::Bounced(_))), 2);
    let mailbox = fs::read_to_string(host.tree.path("var/mail/bob")).unwrap();
    assert_eq!(
        mailbox.matches("\nFrom: Mail Delivery Subsystem <MAILER-DAEMON@gw.corp.example>\n").count(),
        1
    );
    assert_eq!(mailbox.matches("\nStatus: 5.1.1\n").count(), 2);
    assert!(mailbox.starts_with("From MAILER-DAEMON "), "{mailbox}");
    assert_eq!(host.queue.count(), 0);
}

#[tokio::test]
async fn a_bounce_that_fails_yields_one_notice_and_that_nothing() {
    let plan = Plan { answer_at: Some((At::Rcpt, 550, "5.7.1 nobody")), ..Plan::default() };
    let sink = Sink::start(plan).await;
    let mut host = Host::start(&sink, false);
    host.send("who@far.example", vec![recipient("no@far.example")]).await;
    let events = host.concluded(3).await;
    let queued = count(&events, |event| matches!(event, Event::Queued { .. }));
    let bounced: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Bounced(step) => Some(step.to.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(queued, 2, "{events:#?}");
    assert_eq!(bounced, ["no@far.example", "who@far.example", "postmaster@gw.corp.example"]);
    assert_eq!(host.queue.count(), 0);
}

#[tokio::test]
async fn who_asked_for_silence_gets_it_and_who_asked_for_success_too() {
    let refuse = vec![("no", 550, "5.1.1 no such user")];
    let sink = Sink::start(Plan { refuse, ..Plan::default() }).await;
    let mut host = Host::start(&sink, true);
    let notify = |address, success| Recipient {
        notify: Some(Notify { success, failure: false, delay: false }),
        ..recipient(address)
    };
    host.send("bob@corp.example", vec![notify("no@far.example", false)]).await;
    assert_eq!(count(&host.concluded(1).await, |event| matches!(event, Event::Queued { .. })), 0);
    host.send("bob@corp.example", vec![notify("yes@far.example", true)]).await;
    host.concluded(2).await;
    let mailbox = fs::read_to_string(host.tree.path("var/mail/bob")).unwrap();
    assert_eq!(mailbox.matches("\nAction: relayed\n").count(), 1, "{mailbox}");
}

#[tokio::test]
async fn unknown_users_and_circles_come_back() {
    let sink = Sink::start(Plan::default()).await;
    let mut host = Host::start(&sink, true);
    host.send("carol@corp.example", vec![recipient("nosuch@corp.example")]).await;
    host.concluded(2).await;
    let mailbox = fs::read_to_string(host.tree.path("var/mail/carol")).unwrap();
    assert!(mailbox.contains("\nStatus: 5.1.1\n"), "{mailbox}");
    let circling = b"Delivered-To: bob@corp.example\r\nSubject: round\r\n\r\nwords\r\n";
    host.send_message("carol@corp.example", vec![recipient("bob@corp.example")], circling).await;
    host.concluded(2).await;
    let mailbox = fs::read_to_string(host.tree.path("var/mail/carol")).unwrap();
    assert!(mailbox.contains("\nStatus: 5.4.6\n"), "{mailbox}");
}

/// What RCPT makes of `team`.
fn team() -> Recipient {
    let expanded_from = Some("team@corp.example".parse().unwrap());
    Recipient { expanded_from, target: Target::List("team".to_owned()), ..recipient("team@gw.corp.example") }
}

#[tokio::test]
async fn a_list_is_sent_on_by_its_owner() {
    let sink = Sink::start(Plan { refuse: vec![("no", 550, "5.1.1 no such user")], ..Plan::default() }).await;
    let mut host = Host::start(&sink, true);
    fs::write(host.tree.path("etc/team"), "# who\nOne <far@far.example>, no@far.example\nbob\n").unwrap();
    let success = Some(Notify { success: true, failure: true, delay: false });
    host.send("alice@far.example", vec![Recipient { notify: success, ..team() }]).await;
    // The message, the receipt that it reached the list, the copy, and what comes back of it.
    host.concluded(4).await;
    let taken = sink.taken();
    let copy = taken.iter().find(|taken| taken.to == ["far@far.example"]).unwrap();
    assert_eq!(copy.from, "<carol@gw.corp.example>");
    assert!(copy.octets.starts_with(b"Delivered-To: team@gw.corp.example\r\nFrom: bob@corp.example\r\n"));
    let mailbox = fs::read_to_string(host.tree.path("var/mail/bob")).unwrap();
    assert!(mailbox.contains("Return-Path: <carol@gw.corp.example>\n"), "{mailbox}");
    let owner = fs::read_to_string(host.tree.path("var/mail/carol")).unwrap();
    assert!(owner.contains("no@far.example") && owner.contains("\nStatus: 5.1.1\n"), "{owner}");
    assert_eq!(taken.iter().filter(|taken| taken.to == ["alice@far.example"]).count(), 1, "{taken:?}");
    assert_eq!(host.queue.count(), 0);
}

#[tokio::test]
async fn a_list_waits_for_its_file_and_breaks_circles() {
    let sink = Sink::start(Plan::default()).await;
    let mut host = Host::start(&sink, true);
    let waits = async |host: &mut Host, why: &str| {
        let event = host.event(|event| matches!(event, Event::Deferred(_))).await;
        let Event::Deferred(step) = event else { unreachable!() };
        assert!(step.dsn == "4.2.4" && step.text.contains(why), "{step:?}");
    };
    host.send("carol@corp.example", vec![team()]).await;
    waits(&mut host, "cannot read /etc/team").await;
    let file = host.tree.path("etc/team");
    fs::write(&file, "far@far.example\n").unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    host.queue.flush();
    waits(&mut host, "writable by others").await;
    assert_eq!((host.queue.count(), sink.taken().len()), (1, 0));
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    host.queue.flush();
    host.concluded(2).await;
    assert_eq!(sink.taken().len(), 1);
    let again = b"Delivered-To: team@gw.corp.example\r\nSubject: round\r\n\r\nwords\r\n";
    host.send_message("carol@corp.example", vec![team()], again).await;
    host.concluded(2).await;
    let mailbox = fs::read_to_string(host.tree.path("var/mail/carol")).unwrap();
    assert!(mailbox.contains("\nStatus: 5.4.6\n"), "{mailbox}");
}

#[tokio::test]
async fn the_postmaster_hears_of_a_sender_who_is_not_there() {
    let refuse = vec![("no", 550, "5.1.1 no such user")];
    let sink = Sink::start(Plan { refuse, ..Plan::default() }).await;
    let mut host = Host::start(&sink, true);
    host.send("ghost@corp.example", vec![recipient("no@far.example")]).await;
    host.concluded(2).await;
    let mailbox = fs::read_to_string(host.tree.path("var/mail/root")).unwrap();
    assert!(mailbox.contains("\nSubject: Postmaster notice: a sender could not be told\n"), "{mailbox}");
    assert_eq!(host.queue.count(), 0);
}

#[tokio::test]
async fn what_nobody_can_be_told_of_is_held_and_said() {
    let refuse = vec![("no", 550, "5.1.1 no such user")];
    let sink = Sink::start(Plan { refuse, ..Plan::default() }).await;
    let mut host = Host::start(&sink, true);
    fs::write(host.tree.path("etc/passwd"), "toor:x:0:0::/:\nbob:x:64001:64001::/home/bob:\n").unwrap();
    host.send("ghost@corp.example", ["yes@far.example", "no@far.example"].map(recipient).to_vec()).await;
    host.event(|event| matches!(event, Event::Deferred(_))).await;
    host.queue.flush();
    let listed = host.queue.list(None, 10).await.unwrap();
    assert!(listed[0].held && listed[0].recipients[1].held && !listed[0].recipients[0].held);
    assert_eq!(listed[0].recipients[0].standing, Standing::Done);
    let Standing::Deferred(wait) = &listed[0].recipients[1].standing else { panic!("{listed:?}") };
    assert!(wait.diagnostic.contains("give postmaster an alias"), "{wait:?}");
    assert!(wait.diagnostic.contains("5.1.1 no such user"), "{wait:?}");
    assert_eq!((host.queue.count(), sink.taken().len()), (1, 1));
}

#[tokio::test]
async fn a_damaged_body_is_held_and_is_nobody_elses_fault() {
    let sink = Sink::start(Plan::default()).await;
    let mut host = Host::start(&sink, true);
    let message = [MESSAGE, "words\r\n".repeat(50_000).as_bytes()].concat();
    let mut incoming = host.queue.begin();
    incoming.write(&message).await.unwrap();
    let segment = host.tree.path("var/lib/mailstack/spool/segments/00000001.seg");
    let mut octets = fs::read(&segment).unwrap();
    let at = octets.windows(MESSAGE.len()).position(|found| found == MESSAGE).unwrap();
    octets[at] ^= 1;
    fs::write(&segment, octets).unwrap();
    let to = ["yes@far.example", "carol@corp.example"].map(recipient).to_vec();
    incoming.commit(envelope("bob@corp.example", to)).await.unwrap();
    for _ in 0..2 {
        let event = host.event(|event| matches!(event, Event::Deferred(_))).await;
        let Event::Deferred(step) = event else { panic!("{event:?}") };
        assert_eq!((step.relay.as_deref(), step.dsn.as_str()), (None, "4.3.0"), "{step:?}");
        assert!(step.text.contains("cannot be read: damaged at segment 00000001"), "{step:?}");
    }
    let listed = host.queue.list(None, 10).await.unwrap();
    assert!(listed[0].recipients.iter().all(|recipient| recipient.held), "{listed:?}");
    assert_eq!(sink.taken().len(), 0);
}

#[tokio::test]
async fn a_passwd_that_is_not_whole_is_waited_for() {
    let sink = Sink::start(Plan::default()).await;
    let mut host = Host::start(&sink, true);
    fs::write(host.tree.path("etc/passwd"), "").unwrap();
    host.send("a@far.example", vec![recipient("bob@corp.example")]).await;
    let event = host.event(|event| matches!(event, Event::Deferred(_) | Event::Bounced(_))).await;
    assert!(matches!(&event, Event::Deferred(step) if step.dsn == "4.3.0"), "{event:?}");
}

#[tokio::test]
async fn delivery_ends_when_the_helper_died_and_the_mail_waits() {
    let (sink, tree) = (Sink::start(Plan::default()).await, Tree::new());
    let dead = std::iter::once(std::process::Command::new("/bin/true"));
    let helper = Helper::from_commands(dead, &tree.config()).unwrap();
    let host = Host::start_with(&sink, tree, Some(helper));
    host.send("a@far.example", vec![recipient("bob@corp.example")]).await;
    tokio::time::timeout(Duration::from_secs(10), host.running).await.expect("it ends").unwrap();
    assert_eq!(host.queue.count(), 1);
}

/// The message that waits, once it does.
async fn waiting(host: &mut Host) -> QueueId {
    host.event(|event| matches!(event, Event::Deferred(_))).await;
    host.queue.list(None, 1).await.unwrap()[0].id
}

#[tokio::test]
async fn what_an_operator_returns_is_told_to_the_sender_and_what_is_removed_to_nobody() {
    let refuse = vec![("no", 450, "4.2.1 come again"), ("neither", 450, "4.2.1 come again")];
    let sink = Sink::start(Plan { refuse, ..Plan::default() }).await;
    let mut host = Host::start(&sink, true);
    let to = ["no@far.example", "neither@far.example"].map(recipient).to_vec();
    host.send("bob@corp.example", to).await;
    let id = waiting(&mut host).await;
    host.event(|event| matches!(event, Event::Deferred(_))).await;
    let bounce = What::Bounce { reason: Some("the contract ended".to_owned()) };
    let ordered = host.queue.order(id, &[0], bounce, 0).await.unwrap();
    assert_eq!((ordered.done, ordered.kept), (vec![0], None));
    host.concluded(1).await;
    let mailbox = fs::read_to_string(host.tree.path("var/mail/bob")).unwrap();
    assert_eq!(mailbox.matches("\nFinal-Recipient: rfc822; no@far.example\n").count(), 1, "{mailbox}");
    assert!(!mailbox.contains("rfc822; neither@far.example"), "{mailbox}");
    assert!(mailbox.contains("\nStatus: 5.3.0\n") && mailbox.contains("the contract ended"), "{mailbox}");
    assert!(mailbox.contains("come again"), "what was last said to it: {mailbox}");
    host.queue.order(id, &[1], What::Remove, 4711).await.unwrap();
    let events = host.concluded(1).await;
    assert_eq!(count(&events, |event| matches!(event, Event::Queued { .. })), 0, "{events:#?}");
    let removed = events.iter().find_map(|event| match event {
        Event::Removed(step) => Some((step.to.to_string(), step.text.clone())),
        _ => None,
    });
    assert_eq!(removed, Some(("neither@far.example".to_owned(), "by uid 4711".to_owned())));
    assert_eq!(host.queue.count(), 0);
}

#[tokio::test]
async fn a_bounce_that_is_returned_by_an_operator_goes_to_postmaster_or_stays() {
    let plan = Plan { answer_at: Some((At::Rcpt, 450, "4.2.1 come again")), ..Plan::default() };
    let sink = Sink::start(plan).await;
    let mut host = Host::start(&sink, false);
    host.send("", vec![recipient("no@far.example")]).await;
    let id = waiting(&mut host).await;
    let ordered = host.queue.order(id, &[0], What::Bounce { reason: None }, 0).await.unwrap();
    assert_eq!((ordered.done, ordered.kept), (vec![0], None));
    host.concluded(1).await;
    let listed = host.queue.list(None, 10).await.unwrap();
    let to: Vec<String> = listed[0].recipients.iter().map(|to| to.address.to_string()).collect();
    assert_eq!((listed.len(), to), (1, vec!["postmaster@gw.corp.example".to_owned()]));
}
