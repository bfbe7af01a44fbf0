//! Durations as Go writes them: `30s`, `1h0m0s`, `1.5s`, `0`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration as Kubernetes' configuration files have it: nanoseconds, possibly negative (Go's `time.Duration`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(i64);

const SECOND: i64 = 1_000_000_000;

/// Units and their nanoseconds. Parsing takes the first that matches, so `ms` stands before `m`.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

impl GoDuration {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// A duration of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// As a [`Duration`]. A negative one becomes zero.
    pub fn to_duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Whether it is less than zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl FromStr for GoDuration {
    type Err = ();

    /// Go's `time.ParseDuration`: a sign, then decimal numbers, each with a unit; or 0.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(());
        }
        let mut total = 0_i64;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(())?;
            let (number, tail) = rest.split_at(end);
            let (unit, nanos) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit)).ok_or(())?;
            total = total.checked_add(scaled(number, *nanos).ok_or(())?).ok_or(())?;
            rest = tail.strip_prefix(unit).unwrap_or_default();
        }
        Ok(Self(if negative { -total } else { total }))
    }
}

/// The nanoseconds of a decimal number of units, rounded down.
fn scaled(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()?.checked_mul(unit)? };
    // Further digits are below a nanosecond in every unit.
    let digits: String = fraction.chars().take(14).collect();
    let part = match digits.parse::<i128>() {
        Ok(part) => part * i128::from(unit) / 10_i128.pow(u32::try_from(digits.len()).ok()?),
        Err(_) => 0,
    };
    whole.checked_add(i64::try_from(part).ok()?)
}

impl fmt::Display for GoDuration {
    /// As Go prints it: hours, minutes and seconds from one second on; below that, the largest unit that fits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let second = SECOND.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < second {
            let (unit, size) = match nanos {
                0..1_000 => ("ns", 1),
                1_000..1_000_000 => ("µs", 1_000),
                _ => ("ms", 1_000_000),
            };
            return write!(f, "{sign}{}{unit}", decimal(nanos, size));
        }
        let minutes = nanos / (60 * second);
        let seconds = decimal(nanos % (60 * second), second);
        match (minutes / 60, minutes % 60) {
            (0, 0) => write!(f, "{sign}{seconds}s"),
            (0, minutes) => write!(f, "{sign}{minutes}m{seconds}s"),
            (hours, minutes) => write!(f, "{sign}{hours}h{minutes}m{seconds}s"),
        }
    }
}

/// `nanos / size` without trailing zeros.
fn decimal(nanos: u64, size: u64) -> String {
    let (whole, rest) = (nanos / size, nanos % size);
    if rest == 0 {
        return whole.to_string();
    }
    let width = size.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, nanos, written) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("-0", 0, "0s"),
            ("30s", 30 * SECOND, "30s"),
            ("1h", 3_600 * SECOND, "1h0m0s"),
            ("1h0m0s", 3_600 * SECOND, "1h0m0s"),
            ("24h", 86_400 * SECOND, "24h0m0s"),
            ("15m", 900 * SECOND, "15m0s"),
            ("1m30.5s", 90 * SECOND + SECOND / 2, "1m30.5s"),
            ("1.5h", 5_400 * SECOND, "1h30m0s"),
            (".5s", SECOND / 2, "500ms"),
            ("1.s", SECOND, "1s"),
            ("100ms", SECOND / 10, "100ms"),
            ("1.5ms", 1_500_000, "1.5ms"),
            ("3us", 3_000, "3µs"),
            ("3µs", 3_000, "3µs"),
            ("7ns", 7, "7ns"),
            ("-5s", -5 * SECOND, "-5s"),
            ("+5s", 5 * SECOND, "5s"),
            ("0.123456789123456789s", 123_456_789, "123.456789ms"),
        ] {
            let read: GoDuration = text.parse().unwrap_or_else(|()| panic!("{text}"));
            assert_eq!(read, GoDuration(nanos), "{text}");
            assert_eq!(read.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn texts_that_go_refuses_are_refused() {
        for text in ["", "-", "30", "s", ".s", "1d", "1 s", "1s ", "1..5s", "1,5s", "99999999999h", "1h9223372036s9"] {
            assert_eq!(text.parse::<GoDuration>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn a_negative_duration_becomes_zero() {
        assert_eq!("-1s".parse::<GoDuration>().unwrap().to_duration(), Duration::ZERO);
        assert_eq!("90s".parse::<GoDuration>().unwrap().to_duration(), Duration::from_secs(90));
    }
}
