//! Types that accept any value, so that a bad field costs only itself.
//!
//! Three shapes cover every field that is read: [`Scalar`], [`LooseObject`] and [`LooseList`]. Each takes any well-formed value; a
//! value that does not fit is kept as a short text for the warning.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use compact_str::CompactString;
use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::state::Uid;

/// How many characters of a bad value are kept for the log.
const MAX_SHOWN: usize = 64;

/// A scalar, or a word for the other value in its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Scalar {
    /// Absent or null.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number, as it is printed.
    Number(f64),
    /// A string.
    Text(CompactString),
    /// Not a scalar: "a list" or "an object".
    Compound(&'static str),
}

/// An object of known fields, or the other value in its place.
#[derive(Clone, Debug, PartialEq)]
pub enum LooseObject<T> {
    /// The object; its default when absent or null.
    Fields(T),
    /// Something that is not an object.
    Wrong(Scalar),
}

/// A list, or the other value in its place.
#[derive(Clone, Debug, PartialEq)]
pub enum LooseList<T> {
    /// The list; empty when absent or null.
    List(Vec<T>),
    /// Something that is not a list.
    Wrong(Scalar),
}

/// The first element of a list, the only one that is used. None of an empty list, or of another value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FirstItem(Option<Scalar>);

/// A UID, or nothing for any other value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LooseUid(pub Option<Uid>);

/// A point in time, or a word for the other value in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LooseTime {
    /// Absent or null.
    #[default]
    Null,
    /// The time, in whole seconds.
    At(Timestamp),
    /// Another value.
    Wrong,
}

impl Scalar {
    /// The text of a string, a number or a boolean: an unquoted `name: 80` in YAML means text.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null | Self::Compound(_) => None,
            Self::Text(text) => Some(Cow::Borrowed(text)),
            other => Some(Cow::Owned(other.to_string())),
        }
    }

    /// The string, if there is one and it is not empty.
    pub fn non_empty(&self) -> Option<&str> {
        self.as_str().filter(|text| !text.is_empty())
    }

    /// The string, if the scalar is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, or `default` when there is none.
    pub fn bool_or(&self, default: bool) -> bool {
        match self {
            Self::Bool(value) => *value,
            _ => default,
        }
    }

    /// Whether there is a value.
    pub fn is_set(&self) -> bool {
        *self != Self::Null
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("no value"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            // 84.0 is not 84.
            Self::Number(value) => write!(f, "{value:?}"),
            Self::Text(text) => text.chars().take(MAX_SHOWN).collect::<String>().fmt(f),
            Self::Compound(what) => f.write_str(what),
        }
    }
}

impl FirstItem {
    /// The element.
    pub fn into_scalar(self) -> Scalar {
        self.0.unwrap_or_default()
    }

    /// Takes the next element of the list.
    pub fn push(&mut self, item: Scalar) {
        self.0.get_or_insert(item);
    }
}

impl LooseTime {
    /// Whether there is a value.
    pub fn is_set(self) -> bool {
        self != Self::Null
    }

    /// The time, if there is one.
    pub fn at(self) -> Option<Timestamp> {
        match self {
            Self::At(time) => Some(time),
            Self::Null | Self::Wrong => None,
        }
    }
}

impl<T: Default> LooseObject<T> {
    /// The fields, or their defaults.
    pub fn or_default(self) -> T {
        match self {
            Self::Fields(fields) => fields,
            Self::Wrong(_) => T::default(),
        }
    }
}

impl<T: Default> Default for LooseObject<T> {
    fn default() -> Self {
        Self::Fields(T::default())
    }
}

impl<T> LooseList<T> {
    /// The elements; none when something else was found.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::List(items) => items,
            Self::Wrong(_) => Vec::new(),
        }
    }

    /// The value in place of a list.
    pub fn wrong(&self) -> Option<&Scalar> {
        match self {
            Self::List(_) => None,
            Self::Wrong(found) => Some(found),
        }
    }
}

impl<T> Default for LooseList<T> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// How a loose type takes each form of a value.
trait Shape<'de>: Sized {
    fn scalar(found: Scalar) -> Self;

    fn text(found: &str) -> Self {
        Self::scalar(Scalar::Text(found.into()))
    }

    fn string(found: String) -> Self {
        Self::text(&found)
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::scalar(Scalar::Compound("a list")))
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::scalar(Scalar::Compound("an object")))
    }
}

/// The visitor that hands a value to the right method of [`Shape`].
struct ShapeVisitor<S>(PhantomData<S>);

