//! The flake and the NixOS module, evaluated by Nix without a store of its own, and what they build, built here.
//!
//! In the place of nixpkgs stands a small one of ours, `vmtests/nix/nixpkgs`. Nothing is downloaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::host::{Ended, binary};

const ROLES: [&str; 4] = ["nullclient", "msp", "loopback", "gateway"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Whether Nix is here; said aloud where it is not.
fn is_here() -> bool {
    let here = Command::new("nix-instantiate").arg("--version").output().is_ok();
    if !here {
        eprintln!("SKIPPED: no nix-instantiate here: apt install nix-bin");
    }
    here
}

/// A host that the module is evaluated for.
struct Evaluated {
    dir: TempDir,
}

impl Evaluated {
    /// A declaration in TOML, and a list of further modules in Nix.
    fn new(declaration: &str, modules: &str) -> Self {
        let dir = TempDir::with_prefix("mailstack-test-").unwrap();
        fs::write(dir.path().join("host.toml"), declaration).unwrap();
        fs::write(dir.path().join("modules.nix"), modules).unwrap();
        Self { dir }
    }

    /// An attribute of `vmtests/nix/eval.nix`.
    fn ask(&self, attribute: &str) -> Ended {
        let mut command = Command::new("nix-instantiate");
        command.args(["--store", "dummy://", "--eval", "--strict", "--json"]);
        command.arg(repository().join("vmtests/nix/eval.nix")).args(["-A", attribute]);
        for (name, file) in [("declaration", "host.toml"), ("modules", "modules.nix")] {
            command.args(["--argstr", name]).arg(self.dir.path().join(file));
        }
        Ended::from(command.env("HOME", self.dir.path()).output().unwrap())
    }

    fn get(&self, attribute: &str) -> Value {
        serde_json::from_str(&self.ask(attribute).with(0).out).unwrap()
    }

    fn faults(&self) -> Vec<String> {
        serde_json::from_value(self.get("faults")).unwrap()
    }
}

fn starter(role: &str) -> String {
    fs::read_to_string(repository().join(format!("profiles/starter/{role}.toml"))).unwrap()
}

/// The declarations that the repository has: starters, and those with every key.
fn declarations() -> Vec<String> {
    let valid = fs::read_dir(repository().join("schema/tests/valid")).unwrap();
    let valid = valid.map(|entry| entry.unwrap().path());
    let hosts = valid.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with("topology"));
    // Examples of the language: what some import is not there, and what some expect does not come about.
    let own = |text: String| {
        let text = text.split("[[expect]]").next().unwrap();
        text.lines().filter(|line| !line.starts_with("imports")).map(|line| format!("{line}\n")).collect()
    };
    let texts = hosts.map(|path| own(fs::read_to_string(path).unwrap()));
    ROLES.map(starter).into_iter().chain(texts).collect()
}

/// The digest of the generation of a declaration, or what is wrong with it.
fn digest(dir: &Path, name: &str, text: &str) -> Result<String, String> {
    let (file, tree) = (dir.join(format!("{name}.toml")), dir.join(name));
    fs::write(&file, text).unwrap();
    let built = Command::new(binary()).arg("build").arg(&file).arg("-o").arg(&tree).output().unwrap();
    let Ended { code, out, err } = Ended::from(built);
    if code == 0 { Ok(out) } else { Err(err) }
}

#[test]
fn what_nix_evaluates_has_the_generation_of_the_file() {
    if !is_here() {
        return;
    }
    let mut compared = 0;
    for text in declarations() {
        let host = Evaluated::new(&text, "[ ]");
        // Some files are of the language and contradict themselves: they have no generation.
        let Ok(of_file) = digest(host.dir.path(), "file", &text) else { continue };
        let toml = host.get("toml");
        assert_eq!(digest(host.dir.path(), "nix", toml.as_str().unwrap()), Ok(of_file), "{text}\n{toml}");
        compared += 1;
    }
    assert!(compared > 6, "{compared}");
}

