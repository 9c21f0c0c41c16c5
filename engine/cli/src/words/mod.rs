//! Where errors become words: what went wrong, why, and what to do; and the exit code that it ends with.

mod apply;
mod declaration;
mod expect;
mod finding;
pub mod rule;

use std::error::Error;
use std::io::ErrorKind;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Group, Level, Renderer};
use mailstack_deploy::activation::ActivationError;
use mailstack_deploy::build::BuildError;
use mailstack_deploy::generation::StoreError;
use mailstack_deploy::generation::disk::DiskError;
use mailstack_deploy::lock::{Holder, LockError};
use mailstack_deploy::m4::M4Error;
use mailstack_deploy::sendmail::maps::MapError;
use mailstack_mta::control::ControlError;
use mailstack_mta::secrets::BadUser;
use mailstack_mta::spool::SpoolError;
use mailstack_mta::spool::transfer::TransferError;

use crate::exit::Exit;
use crate::failure::Failure;

pub use apply::{discrepancy, drift, note, queue, step};
pub use declaration::{FaultReport, at_places, finding, reports};
pub use expect::unmet;

const BOLD: anstyle::Style = anstyle::Style::new().bold();

/// What is said of one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// What went wrong.
    pub title: String,
    /// Details, one per line.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
}

impl Words {
    /// A problem with no more to it.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), notes: Vec::new(), help: Vec::new() }
    }

    /// With a detail.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With something to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// With the reasons of an error, the nearest first.
    pub fn because(mut self, error: &dyn Error) -> Self {
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            if text != self.title && !self.notes.contains(&text) {
                self.notes.push(text);
            }
            source = error.source();
        }
        self
    }

    /// As text, for a person: the title, then what there is to it, then what to do.
    pub fn render(&self, level: Level<'_>) -> String {
        let mut text = render(Group::with_title(level.primary_title(self.title.as_str())));
        for (name, lines) in [("note", &self.notes), ("help", &self.help)] {
            for line in lines {
                text.push_str(&format!("\n  {BOLD}{name}{BOLD:#}: {}", line.replace('\n', "\n        ")));
            }
        }
        text
    }
}

/// One group as text, styled; whoever prints it takes the styles away where they are not wanted.
pub(crate) fn render(group: Group<'_>) -> String {
    Renderer::styled().decor_style(DecorStyle::Ascii).render(&[group])
}

/// What is said of a failure, and how the command ends. Text that is ready to be printed on standard error.
pub fn failure(failure: &Failure) -> (String, Exit) {
    let (words, exit) = match failure {
        Failure::Declaration(invalid) => return (declaration::render(invalid), declaration::exit(invalid)),
        Failure::Unmet(declaration) => {
            let rendered: Vec<_> = unmet(declaration).into_iter().map(|(_, text)| text).collect();
            return (rendered.join("\n\n"), Exit::Declaration);
        }
        Failure::Apply(error) => apply::failure(error),
        Failure::Cause(cause) => apply::cause(cause),
        Failure::Build(error) => build(error),
        Failure::Store(error) => store(error),
        Failure::Activation(error) => activation(error),
        Failure::Control(error) => (control(error), Exit::Unable),
        Failure::Transfer(error) => transfer(error),
        Failure::Run(error) => {
            let words = Words::new(error.to_string()).because(error.as_ref());
            let words = error.help().into_iter().fold(words, Words::help);
            (words, Exit::Unable)
        }
        Failure::Queue { path, source } => (
            Words::new(format!("cannot read {}", path.display()))
                .note(source.to_string())
                .help("ask as root"),
            Exit::Unable,
        ),
        Failure::NotOfSendmail { what } => (
            Words::new(format!("the host's Sendmail runs the role: its queue knows no {what} of mailstack's"))
                .help("sendmail -qI, -qR, -qS and -qf try messages, -Q with them holds them, -qQ lists and frees those"),
            Exit::Unable,
        ),
        Failure::Secret(error) => {
            let words = Words::new(error.to_string()).because(error.as_ref());
            (words.help(error.help()), Exit::Unable)
        }
        Failure::Written { path, source } => {
            let exit = if source.kind() == ErrorKind::NotFound { Exit::Usage } else { Exit::Unable };
            (Words::new(format!("cannot write {}", path.display())).note(source.to_string()), exit)
        }
        Failure::Named { text } => (Words::new(text.clone()), Exit::Usage),
        Failure::Part { source } => {
            (Words::new("Sendmail cannot be started").note(source.to_string()), Exit::Unable)
        }
        Failure::Nothing { root } => {
            let words = Words::new(format!("nothing was applied below {} yet", root.display()));
            (words.help("mailstack apply FILE"), Exit::Unable)
        }
        Failure::Root { path, source } => (
            Words::new(format!("--root {} cannot be used", path.display())).note(source.to_string()),
            Exit::Usage,
        ),
        Failure::User(BadUser::NoRandom) => (Words::new(BadUser::NoRandom.to_string()), Exit::Unable),
        Failure::User(error) => (Words::new(error.to_string()), Exit::Usage),
        Failure::Input(error) => {
            (Words::new("cannot read the password").note(error.to_string()), Exit::Unable)
        }
        Failure::Output(error) => (Words::new("cannot write").note(error.to_string()), Exit::Unable),
    };
    (words.render(Level::ERROR), exit)
}

