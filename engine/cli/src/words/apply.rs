//! Words of an apply: its steps, its notes, and how it fails.

use mailstack_deploy::apply::{ApplyError, Cause, Discrepancy, Note, Obstacle, Queued, Step, Undone};
use mailstack_deploy::generation::{Digest, Drift};
use mailstack_deploy::others::Queue;
use mailstack_runtime::ServedBy;

use super::Words;
use crate::exit::Exit;

/// What a step does.
pub fn step(step: Step) -> &'static str {
    match step {
        Step::Lock => "take the lock",
        Step::Generate => "generate the files",
        Step::Plan => "compare with what is live",
        Step::Preflight => "look at what is on this host",
        Step::Write => "write the generation",
        Step::Prove => "prove the generation",
        Step::Drain => "empty the queue of the other MTA",
        Step::Keep => "keep what the other MTA has",
        Step::TakeOver => "stop the other MTA",
        Step::Furnish => "make directories and programs",
        Step::Switch => "switch to the generation",
        Step::Stop => "end the MTA that runs",
        Step::Start => "start the MTA",
        Step::Verify => "check what runs",
        Step::Record => "record that it is good",
        Step::RollBack => "go back to the generation before",
        Step::Withdraw => "take away what leads to it",
        Step::GiveBack => "give back what the other MTA had",
    }
}

/// A note that is given while an apply is at work.
pub fn note(note: &Note) -> Words {
    match note {
        Note::LeftOut { path, reason } => {
            let help = match path.ends_with(".db") {
                true => "`mailstack apply` needs it; to have it: apt install sendmail-bin",
                false => "the built-in MTA does not need it; to have it: apt install m4 sendmail-cf",
            };
            Words::new(format!("{path} is left out: {reason}")).help(help)
        }
        Note::PolicyOnly { reason } => {
            Words::new(format!("only the policy was proven before the switch: {reason}"))
        }
        Note::Draining(queues) => Words::new(format!("left in the queue of the other MTA: {}", list(queues))),
        Note::Left(queues) => Words::new(format!("mail stays where nobody delivers it: {}", list(queues)))
            .help("`mailstack deactivate` gives the host back to the MTA that can"),
        Note::Stopped { name } => Words::new(format!("{name} is stopped, and does not start any more")),
        Note::Started { name, started: true } => Words::new(format!("{name} is started, as it was before")),
        Note::Started { name, started: false } => Words::new(format!("{name} may start again, as before")),
        Note::Orphan { command } => {
            Words::new(format!("this ran, and no unit and no script starts it: {command}"))
                .help("after `mailstack deactivate`, start it yourself")
        }
        Note::Stays { path } => {
            Words::new(format!("{} was changed since it was taken over, and stays", path.display()))
        }
        Note::QueueStays(queued) => {
            let (note, _) = queue_stays(queued);
            Words::new(note)
                .help("`mailstack apply FILE` delivers it; `mailstack queue export DIR` has it as files")
        }
    }
}

fn list(queues: &[Queue]) -> String {
    queues.iter().map(queue).collect::<Vec<_>>().join(", ")
}

/// A queue of another MTA.
pub fn queue(queue: &Queue) -> String {
    format!("{} ({} files)", queue.path.display(), queue.files)
}

fn queue_stays(queued: &Queued) -> (String, String) {
    let what = match queued {
        Queued::Nothing => "holds nothing".to_owned(),
        Queued::Messages(count) => format!("holds {count} messages, which nobody would deliver"),
        Queued::Unknown(why) => format!("cannot be looked at: {why}"),
    };
    (
        format!("mailstack's queue {what}"),
        "let them be delivered first: `mailstack queue flush`, then `mailstack queue list`; or leave them there: \
         `mailstack deactivate --leave-queue`"
            .to_owned(),
    )
}

/// An apply that failed.
pub(super) fn failure(error: &ApplyError) -> (Words, Exit) {
    let (mut words, exit) = cause(&error.cause);
    words.notes.insert(0, format!("while mailstack tried to {}", step(error.step)));
    match &error.undone {
        Undone::NotNeeded => (words.note("nothing that runs was changed"), exit),
        Undone::To(to) => (words.note(format!("rolled back: {}", live(to.as_ref()))), Exit::RolledBack),
        Undone::Failed { to, error } => {
            let (why, _) = cause(&error.cause);
            let words = words
                .note(format!("the way back failed too, to {}: {}", name(to.as_ref()), why.title))
                .note("this host may be without a running MTA now");
            let words = why.notes.into_iter().fold(words, Words::note);
            (words.help("see what is wrong: `mailstack status`"), Exit::RollBackFailed)
        }
    }
}