impl<'de, S: Shape<'de>> Visitor<'de> for ShapeVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<S, E> {
        Ok(S::scalar(Scalar::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<S, E> {
        Ok(S::scalar(Scalar::Integer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<S, E> {
        Ok(S::scalar(i64::try_from(value).map_or(Scalar::Number(value as f64), Scalar::Integer)))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<S, E> {
        Ok(S::scalar(Scalar::Number(value as f64)))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<S, E> {
        Ok(S::scalar(Scalar::Number(value as f64)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<S, E> {
        Ok(S::scalar(Scalar::Number(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<S, E> {
        Ok(S::text(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<S, E> {
        Ok(S::string(value))
    }

    fn visit_unit<E: Error>(self) -> Result<S, E> {
        Ok(S::scalar(Scalar::Null))
    }

    fn visit_none<E: Error>(self) -> Result<S, E> {
        Ok(S::scalar(Scalar::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<S, D::Error> {
        value.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S, A::Error> {
        S::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<S, A::Error> {
        S::object(object)
    }
}

impl Shape<'_> for Scalar {
    fn scalar(found: Scalar) -> Self {
        found
    }

    fn string(found: String) -> Self {
        Self::Text(found.into())
    }
}

impl<'de> Shape<'de> for FirstItem {
    fn scalar(_: Scalar) -> Self {
        Self(None)
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let first = list.next_element()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self(first))
    }
}

impl Shape<'_> for LooseUid {
    fn scalar(_: Scalar) -> Self {
        Self(None)
    }

    fn text(found: &str) -> Self {
        Self(Uid::new(found))
    }
}

impl Shape<'_> for LooseTime {
    fn scalar(found: Scalar) -> Self {
        if found.is_set() { Self::Wrong } else { Self::Null }
    }

    fn text(found: &str) -> Self {
        found.parse().map_or(Self::Wrong, Self::At)
    }
}

impl<'de, T: Deserialize<'de> + Default> Shape<'de> for LooseObject<T> {
    fn scalar(found: Scalar) -> Self {
        if found.is_set() { Self::Wrong(found) } else { Self::default() }
    }

    fn object<A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(Self::Fields)
    }
}

impl<'de, T: Deserialize<'de>> Shape<'de> for LooseList<T> {
    fn scalar(found: Scalar) -> Self {
        if found.is_set() { Self::Wrong(found) } else { Self::default() }
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Self::List(items))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for FirstItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for LooseUid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for LooseTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for LooseObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for LooseList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct TestPort {
        #[serde(default)]
        number: Scalar,
    }

    #[test]
    fn any_json_value_fits_every_shape() {
        for text in ["null", "true", "-1", "18446744073709551615", "1.5", "\"x\"", "[1,[2]]", "{\"a\":{\"b\":[]}}"] {
            assert!(serde_json::from_str::<Scalar>(text).is_ok(), "{text}");
            assert!(serde_json::from_str::<LooseObject<TestPort>>(text).is_ok(), "{text}");
            assert!(serde_json::from_str::<LooseList<Scalar>>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_wrong_element_costs_only_itself() {
        let ports: LooseList<LooseObject<TestPort>> =
            serde_json::from_str(r#"[{"number":80},"no",{"number":{}}]"#).unwrap();
        assert_eq!(
            ports.into_vec(),
            [
                LooseObject::Fields(TestPort { number: Scalar::Integer(80) }),
                LooseObject::Wrong(Scalar::Text("no".into())),
                LooseObject::Fields(TestPort { number: Scalar::Compound("an object") }),
            ]
        );
    }

    #[test]
    fn the_first_element_of_a_list_is_read_and_nothing_of_any_other_value() {
        let first = |text| serde_json::from_str::<FirstItem>(text).unwrap().into_scalar();
        assert_eq!(first(r#"["a",{"b":[]},7]"#), Scalar::Text("a".into()));
        assert_eq!(first(r#"[{},"a"]"#), Scalar::Compound("an object"));
        for nothing in [r#"[null,"a"]"#, "[]", "null", "7", r#""a""#, r#"{"a":"b"}"#] {
            assert_eq!(first(nothing), Scalar::Null, "{nothing}");
        }
    }

    #[test]
    fn the_shown_part_of_a_bad_value_is_bounded() {
        assert_eq!(Scalar::Text("é".repeat(500).into()).to_string().chars().count(), MAX_SHOWN);
    }
}
