//! The order of mail hosts (RFC 5321 5.1), pure.

use mailstack_policy::better_exchangers;
use mailstack_smtp::address::DomainName;

use super::NoRoute;

/// What an MX record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exchanger {
    /// A host.
    Host(DomainName),
    /// The root of the name space: nobody.
    None,
    /// Something that is no host's name.
    Unusable,
}

/// Orders the mail hosts of `domain` by preference.
pub(super) fn order(
    domain: &DomainName,
    records: Vec<(u16, Exchanger)>,
    is_own: &(dyn Fn(&DomainName) -> bool + Sync),
    random: u64,
) -> Result<Vec<DomainName>, NoRoute> {
    if records.is_empty() {
        return Ok(vec![domain.clone()]); // the implicit MX
    }
    let nobody = records.iter().any(|(_, exchanger)| *exchanger == Exchanger::None);
    let mut hosts = hosts(records);
    if hosts.is_empty() {
        return Err(match nobody {
            true => NoRoute::NullMx(domain.clone()),
            // RFC 5321 5.1: with MX records, none of them usable, the domain's own address is not asked.
            false => NoRoute::NoSuchName(domain.clone()),
        });
    }
    shuffle(&mut hosts, random);
    hosts.sort_by_key(|(preference, _)| *preference);
    better_exchangers(&mut hosts, is_own);
    if hosts.is_empty() {
        return Err(NoRoute::Loop(domain.clone()));
    }
    let mut ordered: Vec<DomainName> = Vec::new();
    for (_, host) in hosts {
        if !ordered.contains(&host) {
            ordered.push(host);
        }
    }
    Ok(ordered)
}

fn hosts(records: Vec<(u16, Exchanger)>) -> Vec<(u16, DomainName)> {
    let host = |(preference, exchanger)| match exchanger {
        Exchanger::Host(host) => Some((preference, host)),
        Exchanger::None | Exchanger::Unusable => None,
    };
    records.into_iter().filter_map(host).collect()
}

/// Fisher and Yates, over splitmix64.
fn shuffle<T>(items: &mut [T], mut random: u64) {
    for last in (1..items.len()).rev() {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let below = u64::try_from(last + 1).unwrap_or(1);
        items.swap(last, usize::try_from((mixed ^ (mixed >> 31)) % below).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    fn ordered(records: &[(u16, &str)], random: u64) -> Result<String, NoRoute> {
        let record = |(preference, host): &(u16, &str)| match *host {
            "." => (*preference, Exchanger::None),
            "?" => (*preference, Exchanger::Unusable),
            host => (*preference, Exchanger::Host(name(host))),
        };
        let records = records.iter().map(record).collect();
        let is_own = |host: &DomainName| host.as_str() == "me.example";
        let hosts = order(&name("d.example"), records, &is_own, random)?;
        Ok(hosts.iter().map(DomainName::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn preference_decides() {
        type Case<'a> = (&'a [(u16, &'a str)], Result<&'a str, NoRoute>);
        let cases: [Case<'_>; 11] = [
            (&[], Ok("d.example")),
            (&[(20, "b.example"), (10, "a.example")], Ok("a.example b.example")),
            (&[(10, "a.example"), (20, "a.example")], Ok("a.example")),
            (&[(0, ".")], Err(NoRoute::NullMx(name("d.example")))),
            (&[(0, "."), (10, "a.example")], Ok("a.example")),
            (&[(0, "?")], Err(NoRoute::NoSuchName(name("d.example")))),
            (&[(0, "?"), (10, "a.example")], Ok("a.example")),
            (&[(10, "me.example")], Err(NoRoute::Loop(name("d.example")))),
            (&[(10, "me.example"), (20, "a.example")], Err(NoRoute::Loop(name("d.example")))),
            (&[(10, "a.example"), (20, "me.example"), (30, "c.example")], Ok("a.example")),
            (&[(10, "a.example"), (20, "me.example"), (20, "c.example")], Ok("a.example")),
        ];
        for (records, wanted) in cases {
            assert_eq!(ordered(records, 7), wanted.map(str::to_owned), "{records:?}");
        }
    }

    #[test]
    fn equal_preference_is_in_random_order() {
        let records = [(10, "a.example"), (10, "b.example"), (10, "c.example"), (5, "first.example")];
        let seen: BTreeSet<String> = (0..200).map(|random| ordered(&records, random).unwrap()).collect();
        assert_eq!(seen.len(), 6, "{seen:?}");
        assert!(seen.iter().all(|order| order.starts_with("first.example ")));
    }
}
