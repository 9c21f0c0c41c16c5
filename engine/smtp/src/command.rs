//! Commands, read from a line (RFC 5321 4.1.1).
//!
//! Owns: what a command line says, and the reply to one that says nothing. Must not know in which order commands
//! may come: that is the session's.

use crate::address::{Address, AddressError, ReversePath};
use crate::reply::{Enhanced, Reply};

mod params;
mod path;

pub use params::{Body, Notify, Ret, is_value};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// HELO or EHLO.
    Hello {
        /// What the client calls itself: letters, digits and `.-_:[]#`.
        name: String,
        /// EHLO.
        extended: bool,
    },
    /// MAIL.
    Mail(MailRequest),
    /// RCPT.
    Rcpt(RcptRequest),
    /// DATA.
    Data,
    /// RSET.
    Reset,
    /// NOOP, with whatever stands behind it.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY and its argument, which may be empty: who is told nothing is not told that either.
    Verify(String),
    /// EXPN and its argument, which may be empty.
    Expand(String),
    /// HELP and its topic, which may be empty.
    Help(String),
    /// ETRN and its argument, which may be empty.
    Etrn(String),
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954).
    Auth {
        /// The mechanism, upper case.
        mechanism: String,
        /// The initial response, as it came: base64, or `=`.
        initial: Option<String>,
    },
    /// BDAT (RFC 3030): so many octets follow.
    Bdat {
        /// How many.
        size: u64,
        /// Whether they are the last of the message.
        last: bool,
    },
}

/// What MAIL asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRequest {
    /// Where bounces go.
    pub from: ReversePath,
    /// `SIZE`, in octets.
    pub size: Option<u64>,
    /// `BODY`, where it was said.
    pub body: Option<Body>,
    /// Whether `BODY=8BITMIME` was said.
    pub eight_bit: bool,
    /// `RET`.
    pub ret: Option<Ret>,
    /// `ENVID`, as it came (xtext).
    pub envid: Option<String>,
    /// `AUTH=`, as it came (xtext, or `<>`).
    pub auth: Option<String>,
    /// Whether `SMTPUTF8` was said (RFC 6531).
    pub smtputf8: bool,
}

impl MailRequest {
    /// A request without parameters.
    pub fn new(from: ReversePath) -> Self {
        Self {
            from,
            size: None,
            body: None,
            eight_bit: false,
            ret: None,
            envid: None,
            auth: None,
            smtputf8: false,
        }
    }
}

/// What RCPT asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptRequest {
    /// The recipient; a bare name has no domain.
    pub to: Address,
    /// `NOTIFY`.
    pub notify: Option<Notify>,
    /// `ORCPT`, as it came (`rfc822;` and xtext).
    pub orcpt: Option<String>,
}

impl RcptRequest {
    /// A request without parameters.
    pub fn new(to: Address) -> Self {
        Self { to, notify: None, orcpt: None }
    }
}

