//! What is secret: keys, users' passwords, this host's own credentials. Read once, before rights are given up.
//!
//! Owns: who else may read such a file (nobody), and the forms of the two files that are mailstack's own. A secret is
//! never printed, logged or copied. Under systemd a role without root gets its secrets from there
//! (`LoadCredential=`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mailstack_policy::rules::NextHop;
use mailstack_runtime::{Config, TlsPolicy, credential_name};
use mailstack_smtp::sasl::{BadVerifier, Credentials, DEFAULT_ITERATIONS, Verifier};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::host::{Root, Users, group};
use crate::tls::{Acceptor, CertificateFault, Connector};

/// The most octets of such a file.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Why a secret, or what goes with it, cannot be used. This host is at fault.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} may be read by others (mode {mode:04o}, owner {uid}, group {gid})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A certificate or its key.
    #[error("{} cannot be used: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateFault,
    },
    /// The CA certificates.
    #[error("no PEM certificate is in {}, and some host is to be verified by them", path.display())]
    NoTrust {
        /// The file.
        path: PathBuf,
    },
    /// A line of the users' file.
    #[error("{}:{line}: {reason}", path.display())]
    Users {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it; never what it says.
        reason: String,
    },
    /// The file of credentials.
    #[error("{} does not say `user` and `password`, each as a text", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
    },
}

impl SecretError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            SecretError::Exposed { path, .. } => {
                let path = path.display();
                format!("let root or mailstack alone read it: `chown root:root {path} && chmod 0600 {path}`")
            }
            SecretError::Read { .. } => "put it there, to be read by root or mailstack alone".to_owned(),
            SecretError::Certificate { .. } => {
                "name the PEM file of the certificate and its chain, and that of its key".to_owned()
            }
            SecretError::NoTrust { .. } => {
                "install ca-certificates, or name another file: tls.ca_file".to_owned()
            }
            SecretError::Users { .. } => "make the line with `mailstack auth hash USER`".to_owned(),
            SecretError::Credentials { .. } => {
                "two lines: user = \"NAME\" and password = \"PASSWORD\"".to_owned()
            }
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Makes TLS with clients; None: no STARTTLS is offered.
    pub acceptor: Option<Acceptor>,
    /// Makes TLS with other hosts.
    pub connector: Connector,
    /// Who may authenticate, by name.
    pub users: BTreeMap<String, Verifier>,
    /// What this host shows to its mail hosts.
    pub credentials: BTreeMap<NextHop, Credentials>,
}

impl Secrets {
    /// Reads what the configuration names. `user`: whom the daemon becomes.
    pub fn read(root: &Root, config: &Config, user: &str) -> Result<Self, SecretError> {
        let reader = Reader::new(root, user);
        let mut secrets = Self { connector: reader.connector(config)?, ..Self::default() };
        secrets.acceptor = certificate(root, config, user)?.map(|(acceptor, _)| acceptor);
        if let Some(auth) = &config.auth {
            secrets.users = users(&root.path(&auth.users), &reader.secret(&auth.users)?)?;
        }
        for host in &config.tls.mail_hosts {
            if let Some(path) = &host.credentials {
                let read = credentials(&reader.secret(path)?);
                let read = read.ok_or_else(|| SecretError::Credentials { path: root.path(path) })?;
                secrets.credentials.insert(host.hop.clone(), read);
            }
        }
        Ok(secrets)
    }
}

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// With those that it is signed by.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate")
    }
}

/// Reads the host's own certificate as this process may. None: the configuration names none.
pub fn certificate(
    root: &Root,
    config: &Config,
    user: &str,
) -> Result<Option<(Acceptor, Certificate)>, SecretError> {
    let Some(server) = &config.tls.server else { return Ok(None) };
    let reader = Reader::new(root, user);
    let (certificate, key) = (reader.public(&server.certificate)?, reader.secret(&server.key)?);
    let failed = |source: CertificateFault| {
        let path = if matches!(source, CertificateFault::Key(_)) { &server.key } else { &server.certificate };
        SecretError::Certificate { path: root.path(path), source }
    };
    let acceptor = Acceptor::new(&certificate, &key).map_err(failed)?;
    let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into_owned();
    Ok(Some((acceptor, Certificate { certificate: text(certificate), key: text(key) })))
}

/// The line of a user in the file of users. Errors: a name or a password that clients write in several ways.
pub fn user_line(name: &str, password: &str) -> Result<String, BadUser> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-@".contains(&b);
    if name.is_empty() || name.len() > MAX_USER || !name.bytes().all(plain) {
        return Err(BadUser::Name);
    }
    // RFC 4013: beyond ASCII the same password may come in other octets.
    if password.is_empty() || !password.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(BadUser::Password);
    }
    let mut salt = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut salt)
        .map_err(|_| BadUser::NoRandom)?;
    Ok(format!("{name}:{}", Verifier::derive(password, &salt, DEFAULT_ITERATIONS)))
}

