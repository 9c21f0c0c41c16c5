//! Debian's Sendmail, from its private root, loads each `.cf` and says what it makes of an address.
//!
//! `sh vmtests/roots/sendmail.sh target/private-roots/sendmail` prepares the root. It is copied for each example,
//! so that no test sees another's maps, and entered with chroot: that needs root.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use mailstack_deploy::generate::{self, Files, Kind, LINK};
use mailstack_deploy::m4::derive;

use crate::cf::library;
use crate::hosts::{Example, examples};

/// The mail user of the root, where nothing else is said.
pub(crate) const SMMTA: &str = "201:201";
/// The user who owns all mail where Sendmail is never root.
const MAIL: &str = "8:8";
/// An ordinary user.
const ALICE: &str = "1001:1001";
/// The same in the submission program's group: `-C` takes the setgid bit away.
const ALICE_IN_SMMSP: &str = "1001:202";

/// The name of the host that Sendmail believes to be on.
const HERE: &str = "here.corp.example";

pub(crate) struct Root(tempfile::TempDir, &'static str);

/// The prepared root; None, said aloud, where it is missing or cannot be entered.
fn prepared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/private-roots/sendmail");
    if !nix::unistd::geteuid().is_root() || !root.join(".complete").exists() {
        eprintln!("SKIPPED: no root, or no Sendmail in {}: see vmtests/roots/sendmail.sh", root.display());
        return None;
    }
    Some(root)
}

impl Root {
    pub(crate) fn of(example: &Example) -> Option<Self> {
        let (prepared, library) = (prepared()?, library()?);
        let directory = tempfile::tempdir().unwrap();
        let copied =
            Command::new("cp").arg("-a").arg(prepared.join(".")).arg(directory.path()).status().unwrap();
        assert!(copied.success());
        // Owner of the maps, who may read them.
        let sendmail = example.model().runtime_config().sendmail;
        let user = sendmail.map(|sendmail| sendmail.daemon_user);
        let is_root = user.as_deref() == Some("root");
        let owner = match user.as_deref() {
            Some("root") => "0:0",
            Some("mail") => MAIL,
            _ => SMMTA,
        };
        let root = Self(directory, owner);
        root.prepare();
        if owner == MAIL {
            root.without_root();
        }
        if is_root {
            let queue = root.0.path().join("var/spool");
            let (debian, others) = (queue.join("mqueue-client"), queue.join("clientmqueue"));
            assert!(Command::new("cp").arg("-a").args([debian, others]).status().unwrap().success());
            // Where the daemon's user is root, so is its directory.
            chown(root.0.path().join("etc/mail"), Some(0), Some(0)).unwrap();
        }
        let mut files = generate::files(&example.model());
        files.extend(derive(&files, &library).unwrap());
        root.put(&files);
        root.derive_maps(&files);
        root.derive_credentials(example);
        Some(root)
    }

    /// What an administrator does for a Sendmail that is never root.
    fn without_root(&self) {
        let line = "chown mail: /var/spool/mqueue /run/sendmail/mta /etc/mail && chmod 00700 /var/spool/mqueue && \
                    chown root:mail /var/mail && chmod 01775 /var/mail";
        let output = self.run("0:0", line);
        assert!(output.status.success(), "{output:?}");
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The mail user, as the example's platform has it.
    pub(crate) fn owner(&self) -> &'static str {
        self.1
    }

    /// Names for the name below, and the one device that Sendmail needs.
    fn prepare(&self) {
        let hosts = format!("127.0.0.1 localhost\n192.0.2.10 {HERE}\n192.0.2.77 outside.example\n");
        let file = self.0.path().join("etc/hosts");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(file, hosts).unwrap();
        let device = self.0.path().join("dev/null");
        if device.exists() {
            return;
        }
        let made =
            Command::new("mknod").args(["-m", "666"]).arg(device).args(["c", "1", "3"]).status().unwrap();
        assert!(made.success());
    }

    fn put(&self, files: &Files) {
        for (path, entry) in files.iter().filter(|(path, _)| path.starts_with("etc/mail/")) {
            let target = self.0.path().join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            if entry.mode == LINK {
                symlink(String::from_utf8(entry.bytes.clone()).unwrap(), target).unwrap();
                continue;
            }
            std::fs::write(&target, &entry.bytes).unwrap();
            let owner = self.1.split(':').next().unwrap().parse().unwrap();
            chown(target, Some(owner), Some(202)).unwrap();
        }
    }

    /// The maps, as the mail user makes them.
    fn derive_maps(&self, files: &Files) {
        for (path, _) in files.iter().filter(|(_, entry)| entry.kind == Kind::Table) {
            let line = match path.rsplit('/').next().unwrap() {
                "aliases" => "newaliases".to_owned(),
                "local-host-names" => continue,
                map => format!("makemap hash /etc/mail/{map} </etc/mail/{map}"),
            };
            let output = self.run(self.1, &format!("/usr/libexec/sendmail/{line}"));
            assert!(output.status.success(), "{path}: {output:?}");
        }
    }

