//! Reads what arrived: mbox files as the hosts leave them.

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The envelope sender: from `Return-Path:`, else from the `From ` line; empty for the null sender.
    pub envelope_from: String,
    /// Header fields in order, unfolded.
    pub headers: Vec<(String, String)>,
    /// The text behind the header.
    pub body: String,
}

impl Message {
    /// The values of all fields of this name.
    pub fn header<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        self.headers
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The messages of an mbox file, in order. A body line that begins with `From ` is one only after an empty line
/// (RFC 4155), which every MTA quotes.
pub fn read_mbox(text: &str) -> Vec<Message> {
    let mut raw: Vec<Vec<&str>> = Vec::new();
    let mut after_blank = true;
    for line in text.lines() {
        if after_blank && line.starts_with("From ") {
            raw.push(Vec::new());
        }
        after_blank = line.is_empty();
        if let Some(message) = raw.last_mut() {
            message.push(line);
        }
    }
    raw.iter().map(|lines| read_message(lines)).collect()
}

fn read_message(lines: &[&str]) -> Message {
    let end = lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len());
    let headers = lines.get(1..end).map(unfold).unwrap_or_default();
    let body = lines.get(end + 1..).unwrap_or_default().join("\n");
    let separator = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let return_path = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Return-Path"));
    let sender =
        return_path.map_or(separator, |(_, value)| value.trim_start_matches('<').trim_end_matches('>'));
    // Sendmail writes the null sender so.
    let is_null = sender.split('@').next() == Some("MAILER-DAEMON");
    let envelope_from = if is_null { "" } else { sender };
    Message { envelope_from: envelope_from.to_owned(), headers, body }
}

fn unfold(lines: &[&str]) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.strip_prefix([' ', '\t']), line.split_once(':'), headers.last_mut()) {
            (Some(more), _, Some((_, value))) => {
                value.push(' ');
                value.push_str(more.trim());
            }
            (None, Some((name, value)), _) => headers.push((name.to_owned(), value.trim().to_owned())),
            _ => {}
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "From root@corp.example  Fri Nov 20 16:03:22 2026\n\
        Return-Path: <root@corp.example>\nReceived: from a\n\tby b\nTo: x@y\n\nhello\n>From here\n\n\
        From MAILER-DAEMON  Fri Nov 20 16:05:22 2026\nSubject: Returned mail\n\nsorry\nFrom us\n\n";

    #[test]
    fn messages_are_split_at_separators_alone() {
        let messages = read_mbox(TWO);
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].envelope_from, "root@corp.example");
        assert_eq!(messages[0].header("received").collect::<Vec<_>>(), ["from a by b"]);
        assert_eq!(messages[0].body, "hello\n>From here\n");
        assert_eq!(messages[1].envelope_from, "");
        assert_eq!(messages[1].body, "sorry\nFrom us\n");
    }

    #[test]
    fn nothing_is_no_message() {
        assert!(read_mbox("").is_empty());
        assert!(read_mbox("garbage\n").is_empty());
    }
}