/// Why a line is no command. The client is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No command has this name.
    #[error("Command unrecognized: \"{0}\"")]
    Unrecognized(String),
    /// A command that is known, and not offered.
    #[error("Command not implemented: \"{0}\"")]
    NotImplemented(&'static str),
    /// A word that must be there is not.
    #[error("Syntax error in parameters scanning \"{0}\"")]
    Syntax(&'static str),
    /// A command without the argument that it needs.
    #[error("{0} requires domain address")]
    NoName(&'static str),
    /// HELO or EHLO with what cannot be a name.
    #[error("Invalid domain name")]
    BadName,
    /// ETRN or AUTH of nothing.
    #[error("Argument required")]
    NoArgument,
    /// RCPT of the null sender.
    #[error("<>... User address required")]
    NoRecipient,
    /// A path that holds no address.
    #[error("{text}... {why}")]
    BadAddress {
        /// The path, as it came.
        text: String,
        /// What is wrong with it.
        why: AddressError,
    },
    /// An address beyond ASCII, where SMTPUTF8 is not in use.
    #[error("Address requires SMTPUTF8")]
    NotAscii,
    /// A parameter that nobody knows.
    #[error("{0} parameter unrecognized")]
    UnknownParameter(String),
    /// A parameter without the value that it needs.
    #[error("{0} requires a value")]
    NoValue(String),
    /// RET of neither FULL nor HDRS.
    #[error("Bad argument \"{0}\" to RET")]
    BadRet(String),
    /// A parameter given twice.
    #[error("Duplicate {0} parameter")]
    Twice(String),
    /// A parameter with a wrong value.
    #[error("Syntax error in parameter {0}")]
    BadParameter(String),
    /// A control character, or octets that are no text.
    #[error("Command has characters that are not allowed")]
    Control,
}

impl CommandError {
    /// The reply to such a line, with the codes that Sendmail uses.
    pub fn reply(&self) -> Reply {
        let (code, enhanced) = match self {
            CommandError::Unrecognized(_) => (500, Enhanced(5, 5, 1)),
            CommandError::Control => (500, Enhanced(5, 5, 2)),
            CommandError::NotImplemented("VERB") => (502, Enhanced(5, 7, 0)),
            CommandError::NotImplemented("AUTH") => (503, Enhanced(5, 3, 3)),
            CommandError::NotImplemented(_) => (502, Enhanced(5, 5, 1)),
            CommandError::Syntax(_)
            | CommandError::NoArgument
            | CommandError::NoValue(_)
            | CommandError::BadRet(_) => (501, Enhanced(5, 5, 2)),
            CommandError::NoName(_) | CommandError::BadName => (501, Enhanced(5, 0, 0)),
            CommandError::Twice(_) => (501, Enhanced(5, 5, 0)),
            CommandError::NoRecipient => (553, Enhanced(5, 0, 0)),
            CommandError::BadAddress { .. } => (553, Enhanced(5, 1, 3)),
            CommandError::NotAscii => (553, Enhanced(5, 6, 7)),
            CommandError::UnknownParameter(_) => (555, Enhanced(5, 5, 4)),
            CommandError::BadParameter(_) => (501, Enhanced(5, 5, 4)),
        };
        Reply::new(code, Some(enhanced), self.to_string())
    }
}

/// Commands that are known and not offered.
const NOT_OFFERED: [&str; 8] = ["TURN", "ATRN", "SEND", "SOML", "SAML", "VERB", "ONEX", "XCLIENT"];

/// The most characters of an unknown command that its reply repeats.
const MAX_ECHO: usize = 40;

/// Reads one line, given without its line end.
pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
    if line.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(CommandError::Control);
    }
    let line = std::str::from_utf8(line).map_err(|_| CommandError::Control)?.trim_matches([' ', '\t']);
    let (verb, rest) = line.split_at(line.find([' ', '\t']).unwrap_or(line.len()));
    let rest = rest.trim_start_matches([' ', '\t']);
    match known(verb) {
        Some("EHLO") => hello("EHLO", rest),
        Some("HELO") => hello("HELO", rest),
        Some("MAIL") => mail(rest),
        Some("RCPT") => rcpt(rest),
        Some("DATA") => bare(Command::Data, rest, "DATA"),
        Some("RSET") => Ok(Command::Reset),
        Some("NOOP") => Ok(Command::Noop),
        Some("QUIT") => Ok(Command::Quit),
        Some("HELP") => Ok(Command::Help(rest.to_owned())),
        Some("VRFY") => Ok(Command::Verify(rest.to_owned())),
        Some("EXPN") => Ok(Command::Expand(rest.to_owned())),
        Some("ETRN") => Ok(Command::Etrn(rest.to_owned())),
        Some("STARTTLS") => bare(Command::StartTls, rest, "STARTTLS"),
        Some("AUTH") => auth(rest),
        Some("BDAT") => bdat(rest).ok_or(CommandError::Syntax("BDAT")),
        Some(other) => Err(CommandError::NotImplemented(other)),
        None => Err(CommandError::Unrecognized(verb.chars().take(MAX_ECHO).collect())),
    }
}

