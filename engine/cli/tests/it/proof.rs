//! Candidates in a network of their own: good ones pass, and each wrong one is caught by the promise that it breaks.
//!
//! Where this machine refuses namespaces the tests say so and prove nothing.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::binary;

const HOSTNAME: &str = "web01.corp.example";
const ROLES: [&str; 4] = ["nullclient", "msp", "loopback", "gateway"];
/// An ordinary user.
const USER: u32 = 64_998;
/// How long processes may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// The MTA's configuration that a declaration leads to.
fn configuration(declaration: &str) -> String {
    let dir = TempDir::with_prefix("mailstack-test-").unwrap();
    let (file, tree) = (dir.path().join("host.toml"), dir.path().join("tree"));
    fs::write(&file, declaration).unwrap();
    let built = Command::new(binary()).arg("build").arg(&file).arg("-o").arg(&tree).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fs::read_to_string(tree.join("etc/mailstack/mta.toml")).unwrap()
}

/// As [`configuration`], of the starter of a role.
fn starter(role: &str) -> String {
    let text = Command::new(binary()).args(["init", role]).output().unwrap().stdout;
    configuration(&String::from_utf8(text).unwrap())
}

fn request(config: &str, promised: Option<&str>) -> String {
    json!({ "config": config, "promised": promised, "hostname": HOSTNAME }).to_string()
}

fn begin(command: &mut Command, request: &str) -> Child {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    child
}

fn outcome(command: &mut Command, request: &str) -> Value {
    let output = begin(command, request).wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn prover() -> Command {
    let mut command = Command::new(binary());
    command.arg("prove-candidate");
    command
}

/// The outcome where the candidate could be run; else says why it could not.
fn ran(outcome: Value) -> Option<Value> {
    if outcome["proof"] == "unavailable" {
        eprintln!("SKIPPED, nothing was proven: {}", outcome["reason"]);
        return None;
    }
    Some(outcome)
}

fn failed(outcome: &Value) -> Vec<&Value> {
    outcome["results"].as_array().unwrap().iter().filter(|result| result["passed"] == false).collect()
}

#[track_caller]
fn assert_passes(outcome: &Value, role: &str) {
    assert_eq!(outcome["proof"], "ran", "{role}: {outcome:#}");
    assert!(failed(outcome).is_empty(), "{role}: {:#?}", failed(outcome));
    let kinds =
        outcome["results"].as_array().unwrap().iter().map(|result| result["promise"].as_str().unwrap());
    let mut kinds: Vec<&str> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    let wanted: &[&str] = match role {
        "gateway" => &["bounce_returns", "inside_relays", "listens", "no_foreign_relay", "own_mail"],
        _ => &["bounce_returns", "listens", "own_mail"],
    };
    assert_eq!(kinds, wanted, "{role}");
    eprintln!("{role}: {} ms", outcome["millis"]);
}

#[test]
fn the_starter_of_each_role_passes() {
    for role in ROLES {
        let Some(outcome) = ran(outcome(&mut prover(), &request(&starter(role), None))) else { return };
        assert_passes(&outcome, role);
    }
}

#[test]
fn mail_in_a_mailbox_is_seen_too() {
    for format in ["[mailboxes]\nformat = \"maildir\"\npath = \"Maildir\"", ""] {
        let text = format!(
            "schema = 1\nrole = \"loopback\"\n{format}\n[aliases]\nroot = [\"a@far.example\", \"carol\"]\n"
        );
        let Some(outcome) = ran(outcome(&mut prover(), &request(&configuration(&text), None))) else {
            return;
        };
        assert_passes(&outcome, "loopback");
        assert!(outcome.to_string().contains("for <carol@web01.corp.example>"), "{outcome:#}");
    }
}

#[test]
fn an_ordinary_user_proves_as_well() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: the other tests prove it, as they do not run as root");
        return;
    }
    for role in ROLES {
        let mut command = prover();
        as_user(&mut command);
        let Some(outcome) = ran(outcome(&mut command, &request(&starter(role), None))) else { return };
        assert_passes(&outcome, role);
    }
}

