//! The `.cf` files of the examples, by the host's m4 and cf library.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use mailstack_deploy::generate::{self, Files};
use mailstack_deploy::m4::{CfLibrary, DEBIAN_LIBRARY, derive};

use crate::hosts::examples;

/// The library, or None, said aloud, on a host without it. The project's test command installs it.
pub fn library() -> Option<CfLibrary> {
    let library = CfLibrary::open(Path::new(DEBIAN_LIBRARY));
    let m4 = Command::new("m4").arg("--version").output();
    match (library, m4) {
        (Ok(library), Ok(_)) => Some(library),
        (library, m4) => {
            eprintln!("SKIPPED, no .cf files here: {:?} {:?}", library.err(), m4.err());
            None
        }
    }
}

fn all_cf(library: &CfLibrary) -> Vec<(String, Files)> {
    let cf =
        |files: &Files, name: &str| derive(files, library).unwrap_or_else(|error| panic!("{name}: {error}"));
    examples("hosts").iter().map(|e| (e.name.clone(), cf(&generate::files(&e.model()), &e.name))).collect()
}

/// The lines of a .cf file that set something this project cares about.
fn telling(cf: &str) -> String {
    let settings = [
        "Dj",
        "DM",
        "DH",
        "DS",
        "C{E}",
        "C{M}",
        "CE",
        "CM",
        "D{MTAHost}",
        "Fw",
        "FR",
        "Kaccess",
        "Kmailertable",
        "DZ",
        "O AliasFile",
        "O DaemonPortOptions",
        "O Max",
        "O MinQueueAge",
        "O Timeout.queuereturn=",
        "O Timeout.ident",
        "O PrivacyOptions",
        "O TrustedUser",
        "O RunAsUser",
        "O QueueDirectory",
        "O PidFile",
        "O SmtpGreetingMessage",
        "O UseCompressed",
        "O UseMSP",
        "O DeliveryMode",
        "Mlocal",
        "Mrelay",
        "\t\tA=TCP",
        "\t\tA=mail",
        "\t\tA=procmail",
    ];
    let telling = |line: &&str| settings.iter().any(|setting| line.starts_with(setting));
    cf.lines().filter(telling).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_example_compiles_without_a_word() {
    let Some(library) = library() else { return };
    for (name, files) in all_cf(&library) {
        for (path, entry) in files {
            let text = String::from_utf8(entry.bytes).unwrap();
            let title = path.rsplit('/').next().unwrap().replace('.', "-");
            insta::assert_snapshot!(format!("{title}-{name}"), telling(&text));
        }
    }
}

/// Run as a child of [`the_same_bytes_in_two_environments`], in surroundings of its choice; writes all files.
#[test]
fn write_everything() {
    let Some(directory) = std::env::var_os("MAILSTACK_TEST_WRITE") else { return };
    let library = CfLibrary::open(Path::new(DEBIAN_LIBRARY)).unwrap();
    for example in examples("hosts") {
        let mut files = generate::files(&example.model());
        files.extend(derive(&files, &library).unwrap());
        for (path, entry) in files {
            let target = Path::new(&directory).join(&example.name).join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(target, entry.bytes).unwrap();
        }
    }
}

#[test]
fn the_same_bytes_in_two_environments() {
    if library().is_none() {
        return;
    }
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plain = [("HOME", "/root"), ("USER", "root"), ("TZ", "UTC"), ("LANG", "C")];
    let other = [
        ("HOME", "/nonexistent"),
        ("USER", "somebody"),
        ("LOGNAME", "somebody"),
        ("HOSTNAME", "elsewhere"),
        ("TZ", "Pacific/Kiritimati"),
        ("LANG", "tr_TR.UTF-8"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("M4PATH", "/tmp"),
        ("POSIXLY_CORRECT", "1"),
        ("SOURCE_DATE_EPOCH", "1"),
    ];
    write_in(one.path(), "/", &plain, false);
    write_in(two.path(), "/tmp", &other, true);
    let compared = Command::new("diff").arg("-r").args([one.path(), two.path()]).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
    assert!(one.path().join("gateway-full/etc/mail/sendmail.cf").exists());
}

fn write_in(target: &Path, directory: &str, environment: &[(&str, &str)], other: bool) {
    // Another user where root can become one; the umask comes from a shell.
    let program = std::env::current_exe().unwrap();
    let line =
        format!("umask {}; exec \"$0\" --exact cf::write_everything", if other { "077" } else { "022" });
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).arg(program).env_clear().env("PATH", "/usr/bin:/bin").current_dir(directory);
    command.envs(environment.iter().copied()).env("MAILSTACK_TEST_WRITE", target);
    if other && nix::unistd::geteuid().is_root() && readable_by_others() {
        std::os::unix::fs::chown(target, Some(65534), Some(65534)).unwrap();
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Whether another user reaches the test program and the examples.
fn readable_by_others() -> bool {
    let mut reach = Command::new("ls");
    reach.arg(std::env::current_exe().unwrap()).arg(env!("CARGO_MANIFEST_DIR")).uid(65534).gid(65534);
    reach.output().is_ok_and(|output| output.status.success())
}
