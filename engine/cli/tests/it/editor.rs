//! A real language server for TOML, as editors use it, with the schemas that the command prints.
//!
//! `sh vmtests/roots/taplo.sh target/private-roots/taplo` prepares it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::binary;

const ROLES: [&str; 4] = ["nullclient", "msp", "loopback", "gateway"];

/// A server and the directory that it has open.
struct Server {
    dir: TempDir,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    asked: u64,
}

/// The server; None, said aloud, where it is missing.
fn prepared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/private-roots/taplo");
    if !root.join(".complete").exists() {
        eprintln!("SKIPPED: no language server in {}: see vmtests/roots/taplo.sh", root.display());
        return None;
    }
    Some(root.join("venv/bin/olpat"))
}

/// What the command prints.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(binary()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl Server {
    /// A server with these files and the schemas of all roles beside them.
    fn with(files: &[(&str, &str)]) -> Option<Self> {
        let program = prepared()?;
        let dir = TempDir::with_prefix("mailstack-test-").unwrap();
        for schema in ROLES.iter().chain(&["host", "topology"]) {
            let text = printed(&["schema", schema]);
            fs::write(dir.path().join(format!("{schema}.schema.json")), text).unwrap();
        }
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mut command = Command::new(program);
        command.args(["lsp", "stdio"]).current_dir(dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut server = Self { dir, child, to, from, asked: 0 };
        let uri = format!("file://{}", server.dir.path().display());
        let folders = json!([{ "uri": uri, "name": "test" }]);
        let begin = json!({ "processId": null, "rootUri": uri, "workspaceFolders": folders,
            "capabilities": { "workspace": { "configuration": true } }, "initializationOptions": {} });
        server.ask("initialize", begin);
        server.tell(json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} }));
        Some(server)
    }

    fn tell(&mut self, message: Value) {
        let text = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.to.flush().unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).unwrap() > 0, "the server ended");
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap();
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut text = vec![0; length];
        self.from.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// The next message that fits; what the server asks meanwhile is answered with defaults.
    fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.hear();
            if message["method"].is_string() && !message["id"].is_null() {
                let items = message["params"]["items"].as_array().map_or(0, Vec::len);
                let answer =
                    json!({ "jsonrpc": "2.0", "id": message["id"], "result": vec![json!({}); items] });
                self.tell(answer);
            } else if fits(&message) {
                return message;
            }
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.tell(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.until(|message| message["id"] == id && message["method"].is_null());
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.dir.path().join(name).display())
    }

    fn open(&mut self, name: &str) {
        let text = fs::read_to_string(self.dir.path().join(name)).unwrap();
        let document = json!({ "uri": self.uri(name), "languageId": "toml", "version": 1, "text": text });
        let params = json!({ "textDocument": document });
        self.tell(json!({ "jsonrpc": "2.0", "method": "textDocument/didOpen", "params": params }));
    }

    fn at(&self, name: &str, line: usize, character: usize) -> Value {
        json!({ "textDocument": { "uri": self.uri(name) }, "position": { "line": line, "character": character } })
    }

    /// The keys that are offered in a line, without those within a table.
    fn offered(&mut self, name: &str, line: usize) -> BTreeSet<String> {
        let place = self.at(name, line, 0);
        let items = self.ask("textDocument/completion", place);
        let labels = items.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap());
        labels.map(|label| label.split('.').next().unwrap().to_owned()).collect()
    }

    fn hover(&mut self, name: &str, line: usize) -> String {
        let place = self.at(name, line, 1);
        self.ask("textDocument/hover", place)["contents"]["value"].as_str().unwrap().to_owned()
    }

    /// The lines that are marked, once any is.
    fn marked(&mut self, name: &str) -> BTreeSet<u64> {
        let uri = self.uri(name);
        let told = self.until(|message| {
            let params = &message["params"];
            message["method"] == "textDocument/publishDiagnostics"
                && params["uri"] == uri.as_str()
                && params["diagnostics"].as_array().is_some_and(|found| !found.is_empty())
        });
        let found = told["params"]["diagnostics"].as_array().unwrap().clone();
        found.iter().map(|one| one["range"]["start"]["line"].as_u64().unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The keys of a role, but these.
fn keys_of(role: &str, written: &[&str]) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&printed(&["schema", role])).unwrap();
    let names = schema["properties"].as_object().unwrap().keys().cloned();
    names.filter(|name| !written.contains(&name.as_str())).collect()
}

#[test]
fn completion_offers_exactly_the_keys_of_the_role() {
    let files = ROLES.map(|role| {
        let text =
            format!("#:schema {role}.schema.json\nschema = 1\nrole = \"{role}\"\nmail_host = \"x\"\n\n");
        (format!("{role}.toml"), text)
    });
    let borrowed: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let Some(mut server) = Server::with(&borrowed) else { return };
    for role in ROLES {
        let name = format!("{role}.toml");
        server.open(&name);
        let mut offered = server.offered(&name, 4);
        // Written as a text, it is offered in parts all the same, for it may be a table.
        offered.remove("mail_host");
        assert_eq!(offered, keys_of(role, &["schema", "role", "mail_host"]), "{role}");
        let schema: Value = serde_json::from_str(&printed(&["schema", role])).unwrap();
        let meaning = schema["properties"]["mail_host"]["description"].as_str().unwrap();
        let hover = server.hover(&name, 3);
        assert!(hover.ends_with(meaning) && hover.matches("Sendmail:").count() == 1, "{role}: {hover}");
    }
}

#[test]
fn starters_are_clean_and_a_typo_is_marked_where_it_stands() {
    let starters = ROLES.map(|role| (format!("{role}.toml"), printed(&["init", role])));
    let wrong = starters.each_ref().map(|(name, text)| {
        assert!(text.contains("schema = 1\n"));
        (format!("wrong-{name}"), text.replacen("schema = 1\n", "schema = 1\nhostnam = \"x\"\n", 1))
    });
    let all: Vec<_> =
        starters.iter().chain(&wrong).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let Some(mut server) = Server::with(&all) else { return };
    for ((name, _), (wrong, text)) in starters.iter().zip(&wrong) {
        server.open(name);
        server.open(wrong);
        let line = text.lines().position(|line| line.starts_with("hostnam ")).unwrap();
        assert_eq!(server.marked(wrong), BTreeSet::from([line as u64]), "{wrong}");
        // Answered after all that was said about the file before.
        let found =
            server.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": server.uri(name) } }));
        assert!(found.as_array().is_some_and(|symbols| !symbols.is_empty()), "{name}");
    }
}

#[test]
fn a_file_is_known_by_its_name() {
    let rules = "[[rule]]\ninclude = [\"**/*.mailstack.toml\"]\nschema.path = \"host.schema.json\"\n\
                 [[rule]]\ninclude = [\"**/*.topology.toml\"]\nschema.path = \"topology.schema.json\"\n";
    let host = "schema = 1\nrole = \"gateway\"\nlisten = 25\n";
    let topology = "schema = 1\nname = \"x\"\nnetwerk = 1\n";
    let files = [
        (".taplo.toml", rules),
        ("web01.mailstack.toml", host),
        ("pair.topology.toml", topology),
        ("x.toml", host),
    ];
    let Some(mut server) = Server::with(&files) else { return };
    server.open("web01.mailstack.toml");
    assert!(!server.marked("web01.mailstack.toml").is_empty());
    server.open("pair.topology.toml");
    assert!(!server.marked("pair.topology.toml").is_empty());
    server.open("x.toml");
    let place = server.at("x.toml", 1, 1);
    assert_eq!(server.ask("textDocument/hover", place), Value::Null, "no rule is for it");
}
