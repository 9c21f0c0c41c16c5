//! Words of what a configuration does wrong: what to do about it.

use mailstack_prove::Finding;

/// What to do about a finding.
pub fn help(finding: &Finding) -> String {
    match finding {
        Finding::OpenRelay { .. } | Finding::TrustsEveryone { .. } => {
            "narrow relay.networks and relay.domains to what is yours".to_owned()
        }
        Finding::OwnMailRefused { .. } => {
            "see that the domain is in local_domains or relay.domains, and has a mailertable entry that takes it"
                .to_owned()
        }
        Finding::BlackHole { .. } => {
            "add `masquerade.domain = \"corp.example\"`, a domain that receives mail".to_owned()
        }
        Finding::MailLoop { .. } => "name the host that the mail is for, which is another".to_owned(),
        Finding::SenderDomain { .. } => "use a domain that the public DNS knows".to_owned(),
    }
}
