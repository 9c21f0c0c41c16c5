//! Words of a declaration's faults: the place, the line underlined, why, and what to do.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Snippet};
use mailstack_deploy::model::{FaultKind as Meant, ModelFault, time};
use mailstack_prove::{Finding, Severity};
use mailstack_schema::spans::child;
use mailstack_schema::{Fault, FaultKind as Written};
use serde::Serialize;

use super::Words;
use crate::declaration::{Declaration, Faulty, Invalid, Wrong};
use crate::exit::Exit;
use crate::sources::{Sources, boundary};
use crate::topology::Spot;

/// One fault, as `--json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    /// The file, where it is not the one that is checked but one that it imports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The line, from 1; None for the file as a whole.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The key.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What there is to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
    #[serde(skip)]
    span: Range<usize>,
}

/// How a command ends that was given such a declaration.
pub(super) fn exit(invalid: &Invalid) -> Exit {
    match invalid {
        Invalid::Unreadable { source, .. } if is_argument(source.kind()) => Exit::Usage,
        Invalid::Unreadable { .. } => Exit::Unable,
        Invalid::Faulty(_) => Exit::Declaration,
    }
}

/// Whether a file that cannot be read was named wrongly.
fn is_argument(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory)
}

fn unreadable(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::IsADirectory => "name a file, such as host.toml",
        ErrorKind::PermissionDenied => "run mailstack as a user who may read it",
        _ => "`mailstack init ROLE` prints a declaration to begin with",
    }
}

/// All faults as text.
pub(super) fn render(invalid: &Invalid) -> String {
    let sources = match invalid {
        Invalid::Unreadable { path, source } => {
            let words = Words::new(format!("cannot read {}", path.display())).note(source.to_string());
            return words.help(unreadable(source.kind())).render(Level::ERROR);
        }
        Invalid::Faulty(faulty) => &faulty.sources,
    };
    let reports = reports(invalid);
    let rendered: Vec<String> =
        reports.iter().map(|report| render_one(sources, report, Level::ERROR)).collect();
    rendered.join("\n\n")
}

/// What a valid declaration does wrong, at the key that it comes from; and that as text.
pub fn finding(declaration: &Declaration, finding: &Finding) -> (FaultReport, String) {
    let key = super::finding::key(finding, &declaration.spans);
    let words = Words::new(finding.to_string()).help(super::finding::help(finding));
    let report = report(&declaration.sources, &declaration.spans.find(&key), &key, words);
    let level = match finding.severity() {
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let rendered = render_one(&declaration.sources, &report, level);
    (report, rendered)
}

pub(super) fn render_one(sources: &Sources, report: &FaultReport, level: Level<'_>) -> String {
    let (source, span) = sources.local(&report.span);
    let span = visible(&source.text, &span);
    let label = if report.key.is_empty() { None } else { Some(report.key.as_str()) };
    let annotation = AnnotationKind::Primary.span(span).label(label);
    let path = source.path.display().to_string();
    let snippet = Snippet::source(source.text.as_str()).path(path).annotation(annotation);
    let notes = report.notes.iter().map(|note| Level::NOTE.message(note.as_str()));
    let help = report.help.iter().map(|help| Level::HELP.message(help.as_str()));
    let title = level.primary_title(report.message.as_str());
    super::render(title.element(snippet).elements(notes).elements(help))
}

/// Something with the places that it stands at, as text.
pub fn at_places(words: &Words, level: Level<'_>, spots: &[Spot<'_>]) -> String {
    let mut group = Group::with_title(level.primary_title(words.title.as_str()));
    for spot in spots {
        let (source, span) = spot.sources.local(&spot.span);
        let annotation = AnnotationKind::Primary.span(visible(&source.text, &span)).label(spot.key.as_str());
        let path = source.path.display().to_string();
        group = group.element(Snippet::source(source.text.as_str()).path(path).annotation(annotation));
    }
    let notes = words.notes.iter().map(|note| Level::NOTE.message(note.as_str()));
    let help = words.help.iter().map(|help| Level::HELP.message(help.as_str()));
    super::render(group.elements(notes).elements(help))
}

/// A span that underlines at least one character, and no more than its first line; whole characters, whatever span
/// comes: that of octets which are no text may end anywhere.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = boundary(text, span.start);
    let end = boundary(text, span.end).max(start);
    let line = text[start..end].find('\n').map_or(end, |at| start + at);
    let next = text[start..].chars().next().map_or(start, |c| start + c.len_utf8());
    if line > start { start..line } else { start..next }
}

