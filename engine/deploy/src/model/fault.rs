//! Why a declaration that the schema takes is none.

use mailstack_policy::AddressError;
use mailstack_policy::access::AccessKeyError;
use mailstack_schema::value::ValueError;

/// One fault: where, and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {kind}")]
pub struct ModelFault {
    /// The key, as `Spans::find` takes it: `relay.networks[1]`.
    pub path: String,
    /// Whether the key itself is at fault, and not its value.
    pub is_key: bool,
    /// The reason.
    pub kind: FaultKind,
}

impl ModelFault {
    /// The other keys that the fault follows from, beside the one that it stands at.
    pub fn follows_from(&self) -> Vec<&str> {
        match &self.kind {
            FaultKind::Twice { other, .. }
            | FaultKind::Covered { other, .. }
            | FaultKind::LocalAndElsewhere { other, .. }
            | FaultKind::VirtualMasqueraded { other, .. }
            | FaultKind::OverTime { other, .. }
            | FaultKind::Over { other, .. } => vec![other],
            FaultKind::Without { needed } => vec![needed],
            FaultKind::SubmissionWithoutAuth { .. } => vec!["auth"],
            FaultKind::CredentialsInClear | FaultKind::TlsPort => vec!["tls.outgoing"],
            FaultKind::NoNameToAppearAs => vec!["masquerade"],
            FaultKind::Unqualified { .. } if self.path == "mail_host" => vec!["masquerade"],
            FaultKind::MailboxPath { .. } => vec!["mailboxes.format"],
            FaultKind::NotWithSendmail { .. } => vec!["engine"],
            FaultKind::NotBySessions { .. } => vec!["service.by"],
            FaultKind::NotWithoutRoot { .. } if self.path != "permissions" => vec!["permissions"],
            FaultKind::NotWithoutRoot { .. } => vec!["engine"],
            _ => Vec::new(),
        }
    }
}

