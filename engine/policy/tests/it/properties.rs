//! What holds for any input.

use std::borrow::Cow;

use mailstack_policy::header::fields;
use mailstack_policy::rules::{AliasTarget, Qualify};
use mailstack_policy::{Address, Client, Domain, Here, RecipientVerdict, recipient, rewrite_header};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::fixtures::{LOCAL, client, domain, gateway, is_user, loopback, masqueraded_client, network};

/// Domains that the gateway does not know, and those that it does.
fn any_domain() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("far.example"),
        Just("[198.51.100.9]"),
        Just("gw.corp.example"),
        Just("gw"),
        Just("localhost"),
        Just("[127.0.0.1]"),
        Just("[203.0.113.2]"),
        Just("[IPv6:::1]"),
        Just("corp.example"),
        Just("a.corp.example"),
        Just("tuba.example"),
        Just("relayed.example"),
        Just("GW.Corp.Example."),
        Just("far.example."),
    ]
    .prop_map(str::to_owned)
}

/// Local parts made of everything that a relay might read something into.
fn any_local() -> impl Strategy<Value = String> {
    let sign = "[@%!:\"\\\\.+,<>| ]".prop_map(|sign: String| sign);
    let piece = prop_oneof![any_domain(), sign, "[a-z]{1,3}", Just("joe".to_owned())];
    vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// Whether a message that is let through may leave for this address, whatever the next hop reads into it.
fn is_ours(address: &Address) -> bool {
    let ours = ["corp.example", "tuba.example", "relayed.example"].map(domain);
    let named = |name| ours.iter().any(|domain| mailstack_policy::DomainName::is_within(name, domain));
    address.domain_name().is_some_and(named)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn no_foreigner_reaches_a_foreign_domain(local in any_local(), to in proptest::option::of(any_domain())) {
        let host = gateway();
        let domain = to.map(|to| to.parse::<Domain>().unwrap());
        let Ok(to) = Address::new(local, domain) else { return Ok(()) };
        let verdict = recipient(&host.rules, host.here(), &network("198.51.100.7"), &to, &is_user);
        if let RecipientVerdict::Deliver(found) = verdict {
            prop_assert!(!found.is_empty());
            for one in found {
                prop_assert!(is_ours(&one.address), "{to} -> {}", one.address);
                let read: String =
                    one.address.local().chars().filter(|c| !matches!(c, '"' | '\\')).collect();
                for far in ["@far.example", "%far.example", "far.example!", "@[198", "%[198", "9]!"] {
                    prop_assert!(!read.contains(far), "{to} -> {}", one.address);
                }
            }
        }
    }

    #[test]
    fn client_roles_take_nothing_from_the_network(local in any_local(), to in any_domain()) {
        let host = masqueraded_client();
        let Ok(to) = Address::new(local, Some(to.parse().unwrap())) else { return Ok(()) };
        let verdict = recipient(&host.rules, host.here(), &network("198.51.100.7"), &to, &is_user);
        prop_assert!(matches!(verdict, RecipientVerdict::Refuse(_)), "{to}");
    }

    #[test]
    fn final_recipients_are_final(local in any_local(), to in any_domain()) {
        let host = gateway();
        let Ok(to) = Address::new(local, Some(to.parse().unwrap())) else { return Ok(()) };
        let again = |client: &Client, to: &Address| {
            recipient(&host.rules, host.here(), client, to, &is_user)
        };
        if let RecipientVerdict::Deliver(found) = again(&LOCAL, &to) {
            for one in found {
                let RecipientVerdict::Deliver(same) = again(&LOCAL, &one.address) else {
                    return Err(TestCaseError::fail(format!("{to} -> {}", one.address)));
                };
                prop_assert_eq!(&same[0].address, &one.address);
            }
        }
    }

    #[test]
    fn expansion_ends(
        table in btree_map("[a-f]", vec("(\\\\)?[a-h](@far\\.example|@localhost|%localhost)?", 1..4), 0..6),
        to in "[a-h]",
    ) {
        let mut host = loopback();
        let target = |text: String| match text.strip_prefix('\\') {
            Some(user) => AliasTarget::User(user.to_owned()),
            None => AliasTarget::Address(text.parse().unwrap()),
        };
        host.rules.aliases =
            table.into_iter().map(|(name, to)| (name, to.into_iter().map(target).collect())).collect();
        let verdict = recipient(&host.rules, host.here(), &LOCAL, &to.parse().unwrap(), &|_| true);
        if let RecipientVerdict::Deliver(found) = verdict {
            let mut addresses: Vec<_> = found.into_iter().map(|one| one.address).collect();
            let count = addresses.len();
            addresses.sort();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), count);
        }
    }

    #[test]
    fn rewriting_never_panics_and_is_idempotent(bytes in vec(any_header_octet(), 0..80)) {
        for host in [masqueraded_client(), loopback(), client(Qualify::OwnHost, None)] {
            let mut header = b"From: ".to_vec();
            header.extend_from_slice(&bytes);
            check_rewriting(&host.rules, host.here(), &header)?;
            check_rewriting(&host.rules, host.here(), &bytes)?;
        }
    }

    #[test]
    fn other_fields_keep_their_octets(bytes in vec(any_header_octet(), 0..80)) {
        let host = masqueraded_client();
        let mut header = b"Subject:".to_vec();
        header.extend(bytes.into_iter().filter(|byte| *byte != b'\n'));
        header.push(b'\n');
        let after = rewrite_header(&host.rules, host.here(), &header);
        prop_assert!(matches!(after, Cow::Borrowed(_)));
    }
}

/// The octets that mean something in a header, and a few that do not.
fn any_header_octet() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => proptest::sample::select(&b"()<>[]:;,@\\\"\r\n \t.!%=?"[..]),
        4 => proptest::sample::select(&b"abctoTFrm"[..]),
        1 => any::<u8>(),
    ]
}

fn check_rewriting(
    rules: &mailstack_policy::rules::Rules,
    here: Here<'_>,
    header: &[u8],
) -> Result<(), TestCaseError> {
    let once = rewrite_header(rules, here, header);
    let twice = rewrite_header(rules, here, &once);
    prop_assert_eq!(&twice, &once);
    let names = |header: &[u8]| fields(header).map(|field| field.name.to_vec()).collect::<Vec<_>>();
    prop_assert_eq!(names(&once), names(header));
    Ok(())
}