fn live(to: Option<&Digest>) -> String {
    match to {
        Some(digest) => format!("generation {} is live again", digest.short()),
        None => "nothing is live, as before".to_owned(),
    }
}

fn name(to: Option<&Digest>) -> String {
    to.map_or("nothing".to_owned(), |digest| format!("generation {}", digest.short()))
}

/// What went wrong in a step.
pub(super) fn cause(cause: &Cause) -> (Words, Exit) {
    match cause {
        Cause::Lock(error) => super::lock(error),
        Cause::Store(error) => super::store(error),
        Cause::Disk(error) => super::disk(error, Words::new(error.to_string()).because(error)),
        Cause::Build(error) => match error.downcast_ref() {
            Some(error) => super::build(error),
            None => (Words::new(cause.to_string()).because(cause), Exit::Unable),
        },
        Cause::Config(_) => {
            (Words::new(cause.to_string()).because(cause).help("apply the declaration again"), Exit::Unable)
        }
        Cause::Drifted { generation, drift: found } => {
            let words = Words::new(format!("generation {} was changed on disk", generation.short()));
            let words = found.iter().map(drift).fold(words, Words::note);
            (words.help("apply its declaration again: that writes it anew"), Exit::Unable)
        }
        Cause::Foreign { place } => {
            let words = Words::new(cause.to_string()).note(format!("it is {}", place.display()));
            let help = "NixOS declares it: change services.mailstack.settings, then nixos-rebuild switch";
            (words.help(help), Exit::Unable)
        }
        Cause::Obstacles(found) => obstacles(found),
        Cause::QueueStays(queued) => {
            let (note, help) = queue_stays(queued);
            (Words::new(cause.to_string()).note(note).help(help), Exit::Unable)
        }
        Cause::Unproven(_) => (Words::new(cause.to_string()).because(cause), Exit::RolledBack),
        Cause::Activation(error) => super::activation(error),
        Cause::Discrepancies(found) => {
            let words = Words::new(cause.to_string());
            (found.iter().map(discrepancy).fold(words, Words::note), Exit::RolledBack)
        }
    }
}

/// What is to be done about another MTA as a whole.
const TAKE_OVER: &str = "or have mailstack do it: `mailstack apply --take-over FILE` stops the other MTA, has it empty its \
                         queue and keeps its files; `mailstack deactivate` gives all back";

fn obstacles(found: &[Obstacle]) -> (Words, Exit) {
    let words = Words::new("something on this host is in the way");
    let words = found.iter().fold(words, |words, obstacle| {
        let (note, help) = obstacle_words(obstacle);
        words.note(note).help(help)
    });
    // Where it helps: what no take-over deals with is to be put right first.
    let words = match found.iter().any(Obstacle::can_be_taken_over) {
        true => words.help(TAKE_OVER),
        false => words,
    };
    (words, Exit::Unable)
}