/// A panic, as the user is told of it.
pub fn bug(what: &str) -> String {
    Words::new("mailstack has a bug")
        .note(what)
        .note(format!("version {}", env!("CARGO_PKG_VERSION")))
        .help("please report it, with the command line and these lines; no mail is lost by it")
        .render(Level::ERROR)
}

fn store(error: &StoreError) -> (Words, Exit) {
    let words = Words::new(error.to_string()).because(error);
    match error {
        StoreError::Disk(error) => disk(error, words),
        StoreError::NotABuild { .. } => (
            words.help("name a new or an empty directory, or one that `mailstack build` wrote"),
            Exit::Unable,
        ),
        StoreError::BadManifest { path, .. } => {
            let dir = path.parent().unwrap_or(path).display().to_string();
            (words.help(format!("remove {dir} and apply again")), Exit::Unable)
        }
        StoreError::Unknown { .. } => {
            (words.help("`mailstack generations` lists those that there are"), Exit::Usage)
        }
        StoreError::NoPrevious => {
            (words.help("`mailstack generations` lists those that there are"), Exit::Unable)
        }
        StoreError::Ambiguous { found, .. } => {
            let words = found.iter().fold(words, |words, digest| words.note(digest.as_str()));
            (words.help("give more of the digest"), Exit::Usage)
        }
    }
}

fn disk(error: &DiskError, words: Words) -> (Words, Exit) {
    let help = match error.source.kind() {
        ErrorKind::PermissionDenied => "run mailstack as root, or use --root DIR",
        ErrorKind::StorageFull => "make room on this file system",
        ErrorKind::ReadOnlyFilesystem => "mount it so that it can be written to, or use --root DIR",
        _ => return (words, Exit::Unable),
    };
    (words.help(help), Exit::Unable)
}

fn build(error: &BuildError) -> (Words, Exit) {
    match error {
        BuildError::M4(error) => m4(error),
        BuildError::Maps(error) => {
            let words = Words::new(error.to_string()).because(error);
            let help = match error {
                MapError::NoProgram { .. } => "install sendmail-bin",
                MapError::Io { .. } => return (words, Exit::Unable),
                MapError::Refused { .. } => {
                    "Sendmail does not take the generated table: please report it, with the host.toml"
                }
            };
            (words.help(help), Exit::Unable)
        }
    }
}

fn m4(error: &M4Error) -> (Words, Exit) {
    let words = Words::new(error.to_string()).because(error);
    match error {
        M4Error::Complaint { .. } | M4Error::Nothing { .. } => {
            (words.help("the generated .mc is wrong: please report it, with the host.toml"), Exit::Bug)
        }
        _ => (words.help("install m4 and sendmail-cf"), Exit::Unable),
    }
}

fn activation(error: &ActivationError) -> (Words, Exit) {
    let words = Words::new(error.to_string()).because(error);
    let words = match error {
        ActivationError::StillRuns { pid } => words.help(format!(
            "it may be in the middle of a message; wait and try again, or end it yourself: kill -9 {pid}"
        )),
        _ => words,
    };
    (words, Exit::Unable)
}

fn transfer(error: &TransferError) -> (Words, Exit) {
    let words = Words::new(error.to_string()).because(error);
    match error {
        TransferError::Spool { source: SpoolError::InUse, .. } => {
            let why = "a message that is exported or imported while it may be delivered would arrive twice";
            (words.note(why).help("end the MTA first: `mailstack stop`"), Exit::Unable)
        }
        TransferError::Spool { source: SpoolError::Full, .. } => {
            (words.help("make room, and run the command again: it goes on where it stopped"), Exit::Unable)
        }
        TransferError::Spool { .. } => (words, Exit::Unable),
        TransferError::File { source, path, .. } => {
            let exit = match source.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Exit::Usage,
                _ => Exit::Unable,
            };
            (words.help(format!("look at {}, and run the command again", path.display())), exit)
        }
        TransferError::NotEmpty { .. } => (words.help("name a new or an empty directory"), Exit::Usage),
        TransferError::Malformed { faults, count, .. } => {
            let words = faults.iter().fold(words, |words, fault| words.note(fault.to_string()));
            let words = match count - faults.len() {
                0 => words,
                more => words.note(format!("and {more} more")),
            };
            (words.help("correct the files or export again; README.md has the format"), Exit::Declaration)
        }
        TransferError::Elsewhere { path } => (
            words.help(format!(
                "two queues that have it would send it twice; if the other one is gone, remove {}",
                path.join("imported.json").display()
            )),
            Exit::Unable,
        ),
    }
}

fn control(error: &ControlError) -> Words {
    let words = Words::new(error.to_string()).because(error);
    match error {
        ControlError::NotRunning { .. } => words.help("start it: `mailstack apply FILE`"),
        ControlError::Stopped { source: SpoolError::Io { source, .. } }
            if source.kind() == ErrorKind::PermissionDenied =>
        {
            words.help("ask as root")
        }
        _ => words,
    }
}

/// Who holds a lock.
pub(crate) fn lock(error: &LockError) -> (Words, Exit) {
    let words = Words::new(error.to_string()).because(error);
    match error {
        LockError::Held { holder, .. } => {
            let who = match holder {
                Some(Holder { pid, command, since }) => {
                    format!("process {pid} holds it since {}: {command}", crate::table::time(*since))
                }
                None => "another mailstack command has just begun".to_owned(),
            };
            (words.note(who).help("wait for it to end, or use --wait"), Exit::Locked)
        }
        LockError::Disk(error) => disk(error, words),
    }
}
