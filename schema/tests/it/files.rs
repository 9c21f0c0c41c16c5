use std::fs;
use std::path::{Path, PathBuf};

use mailstack_schema::host::{Host, Role};
use mailstack_schema::topology::{Action, Topology};
use mailstack_schema::{Fault, Written, profiles, read, read_bytes};

pub(crate) fn files(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(dir);
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub(crate) fn name(file: &Path) -> &str {
    file.file_stem().unwrap().to_str().unwrap()
}

/// Files whose name begins with `topology` are topologies.
fn faults(file: &Path) -> Vec<Fault> {
    let bytes = fs::read(file).unwrap();
    if name(file).starts_with("topology") {
        read_bytes::<Topology>(&bytes).err().unwrap_or_default()
    } else {
        read_bytes::<Host>(&bytes).err().unwrap_or_default()
    }
}

fn shown(text: &str, fault: &Fault) -> String {
    let line = text[..fault.span.start].matches('\n').count() + 1;
    format!("{line}: {:?}\n   {fault}\n   {:?}\n", text.get(fault.span.clone()).unwrap_or(""), fault.kind)
}

#[test]
fn valid_files_have_no_faults() {
    for file in files("valid") {
        assert_eq!(faults(&file), [], "{}", file.display());
    }
}

#[test]
fn invalid_files_have_all_their_faults() {
    for file in files("invalid") {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        let faults = faults(&file);
        assert!(!faults.is_empty(), "{}", file.display());
        let shown: String = faults.iter().map(|fault| shown(&text, fault)).collect();
        insta::assert_snapshot!(name(&file), shown);
    }
}

#[test]
fn starters_are_valid_and_begin_with_their_schema() {
    for role in Role::ALL {
        let text = profiles::starter(role);
        assert!(text.starts_with(&format!("#:schema {role}.schema.json\n")), "{role}");
        assert!(text.contains(&format!("`mailstack schema {role} > {role}.schema.json`")), "{role}");
        assert_eq!(read::<Host>(text).unwrap().value.role(), role);
    }
}

/// A topology of the repository names the committed schema, which lies where its line says.
#[test]
fn topologies_are_valid_and_name_their_schema() {
    let all = files("../../vmtests/topologies").into_iter().chain(files("valid"));
    let topologies = all.filter(|file| {
        let ours = file.parent().unwrap().ends_with("topologies") || name(file).starts_with("topology");
        ours && file.extension().is_some_and(|extension| extension == "toml")
    });
    let mut seen = 0;
    for file in topologies {
        let text = fs::read_to_string(&file).unwrap();
        let line = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).unwrap();
        let schema = fs::canonicalize(file.parent().unwrap().join(line)).unwrap();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("topology.schema.json");
        assert_eq!(schema, fs::canonicalize(committed).unwrap(), "{}", file.display());
        assert!(read::<Topology>(&text).is_ok(), "{}", file.display());
        seen += 1;
    }
    assert!(seen > 1);
}

#[test]
fn the_starter_gateway_is_under_twelve_lines() {
    let text = profiles::starter(Role::Gateway);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert!(lines.count() < 12);
}

#[test]
fn defaults_are_valid_but_for_what_only_an_administrator_knows() {
    for role in Role::ALL {
        assert!(!profiles::defaults_table(role).is_empty(), "{role}");
        let faults = read::<Host>(profiles::defaults(role)).unwrap_err();
        let kinds: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let open =
            ["missing key `mail_host`", "masquerade: missing key `domain`", "auth: missing key `users`"];
        assert!(kinds.iter().all(|kind| open.contains(&kind.as_str())), "{role}: {kinds:?}");
    }
}

#[test]
fn spans_find_keys_values_and_the_nearest_ancestor() {
    let text = "schema = 1\nrole = \"gateway\"\n[relay]\nnetworks = [\"10.0.0.0/8\", \"10.1.0.0/16\"]\n[mailertable]\n\"a.example\" = \"local:\"\n";
    let Written { spans, .. } = read::<Host>(text).unwrap();
    let at = |path: &str| &text[spans.find(path)];
    assert_eq!(at("relay.networks[1]"), "\"10.1.0.0/16\"");
    assert_eq!(at("relay.networks[7]"), "[\"10.0.0.0/8\", \"10.1.0.0/16\"]");
    assert_eq!(at("mailertable.\"a.example\""), "\"local:\"");
    assert_eq!(at("mailertable.\"b.example\""), at("mailertable"));
    assert_eq!(&text[spans.key("relay.networks")], "networks");
    assert_eq!(at("nothing"), "");
}

#[test]
fn a_missing_key_of_the_file_stands_at_its_first_key_or_after_its_comments() {
    let table = [
        ("", 0),
        ("\n\n", 0),
        ("# a host\n", 8),
        ("# a host\n# of ours\n\n", 18),
        ("# a host\nschema = 1\n", 9),
        ("schema = 1\n[relay]\n", 0),
        ("\n[relay]\n", 2),
        ("\u{feff}schema = 1\n", 3),
    ];
    for (text, want) in table {
        let faults = read::<Host>(text).unwrap_err();
        let role = faults.iter().find(|fault| fault.to_string().starts_with("missing key `role`: ")).unwrap();
        assert_eq!(role.span, want..want, "{text:?}");
    }
}

#[test]
fn bom_and_crlf_are_taken_and_spans_stay_right() {
    let text = "\u{feff}schema = 1\r\nrole = \"nullclient\"\r\nmail_host = \"hub.example\"\r\n";
    let written = read::<Host>(text).unwrap();
    assert_eq!(&text[written.spans.find("mail_host")], "\"hub.example\"");
}

#[test]
fn a_flush_of_the_same_host_twice_keeps_both() {
    let file = files("valid").into_iter().find(|file| name(file) == "topology_full").unwrap();
    let topology = read::<Topology>(&fs::read_to_string(file).unwrap()).unwrap().value;
    let twice =
        |action: &Action| matches!(action, Action::Flush(hosts) if hosts.as_slice() == ["web01", "web01"]);
    assert!(topology.step.iter().any(|step| twice(&step.action)));
}