/// Why there is no line of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUser {
    /// The name.
    #[error("a user's name is at most {MAX_USER} letters, digits and `._+-@`")]
    Name,
    /// The password.
    #[error("a password is printable ASCII, and not empty")]
    Password,
    /// The system.
    #[error("the system gives no random numbers")]
    NoRandom,
}

/// The most octets of a user's name.
const MAX_USER: usize = 64;

struct Reader<'a> {
    root: &'a Root,
    /// Where systemd has put them.
    given: Option<PathBuf>,
    /// Users and groups that may read them beside root.
    uids: Vec<u32>,
    gids: Vec<u32>,
}

impl<'a> Reader<'a> {
    fn new(root: &'a Root, user: &str) -> Self {
        let (mut uids, mut gids) = (vec![0, geteuid().as_raw()], vec![0]);
        if let Ok(Some(found)) = Users::of(root).by_name(user) {
            uids.push(found.uid);
            gids.extend(
                [found.gid].into_iter().chain(group(root, user).ok().flatten().map(|group| group.gid)),
            );
        }
        if !geteuid().is_root() {
            gids.push(getegid().as_raw());
        }
        Self { root, given: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from), uids, gids }
    }

    fn connector(&self, config: &Config) -> Result<Connector, SecretError> {
        let tls = &config.tls;
        let of_hosts = tls.mail_hosts.iter().filter_map(|host| host.policy);
        let mut policies = of_hosts.chain(tls.peers.values().copied()).chain([tls.outgoing]);
        if !policies.any(|policy| policy == TlsPolicy::Verified) {
            return Ok(Connector::default());
        }
        // Below a root that has none, the host's: a certificate is a public thing.
        let own = self.root.path(&tls.ca_file);
        let path = if own.exists() { own } else { tls.ca_file.clone() };
        let source = |source| SecretError::Read { path: path.clone(), source };
        let certificates = read(&path).map_err(source)?.0;
        Connector::trusting(&certificates).ok_or(SecretError::NoTrust { path })
    }

    fn public(&self, path: &Path) -> Result<Vec<u8>, SecretError> {
        let path = self.root.path(path);
        let (octets, _) = read(&path).map_err(|source| SecretError::Read { path, source })?;
        Ok(octets)
    }

    fn secret(&self, path: &Path) -> Result<Vec<u8>, SecretError> {
        // What systemd gave nobody else can read: it sees to that itself.
        let given = self.given.as_ref().map(|directory| directory.join(credential_name(path)));
        if let Some(given) = given.filter(|given| given.exists()) {
            let (octets, _) = read(&given).map_err(|source| SecretError::Read { path: given, source })?;
            return Ok(octets);
        }
        let path = self.root.path(path);
        let (octets, meta) =
            read(&path).map_err(|source| SecretError::Read { path: path.clone(), source })?;
        let (mode, uid, gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
        let of_group = mode & 0o070 == 0 || (mode & 0o070 == 0o040 && self.gids.contains(&gid));
        if !of_group || mode & 0o007 != 0 || !self.uids.contains(&uid) {
            return Err(SecretError::Exposed { path, mode, uid, gid });
        }
        Ok(octets)
    }
}

/// What is in the file, and what is known of that very file.
fn read(path: &Path) -> io::Result<(Vec<u8>, std::fs::Metadata)> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of at most 16 MiB"));
    }
    let mut octets = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut octets)?;
    Ok((octets, meta))
}

/// `NAME:VERIFIER` a line; a line that begins with `#` says nothing.
fn users(path: &Path, octets: &[u8]) -> Result<BTreeMap<String, Verifier>, SecretError> {
    let mut users = BTreeMap::new();
    let text = String::from_utf8_lossy(octets);
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |reason: String| SecretError::Users { path: path.to_owned(), line: index + 1, reason };
        let (name, verifier) = line.split_once(':').ok_or_else(|| fault("not NAME:VERIFIER".to_owned()))?;
        let verifier = verifier.parse().map_err(|e: BadVerifier| fault(e.to_string()))?;
        if name.is_empty() || users.insert(name.to_owned(), verifier).is_some() {
            return Err(fault("a name that is empty, or stands there twice".to_owned()));
        }
    }
    Ok(users)
}

fn credentials(octets: &[u8]) -> Option<Credentials> {
    let table: toml::Table = std::str::from_utf8(octets).ok()?.parse().ok()?;
    let text = |key: &str| table.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Credentials { user: text("user")?, password: text("password")? }).filter(|_| table.len() == 2)
}

#[cfg(test)]
mod tests;
