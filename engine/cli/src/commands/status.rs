//! `mailstack status`: what runs, what is wrong, and what to do about it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use annotate_snippets::Level;
use anstream::eprintln;
use mailstack_deploy::build::contents;
use mailstack_deploy::generation::Drift;
use mailstack_deploy::others::Queue;
use mailstack_deploy::plan::text_diff;
use mailstack_deploy::status::{self, Status};
use mailstack_mta::control::Status as Mta;
use mailstack_mta::host::Root;
use mailstack_mta::run::Confinement;
use mailstack_mta::submission::drop;
use serde::Serialize;

use crate::declaration::Declaration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::table::{ago, table};
use crate::words::{self, Words};

mod mail;

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    host: Status,
    good: bool,
    /// What the running MTA says of itself.
    mta: Option<Mta>,
    drops: Option<Drops>,
    /// Of each file that was edited: a unified diff of what was written and what is there.
    diffs: BTreeMap<String, String>,
}

/// What lies in the drop directory, as far as the running MTA says or the caller may see.
#[derive(Serialize)]
struct Drops {
    directory: PathBuf,
    waiting: Option<u64>,
    refused: Option<u64>,
}

impl Drops {
    fn of(directory: PathBuf, mta: Option<&Mta>) -> Self {
        let (waiting, refused) = match mta {
            Some(mta) => (Some(mta.dropped), Some(mta.refused)),
            None => (drop::count(&directory).ok(), drop::count(&directory.join(drop::ASIDE)).ok()),
        };
        Self { directory, waiting, refused }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        if let Some(waiting) = self.waiting.filter(|count| *count > 0) {
            let text = format!("{waiting} wait in {} for the MTA to run", self.directory.display());
            rows.push(("dropped", text));
        }
        if let Some(refused) = self.refused.filter(|count| *count > 0) {
            let aside = self.directory.join(drop::ASIDE);
            let what = "the log says why; hand them in again, or remove them";
            rows.push(("refused", format!("{refused} in {}: {what}", aside.display())));
        }
        rows
    }
}

/// Shows how a host is. Ends with 7 where something is wrong.
pub fn status(host: &HostTree, json: bool) -> Result<Exit, Failure> {
    // A configuration that cannot be read has drifted, which is said below.
    let paths = host.live_paths().ok().flatten();
    let activator = paths.as_ref().map(|paths| host.activator(paths));
    let found = status::status(&host.root, activator.as_deref())?;
    // One that waits would be started by the question.
    let mta = found
        .pid
        .filter(|_| found.engine == "builtin")
        .and_then(|_| super::queue::connect(host).ok()?.status().ok());
    let good = found.is_good();
    let exit = if good { Exit::Done } else { Exit::Unable };
    let paths = paths.filter(|_| found.engine == "builtin");
    let drops = paths.map(|paths| Drops::of(Root::new(&host.root).path(&paths.drop), mta.as_ref()));
    let diffs = diffs(host, &found);
    let report = Report { host: found, good, mta, drops, diffs };
    if json {
        super::print_json(&report)?;
    } else {
        super::print(&table(&facts(&report)))?;
        let mut found = problems(&report);
        let limit = host.live().ok().flatten().map_or(0, |config| config.limits.free_space);
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        found.extend(report.mta.iter().flat_map(|mta| mail::warnings(mta, limit, now)));
        found.extend(left_behind(&report.host));
        found.iter().for_each(|words| eprintln!("{}", words.render(Level::WARNING)));
    }
    Ok(exit)
}

/// Only digests are kept of what was written: the files are made again from the declaration that lies beside them.
/// Where that gives another generation (another version of mailstack made this one) nobody can say.
fn diffs(host: &HostTree, status: &Status) -> BTreeMap<String, String> {
    let edited = status.drift.iter().filter_map(|drift| match drift {
        Drift::Changed { path } => Some(path.clone()),
        _ => None,
    });
    let edited: Vec<String> = edited.collect();
    let again = || {
        let live = host.store.current_generation().ok()??;
        let declaration = Declaration::read_stored(&live.dir).ok()?;
        let candidate = contents(&declaration.model, &declaration.source, None).ok()?.seal();
        (candidate.digest() == live.digest()).then_some((live, candidate))
    };
    // Making it again takes m4 a moment.
    let Some((live, candidate)) = (!edited.is_empty()).then(again).flatten() else { return BTreeMap::new() };
    let diff = |path: String| {
        let (written, found) = (candidate.file(&path)?, live.file(&path).unwrap_or_default());
        let diff = text_diff(&path, written, &found);
        Some((path, diff))
    };
    edited.into_iter().filter_map(diff).collect()
}

/// What cannot be checked where the kernel does not say whose sockets are whose.
pub(super) const UNSEEN: &str = "whether the MTA listens elsewhere too: that needs CAP_SYS_PTRACE";