fn obstacle_words(obstacle: &Obstacle) -> (String, String) {
    match obstacle {
        Obstacle::Program { path } => (
            format!("{} belongs to another MTA", path.display()),
            format!("remove the package that installed it: dpkg -S {}", path.display()),
        ),
        Obstacle::Listener { wanted, taken, owner } => {
            let who = match owner {
                Some((pid, name)) => format!("{name} (process {pid})"),
                None => "a process of another user".to_owned(),
            };
            let port = taken.port();
            (
                format!("{who} listens on {taken}; the declaration wants {wanted}"),
                format!(
                    "stop it, or declare another port; as root, `ss -ltnp sport = :{port}` says what it is"
                ),
            )
        }
        Obstacle::Queue { path, files } => (
            format!("{} holds mail of another MTA ({files} files)", path.display()),
            format!("let that MTA deliver it first, then empty {}; mailstack leaves it there with --leave-queue", path.display()),
        ),
        Obstacle::NoUser { name } => no_user(name),
        Obstacle::Below { root } => (
            format!(
                "Sendmail cannot run below {}: /etc/mail and its queues are compiled into it",
                root.display()
            ),
            "enter that directory as a root (chroot, a container), or write `engine = \"builtin\"`"
                .to_owned(),
        ),
        Obstacle::NoSendmail { path } => (
            format!("{} is not there", path.display()),
            "install Sendmail: apt install sendmail-bin".to_owned(),
        ),
        Obstacle::Unfit { path, wanted, found, mend } => {
            (unlike(path, wanted, found.as_deref()), format!("as root: {mend}"))
        }
        Obstacle::Permissions { path, wanted, found } => (
            unlike(path, wanted, found.as_deref()),
            "the packaging makes it so: apt install --reinstall sendmail-base sendmail-bin".to_owned(),
        ),
        Obstacle::File { path } => (
            format!("{} was not written by mailstack", path.display()),
            format!("keep what you need of it, and move it away: mv {0} {0}.before", path.display()),
        ),
        Obstacle::Unit { mta, name, active } => {
            let how = if *active { "runs" } else { "starts with the host" };
            (format!("{mta} {how}: {name}"), format!("stop it, and keep it from starting: systemctl mask --now {name}"))
        }
        Obstacle::Script { mta, path } => {
            let name = path.file_name().unwrap_or_default().display();
            (
                format!("{mta} starts with the host: {}", path.display()),
                format!("keep it from starting: update-rc.d {name} disable"),
            )
        }
        Obstacle::Process { mta, pid, name } => {
            (format!("{mta} runs: {name} (process {pid})"), format!("end it: kill {pid}"))
        }
        Obstacle::CutShort => (
            "a take-over of this host was cut short".to_owned(),
            "go on with it (`mailstack apply --take-over FILE`), or give the host back (`mailstack deactivate`)"
                .to_owned(),
        ),
        Obstacle::OtherEngine { queued } => other_engine(queued),
    }
}

fn no_user(name: &str) -> (String, String) {
    if name != "mailstack" {
        let help = "its packaging makes it: apt install --reinstall sendmail-base".to_owned();
        return (format!("there is no user {name}, which Sendmail needs"), help);
    }
    (
        format!("there is no user {name}, and the MTA does not run as root"),
        format!("make it: useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}"),
    )
}

fn other_engine(queued: &Queued) -> (String, String) {
    let what = match queued {
        Queued::Nothing => "holds nothing".to_owned(),
        Queued::Messages(count) => format!("holds {count} messages, which Sendmail would not deliver"),
        Queued::Unknown(why) => format!("cannot be looked at: {why}"),
    };
    (
        format!("the queue of the built-in MTA {what}"),
        "let it deliver them first: `mailstack queue flush`, then `mailstack queue list`".to_owned(),
    )
}

/// How what runs differs from what was declared.
pub fn discrepancy(discrepancy: &Discrepancy) -> String {
    match discrepancy {
        Discrepancy::NotRunning => "the MTA does not run".to_owned(),
        Discrepancy::NotListening { address } => format!("it does not listen on {address}"),
        Discrepancy::Unserved { address, by } => format!("nobody listens on {address}: {}", who_listens(*by)),
        Discrepancy::Listening { address } => format!("it listens on {address}, which nobody declared"),
        Discrepancy::Permissions { path, wanted, found } => match found {
            Some(found) => {
                format!("{} has mode {found} or another owner; it must be {wanted}", path.display())
            }
            None => format!("{} is not there", path.display()),
        },
    }
}

fn unlike(path: &std::path::Path, wanted: &str, found: Option<&str>) -> String {
    match found {
        Some(found) => format!("{} is {found}; it must be {wanted}", path.display()),
        None => format!("{} is not there; it must be {wanted}", path.display()),
    }
}

fn who_listens(by: ServedBy) -> &'static str {
    match by {
        ServedBy::Daemon => "start the MTA",
        ServedBy::Inetd => "have inetd read /etc/inetd.d/mailstack",
        ServedBy::Xinetd => "start xinetd, or send it SIGHUP: it is to read /etc/xinetd.d/mailstack",
        ServedBy::Socket => "systemctl start mailstack-smtp.socket",
    }
}

/// How a generation differs from what was written.
pub fn drift(drift: &Drift) -> String {
    match drift {
        Drift::Missing { path } => format!("{path} is gone"),
        Drift::Changed { path } => format!("{path} was edited"),
        Drift::Mode { path, written, found } => {
            format!("{path} has mode {found}, and was written with {written}")
        }
        Drift::Added { path } => format!("{path} was added"),
        Drift::Manifest { path } => format!("{path} does not fit the generation's name"),
    }
}