/// All faults; none for a file that cannot be read.
pub fn reports(invalid: &Invalid) -> Vec<FaultReport> {
    match invalid {
        Invalid::Unreadable { .. } => Vec::new(),
        Invalid::Faulty(Faulty { sources, faults }) => {
            let one = |(span, wrong): &(Range<usize>, Wrong)| match wrong {
                Wrong::Written(fault) => report(sources, span, &fault.path, written(fault)),
                Wrong::Meant(fault) => report(sources, span, &fault.path, meant(fault)),
                Wrong::Disagrees { key, message, help } => {
                    report(sources, span, key, Words::new(message.as_str()).help(help.as_str()))
                }
                Wrong::Import { key, file, source } => report(sources, span, key, import(file, source)),
            };
            faults.iter().map(one).collect()
        }
    }
}

pub(super) fn report(sources: &Sources, span: &Range<usize>, key: &str, words: Words) -> FaultReport {
    let place = sources.place(span);
    FaultReport {
        file: sources.is_imported(span).then_some(place.file),
        line: Some(place.line),
        column: Some(place.column),
        key: key.to_owned(),
        message: words.title,
        notes: words.notes,
        help: words.help,
        span: span.clone(),
    }
}

/// What is said of an imported file that cannot be read.
fn import(file: &std::path::Path, source: &std::io::Error) -> Words {
    Words::new(format!("cannot read {}: {source}", file.display()))
        .help("imported files are named from the directory of this one")
}

/// What is said of a fault of the text. Where the kind's own line has the way out in it, it is parted here.
fn written(fault: &Fault) -> Words {
    match &fault.kind {
        Written::UnknownKey { key, suggestion, allowed, roles, .. } => {
            unknown_key(Words::new(format!("unknown key `{key}`")), suggestion, allowed, roles)
        }
        Written::NotOneOf { found, suggestion, allowed } => {
            let words =
                did_you_mean(Words::new(format!("{found} is not allowed here")), suggestion.as_deref());
            words.help(format!("allowed here: {}", list(allowed)))
        }
        Written::MissingKey { key } => {
            Words::new(fault.kind.to_string()).help(format!("add `{key} = {}`", example(key)))
        }
        Written::UnquotedKey { key } => Words::new("a key with a dot in it must be quoted")
            .help(format!("quote it: {}", quoted(&fault.path, key))),
        Written::BelowTable { key, table } => Words::new(format!("`{key}` is no key of `{table}`"))
            .help(format!("`{key}` belongs above the first [table]")),
        Written::Syntax { message } if message.contains("must be quoted: ") => {
            let (title, meant) = message.split_once(": ").unwrap_or((message, ""));
            Words::new(format!("not TOML: {title}")).help(format!("write {meant}"))
        }
        Written::MissingTag { key, allowed } => Words::new(format!("missing key `{key}`"))
            .help(format!("add `{key} = …`, one of {}", list(allowed))),
        Written::UnsupportedVersion { found, supported } => {
            let words = Words::new(format!("version {found} of the language is not supported"));
            words.help(format!("write `schema = {supported}`"))
        }
        Written::Unreadable { .. } => {
            Words::new(fault.kind.to_string()).help("this is a bug in mailstack: please report it")
        }
        kind => Words::new(kind.to_string()),
    }
}

/// A value to begin with.
fn example(key: &str) -> &'static str {
    match key {
        "schema" => "1",
        "mail_host" => "\"mailhost.example.com\"",
        "domain" => "\"example.com\"",
        _ => "…",
    }
}

/// The path of a key in the table that the path is in.
fn quoted(path: &str, key: &str) -> String {
    let table = path.split_once('.').map_or("", |(table, _)| table);
    child(table, key)
}

fn unknown_key(words: Words, suggestion: &Option<String>, allowed: &[String], roles: &[String]) -> Words {
    if !roles.is_empty() {
        return words.help(format!("a key of the role {} only", list(roles)));
    }
    match suggestion {
        Some(_) => did_you_mean(words, suggestion.as_deref()),
        None if allowed.is_empty() => words.help("remove it"),
        None => words.help(format!("allowed here: {}", list(allowed))),
    }
}

