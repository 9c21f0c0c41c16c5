//! Local time in words, without asking the system for its zone and formatting anew for each line.
//!
//! Owns: the words of the current second. May ask the clock. Must not be used for what is computed with.

use std::sync::{Mutex, PoisonError};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Seconds for which the zone is taken to be the same.
const ZONE: i64 = 60;

/// The current second, and the zone it was told in.
struct Words {
    second: i64,
    zone_since: i64,
    zone: Option<TimeZone>,
    log: String,
    date: String,
}

static WORDS: Mutex<Words> = Mutex::new(Words {
    second: i64::MIN,
    zone_since: i64::MIN,
    zone: None,
    log: String::new(),
    date: String::new(),
});

/// What a line of the log begins with: `Nov 25 23:07:18 mailstack[34]: `.
pub(crate) fn log_prefix() -> String {
    with(|words| words.log.clone())
}

/// The date of a message (RFC 5322 3.3).
pub(crate) fn date() -> String {
    with(|words| words.date.clone())
}

fn with<T>(take: impl FnOnce(&Words) -> T) -> T {
    let now = Timestamp::now();
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if words.second != now.as_second() {
        words.turn(now);
    }
    take(&words)
}

impl Words {
    fn turn(&mut self, now: Timestamp) {
        self.second = now.as_second();
        if self.zone.is_none() || !(0..ZONE).contains(&self.second.saturating_sub(self.zone_since)) {
            self.zone = Some(TimeZone::system());
            self.zone_since = self.second;
        }
        let zoned: Zoned = now.to_zoned(self.zone.clone().unwrap_or(TimeZone::UTC));
        let process = std::process::id();
        self.log = format!("{} mailstack[{process}]: ", zoned.strftime("%b %d %H:%M:%S"));
        self.date = zoned.strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_told_in_its_zone() {
        let mut words = Words {
            second: 0,
            zone_since: 0,
            zone: Some(TimeZone::UTC),
            log: String::new(),
            date: String::new(),
        };
        words.turn(Timestamp::from_second(59).unwrap());
        assert_eq!(words.date, "Thu, 01 Jan 1970 00:00:59 +0000");
        assert!(words.log.starts_with("Jan 01 00:00:59 mailstack["), "{}", words.log);
        words.turn(Timestamp::from_second(60).unwrap());
        assert_eq!(words.zone_since, 60, "the zone is asked for again");
        assert_eq!(words.second, 60);
    }
}