fn facts(report: &Report) -> Vec<Vec<String>> {
    let host = &report.host;
    let none = || "-".to_owned();
    let seen = host.listening.as_ref().filter(|_| host.checked);
    let listening: Vec<String> = match (&report.mta, seen) {
        (Some(mta), None) => {
            mta.listening.iter().filter(|name| name.parse::<SocketAddr>().is_ok()).cloned().collect()
        }
        _ => seen.into_iter().flatten().map(ToString::to_string).collect(),
    };
    let mut rows = vec![
        ("generation", host.generation.as_ref().map_or_else(none, |digest| digest.short().to_owned())),
        ("role", host.role.clone().unwrap_or_else(none)),
    ];
    let declared = host.hostname.clone();
    rows.push((
        "hostname",
        report.mta.as_ref().map(|mta| mta.hostname.clone()).or(declared).unwrap_or_else(none),
    ));
    rows.push(("MTA", process(report)));
    rows.push(("listens", if listening.is_empty() { "nowhere".to_owned() } else { listening.join(", ") }));
    if let Some(mta) = &report.mta {
        rows.extend(mta.confinement.map(|it| ("confined", confined(it))));
        rows.push(("sessions", mta.sessions.to_string()));
        rows.push(("queue", format!("{} messages", mta.queued)));
        rows.extend(mta.oldest.map(|oldest| ("oldest", ago(oldest.0 / 1000))));
        if mta.held > 0 {
            rows.push(("held", format!("{} recipients: see mailstack queue list", mta.held)));
        }
        rows.extend(mta.free.map(|free| ("free", format!("{} MiB for the queue", free >> 20))));
        rows.extend(
            mta.certificate_expires.map(|at| ("certificate", format!("until {}", crate::table::time(at)))),
        );
        if mta.damaged > 0 {
            rows.push(("damaged", format!("{}: see mailstack queue list", mta.damaged)));
        }
    }
    if let Some(waiting) = host.waiting {
        rows.push(("queue", format!("{waiting} messages")));
    }
    rows.extend(report.drops.iter().flat_map(Drops::rows));
    if !host.taken_over.is_empty() {
        let text =
            format!("{}, which `mailstack deactivate` gives the host back to", host.taken_over.join(" and "));
        rows.push(("before", text));
    }
    if !host.checked {
        rows.push(("unchecked", "ports and permissions, which root sees: ask as root".to_owned()));
    } else if host.listening.is_none() {
        rows.push(("unchecked", UNSEEN.to_owned()));
    }
    rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

fn confined(by: Confinement) -> String {
    let files = match by.landlock {
        0 => "the kernel has no Landlock of ABI 2".to_owned(),
        abi => format!("files by Landlock (ABI {abi})"),
    };
    match by.seccomp {
        true => format!("system calls by seccomp; {files}"),
        false => format!("system calls are not filtered; {files}"),
    }
}

/// Mail that a take-over left where it was. No fault of what runs.
fn left_behind(status: &Status) -> Option<Words> {
    let words = Words::new("mail of another MTA is on this host, and nobody delivers it");
    let note = |words: Words, queue: &Queue| words.note(words::queue(queue));
    let words = status.left_behind.iter().fold(words, note);
    let help = "mailstack deactivate, and then mailstack apply --take-over FILE, where it has more time: --drain SECONDS";
    (!status.left_behind.is_empty()).then(|| words.help(help))
}

fn process(report: &Report) -> String {
    match (report.host.pid, &report.mta) {
        (Some(pid), Some(mta)) => format!("process {pid}, up {}", ago(mta.since.0 / 1000)),
        (Some(pid), None) if report.host.engine == "sendmail" => format!("Sendmail, process {pid}"),
        (Some(pid), None) => format!("process {pid}, does not answer"),
        (None, _) if report.host.waits && report.host.engine == "sendmail" => {
            "Sendmail, run by each who hands mail in".to_owned()
        }
        (None, _) if report.host.waits => "waits for mail".to_owned(),
        (None, _) => "does not run".to_owned(),
    }
}

/// What is wrong, each with what to do.
fn problems(report: &Report) -> Vec<Words> {
    let status = &report.host;
    let mut found = Vec::new();
    if status.generation.is_none() {
        return vec![Words::new("nothing was applied here yet").help("mailstack apply FILE")];
    }
    if status.unproven {
        found.push(Words::new("the last apply was cut short").help("run it again: mailstack apply FILE"));
    }
    if !status.drift.is_empty() {
        let words = Words::new("the live generation was changed on disk");
        let words = status.drift.iter().map(words::drift).fold(words, Words::note);
        let words = report.diffs.values().map(|diff| diff.trim_end()).fold(words, Words::note);
        found.push(words.help("what is edited there is lost: declare it, and run mailstack apply FILE"));
    }
    if !status.discrepancies.is_empty() {
        let words = Words::new("what runs is not what was declared");
        let words = status.discrepancies.iter().map(words::discrepancy).fold(words, Words::note);
        found.push(words.help("mailstack apply FILE"));
    }
    for path in &status.misplaced {
        let words = Words::new(format!("{} is not mailstack's", path.display()));
        found.push(words.help("mailstack apply FILE puts it there, where nothing foreign is"));
    }
    found
}