fn did_you_mean(words: Words, suggestion: Option<&str>) -> Words {
    match suggestion {
        Some(suggestion) => words.help(format!("did you mean `{}`?", suggestion.trim_matches('"'))),
        None => words,
    }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{}`", name.trim_matches('"'))).collect::<Vec<_>>().join(", ")
}

/// What is said of a fault of the meaning.
fn meant(fault: &ModelFault) -> Words {
    let words = Words::new(fault.kind.to_string());
    match way_out(&fault.kind) {
        Some(help) => words.help(help),
        None => words,
    }
}

fn way_out(kind: &Meant) -> Option<String> {
    let help = match kind {
        Meant::DomainName { .. } => "letters, digits and hyphens, in labels parted by dots".to_owned(),
        Meant::Unqualified { text } => format!("write it in full, such as `{text}.corp.example`"),
        Meant::RelayForTopLevel { .. } => "name the domains that are yours".to_owned(),
        Meant::MailHost { .. } => {
            "`host` (by MX), `[host]` or `[192.0.2.1]` (no MX), each with `:port` if it is not 25".to_owned()
        }
        Meant::Empty => "name one, or leave the key out".to_owned(),
        Meant::MailHostPorts { first, .. } => format!("use port {first} for all of them"),
        Meant::Listen { .. } => "such as `192.0.2.1`, `192.0.2.1:2525` or `[::1]:2525`".to_owned(),
        Meant::ListenOffLoopback { .. } => {
            "a loopback MTA serves this host alone; to serve others: role = \"gateway\"".to_owned()
        }
        Meant::Twice { other, .. } => format!("remove it, or `{other}`"),
        Meant::Covered { .. } | Meant::LoopbackNetwork { .. } => "remove it".to_owned(),
        Meant::BareAddress { bracketed, .. } => format!("write `\"{bracketed}\"`"),
        Meant::Include { .. } => "such as `:include:/etc/mail/lists/team`".to_owned(),
        Meant::SpecialTarget { .. } => "name a user or an address".to_owned(),
        Meant::HostBits { network, .. } | Meant::NoPrefix { network, .. } => format!("write `{network}`"),
        Meant::TooWide { .. } | Meant::Network { .. } => "name the networks that are yours".to_owned(),
        Meant::AliasLoop { .. } => "let one of them be an address, or `\\user` for the mailbox".to_owned(),
        Meant::ExpectedClient { .. } => {
            "a program of this host is `local`; another host is its address".to_owned()
        }
        Meant::ExpectedCodes { code, .. } => format!("such as `{}.7.1`", code / 100),
        Meant::Mailer { .. } => {
            "`smtp:host`, `esmtp:host`, `relay:host`, `local:user` or `error:5.7.1:550 text`".to_owned()
        }
        Meant::VirtuserKey { .. } => {
            "`user@domain`, `user+*@domain` (any detail), `@domain` (all else)".to_owned()
        }
        Meant::Virtuser { .. } => {
            "an address with %1 (user), %2 (detail), %3 (+detail), a local user, or `error:5.7.1:550 text`"
                .to_owned()
        }
        Meant::NotOurs { domain } => format!("add {domain} to `virtual_domains`, or to `local_domains`"),
        Meant::VirtuserLoop { .. } => {
            "let one of its entries be an address elsewhere, or a local user".to_owned()
        }
        Meant::VirtualMasqueraded { domain, .. } => format!("take {domain} out of one of the two"),
        Meant::GenericKey { .. } => {
            "`user`, `user@domain`, `user+*@domain` (any detail) or `@domain` (all else)".to_owned()
        }
        Meant::Generic { arguments: true, .. } => {
            "an address or a name, with %1 for the detail or user".to_owned()
        }
        Meant::Generic { arguments: false, .. } => {
            "an address or a name; %1 stands for something only with `user+*` and `@domain`".to_owned()
        }
        Meant::LocalAndElsewhere { domain, .. } => format!("take {domain} out of one of the two"),
        Meant::Without { needed } => format!("add `{needed}`, or remove this"),
        Meant::Place { .. } => "such as `/etc/mailstack/credentials/mailhost`".to_owned(),
        Meant::CredentialsInClear => "write `tls = \"verified\"` beside them".to_owned(),
        Meant::TlsPort => "write another port, or `opportunistic` or `verified`".to_owned(),
        Meant::SubmissionWithoutAuth { .. } => {
            "add `auth.users`, or say that it is for mail between hosts: kind = \"smtp\"".to_owned()
        }
        Meant::NullclientRewritesAll => "remove the key; the role msp has the choice".to_owned(),
        Meant::NotWithSendmail { .. } => "remove the key, or write `engine = \"builtin\"`".to_owned(),
        Meant::NoNameToAppearAs => "add `masquerade.domain = \"corp.example\"`".to_owned(),
        Meant::Range { least, most, .. } => format!("{least} to {most} is possible"),
        Meant::TimeRange { least, most, .. } => format!("{} to {} is possible", time(*least), time(*most)),
        Meant::Over { other, .. } | Meant::OverTime { other, .. } => format!("lower it, or raise `{other}`"),
        _ => return way_out_of_access(kind),
    };
    Some(help)
}

