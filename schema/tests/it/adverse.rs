use std::time::{Duration, Instant};

use mailstack_schema::host::Host;
use mailstack_schema::topology::Topology;
use mailstack_schema::{Document, FaultKind, MAX_SIZE, read};

/// A debug build on a busy machine reads the worst of these in two seconds; the square of their size takes hours.
const PATIENCE: Duration = Duration::from_secs(60);

const GATEWAY: &str = "schema = 1\nrole = \"gateway\"\n";

/// `head`, then units until the file is as large as it may be, then `tail`.
fn full(head: &str, unit: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    let mut units = (0..).map(unit);
    while let Some(unit) = units.next().filter(|unit| text.len() + unit.len() + tail.len() <= MAX_SIZE) {
        text.push_str(&unit);
    }
    text + tail
}

fn of(head: &str, unit: &str, tail: &str) -> String {
    full(head, |_| unit.to_owned(), tail)
}

/// Reads it in time, with few faults and each within the text; returns whether it is valid.
fn bounded<T: Document>(text: &str) -> bool {
    let (start, shown) = (Instant::now(), &text[..text.len().min(60)]);
    let read = read::<T>(text);
    assert!(start.elapsed() < PATIENCE, "{shown}: {:?}", start.elapsed());
    let faults = read.as_ref().err().into_iter().flatten();
    assert!(faults.clone().count() <= 101, "{shown}");
    for fault in faults {
        assert!(fault.span.end <= text.len() && text.get(fault.span.clone()).is_some(), "{shown}");
        assert!(fault.kind.to_string().len() < 1_000, "{shown}");
    }
    read.is_ok()
}

#[test]
fn the_largest_nested_files_are_refused_in_time() {
    let deep = vec!["a"; 500].join(".");
    for text in [
        of("", "[", ""),
        of("a = ", "[", ""),
        of("a = ", "{a=", ""),
        of("a", ".a", " = 1"),
        of("[a", ".a", "]\n"),
        of("[[a", ".a", "]]\n"),
        full("", |at| format!("[{deep}.k{at}]\n"), ""),
        full("", |at| format!("{deep}.k{at} = 1\n"), ""),
    ] {
        assert!(!bounded::<Host>(&text));
    }
}

#[test]
fn the_largest_files_of_one_thing_are_refused_in_time() {
    for text in [
        of("", "]", ""),
        of("", "\"", ""),
        of("", "\0", ""),
        of("", "=\n", ""),
        of("", "[a]\n", ""),
        of("", "[[a]]\n", ""),
        of("", "k=1\n", ""),
        of("", "k", "=1"),
        of("schema = ", "9", ""),
        full("", |at| format!("k{at}=1\n"), ""),
        full("a={", |at| format!("k{at}=1,"), "}"),
        of(&format!("{GATEWAY}listen=["), "1,", "]"),
        of(&format!("{GATEWAY}limits.message_size=\""), "0", "\""),
    ] {
        assert!(!bounded::<Host>(&text));
    }
    assert!(!bounded::<Topology>(&of("", "[[step]]\n", "")));
}

#[test]
fn the_largest_valid_files_are_read_in_time() {
    let long = "k".repeat(MAX_SIZE / 2);
    for text in [
        full(&format!("{GATEWAY}[aliases]\n"), |at| format!("k{at}=\"a\"\n"), ""),
        of(&format!("{GATEWAY}listen=["), "\"\",", "]"),
        // Spans and paths must not hold the long key once per element: that would be 90 GiB.
        of(&format!("{GATEWAY}aliases.{long}=["), "\"\",", "]"),
    ] {
        assert!(bounded::<Host>(&text));
    }
}

#[test]
fn faults_end_with_their_number_where_there_are_more() {
    let wrong = |count: usize| format!("{GATEWAY}listen = [{}]", "1,".repeat(count));
    let faults = |count| read::<Host>(&wrong(count)).unwrap_err();
    assert_eq!(faults(100).len(), 100);
    let kinds: Vec<_> = faults(101).into_iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds.len(), 101);
    assert_eq!(kinds[100], FaultKind::TooMany { limit: 100 });
}
