//! The parameters of a request.

use std::collections::BTreeMap;

use super::fault::Verb;
use super::store::Selection;

/// The parameters of a request.
pub struct Query {
    pub text: String,
    /// From the path: objects of this namespace only.
    pub namespace: Option<String>,
    pub pairs: BTreeMap<String, String>,
}

impl Query {
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self {
            text: text.to_owned(),
            namespace: None,
            pairs: pairs.map(|(key, value)| (decode(key), decode(value))).collect(),
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn verb(&self) -> Verb {
        match (self.get("watch"), self.get("sendInitialEvents"), self.get("continue")) {
            (Some("true"), Some("true"), _) => Verb::StreamingList,
            (Some("true"), _, _) => Verb::Watch,
            (_, _, Some(_)) => Verb::Page,
            _ => Verb::List,
        }
    }

    pub fn selection(&self) -> Selection {
        let without_label = self
            .get("labelSelector")
            .map(|label| label.strip_prefix('!').expect("only !label is understood").to_owned());
        let field = self.get("fieldSelector").map(|field| match field.split_once("!=") {
            Some((path, value)) => (path.to_owned(), false, value.to_owned()),
            None => {
                let (path, value) = field.split_once('=').expect("path=value");
                (path.to_owned(), true, value.to_owned())
            }
        });
        Selection { without_label, field, namespace: self.namespace.clone() }
    }
}

/// Undoes the encoding of a query string.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
