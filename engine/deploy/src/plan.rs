//! What an apply would do, and why: a value that leaves nothing to decide.
//!
//! Owns the comparison of two generations. Reads no disk and runs nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use similar::TextDiff;

use crate::generation::{Digest, Kind};

/// Lines of context around a change in a diff.
const CONTEXT: usize = 3;

/// One file of one side: its octets, mode and purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The octets.
    pub bytes: Vec<u8>,
    /// The mode, four octal digits.
    pub mode: String,
    /// What it is for; None for a derived file.
    pub kind: Option<Kind>,
}

/// All files of a generation, by path.
pub type Tree = BTreeMap<String, Side>;

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// Its content or mode changes.
    Changed,
    /// It goes.
    Removed,
}

/// One file that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its place below `/`, without the leading slash.
    pub path: String,
    /// What becomes of it.
    pub change: Change,
    /// The modes before and after, where they differ.
    pub mode: Option<(String, String)>,
    /// A unified diff; empty where only the mode changes.
    pub diff: String,
}

/// What is done to the running system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Start what does not run.
    Start,
    /// Stop what runs and start it with the new configuration.
    Restart,
    /// Have systemd read its units again.
    Reload,
    /// Make a map from its table.
    Rebuild,
    /// Leave it.
    Nothing,
}

/// One thing that is done, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// What the MTA of the host does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not run.
    Stopped,
    /// It runs the generation that is live.
    Running,
    /// It runs, and an apply was cut short: nobody knows with which generation.
    Unsettled,
}

/// Who runs the generation that will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// The built-in MTA.
    Builtin,
    /// The host's Sendmail.
    Sendmail,
}

/// What an apply will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use = "a plan does nothing by itself"]
pub struct Plan {
    /// The generation that is live; None on a host that has none.
    pub from: Option<Digest>,
    /// The generation that will be.
    pub to: Digest,
    /// The files that change, by path.
    pub files: Vec<FileChange>,
    /// What is done to the running system, in order.
    pub actions: Vec<Action>,
}

impl Plan {
    /// The way from one generation to another.
    pub fn between(from: Option<(&Digest, &Tree)>, to: (&Digest, &Tree), state: State, runs: Runs) -> Self {
        let nothing = Tree::new();
        let before = from.map_or(&nothing, |(_, tree)| tree);
        let paths: BTreeSet<&String> = before.keys().chain(to.1.keys()).collect();
        let changed: Vec<&String> =
            paths.into_iter().filter(|path| before.get(*path) != to.1.get(*path)).collect();
        let files = changed.iter().filter_map(|path| change(path, before.get(*path), to.1.get(*path)));
        Self {
            from: from.map(|(digest, _)| digest.clone()),
            to: to.0.clone(),
            files: files.collect(),
            actions: actions(&changed, before, to.1, state, runs),
        }
    }

    /// Whether an apply would change anything.
    pub fn is_empty(&self) -> bool {
        self.from.as_ref() == Some(&self.to)
            && self.files.is_empty()
            && self.actions.iter().all(|action| action.verb == Verb::Nothing)
    }
}

fn change(path: &str, before: Option<&Side>, after: Option<&Side>) -> Option<FileChange> {
    let change = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(_), Some(_)) => Change::Changed,
    };
    let modes = before.zip(after).filter(|(b, a)| b.mode != a.mode);
    let mode = modes.map(|(b, a)| (b.mode.clone(), a.mode.clone()));
    Some(FileChange { path: path.to_owned(), change, mode, diff: diff(path, before, after) })
}

/// A unified diff of what a file must be and what it is.
pub fn text_diff(path: &str, before: &[u8], after: &[u8]) -> String {
    let side = |bytes: &[u8]| Side { bytes: bytes.to_vec(), mode: String::new(), kind: None };
    diff(path, Some(&side(before)), Some(&side(after)))
}

fn diff(path: &str, before: Option<&Side>, after: Option<&Side>) -> String {
    let text = |side: Option<&Side>| {
        side.map(|side| String::from_utf8_lossy(&side.bytes).into_owned()).unwrap_or_default()
    };
    let name =
        |side: Option<&Side>, tag: &str| side.map_or("/dev/null".to_owned(), |_| format!("{tag}/{path}"));
    let binary = |side: Option<&Side>| side.is_some_and(|side| side.bytes.contains(&0));
    if binary(before) || binary(after) {
        return format!("a map; {path} is no text\n");
    }
    let (old, new) = (text(before), text(after));
    let diff = TextDiff::from_lines(&old, &new);
    diff.unified_diff().context_radius(CONTEXT).header(&name(before, "a"), &name(after, "b")).to_string()
}

