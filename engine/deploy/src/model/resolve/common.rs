//! The keys that every role has.

use std::path::PathBuf;

use mailstack_policy::DomainName;
use mailstack_runtime::{Limits, Queue};
use mailstack_schema::host::{
    Amount, Common as Written, Engine as WrittenEngine, Platform as WrittenPlatform,
};

use super::Faults;
use crate::model::defaults::Defaults;
use crate::model::fault::FaultKind;
use crate::model::parse;
use crate::model::{Engine, Platform};

/// The common keys, resolved.
pub(super) struct Common {
    pub(super) platform: Platform,
    pub(super) cf_dir: Option<PathBuf>,
    pub(super) engine: Engine,
    pub(super) hostname: Option<DomainName>,
    pub(super) limits: Limits,
    pub(super) queue: Queue,
}

const KIB: u64 = 1024;
const DAY: u64 = 86_400;

pub(super) fn resolve(written: &Written, defaults: &Defaults, faults: &mut Faults) -> Common {
    let hostname = written.hostname.as_deref();
    Common {
        platform: match written.platform.unwrap_or(WrittenPlatform::Debian) {
            WrittenPlatform::Debian => Platform::Debian,
            WrittenPlatform::Redhat => Platform::Redhat,
            WrittenPlatform::Suse => Platform::Suse,
        },
        cf_dir: written.cf_dir.as_deref().and_then(|text| {
            let path = parse::include(text).map(PathBuf::from);
            faults.keep("cf_dir", path.ok_or_else(|| FaultKind::CfDir { text: text.to_owned() }))
        }),
        engine: match written.engine.unwrap_or(defaults.engine) {
            WrittenEngine::Builtin => Engine::Builtin,
            WrittenEngine::Sendmail => Engine::Sendmail,
        },
        hostname: hostname.and_then(|text| faults.keep("hostname", parse::domain(text))),
        limits: limits(written, defaults, faults),
        queue: queue(written, defaults, faults),
    }
}

fn limits(written: &Written, defaults: &Defaults, faults: &mut Faults) -> Limits {
    let written = written.limits.clone().unwrap_or_default();
    let default = &defaults.limits;
    let mut size = |key: &str, amount: &Option<Amount>, default, least, most| match amount {
        Some(amount) => size(&format!("limits.{key}"), amount, least, most, faults).unwrap_or(default),
        None => default,
    };
    let message_size = size("message_size", &written.message_size, default.message_size, KIB, 1 << 40);
    let header_size = size("header_size", &written.header_size, default.header_size.into(), KIB, KIB * KIB);
    let free_space = size("free_space", &written.free_space, default.free_space, 1024 * KIB, 1 << 40);
    let mut count = |key: &str, count: Option<u32>, default: u32, most: u32| match count {
        Some(count) => in_range(&format!("limits.{key}"), count.into(), 1, most.into(), faults)
            .map_or(default, |_| count),
        None => default,
    };
    let limits = Limits {
        message_size,
        free_space,
        header_size: u32::try_from(header_size).unwrap_or(default.header_size),
        recipients: count(
            "recipients_per_message",
            written.recipients_per_message,
            default.recipients,
            100_000,
        ),
        hops: count("hops", written.hops, default.hops, 1000),
        connections: count("connections", written.connections, default.connections, 100_000),
        connections_per_client: count(
            "connections_per_client",
            written.connections_per_client,
            default.connections_per_client,
            100_000,
        ),
    };
    // A limit that another one makes unreachable is a mistake only where it was written.
    if written.connections_per_client.is_some() && limits.connections_per_client > limits.connections {
        let (value, limit) = (limits.connections_per_client.into(), limits.connections.into());
        let other = "limits.connections".to_owned();
        faults.add("limits.connections_per_client", FaultKind::Over { value, limit, other });
    }
    Limits { connections_per_client: limits.connections_per_client.min(limits.connections), ..limits }
}

fn queue(written: &Written, defaults: &Defaults, faults: &mut Faults) -> Queue {
    let written = written.queue.clone().unwrap_or_default();
    let default = &defaults.queue;
    let mut time = |key: &str, text: &Option<String>, default: u64, least: u64, most: u64| {
        let path = format!("queue.{key}");
        let seconds = text.as_deref().and_then(|text| faults.keep(&path, parse::duration(text)));
        match seconds {
            Some(value) if !(least..=most).contains(&value) => {
                faults.add(path, FaultKind::TimeRange { value, least, most });
                default
            }
            seconds => seconds.unwrap_or(default),
        }
    };
    let queue = Queue {
        first_retry: time("first_retry", &written.first_retry, default.first_retry, 1, DAY),
        longest_retry: time("longest_retry", &written.longest_retry, default.longest_retry, 1, 7 * DAY),
        lifetime: time("lifetime", &written.lifetime, default.lifetime, 60, 60 * DAY),
        connections_per_destination: match written.connections_per_destination {
            Some(count) => in_range("queue.connections_per_destination", count.into(), 1, 1000, faults)
                .map_or(default.connections_per_destination, |_| count),
            None => default.connections_per_destination,
        },
    };
    let first_at = if written.first_retry.is_some() { "queue.first_retry" } else { "queue.longest_retry" };
    not_over(first_at, queue.first_retry, queue.longest_retry, "queue.longest_retry", faults);
    let longest_at = if written.longest_retry.is_some() { "queue.longest_retry" } else { "queue.lifetime" };
    not_over(longest_at, queue.longest_retry, queue.lifetime, "queue.lifetime", faults);
    queue
}

fn not_over(path: &str, value: u64, limit: u64, other: &str, faults: &mut Faults) {
    if value > limit {
        faults.add(path, FaultKind::OverTime { value, limit, other: other.to_owned() });
    }
}

fn size(path: &str, amount: &Amount, least: u64, most: u64, faults: &mut Faults) -> Option<u64> {
    let octets = match amount {
        Amount::Octets(octets) => Some(*octets),
        Amount::Text(text) => faults.keep(path, parse::size(text)),
    };
    in_range(path, octets?, least, most, faults)
}

fn in_range(path: &str, value: u64, least: u64, most: u64, faults: &mut Faults) -> Option<u64> {
    if (least..=most).contains(&value) {
        return Some(value);
    }
    faults.add(path, FaultKind::Range { value, least, most });
    None
}
