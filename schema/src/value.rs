//! Sizes and durations as the files spell them: `25MiB`, `5m`.
//!
//! Owns the two spellings, and the patterns that the exported schemas give for them. Pure.

use std::time::Duration;

/// The pattern of a size with its unit.
pub const SIZE: &str = "^0*[1-9][0-9]{0,12}(B|KiB|MiB|GiB)?$";
/// The pattern of a duration.
pub const DURATION: &str = "^0*[1-9][0-9]{0,8}[smhd]$";
/// The pattern of an enhanced status code (RFC 3463 2).
pub const ENHANCED: &str = "^[245]\\.[0-9]{1,3}\\.[0-9]{1,3}$";
/// The largest size, in octets: one TiB.
pub const MAX_SIZE: u64 = 1 << 40;
/// The longest duration: a year.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// Why a text is not a size or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No digits at the start.
    #[error("a number must come first")]
    NoNumber,
    /// A unit that there is not; the field lists those there are.
    #[error("the unit must be one of {0}")]
    BadUnit(&'static str),
    /// Zero, or over the limit.
    #[error("the value is out of range")]
    OutOfRange,
}

/// Returns the octets of a size: `25MiB`, `500KiB`, `1GiB`, `4096B` or bare digits, 1 octet to one TiB.
///
/// # Errors
/// No number, an unknown unit (`MB` too: it is 1000 or 1024 by who reads it), or out of range.
pub fn size(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(ValueError::BadUnit("B, KiB, MiB, GiB")),
    };
    let octets = number.checked_mul(factor).ok_or(ValueError::OutOfRange)?;
    if (1..=MAX_SIZE).contains(&octets) { Ok(octets) } else { Err(ValueError::OutOfRange) }
}

/// Returns the duration of `30s`, `5m`, `1h` or `5d`, one second to a year.
///
/// # Errors
/// No number, no or an unknown unit, or out of range.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(ValueError::BadUnit("s, m, h, d")),
    };
    let duration = Duration::from_secs(number.checked_mul(factor).ok_or(ValueError::OutOfRange)?);
    if duration.is_zero() || duration > MAX_DURATION { Err(ValueError::OutOfRange) } else { Ok(duration) }
}

fn split(text: &str) -> Result<(u64, &str), ValueError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(ValueError::NoNumber);
    }
    Ok((digits.parse().map_err(|_| ValueError::OutOfRange)?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("25MiB", Ok(26_214_400)),
            ("500KiB", Ok(512_000)),
            ("4096", Ok(4_096)),
            ("4096B", Ok(4_096)),
            ("1024GiB", Ok(MAX_SIZE)),
            ("1025GiB", Err(ValueError::OutOfRange)),
            ("0", Err(ValueError::OutOfRange)),
            ("25MB", Err(ValueError::BadUnit("B, KiB, MiB, GiB"))),
            ("MiB", Err(ValueError::NoNumber)),
            ("", Err(ValueError::NoNumber)),
            ("99999999999999999999", Err(ValueError::OutOfRange)),
        ];
        for (text, want) in table {
            assert_eq!(size(text), want, "{text}");
        }
    }

    #[test]
    fn durations() {
        let table = [
            ("30s", Ok(30)),
            ("5m", Ok(300)),
            ("1h", Ok(3_600)),
            ("5d", Ok(432_000)),
            ("366d", Ok(31_622_400)),
            ("367d", Err(ValueError::OutOfRange)),
            ("0s", Err(ValueError::OutOfRange)),
            ("5", Err(ValueError::BadUnit("s, m, h, d"))),
            ("5 m", Err(ValueError::BadUnit("s, m, h, d"))),
            ("m", Err(ValueError::NoNumber)),
        ];
        for (text, want) in table {
            assert_eq!(duration(text), want.map(Duration::from_secs), "{text}");
        }
    }
}
