//! Long lines of a header, folded (RFC 5322 2.2.3).
//!
//! A line breaks at white space, else behind a comma that is in no quotes; a token is broken only where no line could
//! carry it.

use mailstack_mta::submission::{MAX_LINE, MAX_SMTP_LINE};

/// Folds the lines of a header block, each ended by CRLF, that are over [`MAX_LINE`].
pub fn fold(block: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len());
    for line in block.split_inclusive(|&byte| byte == b'\n') {
        match line.len() - 2 > MAX_LINE {
            true => fold_line(line.trim_ascii_end(), &mut out),
            false => out.extend_from_slice(line),
        }
    }
    out
}

fn fold_line(line: &[u8], out: &mut Vec<u8>) {
    let quoted = quoted(line);
    // A line of the name alone is for what fits no other way.
    let mut least = line.iter().position(|&byte| byte == b':').map_or(1, |colon| colon + 2);
    let (mut at, mut blank) = (0, 0);
    while line.len() - at + blank > MAX_LINE {
        let (rest, quoted) = (&line[at..], &quoted[at..]);
        let place = place(rest, quoted, least, MAX_LINE - blank)
            .or_else(|| place(rest, quoted, least, MAX_SMTP_LINE - blank))
            .or_else(|| (rest.len() + blank > MAX_SMTP_LINE).then_some(MAX_SMTP_LINE - blank));
        let Some(place) = place else { break };
        append(&rest[..place], blank, out);
        at += place;
        blank = usize::from(!is_blank(line[at]));
        least = 1;
    }
    append(&line[at..], blank, out);
}

/// Where the next line begins, within the first octets of what is left.
fn place(rest: &[u8], quoted: &[bool], least: usize, room: usize) -> Option<usize> {
    let most = room.min(rest.len().saturating_sub(1));
    let first = rest.iter().position(|&byte| !is_blank(byte))?;
    let blank = |&at: &usize| is_blank(rest[at]) && at > first;
    let comma = |&at: &usize| rest[at - 1] == b',' && !quoted[at - 1];
    let far = (least..=most).rev().find(blank).or_else(|| (least..=most).rev().find(comma));
    far.or_else(|| (1..=most).rev().find(blank))
}

/// Which octets are within quotes.
fn quoted(line: &[u8]) -> Vec<bool> {
    let (mut within, mut escaped) = (false, false);
    let step = |&byte: &u8| {
        within ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        within
    };
    line.iter().map(step).collect()
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn append(piece: &[u8], blank: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&b" "[..blank]);
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(line: &str) -> Vec<String> {
        let text = String::from_utf8(fold(format!("{line}\r\n").as_bytes())).unwrap();
        assert!(text.ends_with("\r\n"));
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn lines_break_between_tokens() {
        let blanks = format!("To: {}", vec!["someone@corp.example"; 200].join(", "));
        let commas = format!("To:{}", vec!["someone@corp.example"; 200].join(","));
        for (line, inserted) in [(&blanks, ""), (&commas, " ")] {
            let lines = folded(line);
            assert!(lines.len() > 4 && lines.iter().all(|line| line.len() <= MAX_LINE), "{lines:?}");
            assert!(lines[..lines.len() - 1].iter().all(|line| line.ends_with("corp.example,")), "{lines:?}");
            assert!(lines[1..].iter().all(|line| line.starts_with(" someone@")), "{lines:?}");
            assert_eq!(lines.concat().len(), line.len() + inserted.len() * (lines.len() - 1));
        }
    }

    #[test]
    fn a_token_is_broken_only_where_no_line_could_carry_it() {
        let long = "x".repeat(5000);
        for (line, lengths) in [
            (format!("A: {}", &long[..987]), vec![990]),
            (format!("A: {}", &long[..995]), vec![2, 996]),
            (format!("A: {}", &long[..997]), vec![2, 998]),
            (format!("A: {}", &long[..1996]), vec![2, 998, 998, 3]),
            (format!("A: b {} c", &long[..992]), vec![4, 993, 2]),
            (format!("A: \"{},{}\"", &long[..500], &long[..490]), vec![2, 994]),
            (format!("A: b{}", " ".repeat(3000)), vec![4]),
        ] {
            assert_eq!(folded(&line).iter().map(String::len).collect::<Vec<_>>(), lengths, "{line:.8}");
        }
    }
}
