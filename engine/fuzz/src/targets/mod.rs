//! What holds for every input. Each target panics where it does not.

mod access;
mod address;
mod alias;
mod client;
mod command;
mod data;
mod header;
mod host;
mod reply;
mod server;
mod spool;

pub use access::{TOKENS as ACCESS_TOKENS, check as access};
pub use address::{TOKENS as ADDRESS_TOKENS, check as address};
pub use alias::{TOKENS as ALIAS_TOKENS, check as alias};
pub use client::{TOKENS as CLIENT_TOKENS, check as client};
pub use command::{TOKENS as COMMAND_TOKENS, check as command};
pub use data::{TOKENS as DATA_TOKENS, check as data};
pub use header::{TOKENS as HEADER_TOKENS, check as header};
pub use host::{TOKENS as HOST_TOKENS, check as host};
pub use reply::{TOKENS as REPLY_TOKENS, check as reply};
pub use server::{TOKENS as SERVER_TOKENS, check as server};
pub use spool::{TOKENS as SPOOL_TOKENS, check as spool};

/// Takes the octets off the front that say how the rest is to be used.
fn split_settings<const N: usize>(octets: &[u8]) -> ([u8; N], &[u8]) {
    match octets.split_first_chunk() {
        Some((settings, rest)) => (*settings, rest),
        None => ([0; N], octets),
    }
}

/// The octets in packets: of one octet, of a few, or all in one, as a setting says.
fn packets(octets: &[u8], setting: u8) -> Vec<&[u8]> {
    let size = match setting {
        b'A' => usize::MAX,
        other => usize::from(other % 16) + 1,
    };
    octets.chunks(size).collect()
}

/// That replies are lines as RFC 5321 4.2 has them, and nothing else. Returns how many replies there are.
fn replies_in(output: &[u8]) -> usize {
    let mut replies = 0;
    let mut rest = output;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        assert!(end.is_some(), "a reply without its end: {}", rest.escape_ascii());
        let (line, behind) = rest.split_at(end.unwrap_or_default());
        assert!(line.len() + 2 <= mailstack_smtp::reply::MAX_WRITTEN_LINE, "a long reply line");
        assert!(
            line.iter().all(|b| *b == b' ' || b.is_ascii_graphic()),
            "a reply line with more than text: {}",
            line.escape_ascii()
        );
        let code = line.get(..3).is_some_and(|code| code.iter().all(u8::is_ascii_digit));
        assert!(code && matches!(line.get(3), Some(b' ' | b'-')), "no reply: {}", line.escape_ascii());
        replies += usize::from(line.get(3) == Some(&b' '));
        rest = &behind[2..];
    }
    replies
}

/// That commands are lines of text that end in CRLF, and nothing else.
fn assert_command_lines(output: &[u8]) {
    for line in output.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\r\n");
        assert!(text.is_some(), "a command without its end: {}", line.escape_ascii());
        let is_text = text.unwrap_or_default().iter().all(|b| *b >= b' ' && *b != 0x7f);
        assert!(is_text, "a command with more than text: {}", line.escape_ascii());
    }
}
