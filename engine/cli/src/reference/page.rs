//! Manual pages, in the man macros (groff_man(7)). No date: a page depends on the version and nothing else.

use clap::{Arg, Command};
use mailstack_schema::Document;
use mailstack_schema::reference::keys;

use super::commands::{exit_codes, meaning, options, own, spelling, subcommands, usage};

/// mailstack(1).
pub fn of_program(program: &Command) -> String {
    let about = program.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new("MAILSTACK", 1);
    page.section("NAME").text("mailstack - one typed TOML file per host, and a proven mail transfer agent");
    page.section("SYNOPSIS").text(&usage(program));
    page.section("DESCRIPTION").text(&about);
    page.paragraph().text(
        "Called as `sendmail`, `mailq` or `newaliases` it is the program that others hand mail to, and ends with the \
         codes of sysexits.h.",
    );
    page.section("OPTIONS OF EVERY COMMAND");
    page.arguments(options(program));
    page.section("COMMANDS");
    page.commands(program);
    page.section("EXIT STATUS");
    for (code, meaning) in exit_codes() {
        page.item(code).text(meaning);
    }
    page.section("FILES");
    let files = [
        ("/var/lib/mailstack/current", "The generation that is live."),
        ("/var/spool/mailstack", "The queue."),
        ("/var/spool/mailstack-drop", "Where sendmail leaves mail while no MTA runs."),
        ("/run/mailstack", "The sockets and the pid file."),
    ];
    for (path, what) in files {
        page.item(path).text(what);
    }
    page.section("SEE ALSO").text("host.toml(5), topology.toml(5)");
    page.text
}

/// The page of a language, section 5.
pub fn of_language<T: Document>(what: &str, about: &str) -> String {
    let name = format!("{}.toml", T::NAME);
    let mut page = Page::new(&name.to_uppercase(), 5);
    page.section("NAME").text(&format!("{name} - {what}"));
    page.section("DESCRIPTION").text(about);
    page.paragraph().text("`NAME` stands for a name that the file chooses, `[]` for each of a list.");
    page.section("KEYS");
    for key in keys::<T>() {
        page.item(&key.path);
        if !key.branches.is_empty() {
            page.text(&format!("({})", key.branches.join(", ")));
        }
        page.text(&key.description);
        page.line(".br");
        page.text(&format!("Value: {}.{}", key.form, if key.required { " Required." } else { "" }));
        for example in &key.examples {
            page.line(".br");
            page.text(&format!("Example: `{example}`"));
        }
    }
    page.section("SEE ALSO").text("mailstack(1)");
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn new(name: &str, section: u8) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        // Text as it comes: no hyphenation of names, no blanks to fill a line.
        Self {
            text: format!(".TH {name} {section} \"\" \"mailstack {version}\" \"mailstack\"\n.nh\n.ad l\n"),
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn section(&mut self, name: &str) -> &mut Self {
        self.line(&format!(".SH \"{name}\""));
        self
    }

    fn paragraph(&mut self) -> &mut Self {
        self.line(".PP");
        self
    }

    /// A word, with what it means indented below it.
    fn item(&mut self, word: &str) -> &mut Self {
        self.line(".TP");
        self.line(&format!("\\fB{}\\fR", escaped(word)));
        self
    }

    /// Prose: what stands in backquotes is set in bold.
    fn text(&mut self, prose: &str) {
        for line in prose.lines() {
            let parts = line.split('`').enumerate().map(|(at, part)| match (at % 2, part) {
                (1, part) => format!("\\fB{}\\fR", escaped(part)),
                (_, part) => escaped(part),
            });
            let line = parts.collect::<String>();
            // A line that begins with a control character is none of ours.
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            self.line(&format!("{guard}{line}"));
        }
    }

    fn arguments<'a>(&mut self, arguments: impl Iterator<Item = &'a Arg>) {
        for arg in arguments {
            self.item(&spelling(arg)).text(&format!("{}.", meaning(arg)));
        }
    }

    fn commands(&mut self, command: &Command) {
        for command in subcommands(command) {
            if subcommands(command).next().is_some() {
                self.commands(command);
                continue;
            }
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            self.line(&format!(".SS \"{}\"", escaped(&usage(command))));
            self.text(&format!("{about}."));
            self.arguments(own(command));
        }
    }
}

/// A text that groff prints as it is.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' => "\\e".to_owned(),
        '-' => "\\-".to_owned(),
        '"' => "\\(dq".to_owned(),
        c if c.is_ascii() => c.to_string(),
        c => format!("\\[u{:04X}]", u32::from(c)),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_request() {
        let mut page = Page { text: String::new() };
        page.text(".so /etc/passwd\n'br\na-b… `x\\y`");
        assert_eq!(page.text, "\\&.so /etc/passwd\n\\&'br\na\\-b\\[u2026] \\fBx\\ey\\fR\n");
    }
}