#[test]
fn what_a_file_imports_is_laid_under_it_as_the_command_does() {
    if !is_here() {
        return;
    }
    let text = "imports = [\"site.toml\", \"late.toml\"]\nschema = 1\nrole = \"gateway\"\n\
                local_domains = [\"own.example\"]\nlimits.hops = 30\n";
    let host = Evaluated::new(text, "[ ]");
    let put = |name: &str, text: &str| fs::write(host.dir.path().join(name), text).unwrap();
    put(
        "site.toml",
        "local_domains = [\"site.example\"]\n[limits]\nhops = 20\nconnections = 7\n[aliases]\nroot = \"a@x.example\"\n",
    );
    put("late.toml", "[limits]\nconnections = 9\n[aliases]\npostmaster = \"root\"\n");
    let toml = host.get("toml");
    let toml = toml.as_str().unwrap();
    assert!(toml.contains("limits.connections = 9\n") && toml.contains("limits.hops = 30\n"), "{toml}");
    let of_file = digest(host.dir.path(), "file", text).unwrap();
    assert_eq!(digest(host.dir.path(), "nix", toml), Ok(of_file), "{toml}");
    let inline = Evaluated::new(
        "role = \"gateway\"",
        "[ { services.mailstack.settings.imports = [ \"site.toml\" ]; } ]",
    );
    let faults = inline.faults();
    assert!(faults.len() == 1 && faults[0].contains("lib.readHost"), "{faults:?}");
}

