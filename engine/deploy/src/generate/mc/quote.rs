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
    " .+-:[]/=,;@%".contains(c)
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
