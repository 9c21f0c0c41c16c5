//! Words of what a configuration does wrong: what to do about it.

use mailstack_prove::Finding;
use mailstack_schema::spans::{Spans, child};

/// What to do about a finding.
pub fn help(finding: &Finding) -> String {
    match finding {
        Finding::OpenRelay { .. } | Finding::TrustsEveryone { .. } => {
            "narrow relay.networks and relay.domains to what is yours".to_owned()
        }
        Finding::OwnMailRefused { .. } => {
            "see that the domain is in local_domains, virtual_domains or relay.domains, and has an entry that takes it"
                .to_owned()
        }
        Finding::BlackHole { .. } => {
            "add `masquerade.domain = \"corp.example\"`, a domain that receives mail".to_owned()
        }
        Finding::MailLoop { .. } => "name the host that the mail is for, which is another".to_owned(),
        Finding::SenderDomain { .. } => "use a domain that the public DNS knows".to_owned(),
    }
}

/// The key that a finding comes from, as far as the file has it: the first that is there, or else the role.
pub(super) fn key(finding: &Finding, spans: &Spans) -> String {
    let keys: Vec<String> = match finding {
        Finding::OpenRelay { .. } => {
            vec!["relay.domains".into(), "relay.networks".into(), "mailertable".into()]
        }
        Finding::TrustsEveryone { .. } => vec!["relay.networks".into()],
        Finding::OwnMailRefused { .. } => {
            vec!["mailertable".into(), "relay.domains".into(), "local_domains".into()]
        }
        Finding::BlackHole { .. } => {
            vec!["masquerade.exposed_users".into(), "masquerade".into(), "hostname".into()]
        }
        Finding::MailLoop { entry: Some(entry), .. } => {
            vec![child("mailertable", &String::from(entry.clone()))]
        }
        Finding::MailLoop { entry: None, .. } => vec!["mail_host".into()],
        Finding::SenderDomain { .. } => vec!["masquerade.domain".into(), "hostname".into()],
    };
    keys.into_iter().find(|key| spans.contains(key)).unwrap_or_else(|| "role".to_owned())
}
