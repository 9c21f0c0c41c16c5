//! The users of the host's Sendmail, from the host's own passwd and group.

use std::fs;

use mailstack_runtime::Sendmail;

/// The numbers of its users and of the group of its submission program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Users {
    pub(crate) daemon: u32,
    pub(crate) daemon_group: u32,
    pub(crate) client: u32,
    pub(crate) client_group: u32,
}

impl Users {
    /// Error: the name of the first that is not there.
    pub(crate) fn of(sendmail: &Sendmail) -> Result<Self, String> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = |name: &str| field(&passwd, name, 2).zip(field(&passwd, name, 3)).ok_or(name.to_owned());
        let ((daemon, daemon_group), (client, client_group)) =
            (user(&sendmail.daemon_user)?, user(&sendmail.client_user)?);
        Ok(Self { daemon, daemon_group, client, client_group })
    }
}

/// The number in a field of the line that has this name.
fn field(text: &str, name: &str, field: usize) -> Option<u32> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(field)?.parse().ok()
}
