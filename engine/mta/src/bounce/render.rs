//! The octets of a notice: multipart/report (RFC 6522) with a delivery status (RFC 3464).

use std::fmt::Write;

use mailstack_smtp::address::Address;

use super::{
    Action, Fate, MAX_RETURNED, MAX_RETURNED_HEADER, Original, Reader, Reporter, Said, Stamp, words,
};
use crate::message::{Origin, Ret, Timestamp};

/// The whole notice, lines ended by CRLF.
pub fn render(
    reporter: &Reporter,
    stamp: Stamp,
    reader: Reader<'_>,
    original: &Original<'_>,
    fates: &[Fate<'_>],
) -> Vec<u8> {
    let (kind, returned) = returned_part(original, reader);
    let text = words::text(reporter, reader, original, fates, kind == "message/rfc822");
    let boundary = boundary(reporter, stamp, returned);
    let mut notice = header(reporter, stamp, reader, fates);
    let encoding = encoding(text.as_bytes()).max(encoding(returned));
    let _ = write!(
        notice,
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\
         \tboundary=\"{boundary}\"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n\
         This is a report in MIME format.\r\n"
    );
    let charset = if text.is_ascii() { "us-ascii" } else { "utf-8" };
    open_part(
        &mut notice,
        &boundary,
        &format!("text/plain; charset={charset}"),
        "Notification",
        text.as_bytes(),
    );
    notice.push_str(&text);
    let status = status(reporter, stamp, original, fates);
    open_part(&mut notice, &boundary, "message/delivery-status", "Delivery report", b"");
    notice.push_str(&status);
    open_part(&mut notice, &boundary, kind, "Undelivered message", returned);
    close(notice, returned, &boundary)
}

/// RFC 5322 3.3, in UTC.
pub(super) fn date(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).unwrap_or(0)).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

fn header(reporter: &Reporter, stamp: Stamp, reader: Reader<'_>, fates: &[Fate<'_>]) -> String {
    let failed = fates.iter().any(|fate| fate.action == Action::Failed);
    let (subject, kind) = match (failed, reader.is_postmaster) {
        (true, false) => ("Undelivered mail returned to sender", "failure"),
        (true, true) => ("Postmaster notice: a sender could not be told", "postmaster-notification"),
        (false, _) => ("Your message was delivered", "notification"),
    };
    // RFC 3834 5; the word in the comment is Sendmail's.
    format!(
        "Date: {}\r\nFrom: Mail Delivery Subsystem <MAILER-DAEMON@{}>\r\nTo: <{}>\r\nSubject: {subject}\r\n\
         Message-ID: <{}.{:016x}@{}>\r\nAuto-Submitted: auto-replied ({kind})\r\n",
        date(stamp.now),
        reporter.domain,
        reader.address,
        stamp.now.0,
        stamp.random,
        reporter.hostname
    )
}

/// A text that no line of the returned message begins with.
fn boundary(reporter: &Reporter, stamp: Stamp, returned: &[u8]) -> String {
    let mut boundary = format!("{:016x}.{}/{}", stamp.random, stamp.now.0, reporter.hostname);
    boundary.truncate(60); // RFC 2046 5.1.1: at most 70
    while contains(returned, boundary.as_bytes()) && boundary.len() < 70 {
        boundary.push('=');
    }
    boundary
}

fn contains(octets: &[u8], text: &[u8]) -> bool {
    octets.windows(text.len()).any(|window| window == text)
}

/// Ordered: the encoding of the whole is that of its worst part.
fn encoding(octets: &[u8]) -> &'static str {
    if octets.is_ascii() { "7bit" } else { "8bit" }
}

fn open_part(notice: &mut String, boundary: &str, kind: &str, description: &str, octets: &[u8]) {
    let _ = write!(
        notice,
        "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Description: {description}\r\n\
         Content-Transfer-Encoding: {}\r\n\r\n",
        encoding(octets)
    );
}

fn close(notice: String, returned: &[u8], boundary: &str) -> Vec<u8> {
    let mut notice = notice.into_bytes();
    notice.extend_from_slice(returned);
    if !returned.ends_with(b"\r\n") {
        notice.extend_from_slice(b"\r\n");
    }
    notice.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    notice
}

