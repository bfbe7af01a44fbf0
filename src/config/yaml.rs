//! The first document of a YAML stream, as a tree.

use std::collections::BTreeMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::document::{FirstDocument, Tree};
use super::scalar::ScalarValue;

/// How deep lists and mappings may be nested.
const MAX_DEPTH: usize = 64;
/// How many values a document may have, those of its aliases included.
const MAX_VALUES: usize = 100_000;

/// Reads the first document, and looks whether another one follows.
///
/// # Errors
///
/// What is wrong, and in which line.
pub(super) fn first_document(text: &str) -> Result<FirstDocument, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = YamlReader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), values: 0 };
    let tree = loop {
        match reader.next()? {
            None | Some((Event::StreamEnd, _)) => return Ok(FirstDocument { tree: Tree::NULL, followed: false }),
            Some((Event::StreamStart | Event::DocumentStart(..) | Event::Comment(..), _)) => {}
            Some((event, at)) => break reader.tree(event, at, 0)?,
        }
    };
    Ok(FirstDocument { tree, followed: reader.has_more() })
}

struct YamlReader<'input> {
    parser: Parser<'input, StrInput<'input>>,
    /// The values that aliases may name.
    anchors: BTreeMap<usize, Tree>,
    values: usize,
}

impl<'input> YamlReader<'input> {
    fn next(&mut self) -> Result<Option<(Event<'input>, Marker)>, String> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, span.start))),
            Some(Err(error)) => Err(description(&error)),
        }
    }

    /// The next event of a value, or of the end of one.
    fn next_part(&mut self) -> Result<(Event<'input>, Marker), String> {
        loop {
            match self.next()? {
                Some((Event::Comment(..), _)) => {}
                Some(part) => return Ok(part),
                None => return Err("the document ends within a value".to_owned()),
            }
        }
    }

    /// The value that begins with this event.
    fn tree(&mut self, first: Event<'input>, at: Marker, depth: usize) -> Result<Tree, String> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(format!("line {}: the values are nested too deep, or there are too many", at.line()));
        }
        let (tree, anchor) = match first {
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref()), anchor),
            Event::SequenceStart(_, anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => {
                let tree = self.anchors.get(&anchor).cloned().unwrap_or(Tree::NULL);
                self.values += size(&tree);
                return Ok(tree);
            }
            _ => return Err(format!("line {}: expected a value", at.line())),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(tree)
    }

    fn list(&mut self, depth: usize) -> Result<Tree, String> {
        let mut items = Vec::new();
        loop {
            match self.next_part()? {
                (Event::SequenceEnd, _) => return Ok(Tree::List(items)),
                (event, at) => items.push(self.tree(event, at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Tree, String> {
        let mut own: Vec<(String, Tree)> = Vec::new();
        let mut merged: Vec<(String, Tree)> = Vec::new();
        loop {
            let (event, at) = self.next_part()?;
            if event == Event::MappingEnd {
                break;
            }
            let merges = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = match self.tree(event, at, depth + 1)? {
                Tree::Scalar(ScalarValue::Text(text), _) => text,
                Tree::Scalar(_, written) => written,
                Tree::List(_) | Tree::Map(_) => return Err(format!("line {}: a name must be a text", at.line())),
            };
            let (event, at) = self.next_part()?;
            match self.tree(event, at, depth + 1)? {
                Tree::Map(entries) if merges => merged.extend(entries),
                Tree::List(maps) if merges => {
                    // Of several mappings the first wins.
                    for map in maps.into_iter().rev() {
                        let Tree::Map(entries) = map else {
                            return Err(format!("line {}: << takes mappings", at.line()));
                        };
                        merged.extend(entries);
                    }
                }
                _ if merges => return Err(format!("line {}: << takes mappings", at.line())),
                value => own.push((key, value)),
            }
        }
        // What the mapping has itself wins. Of what was merged, the last wins.
        let mut entries: Vec<(String, Tree)> = Vec::new();
        for (key, value) in merged.into_iter().filter(|(key, _)| !own.iter().any(|(name, _)| name == key)) {
            entries.retain(|(name, _)| *name != key);
            entries.push((key, value));
        }
        entries.extend(own);
        Ok(Tree::Map(entries))
    }

    /// Whether something follows the first document. An empty last document, after a closing `---`, is nothing.
    fn has_more(&mut self) -> bool {
        loop {
            match self.next() {
                Ok(None | Some((Event::StreamEnd, _))) => return false,
                Ok(Some((Event::DocumentStart(..) | Event::DocumentEnd | Event::Comment(..), _))) => {}
                // The parser shows an empty value as a tilde.
                Ok(Some((Event::Scalar(text, ScalarStyle::Plain, ..), _))) if text.is_empty() || text == "~" => {}
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Tree {
    let value = match tag.map(Tag::core_suffix) {
        None if style == ScalarStyle::Plain => ScalarValue::resolve(text),
        Some(Some("bool" | "float" | "int" | "null")) => ScalarValue::resolve(text),
        _ => ScalarValue::Text(text.to_owned()),
    };
    Tree::Scalar(value, text.to_owned())
}

/// How many values a tree has.
fn size(tree: &Tree) -> usize {
    match tree {
        Tree::Scalar(..) => 1,
        Tree::List(items) => items.iter().map(size).sum::<usize>() + 1,
        Tree::Map(entries) => entries.iter().map(|(_, value)| size(value)).sum::<usize>() + 1,
    }
}

fn description(error: &ScanError) -> String {
    format!("line {}: {}", error.marker().line(), error.info().lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> FirstDocument {
        first_document(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    fn shown(text: &str) -> Vec<(String, String)> {
        let Tree::Map(entries) = read(text).tree else { panic!("{text:?} is no mapping") };
        entries.into_iter().map(|(key, value)| (key, value.to_string())).collect()
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_first_document_counts_and_others_are_noticed() {
        for (text, followed) in [
            ("a: 1", false),
            ("---\na: 1\n", false),
            ("# comment\n---\na: 1\n...\n", false),
            ("a: 1\n---\n", false),
            ("a: 1\n---\n# only a comment\n---\n", false),
            ("a: 1\n---\nb: 2\n", true),
            ("a: 1\n---\nb: [\n", true),
            ("\u{feff}a: 1\r\n---\r\n- b\r\n", true),
        ] {
            let document = read(text);
            assert_eq!(document.followed, followed, "{text:?}");
            assert_eq!(document.tree.entry("a").map(ToString::to_string).as_deref(), Some("1"), "{text:?}");
        }
        for text in ["", "# nothing\n", "---\n", "---\n---\na: 1\n"] {
            assert_eq!(read(text).tree.scalar(), Some(&ScalarValue::Null), "{text:?}");
        }
    }

    #[test]
    fn quotes_and_tags_make_a_text() {
        let text = "a: yes\nb: \"yes\"\nc: '1'\nd: !!str 1\ne: !!int \"1\"\nf: |\n  1\n";
        let expected = [("a", "yes"), ("b", "\"yes\""), ("c", "\"1\""), ("d", "\"1\""), ("e", "1"), ("f", "\"1\\n\"")];
        assert_eq!(shown(text), pairs(&expected));
    }

    #[test]
    fn aliases_and_merged_mappings_are_followed() {
        let text = "a: &a 5\nb: *a\nbase: &base {x: 1, y: 2}\n<<: *base\nx: 3\n";
        let expected = [("y", "2"), ("a", "5"), ("b", "5"), ("base", "a mapping"), ("x", "3")];
        assert_eq!(shown(text), pairs(&expected));
    }

    #[test]
    fn aliases_cannot_multiply_without_end_and_nesting_is_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..10 {
            let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
            text += &format!("a{i}: &a{i} [{aliases}]\n");
        }
        assert!(first_document(&text).unwrap_err().contains("too many"));
        let deep = "[".repeat(10_000);
        assert!(first_document(&deep).is_err());
    }
}
