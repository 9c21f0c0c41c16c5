//! The helper as a process of its own: this test binary, run again as the helper.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mailstack_mta::delivery::Body;
use mailstack_mta::delivery::helper::{COMMAND, Failure, Helper, HelperConfig, Work, main_helper};
use mailstack_mta::delivery::local::Facts;
use mailstack_mta::host::Root;
use mailstack_mta::message::Timestamp;
use mailstack_runtime::{MailboxFormat, Mailboxes};

/// Not a test of its own: what the tests below start as the helper.
#[test]
fn helper_process() {
    let mut arguments = std::env::args_os().skip_while(|argument| argument != COMMAND);
    if arguments.next().is_some() {
        main_helper(arguments);
        std::process::exit(0); // the harness's own threads and output have no place in a helper
    }
}

pub(super) fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "delivery::helper::helper_process", "--nocapture", "--test-threads=1"]);
    command
}

pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A tree with the users root, bob and carol; without root's rights they all are whoever runs this.
pub(super) struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(at("etc")).unwrap();
        fs::create_dir_all(at("home/bob")).unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\nbob:x:64001:64001::/home/bob:\ncarol:x:64002:64002::/home/no:\n\
            mailstack:x:64009:64009::/:\n";
        fs::write(at("etc/passwd"), passwd).unwrap();
        fs::write(at("etc/group"), "mail:x:64008:\n").unwrap();
        if is_root() {
            std::os::unix::fs::chown(at("home/bob"), Some(64001), Some(64001)).unwrap();
        }
        Self { directory }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(super) fn helper(&self, format: MailboxFormat, path: &str, processes: usize) -> Helper {
        let config = HelperConfig {
            root: Root::new(self.directory.path()),
            work: Work::Mailboxes(Mailboxes { format, path: path.into() }),
            hostname: "gw.corp.example".parse().unwrap(),
        };
        Helper::from_commands((0..processes).map(|_| command()), &config).unwrap()
    }

    pub(super) fn config(&self) -> HelperConfig {
        HelperConfig {
            root: Root::new(self.directory.path()),
            work: Work::Mailboxes(Mailboxes { format: MailboxFormat::Mbox, path: "/var/mail".into() }),
            hostname: "gw.corp.example".parse().unwrap(),
        }
    }

    fn mbox(&self) -> Helper {
        self.helper(MailboxFormat::Mbox, "/var/mail", 1)
    }
}

pub(super) fn facts(user: &str) -> Facts {
    Facts {
        sender: "a@far.example".to_owned(),
        delivered_to: format!("{user}@corp.example"),
        at: Timestamp(1_795_000_000_000),
    }
}

async fn deliver(helper: &Helper, user: &str, mut message: &[u8]) -> Result<String, Failure> {
    helper.deliver(user, &facts(user), &mut message).await
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

pub(super) const MESSAGE: &[u8] = b"Subject: hi\r\n\r\nFrom me\r\n";

#[tokio::test]
async fn mailboxes_belong_to_their_users() {
    let tree = Tree::new();
    let helper = tree.mbox();
    let mailbox = deliver(&helper, "bob", MESSAGE).await.unwrap();
    assert_eq!(Path::new(&mailbox), tree.path("var/mail/bob"));
    assert!(read(&tree.path("var/mail/bob")).ends_with("Subject: hi\n\n>From me\n\n"));
    deliver(&helper, "root", MESSAGE).await.unwrap();
    let own = fs::metadata("/proc/self").unwrap();
    let (bob, stand_in) = if is_root() { (64001, 64009) } else { (own.uid(), own.uid()) };
    let found = fs::metadata(tree.path("var/mail/bob")).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (bob, 0o600));
    // Never as uid 0, not even root's.
    assert_eq!(fs::metadata(tree.path("var/mail/root")).unwrap().uid(), stand_in);
}

