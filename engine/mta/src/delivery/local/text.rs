//! The form of a message in a mailbox: lines end in LF, an mbox has `From ` lines in between. Pure.

use super::Facts;
use crate::message::Timestamp;

const FROM: &[u8] = b"From ";

/// Which mailbox a message is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With a `From ` line in front, such lines in the message quoted (mboxrd), and a blank line behind.
    Mbox,
    /// As it is.
    Plain,
    /// As it is, with a `From ` line in front, as Sendmail's `prog` mailer has it.
    Program,
}

/// The lines in front of the message.
pub(super) fn preamble(form: Form, facts: &Facts) -> Vec<u8> {
    let lines = match form {
        Form::Mbox | Form::Program => from_line(facts),
        Form::Plain => String::new(),
    };
    // RFC 5321 4.4: the reverse-path of the final delivery.
    (lines + &format!("Return-Path: <{}>\nDelivered-To: {}\n", facts.sender, facts.delivered_to)).into_bytes()
}

/// RFC 4155: the reverse-path without blanks, and asctime in UTC.
fn from_line(facts: &Facts) -> String {
    let sender = match facts.sender.as_str() {
        "" => "MAILER-DAEMON".to_owned(),
        sender => sender.replace(char::is_whitespace, "_"),
    };
    format!("From {sender} {}\n", asctime(facts.at))
}

fn asctime(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).unwrap_or(0)).unwrap_or_default();
    at.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// Rewrites a message that comes in pieces.
#[derive(Debug)]
pub(super) struct Converter {
    form: Form,
    /// A CR whose next octet is not known yet.
    cr: bool,
    at: Place,
}

const START: Place = Place::Start { any: false, held: 0 };

/// Where in a line the next octet falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind nothing but `>`, if `any`, and the first octets of `From `, `held` of them, which are held back.
    Start { any: bool, held: usize },
    /// Anywhere else.
    Inside,
}

impl Converter {
    pub(super) fn new(form: Form) -> Self {
        Self { form, cr: false, at: START }
    }

    /// Adds the converted octets to `out`; some may be held back until the next call.
    pub(super) fn feed(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for &octet in octets {
            let cr = std::mem::replace(&mut self.cr, octet == b'\r');
            if cr && octet != b'\n' {
                self.put(b'\r', out);
            }
            if octet != b'\r' {
                self.put(octet, out);
            }
        }
    }

    /// Ends the message: what was held back, the end of the last line and, in an mbox, a blank line.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        if self.cr {
            self.put(b'\r', out);
        }
        match self.at {
            START => {}
            Place::Start { held, .. } => {
                out.extend_from_slice(&FROM[..held]);
                out.push(b'\n');
            }
            Place::Inside => out.push(b'\n'),
        }
        if self.form == Form::Mbox {
            out.push(b'\n');
        }
    }

    fn put(&mut self, octet: u8, out: &mut Vec<u8>) {
        match (self.form, self.at) {
            (Form::Mbox, Place::Start { any, held }) => self.start(any, held, octet, out),
            _ => out.push(octet),
        }
        if octet == b'\n' {
            self.at = START;
        } else if self.form == Form::Plain {
            self.at = Place::Inside;
        }
    }

    /// One octet at the start of a line: another `>` is no matter where among them, so they need not be held.
    fn start(&mut self, any: bool, held: usize, octet: u8, out: &mut Vec<u8>) {
        if held == 0 && octet == b'>' {
            self.at = Place::Start { any: true, held };
            return out.push(octet);
        }
        if octet == FROM[held] && held + 1 < FROM.len() {
            self.at = Place::Start { any, held: held + 1 };
            return;
        }
        if octet == FROM[held] {
            out.push(b'>');
        }
        out.extend_from_slice(&FROM[..held]);
        out.push(octet);
        self.at = Place::Inside;
    }
}

/// Whether the header says that the message was delivered to this address before: then it runs in a circle.
pub fn has_been_delivered_to(message: &[u8], address: &str) -> bool {
    let end = message.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(message.len());
    message[..end].split(|&b| b == b'\n').any(|line| {
        let Some(at) = line.iter().position(|&b| b == b':') else { return false };
        let (name, value) = (line[..at].trim_ascii(), line[at + 1..].trim_ascii());
        name.eq_ignore_ascii_case(b"Delivered-To") && value.eq_ignore_ascii_case(address.as_bytes())
    })
}
