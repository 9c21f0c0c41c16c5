//! A command line: what was read is what is read again when it is written.

use std::fmt::Write;

use mailstack_smtp::address::MAX_LOCAL_PART;
use mailstack_smtp::command::{Body, Command, CommandError, MailRequest, RcptRequest, parse};

use super::replies_in;
use crate::seen::note;

/// Words of commands.
pub const TOKENS: &[&str] = &[
    "MAIL FROM:<",
    "RCPT TO:<",
    "EHLO ",
    "HELO ",
    "AUTH PLAIN ",
    "BDAT ",
    " LAST",
    "STARTTLS",
    "VRFY ",
    "> ",
    " SIZE=",
    " BODY=8BITMIME",
    " RET=HDRS",
    " RET=FULL",
    " ENVID=",
    " AUTH=<>",
    " SMTPUTF8",
    " NOTIFY=NEVER",
    " NOTIFY=SUCCESS,FAILURE,DELAY",
    " ORCPT=rfc822;",
    "+2B",
    "@a.example,@b.example:",
    "\"",
    "\\",
    "[IPv6:",
    "[127.0.0.1]",
    "user@host.example",
    "\u{e9}",
    "\u{a0}",
    "\u{3000}",
    "xn--",
    "b\u{fc}cher.example",
    "=",
    "%",
    "!",
];

/// Checks one line.
pub fn check(line: &[u8]) {
    match parse(line) {
        Err(error) => refused(&error),
        Ok(command) => {
            note(("command", std::mem::discriminant(&command)));
            read(&command);
        }
    }
}

fn refused(error: &CommandError) {
    note(("error", std::mem::discriminant(error)));
    if let CommandError::BadAddress { why, .. } = error {
        note(("address", format!("{why:?}")));
    }
    let mut output = Vec::new();
    error.reply().write_to(&mut output);
    assert_eq!(replies_in(&output), 1, "not one reply: {}", output.escape_ascii());
    assert!(error.reply().is_permanent(), "{error} is not refused for good");
}

fn read(command: &Command) {
    let written = match command {
        Command::Mail(request) => mail(request),
        Command::Rcpt(request) => rcpt(request),
        Command::Hello { name, extended } => {
            assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()), "the name is {name:?}");
            format!("{} {name}", if *extended { "EHLO" } else { "HELO" })
        }
        Command::Bdat { size, last } => format!("BDAT {size}{}", if *last { " LAST" } else { "" }),
        _ => return,
    };
    assert!(!written.contains(['\r', '\n', '\0']), "{written:?} is more than a line");
    let again = parse(written.as_bytes());
    assert_eq!(again.as_ref(), Ok(command), "{written:?} is read as another");
}

fn mail(request: &MailRequest) -> String {
    if let Some(from) = request.from.address() {
        assert!((1..=MAX_LOCAL_PART).contains(&from.local().len()), "a local part of no or many octets");
    }
    let mut line = format!("MAIL FROM:{}", request.from);
    let mut add = |text: String| {
        note(text.split('=').next().map(str::to_owned));
        let _ = write!(line, " {text}");
    };
    request.size.into_iter().for_each(|size| add(format!("SIZE={size}")));
    match request.body {
        Some(Body::SevenBit) => add("BODY=7BIT".to_owned()),
        Some(Body::EightBit) => add("BODY=8BITMIME".to_owned()),
        None => {}
    }
    request.ret.into_iter().for_each(|ret| add(format!("RET={}", ret.as_str())));
    request.envid.iter().for_each(|envid| add(format!("ENVID={envid}")));
    request.auth.iter().for_each(|auth| add(format!("AUTH={auth}")));
    if request.smtputf8 {
        add("SMTPUTF8".to_owned());
    }
    line
}

fn rcpt(request: &RcptRequest) -> String {
    let mut line = format!("RCPT TO:<{}>", request.to);
    if let Some(notify) = request.notify {
        note(("notify", notify));
        let _ = write!(line, " NOTIFY={notify}");
    }
    if let Some(orcpt) = &request.orcpt {
        note("orcpt");
        let _ = write!(line, " ORCPT={orcpt}");
    }
    line
}
