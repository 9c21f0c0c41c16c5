//! The parameters of MAIL and RCPT (RFC 1870, 3461, 4954, 6152, 6531).

use serde::{Deserialize, Serialize};

use super::{CommandError, MailRequest, RcptRequest};

/// The most octets of an `ENVID` (RFC 3461 4.4).
const MAX_ENVID: usize = 100;
/// The most octets of an `ORCPT` and of an `AUTH` (RFC 3461 4.2, RFC 4954 5).
const MAX_XTEXT: usize = 500;

/// `RET` of RFC 3461 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header alone.
    Headers,
}

impl Ret {
    /// As the parameter writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Ret::Full => "FULL",
            Ret::Headers => "HDRS",
        }
    }
}

/// `NOTIFY` of RFC 3461 4.1; all false is `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notify {
    /// Tell of success.
    pub success: bool,
    /// Tell of failure.
    pub failure: bool,
    /// Tell of delay.
    pub delay: bool,
}

impl std::fmt::Display for Notify {
    /// As the parameter writes it, `FAILURE,DELAY`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let wanted: Vec<_> = named.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name).collect();
        f.write_str(if wanted.is_empty() { "NEVER" } else { "" })?;
        f.write_str(&wanted.join(","))
    }
}

/// Whether a text can stand as a parameter's value and be sent on: printable ASCII without space and `=`
/// (RFC 5321 4.1.2 esmtp-value).
pub fn is_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'=')
}

/// Adds the parameters behind a reverse-path to the request.
pub(super) fn mail(request: &mut MailRequest, text: &str) -> Result<(), CommandError> {
    for parameter in words(text) {
        let (key, value) = split(parameter);
        match key.to_ascii_uppercase().as_str() {
            "SIZE" => set(&mut request.size, size(value), parameter)?,
            "BODY" => set(&mut request.body, body(value), parameter)?,
            "RET" if value.is_some_and(|value| ret(Some(value)).is_none()) => {
                return Err(CommandError::BadRet(value.unwrap_or_default().to_owned()));
            }
            "RET" => set(&mut request.ret, ret(value), parameter)?,
            "ENVID" => set(&mut request.envid, xtext(value, MAX_ENVID), parameter)?,
            "AUTH" => set(&mut request.auth, xtext(value, MAX_XTEXT), parameter)?,
            "SMTPUTF8" if value.is_none() && !request.smtputf8 => request.smtputf8 = true,
            "SMTPUTF8" => return Err(CommandError::BadParameter(parameter.to_owned())),
            _ => return Err(CommandError::UnknownParameter(parameter.to_owned())),
        }
    }
    request.eight_bit = request.body == Some(Body::EightBit);
    Ok(())
}

/// Adds the parameters behind a forward-path to the request.
pub(super) fn rcpt(request: &mut RcptRequest, text: &str) -> Result<(), CommandError> {
    for parameter in words(text) {
        let (key, value) = split(parameter);
        match key.to_ascii_uppercase().as_str() {
            "NOTIFY" => set(&mut request.notify, notify(value), parameter)?,
            "ORCPT" => set(&mut request.orcpt, orcpt(value), parameter)?,
            _ => return Err(CommandError::UnknownParameter(parameter.to_owned())),
        }
    }
    Ok(())
}

/// `BODY` of RFC 6152.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `7BIT`
    SevenBit,
    /// `8BITMIME`
    EightBit,
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t']).filter(|word| !word.is_empty())
}

fn split(parameter: &str) -> (&str, Option<&str>) {
    match parameter.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (parameter, None),
    }
}

/// Sets what is not set; a value that is none and a parameter that comes twice are refused.
fn set<T>(slot: &mut Option<T>, value: Option<T>, parameter: &str) -> Result<(), CommandError> {
    match (slot.is_some(), value) {
        (false, Some(value)) => {
            *slot = Some(value);
            Ok(())
        }
        (true, Some(_)) => Err(CommandError::Twice(split(parameter).0.to_owned())),
        _ if !parameter.contains('=') => Err(CommandError::NoValue(parameter.to_owned())),
        _ => Err(CommandError::BadParameter(parameter.to_owned())),
    }
}

fn size(value: Option<&str>) -> Option<u64> {
    // RFC 1870 4: at most 20 digits. A number over u64 is over every limit too.
    let digits = value.filter(|v| (1..=20).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_digit()))?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&str>) -> Option<Body> {
    match value?.to_ascii_uppercase().as_str() {
        "7BIT" => Some(Body::SevenBit),
        "8BITMIME" => Some(Body::EightBit),
        _ => None,
    }
}

fn ret(value: Option<&str>) -> Option<Ret> {
    match value?.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Headers),
        _ => None,
    }
}

fn notify(value: Option<&str>) -> Option<Notify> {
    let value = value?.to_ascii_uppercase();
    if value == "NEVER" {
        return Some(Notify::default());
    }
    value.split(',').try_fold(Notify::default(), |notify, word| match word {
        "SUCCESS" => Some(Notify { success: true, ..notify }),
        "FAILURE" => Some(Notify { failure: true, ..notify }),
        "DELAY" => Some(Notify { delay: true, ..notify }),
        _ => None,
    })
}

/// `addr-type;xtext`, kept as it came.
fn orcpt(value: Option<&str>) -> Option<String> {
    let (kind, address) = value?.split_once(';')?;
    let kind_ok = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    xtext(Some(address), MAX_XTEXT).filter(|_| kind_ok)?;
    value.map(str::to_owned)
}

/// Text in which `+` is followed by two upper-case hexadecimal digits (RFC 3461 4), kept as it came. The limit is
/// in octets.
fn xtext(value: Option<&str>, limit: usize) -> Option<String> {
    let value = value.filter(|v| is_value(v) && v.len() <= limit)?;
    let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    let escaped = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(hex);
    value.split('+').skip(1).all(escaped).then(|| value.to_owned())
}