#[test]
fn what_is_wrong_in_settings_is_told_with_what_was_meant() {
    if !is_here() {
        return;
    }
    let cases: [(&str, &[&str]); 7] = [
        ("role = \"gatway\"", &[".role: `gatway` is none; did you mean `gateway`?"]),
        ("mail_host = \"x\"", &[".role: required; one of "]),
        (
            "role = \"nullclient\"\nlisten = [\"192.0.2.1\"]",
            &[
                ".listen: role `nullclient` has no such key; it is one of loopback, gateway",
                ".mail_host: required in role",
            ],
        ),
        (
            "role = \"gateway\"\nmail_hots = \"x\"",
            &[".mail_hots: no such key in role `gateway`; did you mean `mail_host`?"],
        ),
        (
            "role = \"gateway\"\n[limits]\nhop = 3",
            &[".limits.hop: no such key in role `gateway`; did you mean `hops`?"],
        ),
        (
            "role = \"gateway\"\nmasquerade.envelope = true",
            &[".masquerade.domain: required in role `gateway`"],
        ),
        ("role = \"gateway\"\n[aliases]\nroot = []", &[".aliases.root: must not be empty"]),
    ];
    for (text, expected) in cases {
        let host = Evaluated::new(text, "[ ]");
        let faults = host.faults();
        assert_eq!(faults.len(), expected.len(), "{text}: {faults:?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(&format!("services.mailstack.settings{expected}")), "{fault}");
        }
        let stopped = host.ask("toplevel").with(1);
        assert!(stopped.err.contains("Failed assertions"), "{}", stopped.err);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_key() {
    if !is_here() {
        return;
    }
    for (text, key) in [
        ("limits.hops = \"many\"", "limits.hops"),
        ("limits.hops = 0", "limits.hops"),
        ("limits.message_size = \"25 MB\"", "limits.message_size"),
        ("queue.lifetime = \"5w\"", "queue.lifetime"),
        ("mailboxes.format = \"mh\"", "mailboxes.format"),
        ("masquerade = \"corp.example\"", "masquerade"),
        ("local_domains = \"corp.example\"", "local_domains"),
        ("schema = 2", "schema"),
    ] {
        let host = Evaluated::new(&format!("role = \"gateway\"\n{text}\n"), "[ ]");
        let refused = host.ask("toml").with(1);
        assert!(
            refused.err.contains(&format!("`services.mailstack.settings.{key}' is not of type")),
            "{}",
            refused.err
        );
    }
}

#[test]
fn every_example_of_the_schema_fits_its_type() {
    if !is_here() {
        return;
    }
    let examples = Evaluated::new("role = \"gateway\"", "[ ]").get("examples");
    let examples = examples.as_array().unwrap();
    assert!(examples.len() > 100, "{}", examples.len());
    assert!(examples.iter().all(|example| example["fits"] == true), "{examples:?}");
}

#[test]
fn one_mta_for_a_host_and_no_secret_in_the_store() {
    if !is_here() {
        return;
    }
    let with =
        |role: &str, module: &str| Evaluated::new(&starter(role), &format!("[ {{ {module} }} ]")).faults();
    let none: [String; 0] = [];
    for mta in ["postfix", "opensmtpd", "exim", "nullmailer"] {
        let faults = with("gateway", &format!("services.{mta}.enable = true;"));
        assert!(faults.len() == 1 && faults[0].contains(mta) && faults[0].contains("one MTA"), "{faults:?}");
    }
    assert_eq!(with("msp", "services.postfix.enable = true; services.mailstack.setSendmail = false;"), none);
    assert_eq!(with("msp", "services.postfix.enable = true;").len(), 1);
    let secret = |file: &str| with("gateway", &format!("services.mailstack.credentials.relay = \"{file}\";"));
    assert_eq!(secret("/run/keys/relay"), none);
    let named = with("gateway", "services.mailstack.settings.aliases.secret = \"/nix/store/0123-relay\";");
    assert!(
        named.len() == 1 && named[0].starts_with("services.mailstack.settings.aliases.secret lies in"),
        "{named:?}"
    );
    let faults = secret("/nix/store/0123-relay");
    assert!(faults.len() == 1 && faults[0].contains("everybody can read"), "{faults:?}");
}

#[test]
fn a_host_has_what_its_role_needs_and_no_more() {
    if !is_here() {
        return;
    }
    let client =
        Evaluated::new(&starter("nullclient"), "[ { services.mailstack.openFirewall = true; } ]").get("host");
    assert_eq!(client["ports"], serde_json::json!([]));
    assert_eq!(client["timers"]["mailstack-queue"]["wantedBy"], serde_json::json!(["timers.target"]));
    assert_eq!(client["service"]["wantedBy"], serde_json::json!([]), "started when there is something to do");
    assert!(!client["rules"].to_string().contains("/var/mail"));

    let listen = "[\"192.0.2.1\", \"[::1]:25\", \"[2001:db8::1]:2525\", \"127.0.0.1:587\"]";
    let text = format!("role = \"gateway\"\nlisten = {listen}\n");
    let module =
        "[ { services.mailstack = { openFirewall = true; credentials.relay = \"/run/keys/relay\"; }; } ]";
    let gateway = Evaluated::new(&text, module).get("host");
    assert_eq!(gateway["ports"], serde_json::json!([25, 2525]), "what nobody outside reaches needs no hole");
    assert_eq!(gateway["timers"], serde_json::json!({}));
    assert_eq!(gateway["service"]["wantedBy"], serde_json::json!(["multi-user.target"]));
    assert_eq!(
        gateway["service"]["serviceConfig"]["LoadCredential"],
        serde_json::json!(["relay:/run/keys/relay"])
    );
    assert!(gateway["rules"].to_string().contains("/var/mail 2775 root mail"));
    for bit in ["setuid", "setgid"] {
        assert_eq!(gateway["wrapper"][bit], false);
    }
    let closed = Evaluated::new(&text, "[ { services.mailstack.setSendmail = false; } ]").get("host");
    assert_eq!((&closed["ports"], &closed["wrapper"]), (&serde_json::json!([]), &Value::Null));
}

/// What the module's derivations do, done: the generation, and the units that come from it.
#[test]
fn what_the_module_builds_can_be_built() {
    if !is_here() {
        return;
    }
    for role in ROLES {
        let host = Evaluated::new(&starter(role), "[ ]");
        let (dir, built) = (host.dir.path(), host.get("host"));
        let (generation, units) = (dir.join("generation-out"), dir.join("units-out"));
        fs::create_dir(dir.join("bin")).unwrap();
        std::os::unix::fs::symlink(binary(), dir.join("bin/mailstack")).unwrap();
        fs::write(dir.join("nix.toml"), host.get("toml").as_str().unwrap()).unwrap();
        let run = |script: &Value, out: &Path| {
            let mut bash = Command::new("bash");
            bash.args(["-e", "-c", script.as_str().unwrap()]).current_dir(dir).env("out", out);
            bash.env("declarationPath", "nix.toml").env("generation", &generation);
            bash.env("program", "/nix/store/0-mailstack/bin/mailstack");
            bash.env("PATH", format!("{}:/usr/bin:/bin", dir.join("bin").display()));
            Ended::from(bash.output().unwrap()).with(0)
        };
        run(&built["generation"], &generation);
        run(&built["units"], &units);
        let service = fs::read_to_string(units.join("lib/systemd/system/mailstack.service")).unwrap();
        let config = generation.join("etc/mailstack/mta.toml");
        let start =
            format!("ExecStart=/nix/store/0-mailstack/bin/mailstack run --config {}", config.display());
        assert!(service.contains(&start), "{service}");
        assert_eq!(service.contains("--exit-when-idle"), matches!(role, "nullclient" | "msp"));
        let timer = units.join("lib/systemd/system/mailstack-queue.timer");
        assert_eq!(timer.exists(), matches!(role, "nullclient" | "msp"));
        assert!(units.join("lib/tmpfiles.d/mailstack.conf").exists());
    }
}

/// The flake as a user has it: without what is built, and with the stand-in for nixpkgs.
fn flake_check(change: impl FnOnce(&Path)) -> Ended {
    let dir = TempDir::with_prefix("mailstack-test-").unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for entry in fs::read_dir(repository()).unwrap() {
        let entry = entry.unwrap();
        if !matches!(entry.file_name().to_str(), Some("target" | ".git")) {
            let copied = Command::new("cp").arg("-r").arg(entry.path()).arg(&source).status().unwrap();
            assert!(copied.success());
        }
    }
    change(&source);
    let mut nix = Command::new("nix");
    nix.args(["--extra-experimental-features", "nix-command flakes", "--option", "build-users-group", ""]);
    nix.arg("--store").arg(dir.path().join("store")).args([
        "flake",
        "check",
        "--no-build",
        "--offline",
        "path:.",
    ]);
    nix.args(["--override-input", "nixpkgs", "path:./vmtests/nix/nixpkgs", "--no-write-lock-file"]);
    Ended::from(nix.current_dir(&source).env("HOME", dir.path()).output().unwrap())
}

#[test]
fn the_flake_is_sound() {
    if !is_here() {
        return;
    }
    flake_check(|_| {}).with(0);
    let broken = flake_check(|source| {
        let file = source.join("profiles/starter/gateway.toml");
        fs::write(&file, "schema = 1\nrole = \"gateway\"\nlocal_domain = [\"corp.example\"]\n").unwrap();
    })
    .with(1);
    assert!(broken.err.contains("did you mean `local_domains`?"), "{}", broken.err);
    // The lock is one that a newer Nix reads too, and names what flake.nix asks for.
    let lock: Value = serde_json::from_slice(&fs::read(repository().join("flake.lock")).unwrap()).unwrap();
    assert_eq!(lock["version"], 7);
    let original = &lock["nodes"]["nixpkgs"]["original"];
    let wanted = format!("github:NixOS/nixpkgs/{}", original["ref"].as_str().unwrap());
    assert!(fs::read_to_string(repository().join("flake.nix")).unwrap().contains(&wanted));
}

#[test]
fn the_script_of_the_virtual_machines_is_python() {
    if !is_here() {
        return;
    }
    let script = Evaluated::new("role = \"gateway\"", "[ ]").get("testScript");
    let mut python = Command::new("python3");
    python.args(["-c", "import sys; compile(sys.argv[1], 'testScript', 'exec')", script.as_str().unwrap()]);
    Ended::from(python.output().unwrap()).with(0);
}
