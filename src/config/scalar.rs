//! Scalars of YAML 1.1, as Go's YAML library (goyaml.v2, which kube-proxy uses) reads them.

/// A single value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ScalarValue {
    Null,
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

/// Whole numbers up to this size are exact as floats.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

impl ScalarValue {
    /// The meaning of a scalar without quotes and without a tag.
    pub fn resolve(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                return Self::Flag(true);
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
                return Self::Flag(false);
            }
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Self::Float(f64::NEG_INFINITY),
            _ => {}
        }
        let plain = match text.bytes().next() {
            Some(b'.') => text.to_owned(),
            Some(b'0'..=b'9' | b'+' | b'-') => text.replace('_', ""),
            _ => return Self::Text(text.to_owned()),
        };
        match integer(&plain).map(i64::try_from) {
            Some(Ok(integer)) => Self::Integer(integer),
            // Beyond the range of every field.
            #[expect(clippy::cast_precision_loss, reason = "only its size counts")]
            Some(Err(_)) => Self::Float(integer(&plain).unwrap_or(i128::MAX) as f64),
            None if is_float(&plain) => plain.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Float),
            None => Self::Text(text.to_owned()),
        }
    }

    /// As a whole number. A float is one if it has no fraction: Go's JSON writes it without a point.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            #[expect(clippy::cast_possible_truncation, reason = "the number is whole and small")]
            Self::Float(float) if float.fract() == 0.0 && float.abs() < MAX_EXACT => Some(*float as i64),
            _ => None,
        }
    }

    /// As any finite number.
    pub fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no such precision")]
            Self::Integer(integer) => Some(*integer as f64),
            Self::Float(float) => Some(*float).filter(|float| float.is_finite()),
            _ => None,
        }
    }

    /// As a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A whole number as a flag has it: Go's `strconv.ParseInt` with base 0.
pub(super) fn go_integer(text: &str) -> Option<i64> {
    integer(&text.replace('_', "")).and_then(|integer| i64::try_from(integer).ok())
}

/// Go's `strconv.ParseInt` with base 0: decimal, or with the prefix 0x, 0o, 0b or 0 of another base.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // A second sign is no digit.
    let digits = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_alphanumeric()))?;
    let value = i128::from_str_radix(digits, base).ok()?;
    Some(if negative { -value } else { value })
}

/// Whether Go takes this for a float: digits with or without a point, and an exponent.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, "0"), |(m, e)| (m, e));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits && are_digits(whole) && are_digits(fraction) && !exponent.is_empty() && are_digits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScalarValue::{Flag, Float, Integer, Null, Text};

    #[test]
    fn words_and_numbers_mean_what_they_mean_in_go() {
        for (text, value) in [
            ("", Null),
            ("~", Null),
            ("NULL", Null),
            ("nULL", Text("nULL".to_owned())),
            ("yes", Flag(true)),
            ("On", Flag(true)),
            ("n", Flag(false)),
            ("oFF", Text("oFF".to_owned())),
            ("0", Integer(0)),
            ("-12", Integer(-12)),
            ("+7", Integer(7)),
            ("1_048_576", Integer(1_048_576)),
            ("0x1F", Integer(31)),
            ("-0b101", Integer(-5)),
            ("0o17", Integer(15)),
            ("017", Integer(15)),
            ("08", Float(8.0)),
            ("1.048576e+06", Float(1_048_576.0)),
            ("1e6", Float(1_000_000.0)),
            ("32768.0", Float(32_768.0)),
            (".5", Float(0.5)),
            ("1.", Float(1.0)),
            ("99999999999999999999", Float(1e20)),
            (".inf", Float(f64::INFINITY)),
            ("infinity", Text("infinity".to_owned())),
            ("1e", Text("1e".to_owned())),
            ("e5", Text("e5".to_owned())),
            ("-", Text("-".to_owned())),
            (".", Text(".".to_owned())),
            ("0x", Text("0x".to_owned())),
            ("--1", Text("--1".to_owned())),
            ("0x-1", Text("0x-1".to_owned())),
            ("10.0.0.0", Text("10.0.0.0".to_owned())),
            ("30s", Text("30s".to_owned())),
            ("12:30:45", Text("12:30:45".to_owned())),
            ("2026-01-01", Text("2026-01-01".to_owned())),
            ("fd00::1", Text("fd00::1".to_owned())),
        ] {
            assert_eq!(ScalarValue::resolve(text), value, "{text:?}");
        }
        assert!(matches!(ScalarValue::resolve(".NaN"), Float(float) if float.is_nan()));
    }

    #[test]
    fn a_float_without_a_fraction_is_a_whole_number() {
        assert_eq!(ScalarValue::resolve("1.5e+1").integer(), Some(15));
        assert_eq!(ScalarValue::resolve("-0.0").integer(), Some(0));
        for text in ["1.5", "1e30", ".inf", ".nan", "ten"] {
            assert_eq!(ScalarValue::resolve(text).integer(), None, "{text}");
        }
    }
}
