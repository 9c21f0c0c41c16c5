//! The block of `Resent-` fields that a message is handed in with (RFC 5322 3.6.6): the first, for whoever sends a
//! message on puts his in front.

use mailstack_policy::header::{Field, fields};

/// What every field of a block begins with.
const PREFIX: &[u8] = b"resent-";

/// The fields of the first block; none: the message is not sent on. A block ends where a field of it comes a second
/// time, or where a host left its trace; what stands in between need not be of it, since a block is only asked to be
/// kept together.
pub fn block(header: &[u8]) -> Vec<Field<'_>> {
    let mut block: Vec<Field<'_>> = Vec::new();
    for field in fields(header) {
        let name = field.name.to_ascii_lowercase();
        let is_of_it = name.starts_with(PREFIX);
        let is_over = match is_of_it {
            true => block.iter().any(|other| other.name.eq_ignore_ascii_case(&name)),
            false => name == b"received" && !block.is_empty(),
        };
        if is_over {
            break;
        }
        block.extend(is_of_it.then_some(field));
    }
    block
}

/// What a block lacks that it must have, `Resent-From:` and `Resent-Date:`, and `Resent-Message-ID:`; with the place
/// in the header where it belongs. None: there is no block.
pub fn missing(header: &[u8], sender: &str, date: &str, message_id: &str) -> Option<(usize, String)> {
    let block = block(header);
    let place = block.first()?.start;
    let has = |name: &str| block.iter().any(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
    let wanted = [("Resent-From", sender), ("Resent-Date", date), ("Resent-Message-ID", message_id)];
    let lacking = wanted.iter().filter(|(name, _)| !has(name));
    Some((place, lacking.map(|(name, value)| format!("{name}: {value}\r\n")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(header: &str) -> Vec<String> {
        block(header.as_bytes()).iter().map(|f| String::from_utf8_lossy(f.name).into_owned()).collect()
    }

    #[test]
    fn the_first_block_is_the_one_that_counts() {
        assert_eq!(names("From: a\r\nTo: b\r\n"), [""; 0]);
        let twice =
            "Resent-From: b\r\nResent-To: c,\r\n d\r\nResent-From: a\r\nResent-To: b\r\nResent-Cc: x\r\n";
        assert_eq!(names(twice), ["Resent-From", "Resent-To"]);
        let traced = "Resent-To: c\r\nReceived: x\r\nResent-Cc: old\r\n";
        assert_eq!(names(traced), ["Resent-To"]);
        // Not kept together, yet nobody is left out.
        assert_eq!(
            names("Received: x\r\nResent-To: c\r\nFrom: a\r\nRESENT-BCC: d\r\n"),
            ["Resent-To", "RESENT-BCC"]
        );
    }

    #[test]
    fn what_is_missing_goes_to_the_block() {
        let header = b"Received: x\r\nResent-To: c\r\nResent-Date: d\r\nFrom: a\r\n";
        let (place, lacking) = missing(header, "root", "now", "<1@x>").unwrap();
        assert_eq!((place, lacking.as_str()), (13, "Resent-From: root\r\nResent-Message-ID: <1@x>\r\n"));
        assert_eq!(missing(b"From: a\r\n", "root", "now", "<1@x>"), None);
    }
}
