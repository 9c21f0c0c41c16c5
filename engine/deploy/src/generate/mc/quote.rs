//! The one way for a value into a `.mc` file.
//!
//! m4 reads a value several times: in the call, and again wherever the library expands what it defined. A quote
//! ends it, a backtick swallows the file, `$1` vanishes, and a word that is a macro runs, also in the middle of a
//! host name (`dnl.corp.example`). None of m4's own words and none of the cf library's that run without arguments
//! is capitalised, and names are compared without case: so such a word gets a capital.

/// Words that m4 or the cf library would expand in a value. Only lower case: a name has no capitals.
pub(super) const M4_WORDS: &[&str] = &[
    "__file__",
    "__gnu__",
    "__line__",
    "__program__",
    "__unix__",
    "__windows__",
    "__os2__",
    "_hd_",
    "_tl_",
    "builtin",
    "changecom",
    "changequote",
    "changeword",
    "debugfile",
    "debugmode",
    "decr",
    "define",
    "defn",
    "divert",
    "divnum",
    "dnl",
    "dumpdef",
    "errprint",
    "esyscmd",
    "eval",
    "format",
    "ifdef",
    "ifelse",
    "include",
    "incr",
    "index",
    "indir",
    "len",
    "lower",
    "m4exit",
    "m4wrap",
    "maketemp",
    "mkstemp",
    "patsubst",
    "popdef",
    "pushdef",
    "regexp",
    "shift",
    "sinclude",
    "strcasecmp",
    "substr",
    "syscmd",
    "sysval",
    "traceoff",
    "traceon",
    "translit",
    "undefine",
    "undivert",
    "unix",
    "upper",
];

/// What Debian's library calls its build settings (`sm_version`).
const LIBRARY_PREFIX: &str = "sm_";

/// The value in m4's quotes, without anything in it that m4 would read. The model lets no other characters into a
/// value than those that stay here; any other becomes a `?`, which no name has.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    let mut word = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
        } else {
            quoted.push_str(&harmless(&std::mem::take(&mut word)));
            quoted.push(if is_plain(c) { c } else { '?' });
        }
    }
    quoted.push_str(&harmless(&word));
    quoted.push('\'');
    quoted
}

/// The characters beside letters, digits and `_` that mean nothing to m4 inside quotes.
fn is_plain(c: char) -> bool {
    // No comma: the library hands some values on unquoted.
    " .+-:[]/".contains(c)
}

/// The word with its first letter a capital if m4 would expand it.
fn harmless(word: &str) -> String {
    // m4's words begin with a letter or `_`: behind digits (`1dnl`) it sees one as well.
    let start = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, name) = word.split_at(start);
    if !M4_WORDS.contains(&name) && !name.starts_with(LIBRARY_PREFIX) {
        return word.to_owned();
    }
    let at = name.find(|c: char| c.is_ascii_lowercase()).unwrap_or(name.len());
    let (before, rest) = name.split_at(at);
    let (first, rest) = rest.split_at(rest.len().min(1));
    format!("{digits}{before}{}{rest}", first.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// What m4 makes of the text; None, said aloud, on a host without m4.
    fn m4(source: &str) -> Option<String> {
        let child =
            Command::new("m4").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: no m4 on this host");
            return None;
        };
        child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{source}: {output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    }

    /// As the library does: a macro that defines another one from its argument, which is expanded later.
    fn through_m4(text: &str) -> Option<String> {
        m4(&format!(
            "define(`OUTER', `define(`INNER', $1)')dnl\nOUTER({})dnl\n<INNER>\n<VALUE(INNER)>\n",
            quote(text)
        ))
    }

    fn check(text: &str) {
        let Some(expanded) = through_m4(text) else { return };
        assert_eq!(expanded.to_lowercase(), format!("<{0}>\n<value({0})>\n", text.to_lowercase()), "{text}");
    }

    #[test]
    fn a_word_of_m4_gets_a_capital() {
        let table = [
            ("mailhost.corp.example", "`mailhost.corp.example'"),
            ("dnl.example", "`Dnl.example'"),
            ("a-dnl-b.1dnl.example", "`a-Dnl-b.1Dnl.example'"),
            ("__file__.sm_version.dnlx", "`__File__.Sm_version.dnlx'"),
            ("a'b`c\n$1(#)", "`a?b?c??1???'"),
            ("", "`'"),
        ];
        for (text, quoted) in table {
            assert_eq!(quote(text), quoted);
        }
    }

    #[test]
    fn every_word_passes_m4_unchanged() {
        let text: Vec<String> = M4_WORDS.iter().map(|word| format!("{word}.x-{word}.1{word}")).collect();
        check(&text.join(" "));
    }

    /// The words of the library as it is here: none in lower case is missing above.
    #[test]
    fn the_library_has_no_further_word() {
        let dump = "include(`/usr/share/sendmail/cf/m4/cf.m4')dnl\nOSTYPE(`debian')dnl\nMAILER(`local')dnl\n\
                    MAILER(`smtp')dnl\ndumpdef\n";
        let mut child = match Command::new("m4")
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
        {
            Ok(child) if std::path::Path::new("/usr/share/sendmail/cf/m4/cf.m4").exists() => child,
            _ => return eprintln!("SKIPPED: no m4 or no cf library on this host"),
        };
        child.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let names = words.lines().filter_map(|line| line.split_once(":\t")).map(|(name, _)| name);
        let lower: Vec<&str> =
            names.filter(|name| !name.contains(|c: char| c.is_ascii_uppercase())).collect();
        assert!(lower.contains(&"dnl"), "{words}");
        for word in lower {
            assert_ne!(quote(word), format!("`{word}'"), "{word}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn a_name_passes_m4_unchanged(text in "[a-z0-9._+:/-]{0,40}(dnl|index|len|divert|shift|sm_ffr)?[a-z.]{0,9}") {
            check(&text);
        }

        #[test]
        fn nothing_leaves_the_quotes(text in "[^\\x00]{0,60}") {
            let quoted = quote(&text);
            let inner = &quoted[1..quoted.len() - 1];
            prop_assert!(inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '?' || is_plain(c)));
            if let Some(expanded) = through_m4(&text) {
                // m4 drops blanks in front of an argument that is handed on unquoted.
                let inner = inner.trim_start();
                prop_assert_eq!(expanded, format!("<{inner}>\n<VALUE({inner})>\n"));
            }
        }
    }
}