/// What of the message goes back: all of it, or its header (RFC 3461 4.3; the postmaster: its header).
fn returned_part<'a>(original: &Original<'a>, reader: Reader<'_>) -> (&'static str, &'a [u8]) {
    let octets = original.octets;
    let whole = original.envelope.ret != Some(Ret::Headers) && !reader.is_postmaster;
    if whole && octets.len() <= MAX_RETURNED {
        return ("message/rfc822", octets);
    }
    let end = match octets.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(at) => at + 2,
        None => octets.len(),
    };
    ("text/rfc822-headers", within(&octets[..end]))
}

/// The lines that fit into [`MAX_RETURNED_HEADER`].
fn within(header: &[u8]) -> &[u8] {
    match header.get(..MAX_RETURNED_HEADER) {
        Some(first) => &first[..first.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)],
        None => header,
    }
}

/// The body of message/delivery-status (RFC 3464 2.1).
fn status(reporter: &Reporter, stamp: Stamp, original: &Original<'_>, fates: &[Fate<'_>]) -> String {
    let mut text = String::new();
    if let Some(envid) = &original.envelope.envid {
        field(&mut text, "Original-Envelope-Id", &from_xtext(envid));
    }
    field(&mut text, "Reporting-MTA", &format!("dns; {}", reporter.hostname));
    if let Origin::Network { peer, hello } = &original.envelope.origin {
        field(&mut text, "Received-From-MTA", &format!("dns; {hello} ([{peer}])"));
    }
    field(&mut text, "Arrival-Date", &date(original.envelope.arrived));
    for fate in fates {
        text.push_str("\r\n");
        recipient_fields(&mut text, reporter, stamp, fate);
    }
    text
}

fn recipient_fields(text: &mut String, reporter: &Reporter, stamp: Stamp, fate: &Fate<'_>) {
    if let Some(orcpt) = &fate.recipient.orcpt {
        let (kind, address) = orcpt.split_once(';').unwrap_or(("rfc822", orcpt));
        field(text, "Original-Recipient", &format!("{kind}; {}", from_xtext(address)));
    }
    field(text, "Final-Recipient", &typed_address(reporter, &fate.recipient.address));
    field(text, "Action", fate.action.as_str());
    field(text, "Status", &fate.cause.status);
    if let Some(peer) = fate.cause.peer() {
        field(
            text,
            "Remote-MTA",
            &format!("dns; {} ([{}]:{})", peer.name, peer.address.ip(), peer.address.port()),
        );
    }
    let diagnostic = match &fate.cause.said {
        Said::Reply { text, .. } => format!("smtp; {text}"),
        Said::Here { .. } => format!("x-mailstack; {}", fate.cause),
    };
    field(text, "Diagnostic-Code", &diagnostic);
    field(text, "Last-Attempt-Date", &date(stamp.now));
}

/// One field in ASCII, as RFC 3464 2.1 wants it, folded before the last blank that fits into a line.
fn field(text: &mut String, name: &str, value: &str) {
    const LINE: usize = 78;
    let mut line = format!("{name}:");
    for word in value.split_whitespace() {
        if line.len() + 1 + word.len() > LINE && line.len() > name.len() + 1 {
            text.push_str(&line);
            text.push_str("\r\n");
            line.clear();
        }
        line.push(' ');
        line.extend(word.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }));
    }
    text.push_str(&line);
    text.push_str("\r\n");
}

/// `rfc822; user@host`, or RFC 6533 3 in its 7-bit form where the address is not ASCII.
fn typed_address(reporter: &Reporter, address: &Address) -> String {
    let full = match address.domain() {
        Some(_) => address.to_string(),
        None => format!("{address}@{}", reporter.hostname),
    };
    if full.is_ascii() {
        return format!("rfc822; {full}");
    }
    let mut escaped = String::new();
    for c in full.chars() {
        match c.is_ascii_graphic() && c != '\\' {
            true => escaped.push(c),
            false => {
                let _ = write!(escaped, "\\x{{{:X}}}", u32::from(c));
            }
        }
    }
    format!("utf-8; {escaped}")
}

/// RFC 3461 4: `+` and two upper-case hexadecimal digits stand for an octet. What is not well-formed stays.
fn from_xtext(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once('+') {
        plain.push_str(before);
        let digits = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match digits.filter(|b| b.is_ascii_graphic() || *b == b' ') {
            Some(octet) => plain.push(char::from(octet)),
            None => plain.push('+'),
        }
        rest = if digits.is_some_and(|b| b.is_ascii_graphic() || b == b' ') { &after[2..] } else { after };
    }
    plain + rest
}
