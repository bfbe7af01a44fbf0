//! The sources of the crate as tests read them: one [`Source`] for each file that is part of the program, without its tests.

#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::fs;
use std::iter::Peekable;
use std::path::Path;

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A source file of the program.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path below the project's root: `src/state/cluster.rs`.
    pub path: String,
    /// Its module: `["state", "cluster"]`; empty for the root of the crate.
    pub module: Vec<String>,
    /// Its tokens without items that only tests have.
    pub tokens: TokenStream,
}

/// A path in code: `["crate", "state", "Cluster"]`. A group in a `use` gives one path for each of its leaves.
pub type CodePath = Vec<String>;

/// Every file that the program is built from. Modules that only tests have are not among them.
pub fn program() -> Vec<Source> {
    let mut sources = Vec::new();
    read("src/lib.rs", &[], &mut sources);
    sources.push(source("src/main.rs", &["main".to_owned()]));
    sources
}

/// The text of a file below the project's root.
pub fn text(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Source {
    /// The folder of `src` that it belongs to; `src/state.rs` belongs to `state`. Empty for `src/lib.rs`.
    pub fn folder(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Every path in its code. A path that goes up by `super` is spelled from `crate`.
    pub fn code_paths(&self) -> Vec<CodePath> {
        let mut paths = Vec::new();
        collect_paths(self.tokens.clone(), &self.module, &mut paths);
        paths
    }

    /// Its syntax tree.
    pub fn syntax(&self) -> syn::File {
        syn::parse2(self.tokens.clone()).unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }
}

/// Reads a file, and the files of the modules that it declares.
fn read(path: &str, module: &[String], sources: &mut Vec<Source>) {
    let source = source(path, module);
    let children = declared_modules(source.tokens.clone());
    sources.push(source);
    for child in children {
        let module: Vec<String> = module.iter().cloned().chain([child]).collect();
        let path = format!("src/{}.rs", module.join("/"));
        read(&path, &module, sources);
    }
}

fn source(path: &str, module: &[String]) -> Source {
    let tokens: TokenStream = text(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    Source { path: path.to_owned(), module: module.to_vec(), tokens: without_tests(tokens) }
}

/// The names in `mod name;`.
fn declared_modules(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.to_string() == text);
    (0..tokens.len()).filter(|at| is(*at, "mod") && is(at + 2, ";")).map(|at| tokens[at + 1].to_string()).collect()
}

/// Leaves out what stands under `#[cfg(test)]`: up to the `;` or the block that ends the item.
pub fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let begins_attribute = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let attribute = tokens.peek().map(ToString::to_string).unwrap_or_default();
        if begins_attribute && attribute.replace(' ', "") == "[cfg(test)]" {
            let ends_item = |token: &TokenTree| match token {
                TokenTree::Punct(punct) => punct.as_char() == ';',
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                _ => false,
            };
            // The attributes and the documentation before belong to the same item.
            while ends_with_attribute(&kept) {
                kept.truncate(kept.len() - 2);
            }
            // In a `use`, the braces of a group come before the end.
            let mut in_use = false;
            for token in tokens.by_ref() {
                in_use |= token.to_string() == "use";
                if ends_item(&token) && !(in_use && matches!(token, TokenTree::Group(_))) {
                    break;
                }
            }
        } else if let TokenTree::Group(group) = token {
            let inner = without_tests(group.stream());
            kept.push(TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inner)));
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}

/// Whether the last tokens are an attribute; `#![…]` belongs to what is around it.
fn ends_with_attribute(tokens: &[TokenTree]) -> bool {
    let [.., TokenTree::Punct(punct), TokenTree::Group(group)] = tokens else { return false };
    punct.as_char() == '#' && group.delimiter() == Delimiter::Bracket
}

/// Collects the paths in some code of a module.
fn collect_paths(tokens: TokenStream, module: &[String], paths: &mut Vec<CodePath>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut before = [String::new(), String::new()];
    while let Some(token) = tokens.next() {
        let text = token.to_string();
        match token {
            TokenTree::Ident(_) => {
                let mut tree = Vec::new();
                collect_tree(vec![text.clone()], &mut tokens, &mut tree);
                paths.extend(tree.into_iter().map(|path| from_crate(path, module)));
            }
            TokenTree::Group(group) => {
                // `mod name { … }` is a module of its own.
                let inner: Vec<String> = if before[0] == "mod" {
                    module.iter().cloned().chain([before[1].clone()]).collect()
                } else {
                    module.to_vec()
                };
                collect_paths(group.stream(), &inner, paths);
            }
            // `#[serde(with = "crate::…")]`
            TokenTree::Literal(_) if text.starts_with("\"crate::") => {
                paths.push(text.trim_matches('"').split("::").map(str::to_owned).collect());
            }
            TokenTree::Literal(_) | TokenTree::Punct(_) => {}
        }
        before = [before[1].clone(), text];
    }
}

/// Reads on after the first segments of a path. What follows may be more segments, and a group of trees in a `use`.
fn collect_tree(mut path: CodePath, tokens: &mut Peekable<IntoIter>, paths: &mut Vec<CodePath>) {
    loop {
        let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
        let mut ahead = tokens.clone();
        if !(ahead.next().as_ref().is_some_and(is_colon) && ahead.next().as_ref().is_some_and(is_colon)) {
            break;
        }
        match ahead.next() {
            Some(TokenTree::Ident(segment)) => path.push(segment.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                *tokens = ahead;
                let mut inner = group.stream().into_iter().peekable();
                while let Some(token) = inner.next() {
                    if let TokenTree::Ident(segment) = token {
                        let start = path.iter().cloned().chain([segment.to_string()]).collect();
                        collect_tree(start, &mut inner, paths);
                        // ` as name`, and the comma
                        while inner.next().is_some_and(|token| token.to_string() != ",") {}
                    }
                }
                return;
            }
            // A glob, or type arguments.
            _ => break,
        }
        *tokens = ahead;
    }
    paths.push(path);
}

/// Spells a path that goes up from a module, as `super::super::diff`, from the root of the crate.
fn from_crate(path: CodePath, module: &[String]) -> CodePath {
    let up = path.iter().take_while(|segment| *segment == "super").count();
    if up == 0 {
        return path;
    }
    let kept = module.len().saturating_sub(up);
    let root = ["crate".to_owned()];
    root.into_iter().chain(module[..kept].iter().cloned()).chain(path.into_iter().skip(up)).collect()
}
