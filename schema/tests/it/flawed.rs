use mailstack_schema::host::{Host, Listen};
use mailstack_schema::{Flawed, read_flawed};

fn flawed(text: &str) -> Flawed<Host> {
    *read_flawed::<Host>(text.as_bytes()).unwrap_err()
}

fn said(text: &str) -> Vec<String> {
    flawed(text).faults.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_sound_beside_faults_is_kept_with_its_places() {
    let text =
        "role = \"gateway\"\nlisten = [1, \"nonsense\"]\nnonsense = 1\nrelay.networks = [\"0.0.0.0/0\"]\n";
    let Flawed { faults, sound, doubt } = flawed(text);
    assert_eq!(faults.len(), 3, "{faults:?}");
    let written = sound.unwrap();
    let Host::Gateway(gateway) = written.value else { panic!("{text}") };
    let listen: Vec<_> = gateway.listen.iter().flatten().map(Listen::address).collect();
    assert_eq!(listen, ["", "nonsense"]);
    assert_eq!(gateway.relay.unwrap().networks.unwrap(), ["0.0.0.0/0"]);
    assert_eq!(&text[written.spans.find("relay.networks[0]")], "\"0.0.0.0/0\"");
    for (path, doubtful) in [
        ("schema", true),
        ("listen[0]", true),
        ("listen", true),
        ("listen[1]", false),
        ("nonsense", true),
        ("relay.networks[0]", false),
        ("relay", false),
    ] {
        assert_eq!(doubt.covers(path), doubtful, "{path}");
    }
}

#[test]
fn a_key_that_must_be_there_and_is_not_leaves_the_rest_sound() {
    for text in [
        "schema = 1\nrole = \"nullclient\"\nhostname = \"a b\"\n",
        "schema = 2\nrole = \"nullclient\"\nmail_hots = \"x\"\nhostname = \"a b\"\n",
        "schema = 1\nrole = \"msp\"\nmail_host = [1, 2]\nhostname = \"a b\"\n",
        "schema = 1\nrole = \"msp\"\nmail_host = []\nhostname = \"a b\"\nmasquerade.envelope = 1\n",
    ] {
        let Flawed { sound, doubt, .. } = flawed(text);
        assert_eq!(sound.unwrap().value.common().hostname.as_deref(), Some("a b"), "{text}");
        assert!(doubt.covers("mail_host") && !doubt.covers("hostname"), "{text}");
    }
}

#[test]
fn without_a_role_nothing_more_is_known() {
    for text in ["schema = 1\n", "schema = 1\nrole = \"hub\"\n", "schema = 1\nrole = nullclient\n"] {
        assert!(flawed(text).sound.is_none(), "{text}");
    }
}

#[test]
fn faults_that_have_a_likely_reason_say_it() {
    let gateway = |rest: &str| format!("schema = 1\nrole = \"gateway\"\n{rest}\n");
    let table = [
        (
            "mailertable.y.example = \"smtp:x\"",
            "mailertable.y: a key with a dot must be quoted: `\"y.example\"`",
        ),
        ("aliases.a.b.c = \"x\"", "aliases.a: a key with a dot must be quoted: `\"a.b.c\"`"),
        ("hostname = gw.corp.example", "not TOML: string values must be quoted: `\"gw.corp.example\"`"),
        ("hostname = gw", "not TOML: string values must be quoted: `\"gw\"`"),
        ("relay.networks = 10.0.0.0/8", "not TOML: string values must be quoted: `\"10.0.0.0/8\"`"),
        ("relay.networks = [10.0.0.0/8, 1]", "not TOML: string values must be quoted: `\"10.0.0.0/8\"`"),
        ("queue.lifetime = 5d", "not TOML: string values must be quoted: `\"5d\"`"),
        ("hostname = \0", "not TOML: a NUL character: the file is not text"),
        ("smart_host = \"x\"", "smart_host: unknown key `smart_host`: did you mean `mail_host`?"),
        ("SMART_HOST = \"x\"", "SMART_HOST: unknown key `SMART_HOST`: did you mean `mail_host`?"),
        ("mynetworks = \"x\"", "mynetworks: unknown key `mynetworks`: did you mean `relay.networks`?"),
        (
            "[relay]\nlisten = []",
            "relay.listen: `listen` is no key of `relay`: it belongs above the first [table]",
        ),
    ];
    for (text, want) in table {
        let said = said(&gateway(text));
        assert_eq!(said.first().map(String::as_str), Some(want), "{text}: {said:?}");
    }
}