/// Changes a configuration.
fn changed(config: &str, change: impl Fn(&mut toml::Table)) -> String {
    let mut table: toml::Table = config.parse().unwrap();
    change(&mut table);
    table.to_string()
}

fn rules(table: &mut toml::Table) -> &mut toml::Table {
    table["rules"].as_table_mut().unwrap()
}

fn set(table: &mut toml::Table, key: &str, value: &str) {
    let parsed: toml::Table = format!("value = {value}").parse().unwrap();
    table.insert(key.to_owned(), parsed["value"].clone());
}

/// A change, the role that it is made to, the promise that it breaks, and what shows it.
type Mutation = (&'static str, fn(&mut toml::Table), &'static str, &'static str);

const MUTATIONS: &[Mutation] = &[
    (
        "gateway",
        |table| set(rules(table), "relay_networks", r#"["0.0.0.0/0", "::/0"]"#),
        "no_foreign_relay",
        "S: 250 2.1.5 <probe@relay-probe.invalid>... Recipient ok",
    ),
    (
        "gateway",
        |table| set(rules(table), "relay_domains", r#"["invalid"]"#),
        "no_foreign_relay",
        "S: 250 2.1.5 <probe@relay-probe.invalid>... Recipient ok",
    ),
    (
        "gateway",
        |table| set(rules(table), "relay_networks", "[]"),
        "inside_relays",
        "S: 550 5.7.1 <probe@relay-probe.invalid>... Relaying denied",
    ),
    (
        "gateway",
        |table| set(rules(table), "relay_domains", "[]"),
        "own_mail",
        "S: 550 5.7.1 <postmaster@corp.example>... Relaying denied",
    ),
    ("gateway", |table| set(table, "listeners", r#"["0.0.0.0:25"]"#), "listens", "listens on: 0.0.0.0:25"),
    (
        "nullclient",
        |table| set(table, "listeners", r#"["127.0.0.1:25"]"#),
        "listens",
        "listens on: 127.0.0.1:25",
    ),
    (
        "loopback",
        |table| set(table, "listeners", r#"["0.0.0.0:25", "[::1]:25"]"#),
        "listens",
        "listens on: 0.0.0.0:25 [::1]:25",
    ),
    (
        "loopback",
        |table| drop(rules(table).remove("masquerade")),
        "own_mail",
        "from <root@web01.corp.example> for <root@corp.example>",
    ),
    (
        "loopback",
        |table| set(rules(table)["masquerade"].as_table_mut().unwrap(), "recipients", "true"),
        "own_mail",
        "with To: root@corp.example",
    ),
    (
        "nullclient",
        |table| {
            set(rules(table), "qualify", r#"{ domain = "mailhost.corp.example" }"#);
            rules(table).remove("masquerade");
        },
        "own_mail",
        "for <root@mailhost.corp.example>",
    ),
    (
        "msp",
        |table| set(rules(table), "qualify", r#""own_host""#),
        "own_mail",
        "for <root@web01.corp.example>",
    ),
    (
        "msp",
        |table| {
            set(rules(table), "qualify", r#""own_host""#);
            rules(table).remove("masquerade");
        },
        "bounce_returns",
        "from <> for <root@web01.corp.example>",
    ),
];

#[test]
fn every_broken_promise_is_caught() {
    for (role, change, promise, evidence) in MUTATIONS {
        let promised = starter(role);
        let wrong = changed(&promised, change);
        let Some(outcome) = ran(outcome(&mut prover(), &request(&wrong, Some(&promised)))) else { return };
        assert_eq!(outcome["proof"], "ran", "{role} {promise}: {outcome:#}");
        let shown = failed(&outcome).into_iter().filter(|result| result["promise"] == *promise);
        let lines: Vec<&str> = shown
            .flat_map(|result| result["evidence"].as_array().unwrap())
            .filter_map(Value::as_str)
            .collect();
        assert!(lines.iter().any(|line| line.contains(evidence)), "{role} {promise}: {outcome:#}");
    }
}

#[test]
fn what_does_not_come_up_says_why() {
    let wrong = changed(&starter("nullclient"), |table| set(table, "version", "99"));
    let Some(outcome) = ran(outcome(&mut prover(), &request(&wrong, None))) else { return };
    assert_eq!(outcome["proof"], "not_started", "{outcome:#}");
    assert!(outcome["log"].to_string().contains("99"), "{outcome:#}");
}

#[test]
fn without_namespaces_the_reason_is_told() {
    let script = "echo 0 > /proc/sys/user/max_net_namespaces && exec \"$0\" prove-candidate";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(binary());
    let output = begin(&mut command, &request(&starter("nullclient"), None)).wait_with_output().unwrap();
    let Ok(outcome) = serde_json::from_slice::<Value>(&output.stdout) else {
        eprintln!("SKIPPED: this machine has no user namespaces");
        return;
    };
    assert_eq!(outcome["proof"], "unavailable");
    let reason = outcome["reason"].as_str().unwrap();
    assert!(reason.starts_with("this host refuses namespaces: "), "{reason}");
}

/// As an ordinary user, for whom root's tests give up root.
fn as_user(command: &mut Command) -> &mut Command {
    if nix::unistd::geteuid().is_root() {
        command.uid(USER).gid(USER).current_dir("/");
    }
    command
}

#[test]
fn an_apply_without_namespaces_says_that_only_the_policy_was_proven() {
    let dir = TempDir::with_prefix("mailstack-test-").unwrap();
    let declaration = dir.path().join("host.toml");
    fs::write(&declaration, Command::new(binary()).args(["init", "nullclient"]).output().unwrap().stdout)
        .unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(dir.path(), Some(USER), Some(USER)).unwrap();
    }
    let script = "echo 0 > /proc/sys/user/max_net_namespaces && \
                  exec unshare --user --map-user=\"$1\" --map-group=\"$2\" \"$0\" apply \"$3\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(binary());
    let (uid, gid) = match nix::unistd::geteuid().is_root() {
        true => (USER, USER),
        false => (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
    };
    command.args([uid.to_string(), gid.to_string()]).arg(&declaration).env("MAILSTACK_ROOT", dir.path());
    let applied = as_user(&mut command).output().unwrap();
    as_user(Command::new(binary()).arg("stop").env("MAILSTACK_ROOT", dir.path())).output().unwrap();
    let said = String::from_utf8_lossy(&applied.stderr);
    if said.contains("unshare:") {
        eprintln!("SKIPPED: this machine has no user namespaces");
        return;
    }
    assert!(applied.status.success(), "{said}");
    assert!(said.contains("only the policy was proven before the switch: this host refuses"), "{said}");
}

/// The processes that descend from this one.
fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = children.split_whitespace().filter_map(|child| child.parse().ok()).collect();
    children.iter().copied().chain(children.iter().flat_map(|child| descendants(*child))).collect()
}

fn is_candidate(pid: &u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.windows(5).any(|word| word == b"\0run\0"))
}

fn wait_for(what: &str, mut seen: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !seen() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn with_the_one_who_asks_everything_ends() {
    let config = starter("gateway");
    // It waits for the one who never gets the mail.
    let promised = changed(&config, |table| {
        let both = r#"[{ address = "root@corp.example" }, { address = "carol@corp.example" }]"#;
        set(rules(table)["aliases"].as_table_mut().unwrap(), "root", both);
    });
    let mut child = begin(&mut prover(), &request(&config, Some(&promised)));
    let mut all = Vec::new();
    let mut ended = false;
    wait_for("the candidate never ran", || {
        all = descendants(child.id());
        ended = matches!(child.try_wait(), Ok(Some(_)));
        ended || all.iter().any(is_candidate)
    });
    if ended {
        eprintln!("SKIPPED: the candidate could not be run");
        return;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("processes are left", || !all.iter().any(|pid| fs::exists(format!("/proc/{pid}")).unwrap()));
}