/// Commands that can be offered.
const OFFERED: [&str; 15] = [
    "EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "HELP", "VRFY", "EXPN", "ETRN",
    "STARTTLS", "AUTH", "BDAT",
];

/// The command that a line names, whatever else is wrong with it.
pub(crate) fn named(line: &[u8]) -> Option<&'static str> {
    let line = std::str::from_utf8(line).ok()?.trim_matches([' ', '\t']);
    line.split([' ', '\t']).next().and_then(known)
}

fn known(verb: &str) -> Option<&'static str> {
    OFFERED.iter().chain(&NOT_OFFERED).copied().find(|known| known.eq_ignore_ascii_case(verb))
}

/// A command without argument. Sendmail ignores one; behind DATA it could only be a mistake that eats a message.
fn bare(command: Command, rest: &str, verb: &'static str) -> Result<Command, CommandError> {
    if rest.is_empty() { Ok(command) } else { Err(CommandError::Syntax(verb)) }
}

fn hello(verb: &'static str, rest: &str) -> Result<Command, CommandError> {
    let name = rest.trim_end();
    // RFC 5321 4.1.4: the name need not be true, but it goes into Received.
    let inner = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]#".contains(&b);
    match name {
        "" => Err(CommandError::NoName(verb)),
        _ if name.len() > crate::address::MAX_DOMAIN => Err(CommandError::BadName),
        _ if !name.bytes().all(inner) => Err(CommandError::BadName),
        _ => Ok(Command::Hello { name: name.to_owned(), extended: verb == "EHLO" }),
    }
}

/// RFC 4954 4: a mechanism, and perhaps an initial response.
fn auth(rest: &str) -> Result<Command, CommandError> {
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next().ok_or(CommandError::NoArgument)?.to_ascii_uppercase();
    let initial = words.next().map(str::to_owned);
    match words.next() {
        Some(_) => Err(CommandError::Syntax("AUTH")),
        None => Ok(Command::Auth { mechanism, initial }),
    }
}

/// RFC 3030 2: a size, and perhaps LAST. The size has at most 20 digits; one over u64 is over every limit.
fn bdat(rest: &str) -> Option<Command> {
    let mut words = rest.split_ascii_whitespace();
    let digits = words.next().filter(|word| word.len() <= 20 && word.bytes().all(|b| b.is_ascii_digit()))?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    let size = digits.parse().unwrap_or(u64::MAX);
    words.next().is_none().then_some(Command::Bdat { size, last })
}

fn mail(rest: &str) -> Result<Command, CommandError> {
    let path = keyword(rest, "FROM")?;
    let (path, parameters) = path::split(path)?;
    let mut request = MailRequest::new(path::reverse(path)?);
    params::mail(&mut request, parameters)?;
    // RFC 6531 3.4: without the parameter an address is ASCII.
    let is_ascii = request.from.address().is_none_or(|from| from.local().is_ascii());
    if is_ascii || request.smtputf8 { Ok(Command::Mail(request)) } else { Err(CommandError::NotAscii) }
}

fn rcpt(rest: &str) -> Result<Command, CommandError> {
    let path = keyword(rest, "TO")?;
    let (path, parameters) = path::split(path)?;
    let mut request = RcptRequest::new(path::forward(path)?);
    params::rcpt(&mut request, parameters)?;
    Ok(Command::Rcpt(request))
}

/// What stands behind `FROM:` or `TO:`. Spaces about the colon are taken, as Sendmail does.
fn keyword<'a>(rest: &'a str, word: &'static str) -> Result<&'a str, CommandError> {
    let blank = [' ', '\t'];
    let matches = rest.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let behind = if matches { rest[word.len()..].trim_start_matches(blank).strip_prefix(':') } else { None };
    let path = behind.map(|path| path.trim_start_matches(blank));
    path.filter(|path| !path.is_empty()).ok_or(CommandError::Syntax(word))
}

#[cfg(test)]
mod tests;
