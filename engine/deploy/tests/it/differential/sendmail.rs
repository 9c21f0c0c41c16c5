//! Real Sendmail: many questions to one process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};

use crate::real_sendmail::Root;

/// An ordinary user in the submission program's group.
const ALICE_IN_SMMSP: &str = "1001:202";

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// What a mailer makes of an address: `H` header, `E` envelope; `S` sender, `R` recipient.
    Try { flags: &'static str, mailer: &'static str, address: String },
    /// Which mailer, host and user an envelope recipient has.
    Parse { address: String },
    /// The same, with what aliases expand to.
    Verify { address: String },
}

/// A `.cf` in its root.
pub(super) struct Sendmail<'r> {
    pub(super) root: &'r Root,
    pub(super) cf: &'static str,
    pub(super) hostname: &'r str,
}

impl Sendmail<'_> {
    /// An answer for each question, in order.
    pub(super) fn ask(&self, questions: &[Question]) -> Vec<String> {
        let lines: String = questions.iter().map(line).collect();
        fs::write(self.root.path().join("tmp/questions"), lines).unwrap();
        let output = self.run(&format!("{SENDMAIL} -C /etc/mail/{} -bt </tmp/questions 2>&1", self.cf));
        let mailers = self.mailers();
        let said = String::from_utf8_lossy(&output.stdout);
        said.lines().filter_map(|line| answer(line, &mailers)).collect()
    }

    /// What `-bv` says of each recipient: every mailer, host and user that it comes to, sorted.
    pub(super) fn verify(&self, addresses: &[String]) -> Vec<String> {
        let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        fs::write(self.root.path().join("tmp/questions"), lines).unwrap();
        let program = format!("{SENDMAIL} -C /etc/mail/{} -bv \"$address\"", self.cf);
        let each =
            format!("while read -r address; do echo {NEXT}; {program} </dev/null 2>&1; done </tmp/questions");
        let mailers = self.mailers();
        let output = self.run(&each);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.split(NEXT).skip(1).map(|said| verdict(said, &mailers)).collect()
    }

    /// The hosts of mailers that go to one host whatever host they are given.
    fn mailers(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.root.path().join("etc/mail").join(self.cf)).unwrap();
        let mut name = String::new();
        let mut found = BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix('M') {
                name = rest.split(',').next().unwrap_or_default().to_owned();
            }
            if let Some((_, arguments)) = line.split_once("A=TCP ") {
                let host = arguments.split(' ').next().unwrap_or_default();
                if host != "$h" {
                    found.insert(name.clone(), host.to_owned());
                }
            }
        }
        found
    }

    /// Names the host and its short name, as a host's own file does: they are class w. All other domains are there too:
    /// what a name server does not answer for waits, and `-bv` does not say where.
    pub(super) fn name_hosts(&self, addresses: &[String]) {
        let file = self.root.path().join("etc/hosts");
        let short = self.hostname.split('.').next().unwrap_or_default();
        let hosts = fs::read_to_string(&file).unwrap();
        let others = hosts.lines().filter(|line| !line.starts_with("192.0.2.10 "));
        let text: String = others.map(|line| format!("{line}\n")).collect();
        let domains =
            addresses.iter().filter_map(|address| address.rsplit_once('@')).map(|(_, domain)| domain);
        let own = [self.hostname, short, "localhost"];
        let foreign: BTreeSet<String> = domains
            .map(str::to_ascii_lowercase)
            .filter(|domain| !domain.starts_with('[') && !own.contains(&domain.as_str()))
            .collect();
        let foreign: String = foreign.iter().map(|domain| format!("192.0.2.200 {domain}\n")).collect();
        fs::write(file, format!("{text}192.0.2.10 {} {short}\n{foreign}", self.hostname)).unwrap();
    }

    fn run(&self, line: &str) -> Output {
        // The loopback interface is up, as on every host: its address is class w.
        let enter = "ip link set lo up; echo $1 >/proc/sys/kernel/hostname; shift; exec chroot --userspec=$1 \"$2\" /bin/sh -c \"$3\"";
        let mut command = Command::new("unshare");
        let user = if self.cf == "submit.cf" { ALICE_IN_SMMSP } else { self.root.owner() };
        command.args(["--uts", "--net", "sh", "-c", enter, "sh", self.hostname, user]);
        command.arg(self.root.path()).arg(line).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.output().unwrap()
    }
}

/// Between two answers of `-bv`.
const NEXT: &str = "----";

fn verdict(said: &str, mailers: &BTreeMap<String, String>) -> String {
    let found = said.lines().filter_map(|line| line.split_once("... deliverable: "));
    let mut found: Vec<String> = found.map(|(_, triple)| triple_of(triple, mailers)).collect();
    found.sort();
    match found.is_empty() {
        true => refused(said.lines().find(|line| line.contains("...")).unwrap_or(said)),
        false => found.join(", "),
    }
}

/// A refusal by its code.
fn refused(text: &str) -> String {
    let digits = |word: &&str| word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit());
    let code = text.split(|c: char| !c.is_ascii_alphanumeric()).find(digits);
    // -bv leaves the code out.
    let is_bad = text.contains("Hostname required") || text.contains("User address required");
    format!("refused: {}", if is_bad { "553" } else { code.unwrap_or(text) })
}

const SENDMAIL: &str = "/usr/libexec/sendmail/sendmail";

fn line(question: &Question) -> String {
    match question {
        Question::Try { flags, mailer, address } => format!("/tryflags {flags}\n/try {mailer} {address}\n"),
        // The flags decide what /parse rewrites.
        Question::Parse { address } => format!("/tryflags ER\n/parse {address}\n"),
        Question::Verify { .. } => String::new(),
    }
}

/// The last line of each answer, in the words of the policy's answers.
fn answer(line: &str, mailers: &BTreeMap<String, String>) -> Option<String> {
    let line = line.trim_start_matches("> ");
    if let Some((_, address)) = line.split_once(", addr = ").filter(|_| line.starts_with("Rcode = ")) {
        return Some(address.to_owned());
    }
    line.strip_prefix("mailer ").map(|_| triple_of(line, mailers))
}

/// `mailer esmtp, host outside.example., user bob@outside.example`
fn triple_of(line: &str, mailers: &BTreeMap<String, String>) -> String {
    let part = |name: &str| {
        line.split(", ").find_map(|part| part.strip_prefix(name)).unwrap_or_default().trim_end_matches('.')
    };
    let (mailer, host, user) = (part("mailer "), part("host "), part("user "));
    match mailer {
        "local" => format!("the mailbox of {}", user.trim_matches('"')),
        "*error*" => refused(user),
        // Without the quotes: -bv cuts at none of the commas of a command.
        "prog" => format!("the program {}", user.trim_matches('"').trim_start_matches('|')),
        "*file*" => format!("the file {user}"),
        _ => format!("{} for {user}", mailers.get(mailer).map_or(host, String::as_str)),
    }
}
