//! A declaration: every fault stands in the text, and what resolves is read by the MTA as it was meant.

use mailstack_deploy::model::Model;
use mailstack_runtime::Config;
use mailstack_schema::fault::FaultKind;
use mailstack_schema::host::Host;
use mailstack_schema::{Fault, read_bytes};

use crate::seen::note;

/// Parts of declarations.
pub const TOKENS: &[&str] = &[
    "schema = 1\n",
    "role = \"nullclient\"\n",
    "role = \"gateway\"\n",
    "role = \"loopback\"\n",
    "role = \"msp\"\n",
    "hostname = \"gw.corp.example\"\n",
    "mail_host = \"mailhost.corp.example\"\n",
    "masquerade.domain = \"corp.example\"\n",
    "listen = [\"192.0.2.1:25\"]\n",
    "relay.networks = [\"192.0.2.0/24\"]\n",
    "relay.domains = [\"corp.example\"]\n",
    "aliases.root = \"a@corp.example\"\n",
    "[access]\n",
    "\"From:far.example\" = \"REJECT\"\n",
    "[mailertable]\n",
    "\"corp.example\" = \"smtp:[mail.corp.example]\"\n",
    "virtual_domains = [\"v.example\"]\n",
    "[virtusertable]\n",
    "\"@v.example\" = \"alice\"\n",
    "limits.message_size = \"25MiB\"\n",
    "queue.lifetime = \"5d\"\n",
    "dnsbl = [{ zone = \"z.example\" }]\n",
    "[[expect]]\n",
    "to = \"a@b.example\"\n",
    "privacy = [\"goaway\"]\n",
    "greeting = \"hi\"\n",
    "engine = \"sendmail\"\n",
    "imports = [\"x.toml\"]\n",
    "= ",
    "\"",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "#",
    ".",
    "\\n",
    "\\u000a",
    "'''",
    "\"\"\"",
    "true",
    "1979-05-27",
    "0x1",
    "1e9",
    "\u{e9}",
];

/// Checks a text.
pub fn check(octets: &[u8]) {
    match read_bytes::<Host>(octets) {
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            faults.iter().for_each(|fault| stands_in(fault, octets));
        }
        Ok(written) => match Model::resolve(&written) {
            Err(faults) => {
                assert!(!faults.is_empty(), "refused without a reason");
                for fault in faults {
                    note(("model", std::mem::discriminant(&fault.kind)));
                    let span = written.spans.find(&fault.path);
                    assert!(span.start <= span.end && span.end <= octets.len(), "{fault:?} stands nowhere");
                }
            }
            Ok(model) => resolved(&model),
        },
    }
}

fn stands_in(fault: &Fault, octets: &[u8]) {
    note(("fault", std::mem::discriminant(&fault.kind)));
    let span = &fault.span;
    assert!(span.start <= span.end && span.end <= octets.len(), "{fault:?} stands nowhere");
    if let Ok(text) = std::str::from_utf8(octets) {
        let is_whole = text.is_char_boundary(span.start) && text.is_char_boundary(span.end);
        assert!(is_whole, "{fault:?} begins or ends within a character");
    }
    assert!(!matches!(fault.kind, FaultKind::Unreadable { .. }), "{fault:?}: types and schema differ");
    assert!(fault.to_string().len() < 64 * 1024, "a fault of {} octets", fault.to_string().len());
}

/// What the MTA reads is what was resolved.
fn resolved(model: &Model) {
    let config = model.runtime_config();
    note((
        "resolved",
        format!("{:?}", model.role()),
        config.rules.aliases.len().min(2),
        config.rules.access.len().min(2),
    ));
    let text = toml::to_string(&config);
    assert!(text.is_ok(), "cannot be written: {text:?}");
    let again = toml::from_str::<Config>(&text.unwrap_or_default());
    assert_eq!(again.as_ref(), Ok(&config), "the MTA reads another configuration");
    assert_eq!(model.canonical(), model.canonical());
}
