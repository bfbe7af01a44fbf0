//! YAML as JSON text, one document at a time: one reader serves both formats, and a broken document costs only itself.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A document of a YAML stream.
pub struct Document<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its first line in the file, from 1.
    pub line: usize,
}

/// Splits a stream at the lines that begin with `---`. Such a line cannot be inside a value: block scalars are indented.
pub fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut start_line) = (0, 1);
    let mut offset = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let marks =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marks && offset > start {
            documents.push(Document { text: &text[start..offset], line: start_line });
            (start, start_line) = (offset, i + 1);
        }
        offset += line.len();
    }
    documents.push(Document { text: &text[start..], line: start_line });
    documents
}

/// The JSON text of one document; `null` for an empty one.
///
/// # Errors
/// The problem and its line in the file.
pub fn to_json(document: &Document<'_>) -> Result<String, String> {
    match serde_saphyr::from_str_with_options::<JsonText>(document.text, options()) {
        Ok(json) => Ok(json.0),
        Err(error) => {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line() as usize, at.column() as usize));
            let line = line.max(1) + document.line - 1;
            // The message goes into a log line: its first line names the problem.
            let message = error.without_snippet().to_string();
            let message = message.lines().next().unwrap_or_default();
            // The library may advise its caller at the end.
            let message = message.split(", set ").next().unwrap_or_default();
            let message = message.split(" at line ").next().unwrap_or_default();
            Err(format!("line {line}, column {}: {message}", column.max(1)))
        }
    }
}

/// The defaults stop at some megabytes (a quarter of a million nodes), and a cluster's objects in one document are far more. The
/// limit on what aliases multiply stays.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_total_comment_bytes: usize::MAX,
        },
        // `on`, `yes` and `n` are names, not booleans.
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Any value as JSON text.
struct JsonText(String);

/// Appends a value to JSON text.
struct AppendJson<'a>(&'a mut String);

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::new();
        AppendJson(&mut text).deserialize(deserializer)?;
        Ok(Self(text))
    }
}

impl<'de> DeserializeSeed<'de> for AppendJson<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl AppendJson<'_> {
    fn push(self, value: impl serde::Serialize) {
        // Numbers, booleans and strings always serialise; a float that JSON cannot hold becomes null.
        self.0.push_str(&serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned()));
    }
}

impl<'de> Visitor<'de> for AppendJson<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.push(value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.push(value);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.push(value);
        Ok(())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<(), E> {
        self.push(value.to_string());
        Ok(())
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<(), E> {
        self.push(value.to_string());
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.push(value);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.push(value);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.push_str("null");
        Ok(())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push('[');
        let empty = self.0.len();
        loop {
            let before = self.0.len();
            if before > empty {
                self.0.push(',');
            }
            if list.next_element_seed(AppendJson(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
        }
        self.0.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.0.push('{');
        let mut first = true;
        while let Some(key) = object.next_key::<JsonKey>()? {
            if !std::mem::take(&mut first) {
                self.0.push(',');
            }
            AppendJson(self.0).push(&key.0);
            self.0.push(':');
            object.next_value_seed(AppendJson(self.0))?;
        }
        self.0.push('}');
        Ok(())
    }
}

/// A key, which YAML allows to be a number or a boolean.
struct JsonKey(String);

impl<'de> Deserialize<'de> for JsonKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::new();
        AppendJson(&mut text).deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(&text).unwrap_or(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(yaml: &str) -> String {
        to_json(&Document { text: yaml, line: 1 }).unwrap()
    }

    #[test]
    fn yaml_becomes_the_same_json() {
        for (yaml, expected) in [
            (
                "a: 1\nb: [x, 'y', \"80\", 80, true, null, ~, 1.5, -3]\n",
                r#"{"a":1,"b":["x","y","80",80,true,null,null,1.5,-3]}"#,
            ),
            ("- {}\n- []\n- a:\n  - b: c\n", r#"[{},[],{"a":[{"b":"c"}]}]"#),
            ("text: |\n  one\n  --- \"two\"\n", r#"{"text":"one\n--- \"two\"\n"}"#),
            (
                "addr: 172.30.0.041\nsix: fd00::1\ntime: 2026-01-01T00:00:00Z\n",
                r#"{"addr":"172.30.0.041","six":"fd00::1","time":"2026-01-01T00:00:00Z"}"#,
            ),
            ("80: x\ntrue: y\n", r#"{"80":"x","true":"y"}"#),
            ("a: &x {b: 1}\nc: *x\n", r#"{"a":{"b":1},"c":{"b":1}}"#),
            ("---\n# nothing\n", "null"),
            ("", "null"),
        ] {
            assert_eq!(json(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn a_stream_is_split_where_documents_begin() {
        let parts = |text| documents(text).iter().map(|d| (d.text.to_owned(), d.line)).collect::<Vec<_>>();
        assert_eq!(parts("a: 1\n"), [("a: 1\n".to_owned(), 1)]);
        assert_eq!(parts("---\na: 1\n---\nb: 2\n"), [("---\na: 1\n".to_owned(), 1), ("---\nb: 2\n".to_owned(), 3)]);
        assert_eq!(
            parts("a: |\n  ---\n--- # x\r\nb: 1"),
            [("a: |\n  ---\n".to_owned(), 1), ("--- # x\r\nb: 1".to_owned(), 3)]
        );
        assert_eq!(parts("----\n").len(), 1);
    }

    #[test]
    fn an_error_names_the_line_in_the_file() {
        let document = Document { text: "a: 1\nb: [1\nc: 2\n", line: 10 };
        let error = to_json(&document).unwrap_err();
        let line: usize = error.strip_prefix("line ").unwrap().split(',').next().unwrap().parse().unwrap();
        assert!((11..=14).contains(&line), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn aliases_cannot_multiply_without_end() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let alias = format!("*a{}", i - 1);
            text += &format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 10].join(","));
        }
        assert!(to_json(&Document { text: &text, line: 1 }).is_err());
    }

    #[test]
    fn a_large_document_is_within_the_limits() {
        let text = "- x\n".repeat(300_000);
        assert_eq!(json(&text).len(), 300_000 * 4 + 1);
    }
}
