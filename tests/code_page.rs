//! `docs/code.md` against the sources: whatever it names exists.
//!
//! Each code span of the page is one of these, and no other is allowed:
//!
//! - a file or a folder: `src/diff/plan.rs`, `src/diff`;
//! - a file and a name that is defined in it: `src/state/cluster.rs: Cluster::apply`, `src/diff/plan.rs: Plan`;
//! - a name alone, which is defined somewhere in `src`: `Cluster::apply`, `Plan`.
//!
//! A name is a function, type, trait, constant or module, or `Type::name` for what an `impl` block, an enum or a trait of that
//! name has. Flags, fields and terms of Kubernetes stand without backticks. Links lead to files as usual (`docs.rs`). The page
//! has no code blocks: they would not be checked.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "common/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};

const PAGE: &str = "docs/code.md";

#[test]
fn what_the_page_names_exists() {
    let page = sources::text(PAGE);
    assert!(!page.contains("```"), "{PAGE} has a code block, which is not checked");
    let defined: BTreeMap<String, BTreeSet<String>> = sources::program()
        .into_iter()
        .map(|source| {
            let mut names = Defined::default();
            names.visit_file(&source.syntax());
            (source.path, names.all)
        })
        .collect();
    let mut faults = Vec::new();
    let mut checked = 0;
    for (number, line) in page.lines().enumerate() {
        assert!(line.matches('`').count() % 2 == 0, "{PAGE}:{}: a code span goes over the end of the line", number + 1);
        for span in line.split('`').skip(1).step_by(2) {
            checked += 1;
            if let Some(fault) = fault(span, &defined) {
                faults.push(format!("{PAGE}:{}: `{span}`: {fault}", number + 1));
            }
        }
    }
    assert!(checked > 0, "{PAGE} names nothing");
    assert!(faults.is_empty(), "\n  {}", faults.join("\n  "));
}

#[test]
fn a_name_that_does_not_exist_is_a_fault() {
    let names = ["Plan", "Plan::is_empty"].map(str::to_owned);
    let defined = BTreeMap::from([("src/diff/plan.rs".to_owned(), BTreeSet::from(names))]);
    for good in ["src/diff/plan.rs", "src/diff", "src/diff/plan.rs: Plan", "src/diff/plan.rs: Plan::is_empty", "Plan"] {
        assert_eq!(fault(good, &defined), None, "{good}");
    }
    for bad in
        ["src/diff/none.rs", "src/none", "src/diff/plan.rs: is_full", "src/none.rs: Plan", "Plan::is_full", "--watch"]
    {
        assert!(fault(bad, &defined).is_some(), "{bad}");
    }
}

/// What is wrong with a code span, if anything is.
fn fault(span: &str, defined: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    if let Some((file, name)) = span.split_once(": ") {
        return match defined.get(file) {
            None => Some(format!("the program has no file {file}")),
            Some(names) if names.contains(name) => None,
            Some(_) => Some(format!("{file} does not define {name}")),
        };
    }
    if span.starts_with("src/") {
        let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(span).exists();
        return (!exists).then(|| "no such file".to_owned());
    }
    let exists = defined.values().any(|names| names.contains(span));
    (!exists).then(|| "no file of src defines this name".to_owned())
}

/// The names that a file defines: each alone, and with its type or trait before it.
#[derive(Debug, Default)]
struct Defined {
    all: BTreeSet<String>,
    /// The type or trait that is being read.
    owner: Option<String>,
}

impl Defined {
    fn note(&mut self, name: &syn::Ident) {
        self.all.insert(name.to_string());
        if let Some(owner) = &self.owner {
            self.all.insert(format!("{owner}::{name}"));
        }
    }

    fn within(&mut self, owner: String, read: impl FnOnce(&mut Self)) {
        let outer = self.owner.replace(owner);
        read(self);
        self.owner = outer;
    }
}

impl<'ast> Visit<'ast> for Defined {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.note(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.note(&item.ident);
        self.within(item.ident.to_string(), |names| visit::visit_item_enum(names, item));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.note(&variant.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.note(&item.ident);
        self.within(item.ident.to_string(), |names| visit::visit_item_trait(names, item));
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(owner) = &*item.self_ty else { return };
        let owner = owner.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        self.within(owner, |names| visit::visit_item_impl(names, item));
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.note(&item.ident);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.note(&item.ident);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.note(&item.ident);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.note(&item.ident);
        visit::visit_item_mod(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.note(&signature.ident);
    }
}
