//! A configuration of each role, and the changes that make it wrong.

use mailstack_runtime::Config;

const COMMON: &str = r#"
version = 1
listeners = LISTENERS
[paths]
spool = "/var/spool/mailstack"
submission_socket = "/run/mailstack/submission"
drop = "/var/spool/mailstack-drop"
control_socket = "/run/mailstack/control"
pid_file = "/run/mailstack/mta.pid"
[limits]
message_size = 26214400
recipients = 100
header_size = 32768
hops = 25
connections = 100
connections_per_client = 10
[queue]
first_retry = 300
longest_retry = 3600
lifetime = 432000
connections_per_destination = 10
[rules]
local_domains = []
relay_domains = []
relay_networks = []
mail_hosts = []
[rules.aliases]
[rules.mailertable]
"#;

fn config(role: &str, hostname: &str, listeners: &str) -> toml::Table {
    let head = format!("role = \"{role}\"\nhostname = \"{hostname}\"\n");
    let mut table: toml::Table = (head + &COMMON.replace("LISTENERS", listeners)).parse().unwrap();
    let receives = matches!(role, "loopback" | "gateway");
    set(&mut table, "local_mailboxes", receives);
    set(&mut table, "qualify", "own_host");
    table
}

/// Sets one key of the rules.
pub(crate) fn set(table: &mut toml::Table, key: &str, value: impl Into<toml::Value>) {
    let rules = table.get_mut("rules").and_then(toml::Value::as_table_mut).unwrap();
    rules.insert(key.to_owned(), value.into());
}

/// Sets one key of the rules, written as TOML.
pub(crate) fn set_toml(table: &mut toml::Table, key: &str, text: &str) {
    let value: toml::Table = format!("value = {text}").parse().unwrap();
    set(table, key, value.get("value").unwrap().clone());
}

pub(crate) fn read(table: &toml::Table) -> Config {
    table.clone().try_into().unwrap()
}

const MASQUERADE: &str = "{ domain = \"corp.example\", envelope = true, recipients = true, domains = [], \
                          whole_domain = false, exposed_users = [] }";
const MAIL_HOST: &str = "[{ host = { mx = \"mailhost.corp.example\" }, port = 25 }]";

pub(crate) fn nullclient() -> toml::Table {
    let mut table = config("nullclient", "web01.corp.example", "[]");
    set_toml(&mut table, "mail_hosts", MAIL_HOST);
    set_toml(&mut table, "masquerade", MASQUERADE);
    set_toml(&mut table, "qualify", "{ domain = \"corp.example\" }");
    table
}

/// As the article has it: without masquerading.
pub(crate) fn msp() -> toml::Table {
    let mut table = config("msp", "app01.corp.example", "[]");
    set_toml(&mut table, "mail_hosts", MAIL_HOST);
    table
}

pub(crate) fn loopback() -> toml::Table {
    let mut table = config("loopback", "dev01.corp.example", "[\"127.0.0.1:25\", \"[::1]:25\"]");
    set_toml(&mut table, "mail_hosts", MAIL_HOST);
    set_toml(&mut table, "masquerade", MASQUERADE);
    set_toml(&mut table, "aliases", "{ root = [{ address = \"carol@corp.example\" }] }");
    table
}

pub(crate) fn gateway() -> toml::Table {
    let mut table = config("gateway", "gw.corp.example", "[\"203.0.113.2:25\", \"[::]:25\"]");
    set_toml(&mut table, "relay_networks", "[\"192.168.10.0/24\", \"2001:db8:10::/64\"]");
    set_toml(&mut table, "relay_domains", "[\"corp.example\"]");
    set_toml(&mut table, "local_domains", "[\"tuba.example\"]");
    table
}