fn way_out_of_access(kind: &Meant) -> Option<String> {
    let help = match kind {
        Meant::AccessKey { .. } => {
            "`Connect:192.0.2.0/24`, `From:user@far.example`, `To:user@`, or a domain without a tag"
                .to_owned()
        }
        Meant::AccessAction { .. } => {
            "RELAY, OK, REJECT, DISCARD or `ERROR:5.7.1:550 text` (letters, digits, blanks and .+-:/)"
                .to_owned()
        }
        Meant::Quarantine { .. } => "REJECT refuses it, DISCARD throws it away".to_owned(),
        Meant::RelayBySender { .. } => "name the client (`Connect:`) or the recipients (`To:`)".to_owned(),
        Meant::RelayUntagged { text } => {
            format!("write `Connect:{text}` for clients or `To:{text}` for recipients")
        }
        Meant::RelayToUser { .. } => "write `To:` and the domain, and refuse its other users".to_owned(),
        Meant::RelayForNearlyAll { .. } => "name the networks that are yours".to_owned(),
        Meant::GreetingTells { .. } => "leave the name out: it helps nobody but an attacker".to_owned(),
        _ => return way_out_of_programs(kind),
    };
    Some(help)
}

fn way_out_of_programs(kind: &Meant) -> Option<String> {
    let help = match kind {
        Meant::Program { .. } => {
            "such as `|/usr/local/bin/ticket --queue help`; no quotes, `$`, `;`, `|`, `<` or `>`".to_owned()
        }
        Meant::AliasFile { .. } => "such as `/var/mail-archive/all`".to_owned(),
        Meant::ProgramNotListed { program } => {
            format!("add the path of {program} to `programs`")
        }
        Meant::Interpreter { .. } => "name the program that it is to run, or a script for it".to_owned(),
        Meant::Jail { .. } | Meant::FileNotJailed { .. } => {
            "such as file_jail = \"/var/mail-archive\"".to_owned()
        }
        Meant::DefaultUser { .. } => "name a user who owns nothing else, such as `daemon`".to_owned(),
        Meant::NotBySessions { .. } => {
            "remove the key, or write `by = \"daemon\"`, or `engine = \"builtin\"`".to_owned()
        }
        Meant::NotWithoutRoot { .. } => {
            "remove the key, or write `permissions = \"distribution\"`, which is what stands where nothing does".to_owned()
        }
        Meant::FlushOfMta => "remove it; `first_retry` and `longest_retry` say when".to_owned(),
        Meant::ResidentInterval => "remove it, or write `flush = \"timer\"`".to_owned(),
        Meant::CronInterval { .. } => "such as flush_interval = \"5m\", \"30m\" or \"6h\"".to_owned(),
        Meant::CfDir { .. } => {
            "the directory that has `m4/cf.m4` in it, such as `/usr/share/sendmail-cf`".to_owned()
        }
        Meant::ProgramName { .. } => "rename one of them".to_owned(),
        _ => return None,
    };
    Some(help)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_span_is_too_odd_to_be_shown(text in "(\\PC|[\r\n\t\0é\u{feff}\u{fffd}]){0,40}", start in 0..90_usize, end in 0..90_usize) {
            let fault = Fault { span: start..end, path: "key".to_owned(), kind: Written::NotUtf8 };
            let sources = Sources::of([("host.toml".into(), text.as_bytes())]);
            let report = report(&sources, &fault.span, &fault.path, written(&fault));
            prop_assert!(render_one(&sources, &report, Level::ERROR).contains("not UTF-8"));
        }
    }
}
