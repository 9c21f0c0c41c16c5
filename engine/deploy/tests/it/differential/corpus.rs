//! Addresses: every kind of user at every kind of place, the forms that hide an address, and random ones.

const USERS: [&str; 12] = [
    "root",
    "alice",
    "Alice",
    "postmaster",
    "MAILER-DAEMON",
    "alice+tag",
    "nobody",
    "a.b-c_d",
    "backup",
    "operator",
    "sales",
    "x=y",
];

/// Places that the configurations know, beside the host's own.
const PLACES: [&str; 21] = [
    "corp.example",
    "CORP.Example",
    "web01.corp.example",
    "a.b.corp.example",
    "gw.corp.example",
    "lists.corp.example",
    "mail.corp.example",
    "mailhost.corp.example",
    "internalmail.corp.example",
    "relayed.example",
    "x.relayed.example",
    "deep.x.relayed.example",
    "virt.example",
    "tuba.example",
    "outside.example",
    "sub.outside.example",
    "localhost.example",
    "xcorp.example",
    "[192.0.2.10]",
    "[192.0.2.77]",
    "[198.51.100.99]",
];

/// Forms that hide an address; `HERE` is the host's own name.
const FORMS: [&str; 16] = [
    "alice%outside.example@HERE",
    "alice%outside.example",
    "outside.example!alice",
    "outside.example!alice@HERE",
    "alice%outside.example%HERE@HERE",
    "alice%corp.example@HERE",
    "alice%relayed.example@localhost",
    "\"alice@outside.example\"@HERE",
    "\"alice smith\"@HERE",
    "\"alice smith\"@outside.example",
    "\"alice.\"@outside.example",
    "\"alice@corp.example\"@outside.example",
    "alice%@HERE",
    "%outside.example@HERE",
    "HERE!outside.example!alice",
    "alice%outside.example@corp.example",
];

/// Names of aliases that lead to programs and files.
const ALIASES: [&str; 4] = ["support", "away", "all", "archive"];

/// The corpus for a host of this name.
pub(super) fn addresses(hostname: &str) -> Vec<String> {
    let short = hostname.split('.').next().unwrap_or_default();
    let own = ["", hostname, short, "localhost", "[127.0.0.1]"];
    let mut all = Vec::new();
    for user in USERS {
        for place in own.iter().chain(&PLACES) {
            all.push(if place.is_empty() { user.to_owned() } else { format!("{user}@{place}") });
        }
    }
    all.extend(ALIASES.map(str::to_owned));
    all.extend(FORMS.iter().map(|form| form.replace("HERE", hostname)));
    all
}

/// Random addresses, the same for the same seed.
pub(super) fn random(seed: u64, count: u64) -> Vec<String> {
    // splitmix64: any seed is good.
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    };
    let atoms =
        ["a", "root", "Bob", "x1", "a-b", "c_d", "7", "alice", "o'neil", "q+r", "#h", "m&m", "{b}", "z~"];
    let labels =
        ["corp", "example", "a", "b2", "outside", "relayed", "x", "mail", "xn--d1acufc", "a-b", "corp2"];
    let mut one = || {
        let local: Vec<&str> = (0..=next(3)).map(|_| atoms[next(atoms.len())]).collect();
        let local = local.join([".", "+", "-"][next(3)]);
        let places = [
            String::new(),
            format!("@{}", PLACES[next(PLACES.len())]),
            {
                let labels: Vec<&str> = (0..=next(4)).map(|_| labels[next(labels.len())]).collect();
                format!("@{}.example", labels.join("."))
            },
            format!("@[192.0.2.{}]", next(256)),
        ];
        format!("{local}{}", places[next(places.len())])
    };
    (0..count).map(|_| one()).collect()
}
