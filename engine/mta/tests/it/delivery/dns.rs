//! The resolver against a name server.

use mailstack_mta::dns::Dns;

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