#[tokio::test]
async fn a_directory_that_is_roots_alone_will_do() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("var/mail")).unwrap();
    fs::set_permissions(tree.path("var/mail"), fs::Permissions::from_mode(0o755)).unwrap();
    let helper = tree.mbox();
    for _ in 0..2 {
        deliver(&helper, "bob", MESSAGE).await.unwrap();
    }
    let found = fs::metadata(tree.path("var/mail/bob")).unwrap();
    let owner = if is_root() { 64001 } else { fs::metadata("/proc/self").unwrap().uid() };
    assert_eq!((found.uid(), found.nlink(), found.mode() & 0o777), (owner, 1, 0o600));
    assert_eq!(fs::read_dir(tree.path("var/mail")).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_refused() {
    let tree = Tree::new();
    let helper = tree.mbox();
    fs::write(tree.path("etc/shadow"), "secret").unwrap();
    for user in ["nobody-here", "../../etc/shadow", "..", ""] {
        assert_eq!(deliver(&helper, user, MESSAGE).await.unwrap_err().status, "5.1.1", "{user}");
    }
    std::os::unix::fs::symlink(tree.path("etc/shadow"), tree.path("var/mail/bob")).unwrap();
    let failure = deliver(&helper, "bob", MESSAGE).await.unwrap_err();
    let wanted = format!("{} is a link", tree.path("var/mail/bob").display());
    assert_eq!((failure.status.as_str(), failure.text), ("4.2.0", wanted));
    assert_eq!(read(&tree.path("etc/shadow")), "secret");
}

#[tokio::test]
async fn a_maildir_in_the_home() {
    let tree = Tree::new();
    let helper = tree.helper(MailboxFormat::Maildir, "Maildir", 1);
    let file = deliver(&helper, "bob", MESSAGE).await.unwrap();
    assert!(read(Path::new(&file)).contains("\n\nFrom me\n"));
    assert!(Path::new(&file).starts_with(tree.path("home/bob/Maildir/new")), "{file}");
    assert_eq!(deliver(&helper, "carol", MESSAGE).await.unwrap_err().status, "4.2.0", "without a home");
    if is_root() {
        assert_eq!(fs::metadata(&file).unwrap().uid(), 64001);
        assert_eq!(deliver(&helper, "root", MESSAGE).await.unwrap_err().status, "4.2.0");
    }
}

/// Ends in an error behind a part of the message.
struct Broken(bool);

impl Body for Broken {
    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        match std::mem::replace(&mut self.0, true) {
            true => Err(io::Error::other("damaged")),
            false => Ok(Some(b"Subject: half\r\n".repeat(20_000))),
        }
    }
}

#[tokio::test]
async fn a_message_that_ends_early_leaves_nothing() {
    let tree = Tree::new();
    let helper = tree.mbox();
    deliver(&helper, "bob", MESSAGE).await.unwrap();
    let before = read(&tree.path("var/mail/bob"));
    let failure = helper.deliver("bob", &facts("bob"), &mut Broken(false)).await.unwrap_err();
    assert_eq!(failure.status, "4.3.0");
    deliver(&helper, "bob", MESSAGE).await.unwrap();
    assert_eq!(read(&tree.path("var/mail/bob")), before.repeat(2));
}

#[tokio::test]
async fn a_mailbox_over_its_limit_is_as_it_was_and_the_helper_goes_on() {
    let tree = Tree::new();
    let ours = command();
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -f 64; exec \"$0\" \"$@\""]).arg(ours.get_program()).args(ours.get_args());
    let helper = Helper::from_commands(std::iter::once(limited), &tree.config()).unwrap();
    deliver(&helper, "bob", MESSAGE).await.unwrap();
    let before = read(&tree.path("var/mail/bob"));
    let large = b"Subject: large\r\n".repeat(20_000);
    assert_eq!(deliver(&helper, "bob", &large).await.unwrap_err().status, "4.2.2");
    deliver(&helper, "bob", MESSAGE).await.unwrap();
    assert_eq!(read(&tree.path("var/mail/bob")), before.repeat(2));
}

#[tokio::test]
async fn a_helper_that_died_defers() {
    let tree = Tree::new();
    let helper = Helper::from_commands(std::iter::once(Command::new("/bin/true")), &tree.config()).unwrap();
    for _ in 0..2 {
        assert_eq!(deliver(&helper, "bob", MESSAGE).await.unwrap_err().status, "4.3.0");
    }
    tokio::time::timeout(std::time::Duration::from_secs(5), helper.died()).await.expect("it is told of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_lose_nothing() {
    const ALL: usize = 60;
    let tree = Tree::new();
    let helper = Arc::new(tree.helper(MailboxFormat::Mbox, "/var/mail", 3));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..ALL {
        let helper = Arc::clone(&helper);
        tasks.spawn(async move {
            let message = format!("X-Id: {number}\r\n\r\n{}", "line\r\n".repeat(500));
            deliver(&helper, "bob", message.as_bytes()).await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let text = read(&tree.path("var/mail/bob"));
    let ids: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("X-Id: ")).collect();
    assert_eq!((ids.len(), text.matches("\nline").count()), (ALL, ALL * 500));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_hangs_is_given_up_and_the_helper_with_it() {
    let tree = Tree::new();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec cat"]); // takes all, and answers nothing
    let helper = Helper::from_commands(std::iter::once(command), &tree.config()).unwrap();
    let began = tokio::time::Instant::now();
    let failure = deliver(&helper, "bob", MESSAGE).await.unwrap_err();
    assert_eq!((failure.status.as_str(), began.elapsed().as_secs()), ("4.2.0", 300));
    helper.died().await;
    assert_eq!(deliver(&helper, "bob", MESSAGE).await.unwrap_err().status, "4.3.0");
}
