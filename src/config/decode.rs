//! Values in a file, as Go decodes them into the types of kube-proxy's fields.

use std::collections::BTreeMap;

use super::document::{Tree, quoted};
use super::duration::GoDuration;
use super::kind::{DurationRange, FieldKind, FieldValue, Mismatch};
use super::scalar::ScalarValue;

impl FieldKind {
    /// Reads the value in a file. `None` stands for null, which leaves the default.
    pub fn read(self, tree: &Tree) -> Result<Option<FieldValue>, Mismatch> {
        let value = match tree {
            Tree::Scalar(ScalarValue::Null, _) => return Ok(None),
            Tree::Scalar(scalar, written) => self.read_scalar(scalar, written),
            Tree::List(items) => match self {
                Self::List => return texts(items).map(FieldValue::List).map(Some),
                Self::Modules => return modules(items).map(FieldValue::Modules).map(Some),
                _ => None,
            },
            Tree::Map(entries) if self == Self::Gates => return gates(entries).map(FieldValue::Gates).map(Some),
            Tree::Map(_) => None,
        };
        value.map(Some).ok_or_else(|| Mismatch::new(tree.to_string(), self.expected_instead_of(tree)))
    }

    fn read_scalar(self, scalar: &ScalarValue, written: &str) -> Option<FieldValue> {
        match (self, scalar) {
            (Self::Flag, ScalarValue::Flag(flag)) => Some(FieldValue::Flag(*flag)),
            (Self::Integer(..), number) => number.integer().map(FieldValue::Integer),
            (Self::Number, number) => {
                number.number().filter(|number| number.abs() <= f64::from(f32::MAX)).map(FieldValue::Number)
            }
            (Self::Duration(_), ScalarValue::Text(text)) => text.parse().ok().map(FieldValue::Duration),
            // Kubernetes allows nanoseconds as a number for `logging.flushFrequency`.
            (Self::Duration(DurationRange::AnyOrNanoseconds), number) => {
                number.integer().map(GoDuration::from_nanos).map(FieldValue::Duration)
            }
            (Self::Duration(_), ScalarValue::Integer(0)) => Some(FieldValue::Duration(GoDuration::ZERO)),
            (Self::Quantity, ScalarValue::Text(text)) => {
                (text.is_empty() || is_quantity(text)).then(|| FieldValue::Text(text.clone()))
            }
            (Self::Quantity, number) => number.number().map(|_| FieldValue::Text(written.to_owned())),
            (Self::Text | Self::Choice(_) | Self::Address | Self::Bind(_), text) => {
                text.text().map(str::to_owned).map(FieldValue::Text)
            }
            _ => None,
        }
    }

    /// The allowed values, and what is wrong with the spelling of this one.
    fn expected_instead_of(self, tree: &Tree) -> String {
        let expected = self.expected();
        match (self, tree.scalar()) {
            (Self::Flag | Self::Integer(..) | Self::Number, Some(ScalarValue::Text(text)))
                if self.read_scalar(&ScalarValue::resolve(text), text).is_some() =>
            {
                format!("{expected}, without quotes")
            }
            (Self::Text, Some(_)) => format!("{expected}, in quotes"),
            (Self::List, Some(ScalarValue::Text(text))) => format!("{expected}, such as [{}]", quoted(text)),
            _ => expected,
        }
    }
}

/// The items of a list of texts. Go reads null as an empty text.
fn texts(items: &[Tree]) -> Result<Vec<String>, Mismatch> {
    let text = |(i, item): (usize, &Tree)| match item {
        Tree::Scalar(ScalarValue::Null, _) => Ok(String::new()),
        Tree::Scalar(ScalarValue::Text(text), _) => Ok(text.clone()),
        other => Err(Mismatch::new(other.to_string(), FieldKind::Text.expected_instead_of(other)).within(i)),
    };
    items.iter().enumerate().map(text).collect()
}

/// Feature gates. Go reads null as false.
fn gates(entries: &[(String, Tree)]) -> Result<BTreeMap<String, bool>, Mismatch> {
    let gate = |(name, on): &(String, Tree)| match on {
        Tree::Scalar(ScalarValue::Null, _) => Ok((name.clone(), false)),
        Tree::Scalar(ScalarValue::Flag(on), _) => Ok((name.clone(), *on)),
        other => Err(Mismatch::new(other.to_string(), FieldKind::Flag.expected_instead_of(other)).within(name)),
    };
    entries.iter().map(gate).collect()
}

/// Patterns of file names, each with a verbosity.
fn modules(items: &[Tree]) -> Result<Vec<(String, i64)>, Mismatch> {
    let module = |(i, item): (usize, &Tree)| {
        let pattern = item.entry("filePattern").and_then(Tree::scalar).and_then(ScalarValue::text);
        let verbosity = match item.entry("verbosity") {
            None | Some(Tree::Scalar(ScalarValue::Null, _)) => Some(0),
            Some(verbosity) => verbosity.scalar().and_then(ScalarValue::integer).filter(|number| *number >= 0),
        };
        pattern.map(str::to_owned).zip(verbosity).ok_or_else(|| {
            Mismatch::new(item.to_string(), "filePattern, a text, and verbosity, a whole number from 0").within(i)
        })
    };
    items.iter().enumerate().map(module).collect()
}

/// Whether Kubernetes takes this for a quantity: a decimal number with a suffix of size or an exponent.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok());
    number.parse::<f64>().is_ok() && (exponent || SUFFIXES.contains(&suffix))
}
