//! Programs and files of aliases in Debian's Sendmail: what it runs and writes is what the built-in MTA would.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use mailstack_deploy::generate::{self, LINK};

use crate::hosts::{Example, examples};
use crate::real_sendmail::Root;

/// Says as whom it runs, what it was told and what it was given.
const TICKET: &str = "#!/bin/sh\nexec >/tmp/ticket.out 2>&1\nid -un; echo \"[$*]\"; cat\n";

fn example(name: &str) -> Example {
    examples("hosts").into_iter().find(|example| example.name == name).unwrap()
}

fn prepared() -> Option<Root> {
    let root = Root::of(&example("loopback-programs"))?;
    let at = |path: &str| root.path().join(path);
    fs::create_dir_all(at("usr/local/bin")).unwrap();
    fs::write(at("usr/local/bin/ticket"), TICKET).unwrap();
    fs::set_permissions(at("usr/local/bin/ticket"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(at("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    // As the tree that the declaration needs says.
    let model = example("loopback-programs").model();
    let tmpfiles = &generate::files(&model)["etc/tmpfiles.d/mailstack.conf"];
    let tmpfiles = String::from_utf8(tmpfiles.bytes.clone()).unwrap();
    let jail = tmpfiles.lines().filter_map(|line| line.strip_prefix("d /var/mail-archive"));
    for below in jail {
        let (below, rest) = below.split_once(' ').unwrap();
        assert_eq!(rest, "0755 daemon - -");
        let directory = at("var/mail-archive").join(below.trim_start_matches('/'));
        fs::create_dir(&directory).unwrap();
        chown(directory, Some(1), Some(1)).unwrap();
    }
    Some(root)
}

/// Delivers at once, to an alias.
fn send(root: &Root, to: &str) -> String {
    let message = "From: bob@outside.example\\nSubject: x\\n\\nwords\\n";
    let line = format!("printf '{message}' | /usr/libexec/sendmail/sendmail -Am -odi -oi -f root {to} 2>&1");
    let output = root.run("0:0", &line);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_program_of_the_list_is_run_by_the_restricted_shell_as_the_declared_user() {
    let Some(root) = prepared() else { return };
    let said = send(&root, "support");
    let told = fs::read_to_string(root.path().join("tmp/ticket.out")).unwrap_or(said);
    let (head, message) = told.split_once("\nFrom ").expect(&told);
    assert_eq!(head, "daemon\n[--queue help,desk@corp.example]");
    assert!(message.ends_with("\nSubject: x\n\nwords\n"), "{message}");
}

#[test]
fn what_smrsh_has_no_link_to_is_not_run() {
    let Some(root) = prepared() else { return };
    fs::remove_file(root.path().join("etc/mail/smrsh/ticket")).unwrap();
    send(&root, "support");
    assert!(!root.path().join("tmp/ticket.out").exists());
}

#[test]
fn a_file_is_written_below_the_jail_as_the_declared_user() {
    let Some(root) = prepared() else { return };
    for _ in 0..2 {
        send(&root, "archive");
    }
    let file = root.path().join("var/mail-archive/one");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("\nSubject: x\n\nwords\n").count(), 2, "{text}");
    assert!(text.starts_with("From "), "{text}");
    assert_eq!(fs::metadata(&file).unwrap().uid(), 1);
    send(&root, "all");
    assert!(root.path().join("var/mail-archive/lists/2026/all").exists(), "its directories are made");
}

#[test]
fn sendmail_reads_back_what_was_declared() {
    let Some(root) = prepared() else { return };
    let cf = fs::read_to_string(root.path().join("etc/mail/sendmail.cf")).unwrap();
    for line in [
        "O DefaultUser=daemon",
        "O SafeFileEnvironment=/var/mail-archive",
        "Mprog,\t\tP=/usr/libexec/sendmail/smrsh, F=lsDFMoqeu9, S=EnvFromL/HdrFromL, R=EnvToL/HdrToL, D=$z:/,",
    ] {
        assert!(cf.lines().any(|found| found == line), "{line}");
    }
    let files = generate::files(&example("loopback-programs").model());
    assert_eq!(files["etc/mail/smrsh/ticket"].mode, LINK);
    assert_eq!(files["etc/mail/smrsh/ticket"].bytes, b"/usr/local/bin/ticket");
    let said = root.verify("0:0", "sendmail.cf", "support away all archive");
    insta::assert_snapshot!("bv-programs-and-files", said);
}