/// What each changed file asks for. The built-in MTA reads its own configuration and nothing else; Sendmail keeps what
/// it reads in `/etc/mail` open.
fn actions(changed: &[&String], before: &Tree, after: &Tree, state: State, runs: Runs) -> Vec<Action> {
    let kind = |path: &str| after.get(path).or_else(|| before.get(path)).and_then(|side| side.kind);
    let of = |wanted: &dyn Fn(&str) -> bool| {
        changed.iter().map(|path| path.as_str()).filter(|path| wanted(path)).collect::<Vec<_>>()
    };
    let units = of(&|path| kind(path) == Some(Kind::Unit));
    let read = match runs {
        Runs::Builtin => of(&|path| matches!(kind(path), Some(Kind::Mta | Kind::Unit))),
        Runs::Sendmail => of(&|path| kind(path) == Some(Kind::Unit) || is_read_by_sendmail(path)),
    };
    let subject = match runs {
        Runs::Builtin => "mailstack",
        Runs::Sendmail => "sendmail",
    };
    let mut actions = Vec::new();
    let mut act = |verb, subject: &str, reason: String| {
        actions.push(Action { verb, subject: subject.to_owned(), reason });
    };
    for map in of(&|path| path.ends_with(".db") && after.contains_key(path)) {
        act(Verb::Rebuild, map, format!("{} changed", map.trim_end_matches(".db")));
    }
    if !units.is_empty() {
        act(Verb::Reload, "systemd", format!("{} changed", units.join(", ")));
    }
    match (state, read.is_empty()) {
        (State::Unsettled, _) => {
            act(Verb::Restart, subject, "an earlier apply was cut short".to_owned());
        }
        (State::Stopped, _) => act(Verb::Start, subject, "it does not run".to_owned()),
        (State::Running, false) => act(Verb::Restart, subject, format!("{} changed", read.join(", "))),
        (State::Running, true) if changed.is_empty() => {
            act(Verb::Nothing, subject, "it runs, and nothing changed".to_owned());
        }
        (State::Running, true) => {
            let who = match runs {
                Runs::Builtin => "the built-in MTA",
                Runs::Sendmail => "Sendmail",
            };
            act(Verb::Nothing, subject, format!("{who} reads none of the changed files"));
        }
    }
    actions
}

/// Sendmail's own files: not their sources, and of the built-in MTA's the one that says who runs.
fn is_read_by_sendmail(path: &str) -> bool {
    path == mailstack_runtime::CONFIG_PATH || (path.starts_with("etc/mail/") && !path.ends_with(".mc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(text: &str, kind: Kind) -> Side {
        Side { bytes: text.as_bytes().to_vec(), mode: "0644".to_owned(), kind: Some(kind) }
    }

    fn tree(files: &[(&str, &str, Kind)]) -> Tree {
        files.iter().map(|(path, text, kind)| ((*path).to_owned(), side(text, *kind))).collect()
    }

    const MTA: &str = "etc/mailstack/mta.toml";

    #[test]
    fn every_changed_file_has_a_diff_and_every_action_a_reason() {
        let before = tree(&[(MTA, "a = 1\nb = 2\n", Kind::Mta), ("etc/mail/access", "x\n", Kind::Table)]);
        let after =
            tree(&[(MTA, "a = 1\nb = 3\n", Kind::Mta), ("etc/mail/relay-domains", "y\n", Kind::Table)]);
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let plan = Plan::between(Some((&old, &before)), (&new, &after), State::Running, Runs::Builtin);
        insta::assert_snapshot!(serde_json::to_string_pretty(&plan).unwrap());
    }

    #[test]
    fn what_runs_and_has_what_is_wanted_is_left_alone() {
        let same = tree(&[(MTA, "a = 1\n", Kind::Mta)]);
        let digest = Digest::of(b"same");
        assert!(
            Plan::between(Some((&digest, &same)), (&digest, &same), State::Running, Runs::Builtin).is_empty()
        );
        let stopped = Plan::between(Some((&digest, &same)), (&digest, &same), State::Stopped, Runs::Builtin);
        assert_eq!(stopped.actions.iter().map(|a| a.verb).collect::<Vec<_>>(), [Verb::Start]);
        let cut = Plan::between(Some((&digest, &same)), (&digest, &same), State::Unsettled, Runs::Builtin);
        assert_eq!(cut.actions.iter().map(|a| a.verb).collect::<Vec<_>>(), [Verb::Restart]);
        assert!(!Plan::between(None, (&digest, &same), State::Running, Runs::Builtin).is_empty());
    }

    #[test]
    fn sendmail_reads_its_own_files() {
        let old = tree(&[("etc/mail/access", "1", Kind::Table), ("etc/mail/sendmail.mc", "1", Kind::Mc)]);
        let mut new = old.clone();
        new.insert("etc/mail/access.db".to_owned(), Side { kind: None, ..side("2", Kind::Other) });
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let verbs = |new: &Tree| {
            let plan = Plan::between(Some((&a, &old)), (&b, new), State::Running, Runs::Sendmail);
            plan.actions.iter().map(|a| a.verb).collect::<Vec<_>>()
        };
        assert_eq!(verbs(&new), [Verb::Rebuild, Verb::Restart]);
        new.remove("etc/mail/access.db");
        new.insert("etc/mail/sendmail.mc".to_owned(), side("2", Kind::Mc));
        assert_eq!(verbs(&new), [Verb::Nothing]);
    }

    #[test]
    fn actions_follow_from_what_a_file_is_for() {
        let old =
            tree(&[(MTA, "1", Kind::Mta), ("sendmail.mc", "1", Kind::Mc), ("m.service", "1", Kind::Unit)]);
        let cases: &[(&str, &[Verb])] = &[
            (MTA, &[Verb::Restart]),
            ("sendmail.mc", &[Verb::Nothing]),
            ("m.service", &[Verb::Reload, Verb::Restart]),
        ];
        for (path, expected) in cases {
            let mut new = old.clone();
            new.get_mut(*path).unwrap().bytes = b"2".to_vec();
            let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
            let plan = Plan::between(Some((&a, &old)), (&b, &new), State::Running, Runs::Builtin);
            assert_eq!(plan.actions.iter().map(|a| a.verb).collect::<Vec<_>>(), *expected, "{path}");
        }
    }
}
