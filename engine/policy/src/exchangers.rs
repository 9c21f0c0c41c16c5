//! Which mail exchangers a host may hand mail to (RFC 5321 5.1). Names were looked up; nothing is here.

use mailstack_smtp::address::DomainName;

/// Keeps, of mail hosts that are sorted by preference, those that are better than this host itself: itself, and all
/// that are no better, would only send the mail back here.
pub fn better_exchangers(hosts: &mut Vec<(u16, DomainName)>, is_own: &dyn Fn(&DomainName) -> bool) {
    if let Some(own) = hosts.iter().find(|(_, host)| is_own(host)).map(|(preference, _)| *preference) {
        hosts.retain(|(preference, _)| *preference < own);
    }
}
