use mailstack_schema::host::{Host, Role};
use mailstack_schema::topology::Topology;
use mailstack_schema::{Document, FaultKind, MAX_SIZE, profiles, read, read_bytes};
use proptest::prelude::*;

/// Reads it: it must not panic, spans must lie in the text, and what the schema accepts the types must take.
fn judged<T: Document>(bytes: &[u8]) {
    for fault in read_bytes::<T>(bytes).err().unwrap_or_default() {
        assert!(fault.span.start <= fault.span.end && fault.span.end <= bytes.len(), "{fault:?}");
        assert!(!matches!(fault.kind, FaultKind::Unreadable { .. }), "{fault:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        judged::<Host>(&bytes);
    }

    #[test]
    fn any_text(text in "[a-z\\[\\]{}=\"'\\.\n ,#0-9é]{0,120}") {
        judged::<Host>(text.as_bytes());
        judged::<Topology>(text.as_bytes());
    }

    #[test]
    fn a_valid_file_with_something_else_in_it(role in 0..4_usize, at in any::<prop::sample::Index>(),
                                              len in 0..12_usize, new in "[a-z\\[\\]{}=\"\\.\n 0-9-]{0,8}") {
        let text = profiles::defaults(Role::ALL[role]);
        let start = at.index(text.len());
        let end = (start + len).min(text.len());
        judged::<Host>(&[&text.as_bytes()[..start], new.as_bytes(), &text.as_bytes()[end..]].concat());
    }
}

#[test]
fn deep_nesting_is_bounded() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a{} = 1", ".a".repeat(100_000)),
        format!("a = {}1{}", format!("{{ a{} = ", ".a".repeat(70)).repeat(70), "}".repeat(70)),
    ] {
        judged::<Host>(text.as_bytes());
    }
}

#[test]
fn a_file_over_the_limit_is_not_parsed() {
    let faults = read::<Host>(&" ".repeat(MAX_SIZE + 1)).unwrap_err();
    assert_eq!(faults[0].kind, FaultKind::TooLarge { size: MAX_SIZE + 1, limit: MAX_SIZE });
}