/// The reasons. Where two keys contradict each other, `other` is the path of the second one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Neither a domain name nor, where one may stand, an address literal.
    #[error("`{text}` is not a domain name: {reason}")]
    DomainName {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: AddressError,
    },
    /// A host name, or a domain that mail is addressed to, of one label.
    #[error("`{text}` has no dot: the fully qualified name is needed")]
    Unqualified {
        /// What was written.
        text: String,
    },
    /// A whole top-level domain, or the root.
    #[error("`{text}` is everybody's domain: relaying for it is an open relay")]
    RelayForTopLevel {
        /// What was written.
        text: String,
    },
    /// Not `host`, `[host]` or `[address]`, each with an optional `:port`.
    #[error("`{text}` is not a mail host")]
    MailHost {
        /// What was written.
        text: String,
    },
    /// A list that must name at least one thing.
    #[error("at least one is needed")]
    Empty,
    /// Hosts of one list with several ports; a Sendmail host list has one.
    #[error("port {port} differs from port {first} of the first mail host")]
    MailHostPorts {
        /// The port of the first host.
        first: u16,
        /// The port that differs.
        port: u16,
    },
    /// Neither an address nor an address with a port.
    #[error("`{text}` is not an IP address with an optional port")]
    Listen {
        /// What was written.
        text: String,
    },
    /// A loopback MTA that would be reachable from elsewhere.
    #[error("`{text}` is not a loopback address")]
    ListenOffLoopback {
        /// What was written.
        text: String,
    },
    /// Two entries that say the same.
    #[error("`{text}` says the same as `{other}`")]
    Twice {
        /// What was written.
        text: String,
        /// The path of the first one.
        other: String,
    },
    /// An entry that another one has in it.
    #[error("`{text}` is covered by `{other}`")]
    Covered {
        /// What was written.
        text: String,
        /// The path of the wider one.
        other: String,
    },
    /// An address without its prefix.
    #[error("`{text}` is an address and no network: the prefix is missing")]
    NoPrefix {
        /// What was written.
        text: String,
        /// The network of this one address.
        network: ipnet::IpNet,
    },
    /// A network of loopback addresses; this host may relay in any case.
    #[error("`{text}` is this host itself, which may always send")]
    LoopbackNetwork {
        /// What was written.
        text: String,
    },
    /// An address as a mail host, without brackets.
    #[error("`{text}` is an address: as a mail host it stands in brackets")]
    BareAddress {
        /// What was written.
        text: String,
        /// With brackets.
        bracketed: String,
    },
    /// Not `:include:` with an absolute path.
    #[error("`{text}` is not `:include:` and an absolute path of letters, digits and `._+-`")]
    Include {
        /// What was written.
        text: String,
    },
    /// A target that begins as a program, a file or an include does, and is none.
    #[error("`{text}` is neither a program, a file nor an address")]
    SpecialTarget {
        /// What was written.
        text: String,
    },
    /// Not `|program` with arguments that no shell reads anything into.
    #[error("`{text}` is not `|program` with arguments of letters, digits and `._+-/:@%=,`")]
    Program {
        /// What was written.
        text: String,
    },
    /// Not an absolute path.
    #[error("`{text}` is not an absolute path of letters, digits and `._+-`")]
    AliasFile {
        /// What was written.
        text: String,
    },
    /// A program that is not among those that an alias may run.
    #[error("`{program}` is not in `programs`: no alias may run it")]
    ProgramNotListed {
        /// As it was written.
        program: String,
    },
    /// Two programs of one name, which an alias could not tell apart.
    #[error("`{text}` has the name of `{other}`: an alias chooses by name")]
    ProgramName {
        /// What was written.
        text: String,
        /// The path of the first one.
        other: String,
    },
    /// A program that runs what its arguments say.
    #[error("`{text}` runs whatever it is told: with it an alias may run anything")]
    Interpreter {
        /// What was written.
        text: String,
    },
    /// A file that is not below the jail, or where there is none.
    #[error("`{text}` is not below `file_jail`: no alias may write to it")]
    FileNotJailed {
        /// What was written.
        text: String,
    },
    /// A directory that is not for files of aliases alone.
    #[error("`{text}` is no directory for files of aliases alone: an absolute path, two names at least")]
    Jail {
        /// What was written.
        text: String,
    },
    /// A user who owns more than a program of an alias should reach.
    #[error("`{text}`: programs and files of aliases are never run and written as {text}")]
    DefaultUser {
        /// What was written.
        text: String,
    },
    /// Not a network in CIDR notation.
    #[error("`{text}` is not a network such as 192.168.10.0/24")]
    Network {
        /// What was written.
        text: String,
    },
    /// A network with bits set beyond its prefix.
    #[error("`{text}` has bits set beyond its prefix; the network is {network}")]
    HostBits {
        /// What was written.
        text: String,
        /// The network that the address lies in.
        network: ipnet::IpNet,
    },
    /// A network that no site owns.
    #[error("`{text}` is wider than /{widest}: relaying for it is an open relay")]
    TooWide {
        /// What was written.
        text: String,
        /// The shortest prefix that is taken.
        widest: u8,
    },
    /// Neither a program of this host nor the address of another.
    #[error("`{text}` is neither `local` nor an IP address")]
    ExpectedClient {
        /// What was written.
        text: String,
    },
    /// Codes of an expected refusal that disagree.
    #[error("`{enhanced}` is not of the class of {code}")]
    ExpectedCodes {
        /// The reply code.
        code: u16,
        /// The enhanced status code.
        enhanced: String,
    },
    /// Not an address.
    #[error("`{text}` is not an address: {reason}")]
    Address {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: AddressError,
    },
    /// A bare name that Sendmail would take for a program, a file, an include or a
    /// bang path.
    #[error("`{text}` is not a user's name: letters, digits and `._+-` only")]
    UserName {
        /// What was written.
        text: String,
    },
    /// Aliases that lead to each other.
    #[error("expands to itself: {}", .cycle.join(" -> "))]
    AliasLoop {
        /// The names, the first one again at the end.
        cycle: Vec<String>,
    },
    /// Not `agent:host`, `local:user` or `error:D.S.N:CODE text`.
    #[error("`{text}` is not a mailertable entry")]
    Mailer {
        /// What was written.
        text: String,
    },
    /// A port in a mailertable entry; Sendmail has none there.
    #[error("`{text}`: a mailertable entry has no port")]
    MailerPort {
        /// The part that looks like a port.
        text: String,
    },
    /// The codes of an `error:` entry that are none, or that disagree.
    #[error("`{text}`: the enhanced code and the reply code must both be of class 4 or both of class 5")]
    MailerCodes {
        /// What was written.
        text: String,
    },
    /// Not `user@domain`, `user+*@domain`, `+*@domain` or `@domain`.
    #[error("`{text}` is not a virtusertable key")]
    VirtuserKey {
        /// What was written.
        text: String,
    },
    /// Neither an address, nor a user, nor `error:D.S.N:CODE text`.
    #[error("`{text}` is not a virtusertable entry")]
    Virtuser {
        /// What was written.
        text: String,
    },
    /// An entry for a domain whose mail this host does not take.
    #[error("`{domain}` is no domain of this host: the entry would never be looked up")]
    NotOurs {
        /// The domain.
        domain: String,
    },
    /// Entries of the virtusertable that lead to each other.
    #[error("`{text}` leads back to where it began")]
    VirtuserLoop {
        /// The key that it begins at.
        text: String,
    },
    /// A virtual domain that masquerading would rewrite.
    #[error("`{domain}` is covered by `{other}`: senders of a virtual domain are never masqueraded")]
    VirtualMasqueraded {
        /// The virtual domain.
        domain: String,
        /// The path of the masqueraded domain.
        other: String,
    },
    /// Not `user`, `user@domain`, `user+*`, `user+*@domain` or `@domain`.
    #[error("`{text}` is not a genericstable key")]
    GenericKey {
        /// What was written.
        text: String,
    },
    /// Not an address or a user's name.
    #[error("`{text}` is not what a sender can appear as")]
    Generic {
        /// What was written.
        text: String,
        /// Whether it may have `%1` in it.
        arguments: bool,
    },
    /// A domain that cannot both end here and be handed on.
    #[error("`{domain}` is also in `{other}`: its mail either ends here or goes on")]
    LocalAndElsewhere {
        /// The domain.
        domain: String,
        /// The path of the other key.
        other: String,
    },
    /// A key that means nothing while another one is empty.
    #[error("covers nothing: it needs `{needed}`")]
    Without {
        /// The key that is missing.
        needed: String,
    },
    /// A null client rewrites everything: `FEATURE(nullclient)` has no way not to.
    #[error("a null client rewrites envelope and header, senders and recipients")]
    NullclientRewritesAll,
    /// A null client whose mail host has no name and that says no domain to appear as.
    #[error("neither the mail host nor the declaration gives a name that mail can appear from")]
    NoNameToAppearAs,
    /// A key that the host's Sendmail cannot do.
    #[error("Sendmail cannot: {reason}")]
    NotWithSendmail {
        /// Why not.
        reason: &'static str,
    },
    /// Not a size.
    #[error("`{text}` is not a size such as 25MiB, 500KiB or a number of octets: {reason}")]
    Size {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: ValueError,
    },
    /// Not a time.
    #[error("`{text}` is not a time such as 30s, 5m, 1h or 5d: {reason}")]
    Duration {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: ValueError,
    },
    /// A number outside of what is sensible.
    #[error("{value} is not within {least} and {most}")]
    Range {
        /// What was written, in octets or pieces.
        value: u64,
        /// The least that is taken.
        least: u64,
        /// The most that is taken.
        most: u64,
    },
    /// A time outside of what is sensible.
    #[error("{} is not within {} and {}", time(*.value), time(*.least), time(*.most))]
    TimeRange {
        /// What was written, in seconds.
        value: u64,
        /// The least that is taken, in seconds.
        least: u64,
        /// The most that is taken, in seconds.
        most: u64,
    },
    /// One time that must not be over another.
    #[error("{} is over {}, the value of `{other}`", time(*.value), time(*.limit))]
    OverTime {
        /// This time, in seconds.
        value: u64,
        /// The time it must not be over, in seconds.
        limit: u64,
        /// The path of the key that says so.
        other: String,
    },
    /// One count that must not be over another.
    #[error("{value} is over {limit}, the value of `{other}`")]
    Over {
        /// This value.
        value: u64,
        /// The value it must not be over.
        limit: u64,
        /// The path of the key that says so.
        other: String,
    },
    /// A place that a key, a certificate or another secret cannot be at.
    #[error("`{text}` is no place for it: an absolute path, outside of what mailstack generates")]
    Place {
        /// What was written.
        text: String,
    },
    /// What the host's Sendmail cannot do as one process for one client.
    #[error("Sendmail serves one client with one process here: this needs {needed}")]
    NotBySessions {
        /// What there is not.
        needed: &'static str,
    },
    /// A key that an MTA without the rights of root cannot obey, or an MTA that is none.
    #[error("not with `permissions = \"no-root\"`: {reason}")]
    NotWithoutRoot {
        /// Why.
        reason: &'static str,
    },
    /// A queue run of a host with an MTA of its own.
    #[error("an MTA with mailboxes runs its queue itself")]
    FlushOfMta,
    /// The interval of an MTA that stays.
    #[error("a resident MTA tries each message when it is due")]
    ResidentInterval,
    /// A time that a crontab cannot say.
    #[error("cron cannot run every {}: it counts whole parts of an hour or of a day", time(*.seconds))]
    CronInterval {
        /// What was written, or the first retry.
        seconds: u64,
    },
    /// A place that the cf library cannot be at.
    #[error("`{text}` is not an absolute path of letters, digits and `._+-`")]
    CfDir {
        /// What was written.
        text: String,
    },
    /// Credentials for a host that may be anybody.
    #[error("credentials are shown over verified TLS alone")]
    CredentialsInClear,
    /// Port 465 without TLS.
    #[error("port 465 is TLS from the first octet on: `none` cannot be")]
    TlsPort,
    /// A listener for submission, and nobody who may submit.
    #[error("`{text}` is for submission, and nobody can authenticate: there is no `auth`")]
    SubmissionWithoutAuth {
        /// What was written.
        text: String,
    },
    /// Not what an access entry is keyed by.
    #[error("`{text}` is no access key: {reason}")]
    AccessKey {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: AccessKeyError,
    },
    /// Not what an access entry can say.
    #[error("`{text}` is not an access entry")]
    AccessAction {
        /// What was written.
        text: String,
    },
    /// Mail kept back for an operator, which no queue here does.
    #[error("`{text}`: QUARANTINE is not supported in this version")]
    Quarantine {
        /// What was written.
        text: String,
    },
    /// `RELAY` for whoever says that he is a certain sender.
    #[error("`{text}`: anybody can write a sender, so RELAY by sender is an open relay (relay_mail_from)")]
    RelayBySender {
        /// The key.
        text: String,
    },
    /// `RELAY` without a tag.
    #[error("`{text}`: RELAY without a tag would act for clients and recipients at once")]
    RelayUntagged {
        /// The key.
        text: String,
    },
    /// `RELAY` to one mailbox; Sendmail looks for the domain alone.
    #[error("`{text}`: mail is relayed to whole domains only")]
    RelayToUser {
        /// The key.
        text: String,
    },
    /// Networks that may relay, nearly all of the address space together.
    #[error("the networks that may relay hold {addresses} addresses together: this is an open relay")]
    RelayForNearlyAll {
        /// How many of IPv4, or networks of 64 bits of IPv6.
        addresses: u128,
    },
    /// A text of a reply with what an engine would not say as it stands.
    #[error("`{text}`: letters, digits, blanks and .+-:/ only, 200 at most")]
    ReplyText {
        /// What was written.
        text: String,
    },
    /// A greeting that tells what runs here.
    #[error("`{text}` tells which program runs here")]
    GreetingTells {
        /// What was written.
        text: String,
    },
    /// Not an answer of a list of addresses.
    #[error("`{text}` is not an answer of a list, such as 127.0.0.2")]
    DnsblAnswer {
        /// What was written.
        text: String,
    },
    /// More answers than Sendmail takes.
    #[error("{count} answers: five are possible")]
    DnsblAnswers {
        /// How many were written.
        count: usize,
    },
    /// A mailbox place of the wrong kind for the format.
    #[error(
        "`{text}`: an mbox directory and the socket of an LMTP server are absolute, a Maildir is relative to the home; none has `..`; an LMTP server on an address is `[address]:port`"
    )]
    MailboxPath {
        /// What was written.
        text: String,
    },
}

/// Seconds as a declaration spells them, in the largest unit that leaves no rest.
pub fn time(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let unit = units.into_iter().find(|(length, _)| seconds > 0 && seconds.is_multiple_of(*length));
    let (length, unit) = unit.unwrap_or((1, 's'));
    format!("{}{unit}", seconds / length)
}
