use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mailstack_smtp::address::ReversePath;

use super::*;
use crate::message::QueueId;

fn step(relay: &str, dsn: &str, delay: u64) -> Step {
    Step {
        id: QueueId(1),
        to: "a@x.example".parse().unwrap(),
        expanded_from: None,
        delay: Duration::from_secs(delay),
        relay: Some(relay.to_owned()),
        dsn: dsn.to_owned(),
        text: String::new(),
    }
}

#[test]
fn events_are_counted() {
    let metrics = Metrics::default();
    let peer = Peer::Network { name: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let refused = |command: &str, reply: &str| Event::Refused {
        peer: peer.clone(),
        command: command.to_owned(),
        reply: reply.to_owned(),
    };
    let received = Event::Received {
        id: QueueId(1),
        from: ReversePath::Null,
        size: 1000,
        nrcpts: 1,
        message_id: None,
        proto: "ESMTP",
        peer: peer.clone(),
    };
    for event in [
        Event::SessionOpened { peer: peer.clone() },
        received.clone(),
        received,
        refused("RCPT TO:<a@far.example>", "550 5.7.1 <a@far.example>... Relaying denied"),
        refused("rcpt to:<b@far.example>", "550 5.7.1 <b@far.example>... Relaying denied"),
        refused("XYZZY\"}\n", "500 what"),
        Event::Delivered(step("local", "2.0.0", 0)),
        Event::Delivered(step("mx.example [192.0.2.1]", "2.0.0", 7)),
        Event::Deferred(step("mx.example", "4.4.1", 0)),
        Event::Deferred(step("mx.example", "4.\"}evil", 0)),
        Event::Bounced(step("mx.example", "5.1.999", 0)),
    ] {
        metrics.count(&event);
    }
    let syncs = Histogram::new(&[0.001, 1.0]);
    syncs.observe(0.5);
    let now = [("mailstack_queue_recipients", label("state", "held"), 3.0)];
    let text = metrics.text(&now, &syncs);
    for line in [
        "mailstack_connections_total{client=\"network\"} 1\n",
        "mailstack_messages_accepted_total{client=\"network\"} 2\n",
        "mailstack_accepted_bytes_total 2000\n",
        "mailstack_commands_refused_total{command=\"RCPT\",status=\"5.7.1\"} 2\n",
        "mailstack_commands_refused_total{command=\"other\",status=\"500\"} 1\n",
        "mailstack_recipients_delivered_total{to=\"local\"} 1\n",
        "mailstack_recipients_delivered_total{to=\"relay\"} 1\n",
        "mailstack_recipients_deferred_total{status=\"4.4\"} 1\n",
        "mailstack_recipients_deferred_total{status=\"other\"} 1\n",
        "mailstack_recipients_bounced_total{status=\"5.1\"} 1\n",
        "mailstack_warnings_total 0\n",
        "mailstack_queue_recipients{state=\"held\"} 3\n",
        "mailstack_delivery_delay_seconds_bucket{le=\"5\"} 1\n",
        "mailstack_delivery_delay_seconds_bucket{le=\"30\"} 2\n",
        "mailstack_delivery_delay_seconds_sum 7\n",
        "mailstack_spool_sync_seconds_bucket{le=\"0.001\"} 0\n",
        "mailstack_spool_sync_seconds_bucket{le=\"+Inf\"} 1\n",
        "# TYPE mailstack_spool_sync_seconds histogram\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn names_are_such_as_prometheus_wants_them() {
    let mut seen = BTreeSet::new();
    for Described { name, kind, help, .. } in ALL {
        assert!(seen.insert(name), "{name} twice");
        assert!(
            name.starts_with("mailstack_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{name}"
        );
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(!help.is_empty() && !help.ends_with('.') && !help.contains('\n'), "{name}");
    }
}
