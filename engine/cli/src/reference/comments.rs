//! What doc comments of a source file say, by name.

/// A documented thing of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// Its name.
    pub name: String,
    /// Its comment, as one line.
    pub comment: String,
    /// What it is made of.
    pub parts: Vec<Documented>,
}

/// Returns the variants of an enum, with their fields.
pub fn variants(source: &str, name: &str) -> Vec<Documented> {
    let begin = format!("pub enum {name} {{");
    let body = source.lines().skip_while(|line| *line != begin).skip(1).take_while(|line| *line != "}");
    let mut found: Vec<Documented> = Vec::new();
    let mut comment = String::new();
    for line in body {
        let text = line.trim_start();
        let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if let Some(more) = text.strip_prefix("///") {
            comment = format!("{comment} {}", more.trim()).trim().to_owned();
        } else if !word.is_empty() {
            let documented =
                Documented { name: word, comment: std::mem::take(&mut comment), parts: Vec::new() };
            // Fields stand one level deeper.
            match found.last_mut() {
                Some(variant) if line.starts_with("        ") => variant.parts.push(documented),
                _ => found.push(documented),
            }
        }
    }
    found
}

/// Returns the constants whose names begin so: name and value, and the comment.
pub fn constants(source: &str, prefix: &str) -> Vec<(String, String, String)> {
    let lines: Vec<&str> = source.lines().collect();
    let constant = |at: usize| {
        let (name, rest) = lines[at].strip_prefix("pub const ")?.split_once(':')?;
        let value = rest.split_once('=')?.1.trim().trim_end_matches(';');
        let above = lines[..at].iter().rev().map_while(|line| line.strip_prefix("///")).collect::<Vec<_>>();
        let comment = above.iter().rev().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        name.starts_with(prefix).then(|| (name.to_owned(), value.to_owned(), comment))
    };
    (0..lines.len()).filter_map(constant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_and_fields_have_their_comments() {
        let source = "enum Other {\n}\npub enum Event {\n    /// It\n    /// began.\n    Began {\n        /// When.\n        \
                      at: u64,\n    },\n    #[x]\n    /// Over.\n    Ended(Step),\n}\n/// No.\nfn f() {}\n";
        let part = |name: &str, comment: &str, parts| Documented {
            name: name.to_owned(),
            comment: comment.to_owned(),
            parts,
        };
        let began = part("Began", "It began.", vec![part("at", "When.", Vec::new())]);
        assert_eq!(variants(source, "Event"), [began, part("Ended", "Over.", Vec::new())]);
    }

    #[test]
    fn every_event_and_every_code_has_a_comment() {
        let events = variants(mailstack_mta::event::SOURCE, "Event");
        assert!(events.len() > 15, "{events:?}");
        assert!(events.iter().all(|event| !event.comment.is_empty()), "{events:?}");
        let codes = constants(mailstack_mta::sysexits::SOURCE, "EX_");
        assert!(codes.len() > 8 && codes.iter().all(|(.., comment)| !comment.is_empty()), "{codes:?}");
        assert!(codes.iter().all(|(_, value, _)| value.parse::<u8>().is_ok()), "{codes:?}");
    }
}
