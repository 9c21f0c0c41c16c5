//! What is found in right and wrong configurations.

use std::fmt::Write as _;

use mailstack_prove::findings;

use crate::fixtures::{gateway, loopback, msp, nullclient, read, set_toml};

fn changed(mut table: toml::Table, key: &str, text: &str) -> toml::Table {
    set_toml(&mut table, key, text);
    table
}

fn named(mut table: toml::Table, hostname: &str) -> toml::Table {
    table.insert("hostname".to_owned(), hostname.into());
    table
}

fn unnamed(mut table: toml::Table) -> toml::Table {
    table.remove("hostname");
    table
}

fn exposed(table: toml::Table) -> toml::Table {
    let masquerade = "{ domain = \"corp.example\", envelope = false, recipients = true, domains = [], \
                      whole_domain = false, exposed_users = [\"cron\"] }";
    changed(table, "masquerade", masquerade)
}

#[test]
fn findings_of_many_configurations() {
    let own = |host: &str| format!("[{{ host = {host}, port = 25 }}]");
    let every_network = (0..=255).map(|first| format!("\"{first}.0.0.0/8\"")).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    for (name, table) in [
        ("nullclient", nullclient()),
        ("nullclient without a host name", unnamed(nullclient())),
        ("nullclient, envelope not masqueraded, cron exposed", exposed(nullclient())),
        (
            "nullclient, its own mail host",
            changed(nullclient(), "mail_hosts", &own("{ host = \"web01.corp.example\" }")),
        ),
        ("msp without masquerading", msp()),
        ("msp without masquerading and host name", unnamed(msp())),
        ("msp through the MTA beside it", changed(msp(), "mail_hosts", &own("{ address = \"127.0.0.1\" }"))),
        ("msp with an unqualified host name", named(msp(), "app01")),
        ("loopback", loopback()),
        ("loopback, its own mail host", changed(loopback(), "mail_hosts", &own("{ mx = \"localhost\" }"))),
        ("gateway", gateway()),
        (
            "gateway, mailertable to itself",
            changed(
                gateway(),
                "mailertable",
                "{ \".corp.example\" = { smtp = { agent = \"esmtp\", hosts = [\
                 { host = { address = \"203.0.113.2\" }, port = 25 }, \
                 { host = { address = \"127.0.0.1\" }, port = 10025 }] } } }",
            ),
        ),
        (
            "gateway, a relay domain refused on purpose",
            changed(
                gateway(),
                "mailertable",
                "{ \".example\" = { error = { code = 550, enhanced = \"5.1.2\", text = \"gone\" } } }",
            ),
        ),
        (
            "gateway, own domain refused",
            changed(
                gateway(),
                "aliases",
                "{ postmaster = [{ address = \"ping\" }], ping = [{ address = \"postmaster\" }] }",
            ),
        ),
        ("gateway that trusts everyone", changed(gateway(), "relay_networks", &format!("[{every_network}]"))),
    ] {
        writeln!(text, "## {name}").unwrap();
        for finding in findings(&read(&table)) {
            writeln!(text, "{:?}: {finding}", finding.severity()).unwrap();
        }
        writeln!(text).unwrap();
    }
    insta::assert_snapshot!(text);
}
