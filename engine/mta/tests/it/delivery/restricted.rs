//! Programs and files of aliases, through a helper that is a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use mailstack_mta::delivery::helper::{Failure, Helper, HelperConfig, Work};
use mailstack_mta::host::Root;
use mailstack_runtime::Restricted;

use super::helper::{MESSAGE, Tree, command, facts, is_root};

/// Says who and where it is, what it was told and what it was given, into a file of its own user.
const TICKET: &str = "#!/bin/sh\nexec >\"$RECIPIENT.out\" 2>&1 || exit 75\nid -u; id -G; pwd; env | sort; echo \"[$*]\"; cat\n";

struct Outlet {
    tree: Tree,
    helper: Helper,
}

impl Outlet {
    fn new() -> Self {
        let tree = Tree::new();
        let programs = ["ticket", "deny", "later", "slow", "missing"];
        fs::create_dir_all(tree.path("usr/local/bin")).unwrap();
        for (name, text) in [
            ("ticket", TICKET),
            ("deny", "#!/bin/sh\necho nobody of that name >&2\nexit 67\n"),
            ("later", "#!/bin/sh\necho database is down\nexit 75\n"),
            ("slow", "#!/bin/sh\nyes | head -c 3000000\nexit 0\n"),
        ] {
            let path = tree.path(&format!("usr/local/bin/{name}"));
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let programs: BTreeMap<String, PathBuf> = programs
            .iter()
            .map(|name| ((*name).to_owned(), format!("/usr/local/bin/{name}").into()))
            .collect();
        let jail = tree.path("var/archive");
        fs::create_dir_all(&jail).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&jail, Some(64001), Some(64001)).unwrap();
            fs::set_permissions(tree.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let restricted =
            Restricted { user: "bob".to_owned(), programs, file_jail: Some("/var/archive".into()) };
        let config = HelperConfig {
            root: Root::new(tree.path("")),
            work: Work::Restricted(restricted),
            hostname: "gw.corp.example".parse().unwrap(),
        };
        let helper = Helper::from_commands(std::iter::once(command()), &config).unwrap();
        Self { tree, helper }
    }

    async fn run(&self, command: &str) -> Result<String, Failure> {
        self.helper.run(command, &facts("support"), &mut &*MESSAGE).await
    }

    async fn append(&self, path: &str) -> Result<String, Failure> {
        self.helper.append(path, &facts("support"), &mut &*MESSAGE).await
    }
}

#[tokio::test]
async fn a_program_is_run_as_its_user_with_the_message_and_nothing_else() {
    let outlet = Outlet::new();
    let taken = outlet.run("/anywhere/ticket --queue help,desk@corp.example").await;
    assert_eq!(taken.as_deref(), Ok("|/usr/local/bin/ticket"));
    let file = outlet.tree.path("support@corp.example.out");
    let said = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    if is_root() {
        // Its own group and no other.
        assert_eq!(lines[..2], ["64001", "64001"], "{said}");
    }
    assert_ne!(lines[0], "0");
    assert_eq!(lines[2], outlet.tree.path("").to_str().unwrap().trim_end_matches('/'));
    let environment: Vec<&str> =
        lines[3..].iter().take_while(|line| !line.starts_with('[')).copied().collect();
    let names: Vec<&str> = environment.iter().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(names, ["HOME", "LOGNAME", "PATH", "PWD", "RECIPIENT", "SENDER", "USER"]);
    let rest = lines[3 + names.len()..].join("\n");
    assert!(rest.starts_with("[--queue help,desk@corp.example]\nFrom a@far.example "), "{rest}");
    assert!(rest.contains("\nReturn-Path: <a@far.example>\nDelivered-To: support@corp.example\n"), "{rest}");
    assert!(rest.ends_with("Subject: hi\n\nFrom me"), "{rest}");
}

#[tokio::test]
async fn what_a_program_says_and_how_it_ends_decides() {
    let outlet = Outlet::new();
    for (command, status, words) in [
        ("deny", "5.1.1", "deny ended with exit code 67: nobody of that name"),
        ("later", "4.3.0", "later ended with exit code 75: database is down"),
        ("missing", "4.3.5", "cannot run /usr/local/bin/missing"),
        ("/bin/sh -c id", "5.7.1", "sh is nothing that an alias may run"),
        ("ticket $(id)", "5.7.1", "ticket with the argument $(id)"),
        ("ticket a;b", "5.7.1", "argument a;b"),
        ("", "5.7.1", "is nothing that an alias may run"),
    ] {
        let failure = outlet.run(command).await.unwrap_err();
        assert_eq!(failure.status, status, "{command}: {failure:?}");
        assert!(failure.text.contains(words), "{command}: {failure:?}");
    }
    // What it says beyond what is kept does not stop it.
    assert!(outlet.run("slow").await.is_ok());
}

#[tokio::test]
async fn a_file_is_written_below_the_jail_and_nowhere_else() {
    let outlet = Outlet::new();
    let at = |path: &str| outlet.tree.path(path);
    for _ in 0..2 {
        outlet.append("/var/archive/lists/all").await.unwrap();
    }
    let text = fs::read_to_string(at("var/archive/lists/all")).unwrap();
    assert_eq!((text.matches("\nSubject: hi\n").count(), text.matches("\n>From me\n").count()), (2, 2));
    assert_ne!(fs::metadata(at("var/archive/lists/all")).unwrap().uid(), 0);
    fs::write(at("etc/shadow"), "secret").unwrap();
    symlink(at("etc/shadow"), at("var/archive/link")).unwrap();
    symlink(at("etc"), at("var/archive/directory")).unwrap();
    fs::hard_link(at("var/archive/lists/all"), at("var/archive/second")).unwrap();
    fs::create_dir(at("var/archive/other")).unwrap();
    for (path, status, words) in [
        ("/etc/shadow", "5.7.1", "nothing that an alias may write to"),
        ("/var/archive/../../etc/shadow", "5.7.1", "nothing that an alias may write to"),
        ("/var/archive", "5.7.1", "nothing that an alias may write to"),
        ("/var/archive/link", "4.2.0", "a link"),
        ("/var/archive/directory/shadow", "4.2.0", "cannot open the directory"),
        ("/var/archive/second", "4.2.0", "several names"),
        ("/var/archive/other", "4.2.0", "/var/archive/other"),
    ] {
        let failure = outlet.append(path).await.unwrap_err();
        assert_eq!(failure.status, status, "{path}: {failure:?}");
        assert!(failure.text.contains(words), "{path}: {failure:?}");
    }
    assert_eq!(fs::read_to_string(at("etc/shadow")).unwrap(), "secret");
}
