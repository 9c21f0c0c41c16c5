//! Where queued messages go: over SMTP, or into the mailboxes of this host.

pub mod local;
