//! What the server says, by either engine: `answers/table.toml` and random sessions, sent from the host itself and
//! from outside, to the built-in MTA and to Debian's Sendmail; code and enhanced code are the same.
//!
//! `MAILSTACK_ANSWERS_SEED=N` repeats or changes the random sessions, `MAILSTACK_ANSWERS_COUNT=N` makes more. It needs
//! root and `sh vmtests/roots/peers.sh target/private-roots`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

mod differences;

use crate::host::binary;
use differences::{DIFFERENCES, Step};

#[derive(Deserialize)]
struct Table {
    host: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    name: String,
    #[serde(default)]
    declaration: String,
    case: Vec<Case>,
}

/// Each session from each client.
#[derive(Deserialize)]
struct Case {
    from: Vec<String>,
    say: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct Session {
    from: String,
    say: Vec<String>,
}

impl Host {
    fn sessions(&self) -> Vec<Session> {
        let each = |case: &Case| -> Vec<Session> {
            let of = |from: &String| {
                let from = from.clone();
                case.say.iter().map(move |say| Session { from: from.clone(), say: say.clone() })
            };
            case.from.iter().flat_map(of).collect()
        };
        self.case.iter().flat_map(each).collect()
    }
}

const COMMON: &str = "schema = 1\nrole = \"gateway\"\nhostname = \"gw.corp.example\"\nlisten = [\"0.0.0.0:25\"]\n\
    local_domains = [\"tuba.example\"]\nrelay.networks = [\"192.168.10.0/24\"]\n\
    relay.domains = [\"corp.example\"]\naliases.team = [\"alice\"]\n";

/// The private root of Sendmail; None, said aloud: it is not there, or cannot be entered.
fn sendmail() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/private-roots/sendmail");
    let library = Path::new("/usr/share/sendmail/cf").exists();
    if !nix::unistd::geteuid().is_root() || !root.join(".complete").exists() || !library {
        println!(
            "SKIPPED: no root, no cf library or no Sendmail in {}: vmtests/roots/peers.sh",
            root.display()
        );
        return None;
    }
    Some(root)
}

/// What an engine answers to each line of each session, its greeting first.
fn ask(sendmail: &Path, engine: &str, host: &Host, sessions: &[Session]) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let declaration = format!("engine = \"{engine}\"\n{COMMON}{}", host.declaration);
    fs::write(directory.path().join("host.toml"), declaration).unwrap();
    fs::write(directory.path().join("ask.json"), serde_json::to_vec(sessions).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/answers/run.sh");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "sh"])
        .arg(script)
        .args([binary(), sendmail])
        .arg(engine)
        .arg(directory.path())
        // What is counted in a time, and what waits, is asked one after the other.
        .arg(if depends_on_time(host) { "1" } else { "12" })
        .output()
        .unwrap();
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    assert!(
        output.status.success(),
        "{} {engine}: {output:?}\n{}{}",
        host.name,
        read("build.log"),
        read("log")
    );
    let answers: Vec<Vec<String>> = serde_json::from_str(&read("answers.json")).unwrap();
    assert_eq!(answers.len(), sessions.len(), "{} {engine}", host.name);
    answers
}

/// The same sessions for the same seed, of the commands of the table.
fn random(host: &Host, seed: u64, count: usize) -> Vec<Session> {
    // splitmix64: any seed is good.
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    };
    let clients: Vec<&String> = host.case.iter().flat_map(|case| &case.from).collect();
    // What is no command would be one here, and DATA needs what follows it.
    let is_command = |line: &&String| !line.contains('\n') && !["DATA", "QUIT"].contains(&line.as_str());
    let lines = host.case.iter().flat_map(|case| case.say.iter().flatten());
    let lines: Vec<&String> = lines.filter(is_command).collect();
    let session = |_| {
        let from = clients[next(clients.len())].clone();
        let length = 3 + next(9);
        let say = (0..length).map(|_| lines[next(lines.len())].clone()).chain(["QUIT".to_owned()]);
        Session { from, say: say.collect() }
    };
    (0..count).map(session).collect()
}

fn depends_on_time(host: &Host) -> bool {
    ["pause", "rate"].contains(&host.name.as_str())
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn both_engines_answer_with_the_same_codes() {
    let Some(sendmail) = sendmail() else { return };
    let table: Table = toml::from_str(include_str!("answers/table.toml")).unwrap();
    let (seed, count) = (number("MAILSTACK_ANSWERS_SEED", 1), number("MAILSTACK_ANSWERS_COUNT", 10));
    let (mut used, mut wrong, mut answered) = (BTreeMap::new(), String::new(), 0);
    for host in &table.host {
        let mut sessions = host.sessions();
        // What depends on time is not for chance.
        if !depends_on_time(host) {
            sessions.extend(random(host, seed, usize::try_from(count).unwrap()));
        }
        let builtin = ask(&sendmail, "builtin", host, &sessions);
        let theirs = ask(&sendmail, "sendmail", host, &sessions);
        for ((session, builtin), sendmail) in sessions.iter().zip(&builtin).zip(&theirs) {
            let said = std::iter::once("(greeting)").chain(session.say.iter().map(String::as_str));
            for (at, line) in said.enumerate() {
                let (Some(builtin), Some(sendmail)) = (builtin.get(at), sendmail.get(at)) else { break };
                answered += 1;
                if builtin == sendmail {
                    continue;
                }
                let step = Step { host: &host.name, client: &session.from, line, builtin, sendmail };
                match DIFFERENCES.iter().find(|known| (known.applies)(&step)) {
                    Some(known) => *used.entry(known.rule).or_insert(0) += 1,
                    None => {
                        let before = &session.say[..at.saturating_sub(1)];
                        writeln!(wrong, "{step}\n    after {before:.300?}").unwrap();
                    }
                }
                // From here on they may be in different states.
                if builtin.as_bytes()[0] != sendmail.as_bytes()[0] {
                    break;
                }
            }
        }
    }
    println!("{answered} answers, seed {seed}, differing by rule: {used:?}");
    assert!(wrong.is_empty(), "seed {seed}, these differ:\n{wrong}");
    let idle = DIFFERENCES.iter().map(|known| known.rule).filter(|rule| !used.contains_key(rule));
    assert_eq!(idle.collect::<Vec<_>>(), Vec::<&str>::new(), "no answer needs these");
}
