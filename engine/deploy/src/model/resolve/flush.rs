//! What runs the queue of a client.

use mailstack_schema::host::{Flush as Written, Host};

use super::Faults;
use super::common::Common;
use crate::model::fault::FaultKind;
use crate::model::{Engine, Flush, FlushBy, parse};

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// The keys, resolved. A host with mailboxes has an MTA that runs its queue itself.
pub(super) fn resolve(host: &Host, common: &Common, faults: &mut Faults) -> Flush {
    let written = host.common().queue.clone().unwrap_or_default();
    let keys = [
        ("queue.flush", written.flush.is_some()),
        ("queue.flush_interval", written.flush_interval.is_some()),
    ];
    if matches!(host, Host::Loopback(_) | Host::Gateway(_)) {
        let written = keys.into_iter().filter(|(_, is_written)| *is_written);
        written.for_each(|(key, _)| faults.add(key, FaultKind::FlushOfMta));
        return Flush::default();
    }
    let by = match written.flush {
        None | Some(Written::Timer) => FlushBy::Timer,
        Some(Written::Cron) => FlushBy::Cron,
        Some(Written::Resident) => FlushBy::Resident,
    };
    let text = written.flush_interval.as_deref();
    let seconds = text.and_then(|text| faults.keep("queue.flush_interval", parse::duration(text)));
    let interval = match seconds {
        Some(value) if !(MINUTE..=DAY).contains(&value) => {
            let fault = FaultKind::TimeRange { value, least: MINUTE, most: DAY };
            faults.add("queue.flush_interval", fault);
            None
        }
        seconds => seconds,
    };
    match (by, common.engine) {
        (FlushBy::Cron, Engine::Sendmail) => {
            let reason = "what cron starts is nothing that is known to run: `timer` does the same";
            faults.add("queue.flush", FaultKind::NotWithSendmail { reason });
        }
        (FlushBy::Resident, Engine::Builtin) if written.flush_interval.is_some() => {
            faults.add("queue.flush_interval", FaultKind::ResidentInterval);
        }
        (FlushBy::Cron, _) => {
            let seconds = interval.unwrap_or(common.queue.first_retry);
            if schedule(seconds).is_none() {
                let at = if interval.is_some() { "queue.flush_interval" } else { "queue.flush" };
                faults.add(at, FaultKind::CronInterval { seconds });
            }
        }
        _ => {}
    }
    Flush { by, interval }
}

/// The five fields of crontab(5); None: cron has no way to say it.
pub(crate) fn schedule(seconds: u64) -> Option<String> {
    let every = |count: u64| if count == 1 { "*".to_owned() } else { format!("*/{count}") };
    match seconds {
        DAY => Some("0 0 * * *".to_owned()),
        _ if seconds >= HOUR && seconds.is_multiple_of(HOUR) && DAY.is_multiple_of(seconds) => {
            Some(format!("0 {} * * *", every(seconds / HOUR)))
        }
        _ if seconds >= MINUTE && seconds.is_multiple_of(MINUTE) && HOUR.is_multiple_of(seconds) => {
            Some(format!("{} * * * *", every(seconds / MINUTE)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_says_whole_parts_of_an_hour_or_a_day() {
        for (seconds, fields) in [
            (60, Some("* * * * *")),
            (300, Some("*/5 * * * *")),
            (3_600, Some("0 * * * *")),
            (21_600, Some("0 */6 * * *")),
            (86_400, Some("0 0 * * *")),
            (30, None),
            (90, None),
            (420, None),
            (18_000, None),
        ] {
            assert_eq!(schedule(seconds).as_deref(), fields, "{seconds}");
        }
    }
}
