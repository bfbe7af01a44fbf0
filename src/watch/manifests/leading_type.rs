//! The type of an object, read without the rest of it.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};

use crate::watch::wire::Scalar;

/// `apiVersion` and `kind` of an object that begins with them.
#[derive(Default)]
pub struct LeadingTypeMeta {
    /// `apiVersion`
    pub api_version: Scalar,
    /// `kind`
    pub kind: Scalar,
}

impl LeadingTypeMeta {
    /// Parses no further than needed; `None` if the object does not begin with both, or is a list.
    pub fn read(json: &str) -> Option<Self> {
        let mut found = Self::default();
        // It returns an error where the visitor stops.
        let _ = serde_json::Deserializer::from_str(json).deserialize_map(&mut found);
        let kind = found.kind.non_empty()?;
        (found.api_version.non_empty().is_some() && !kind.ends_with("List")).then_some(found)
    }
}

impl<'de> Visitor<'de> for &mut LeadingTypeMeta {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        for _ in 0..2 {
            match object.next_key::<&str>()? {
                Some("apiVersion") => self.api_version = object.next_value()?,
                Some("kind") => self.kind = object.next_value()?,
                _ => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_begins_with_its_type_tells_it_unless_it_is_a_list() {
        let read = |json: &str| {
            let found = LeadingTypeMeta::read(json)?;
            Some((found.api_version.to_string(), found.kind.to_string()))
        };
        let expected = Some(("v1".to_owned(), "Service".to_owned()));
        assert_eq!(read(r#"{"apiVersion":"v1","kind":"Service","spec":{}}"#), expected);
        assert_eq!(read(r#"{"kind":"Service","apiVersion":"v1","spec":"#), expected, "the rest is not looked at");
        for other in [
            r#"{"apiVersion":"v1","metadata":{},"kind":"Service"}"#,
            r#"{"apiVersion":"v1","kind":"ServiceList"}"#,
            r#"{"apiVersion":"","kind":"Service"}"#,
            r#"{"apiVersion":"v1","kind":""}"#,
            r#"{"kind":"Service"}"#,
            "[]",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
