//! Runs `tests/dialogues/*.smtp`.
//!
//! `C: line` is sent with CRLF (`\r`, `\n`, `\0`, `\\` are escapes, a final `\c` takes the CRLF away); lines on end
//! go in one packet. `S: line` must come, and nothing else before the next `C:`. `M: n` at the end: so many
//! messages; `X: why` at the end: the session has closed. The driver makes TLS at once where STARTTLS was answered, and
//! knows alice by the password pencil. `O: name=value` at the begin sets a limit or a flag.

use std::path::Path;

use mailstack_smtp::sasl::Mechanism;
use mailstack_smtp::server::Offer;

use crate::driver::{Server, offer};

#[test]
fn every_dialogue_goes_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "smtp"));
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        run(&name, &std::fs::read_to_string(&path).unwrap());
    }
}

fn run(name: &str, script: &str) {
    let lines: Vec<_> = script.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let options = lines.iter().filter_map(|line| line.strip_prefix("O: "));
    let mut server = Server::new(options.fold(offer(), set));
    let mut packet = Vec::new();
    server.packet(b"");
    let mut said = server.take_output();
    for line in lines.iter().filter(|line| !line.starts_with("O: ")) {
        let (kind, text) = line.split_at(2);
        let text = text.trim_start();
        if kind != "C:" && !packet.is_empty() {
            assert_eq!(said, "", "{name}: unexpected before `{line}`");
            server.packet(&std::mem::take(&mut packet));
            said = server.take_output();
        }
        match kind {
            "C:" => packet.extend(unescape(text)),
            "S:" => said = expect(name, text, &said),
            "M:" => assert_eq!(server.messages.len().to_string(), text, "{name}"),
            "X:" => assert_eq!(format!("{:?}", server.closed), format!("Some({text})"), "{name}"),
            _ => panic!("{name}: what is `{line}`?"),
        }
    }
    assert_eq!(said, "", "{name}: unexpected at the end");
}

fn expect(name: &str, line: &str, said: &str) -> String {
    let (first, rest) = said.split_once("\r\n").unwrap_or((said, ""));
    assert_eq!(first, line, "{name}: before {rest:?}");
    rest.to_owned()
}

fn unescape(text: &str) -> Vec<u8> {
    let (text, end) = match text.strip_suffix("\\c") {
        Some(text) => (text, ""),
        None => (text, "\r\n"),
    };
    let plain = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0").replace("\\\\", "\\");
    (plain + end).into_bytes()
}

fn mechanism(name: &str) -> Mechanism {
    Mechanism::ALL.into_iter().find(|mechanism| mechanism.as_str() == name).unwrap()
}

fn set(offer: Offer, option: &str) -> Offer {
    match option.split_once('=').unwrap() {
        ("max_size", value) => Offer { max_size: value.parse().unwrap(), ..offer },
        ("max_recipients", value) => Offer { max_recipients: value.parse().unwrap(), ..offer },
        ("dsn", value) => Offer { dsn: value.parse().unwrap(), ..offer },
        ("starttls", value) => Offer { starttls: value.parse().unwrap(), ..offer },
        ("secure", value) => Offer { secure: value.parse().unwrap(), ..offer },
        ("auth", names) => Offer { auth: names.split(' ').map(mechanism).collect(), ..offer },
        ("auth_in_clear", value) => Offer { auth_in_clear: value.parse().unwrap(), ..offer },
        ("needs_auth", value) => Offer { needs_auth: value.parse().unwrap(), ..offer },
        ("chunking", value) => Offer { chunking: value.parse().unwrap(), ..offer },
        ("smtputf8", value) => Offer { smtputf8: value.parse().unwrap(), ..offer },
        ("limits", value) => Offer { limits: value.parse().unwrap(), ..offer },
        ("local", value) => Offer { local: value.parse().unwrap(), ..offer },
        (name, _) => panic!("no option {name}"),
    }
}