    /// What an administrator makes of credentials, beside the generation.
    fn derive_credentials(&self, example: &Example) {
        for place in
            example.model().runtime_config().tls.mail_hosts.iter().filter_map(|host| host.credentials.clone())
        {
            let (directory, place) = (place.parent().unwrap().display(), place.display());
            let entry = r#"AuthInfo: "U:me" "P:secret""#;
            let map = format!(
                "echo '{entry}' | /usr/libexec/sendmail/makemap hash {place} && chmod 0640 {place}.db"
            );
            let made = self.run("0:202", &format!("mkdir -p {directory} && {map}"));
            assert!(made.status.success(), "{made:?}");
        }
    }

    /// A shell line inside of the root, under a name of its own and without any network.
    pub(crate) fn run(&self, user: &str, line: &str) -> Output {
        self.run_on(&["--net"], user, line)
    }

    /// The same, with the network of this thread.
    pub(crate) fn run_here(&self, user: &str, line: &str) -> Output {
        self.run_on(&[], user, line)
    }

    /// The same, in these namespaces beside that of the name.
    fn run_on(&self, namespaces: &[&str], user: &str, line: &str) -> Output {
        let enter = format!("echo {HERE} >/proc/sys/kernel/hostname; exec chroot --userspec={user} \"$@\"");
        let mut command = Command::new("unshare");
        command.arg("--uts").args(namespaces).args(["sh", "-c", &enter, "sh"]).arg(self.0.path());
        command.args(["/bin/sh", "-c", line]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.output().unwrap()
    }

    /// What `-bv` says of each address, warnings included.
    pub(crate) fn verify(&self, user: &str, cf: &str, addresses: &str) -> String {
        let verify = format!("/usr/libexec/sendmail/sendmail -C /etc/mail/{cf} -bv");
        let output = self.run(user, &format!("for address in {addresses}; do {verify} $address 2>&1; done"));
        // What it always says to anybody but root.
        let notice = "Notice: -bv may give misleading output for non-privileged user\n";
        String::from_utf8_lossy(&output.stdout).replace(notice, "")
    }
}

#[test]
fn each_cf_resolves_root_users_and_foreign_addresses() {
    for example in examples("hosts").into_iter().chain(examples("../../../profiles/recipes")) {
        let Some(root) = Root::of(&example) else { return };
        let mut told = String::new();
        for (cf, user) in [("sendmail.cf", root.owner()), ("submit.cf", ALICE_IN_SMMSP)] {
            if !root.0.path().join("etc/mail").join(cf).exists() {
                continue;
            }
            let addresses = "root alice nosuchuser bob@outside.example root@corp.example postmaster";
            told.push_str(&format!("{cf}:\n{}", root.verify(user, cf, addresses)));
        }
        insta::assert_snapshot!(format!("bv-{}", example.name), told);
    }
}

/// Takes one SMTP transaction and returns all that the client said.
fn one_transaction(listener: TcpListener) -> Vec<String> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut replies, mut said, mut data) = (stream.try_clone().unwrap(), Vec::new(), false);
    replies.write_all(b"220 mail ESMTP\r\n").unwrap();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let reply = match line.split(' ').next().unwrap().to_ascii_uppercase().as_str() {
            "." if data => "250 taken\r\n",
            _ if data => "",
            "DATA" => "354 go on\r\n",
            _ => "250 fine\r\n",
        };
        data = (data || line == "DATA") && line != ".";
        said.push(line.trim_end().to_owned());
        replies.write_all(reply.as_bytes()).unwrap();
        if line == "QUIT" {
            break;
        }
    }
    said
}

#[test]
fn an_ordinary_user_of_a_masqueraded_client_submits_to_the_domain() {
    for role in ["nullclient", "msp"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = format!(
            "schema = 1\nrole = \"{role}\"\nmail_host = \"[127.0.0.1]:{port}\"\n\
             masquerade.domain = \"corp.example\"\n"
        );
        let Some(root) = Root::of(&Example { name: role.to_owned(), text }) else { return };
        let server = std::thread::spawn(move || one_transaction(listener));
        let message = "To: root, bob@outside.example\nCc: mary@localhost\nSubject: cron\n\nhello\n";
        let program = "/usr/libexec/sendmail/sendmail -oi -t";
        let output = root.run_on(&[], ALICE, &format!("printf '{message}' | {program} 2>&1"));
        assert!(output.status.success(), "{role}: {output:?}");
        let said = server.join().unwrap();
        let telling = |line: &&String| {
            ["MAIL", "RCPT", "From:", "To:", "Cc:"].iter().any(|start| line.starts_with(start))
        };
        let mut told: Vec<&str> = said.iter().filter(telling).map(|line| line.as_str()).collect();
        told.iter_mut().for_each(|line| *line = line.split(" SIZE=").next().unwrap());
        insta::assert_snapshot!(format!("submitted-{role}"), told.join("\n"));
    }
}
