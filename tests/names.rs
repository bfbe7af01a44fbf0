//! Names and words: a type name stands for one type, a function's name says what it gives, and the text is plain.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "common/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

/// Type names that may occur more than once, each with the reason.
const CONVENTIONAL: &[(&str, &str)] =
    &[("Error", "by convention a module calls its error so, and others name it with the module: apply::Error")];

/// Words that a plain sentence does without: a component has a name, and `again` or `new` says more.
const WORDS: [&str; 5] = ["anew", "everybody", "nobody", "somebody", "thereby"];

/// Lines that need such a word literally: the file, a part of the line, and the reason.
const LITERAL: &[(&str, &str, &str)] = &[];

/// The texts besides `src` and `docs`.
const PAGES: [&str; 4] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/README.md"];

#[test]
fn a_type_name_occurs_once() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, names) in names() {
        for name in names.types {
            defined.entry(name).or_default().push(path.clone());
        }
    }
    let repeated: BTreeMap<&str, String> = defined
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| (name.as_str(), files.join(", ")))
        .collect();
    let conventional: Vec<&str> = CONVENTIONAL.iter().map(|(name, _)| *name).collect();
    let mut faults = Vec::new();
    for (name, files) in repeated.iter().filter(|(name, _)| !conventional.contains(name)) {
        faults.push(format!("{name} is defined in {files}"));
    }
    for name in conventional.iter().filter(|name| !defined.contains_key(**name)) {
        faults.push(format!("{name} is not defined any more: remove it from CONVENTIONAL"));
    }
    assert_none(&faults);
}

#[test]
fn no_function_is_called_of() {
    let names = names();
    let found = names.iter().filter(|(_, names)| names.has_of);
    assert_none(&found.map(|(path, _)| format!("{path}: a function named `of`")).collect::<Vec<_>>());
}

#[test]
fn texts_are_in_plain_words() {
    let mut files = Vec::new();
    for folder in ["src", "docs"] {
        collect_files(folder, &mut files);
    }
    files.extend(PAGES.map(str::to_owned));
    let mut literal_uses = BTreeSet::new();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files {
        let text = sources::text(&path);
        for (number, line) in checked_part(&path, &text).lines().enumerate() {
            let literal = LITERAL.iter().position(|(file, part, _)| *file == path && line.contains(part));
            let words = words_in(line);
            if words.is_empty() {
                continue;
            }
            match literal {
                Some(position) => drop(literal_uses.insert(position)),
                None => found.entry(path.clone()).or_default().push(format!("{} ({})", number + 1, words.join(", "))),
            }
        }
    }
    let mut faults: Vec<String> =
        found.iter().map(|(path, lines)| format!("{path}: lines {}", lines.join(", "))).collect();
    for (position, (file, part, _)) in LITERAL.iter().enumerate() {
        if !literal_uses.contains(&position) {
            faults.push(format!("{file} does not say {part:?} any more: remove it from LITERAL"));
        }
    }
    assert_none(&faults);
}

/// What a file of the program defines.
#[derive(Debug, Default)]
struct Names {
    types: Vec<String>,
    has_of: bool,
}

/// The names that each file of the program defines.
fn names() -> BTreeMap<String, Names> {
    let mut all = BTreeMap::new();
    for source in sources::program() {
        let mut names = Names::default();
        names.visit_file(&source.syntax());
        all.insert(source.path, names);
    }
    all
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.types.push(item.ident.to_string());
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.types.push(item.ident.to_string());
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.types.push(item.ident.to_string());
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.types.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.has_of |= signature.ident == "of";
        visit::visit_signature(self, signature);
    }
}

/// The words of [`WORDS`] in a line.
fn words_in(line: &str) -> Vec<&'static str> {
    let lower = line.to_lowercase();
    let in_line: BTreeSet<&str> = lower.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    // In a name, words are joined: `nobody_listens`.
    let in_names: BTreeSet<&str> = in_line.iter().flat_map(|word| word.split('_')).collect();
    WORDS.into_iter().filter(|word| in_names.contains(word)).collect()
}

/// Of the change log only what is not released: what is released stays as it was.
fn checked_part<'a>(path: &str, text: &'a str) -> &'a str {
    if path != "CHANGELOG.md" {
        return text;
    }
    let unreleased =
        text.find("## [Unreleased]").or_else(|| text.find("## Unreleased")).expect("an Unreleased section");
    let end = text[unreleased + 3..].find("\n## ").map_or(text.len(), |at| unreleased + 3 + at);
    &text[..end]
}

fn collect_files(folder: &str, files: &mut Vec<String>) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for entry in fs::read_dir(full).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect_files(&path, files);
        } else if path.ends_with(".rs") || path.ends_with(".md") {
            files.push(path);
        }
    }
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n  {}", faults.join("\n  "));
}
