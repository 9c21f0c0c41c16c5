//! The resolver against a name server.

use mailstack_mta::dns::{Dns, LOOK};
use mailstack_mta::host::Root;

use super::names;

const ZONE: &[&str] = &[
    "corp.example MX 20 b.example.",
    "corp.example MX 10 a.example.",
    "plain.example A 192.0.2.5",
    "null.example MX 0 .",
    "loop.example MX 10 me.example.",
    "backup.example MX 10 a.example.",
    "backup.example MX 20 me.example.",
    "backup.example MX 30 b.example.",
    "alias.example CNAME corp.example.",
    "bare.example TXT x",
    "a.example A 192.0.2.1",
    "a.example A 192.0.2.2",
    "a.example AAAA 2001:db8::1",
    "b.example CNAME plain.example.",
    "ill.example SERVFAIL x",
    "mute.example SILENT x",
    "1.2.0.192.in-addr.arpa PTR a.example.",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR a.example.",
    "9.2.0.192.in-addr.arpa PTR a.example.",
    "8.2.0.192.in-addr.arpa SERVFAIL x",
    "7.2.0.192.in-addr.arpa PTR bad(name.example.",
];

async fn exchangers(dns: &Dns, domain: &str) -> String {
    let is_own = |name: &mailstack_policy::DomainName| name.as_str() == "me.example";
    match dns.exchangers(&domain.parse().unwrap(), &is_own, 1).await {
        Ok(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(fault) => format!("{} temporary={}", fault.status(), fault.is_temporary()),
    }
}

async fn addresses(dns: &Dns, host: &str) -> String {
    match dns.addresses(&host.parse().unwrap()).await {
        Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(fault) => format!("{} temporary={}", fault.status(), fault.is_temporary()),
    }
}

#[tokio::test]
async fn mail_hosts_of_domains() {
    let dns = names::serve(ZONE).await;
    for (domain, wanted) in [
        ("corp.example", "a.example b.example"),
        ("plain.example", "plain.example"),
        ("null.example", "5.1.10 temporary=false"),
        ("loop.example", "5.4.6 temporary=false"),
        ("backup.example", "a.example"),
        ("alias.example", "a.example b.example"),
        ("ill.example", "4.4.3 temporary=true"),
        ("mute.example", "4.4.3 temporary=true"),
    ] {
        assert_eq!(exchangers(&dns, domain).await, wanted, "{domain}");
    }
}

#[tokio::test]
async fn addresses_of_hosts() {
    let dns = names::serve(ZONE).await;
    for (host, wanted) in [
        ("a.example", "2001:db8::1 192.0.2.1 192.0.2.2"),
        ("b.example", "192.0.2.5"),
        ("no.example", "5.1.2 temporary=false"),
        ("bare.example", "5.1.2 temporary=false"),
        ("ill.example", "4.4.3 temporary=true"),
        ("mute.example", "4.4.3 temporary=true"),
    ] {
        assert_eq!(addresses(&dns, host).await, wanted, "{host}");
    }
}

#[tokio::test]
async fn without_a_name_server_the_hosts_file_counts() {
    let dns = names::hosts("192.0.2.9 mail.example mail\n");
    assert_eq!(addresses(&dns, "mail.example").await, "192.0.2.9");
    assert_eq!(addresses(&dns, "other.example").await, "4.4.3 temporary=true");
}

#[tokio::test]
async fn what_the_files_say_now_counts() {
    let directory = tempfile::tempdir().unwrap();
    let etc = directory.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(etc.join("new"), text).unwrap();
        std::fs::rename(etc.join("new"), etc.join(name)).unwrap();
        // It is not looked at more often than that.
        std::thread::sleep(LOOK);
    };
    write("resolv.conf", "");
    write("hosts", "192.0.2.1 mail.example\n");
    let dns = Dns::open(&Root::new(directory.path())).unwrap();
    assert_eq!(addresses(&dns.clone(), "mail.example").await, "192.0.2.1");
    write("hosts", "192.0.2.2 mail.example\n");
    assert_eq!(addresses(&dns, "mail.example").await, "192.0.2.2");
    assert_eq!(addresses(&dns.clone(), "other.example").await, "4.4.3 temporary=true");
    let text = format!("nameserver {}\noptions timeout:1 attempts:1\n", std::net::Ipv4Addr::LOCALHOST);
    write("resolv.conf", &text);
    let fault = dns.addresses(&"other.example".parse().unwrap()).await;
    assert!(!format!("{fault:?}").contains("no name server is known"), "{fault:?}");
}

#[tokio::test]
async fn an_address_has_the_name_that_has_the_address() {
    let dns = names::serve(ZONE).await;
    for (address, wanted) in [
        ("192.0.2.1", Some(("a.example", true))),
        ("2001:db8::1", Some(("a.example", true))),
        ("192.0.2.9", Some(("a.example", false))),
        ("192.0.2.8", None),
        ("192.0.2.7", None),
        ("192.0.2.6", None),
    ] {
        let found = dns.name_of(address.parse().unwrap()).await;
        assert_eq!(
            found.as_ref().ok().and_then(Option::as_ref).map(|found| (found.name.as_str(), found.confirmed)),
            wanted,
            "{address}"
        );
    }
}
