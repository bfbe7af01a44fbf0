//! Links between the pages of documentation, and the table of contents of the book.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{pages, read, root};

#[test]
fn links_lead_to_files_that_exist() {
    for page in pages() {
        for link in links(&read(&page)).filter(|link| !is_elsewhere(link)) {
            let file = link.split('#').next().unwrap_or_default();
            assert!(resolve(&page, file).exists(), "{} links to {link}: no such file", page.display());
        }
    }
}

#[test]
fn links_into_a_page_lead_to_headings_that_exist() {
    let mut checked = 0;
    for page in pages() {
        for link in links(&read(&page)).filter(|link| !is_elsewhere(link)) {
            let Some((file, anchor)) = link.split_once('#') else { continue };
            let target = if file.is_empty() { page.clone() } else { resolve(&page, file) };
            assert!(anchors(&read(&target)).contains(anchor), "{} links to {link}: no such heading", page.display());
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} links into pages: are they found at all?");
}

#[test]
fn the_book_has_every_page() {
    let contents = root().join("docs/SUMMARY.md");
    let listed: BTreeSet<PathBuf> = links(&read(&contents)).map(|link| resolve(&contents, link)).collect();
    let all: BTreeSet<PathBuf> = pages().into_iter().filter(|page| *page != contents).collect();
    assert_eq!(listed, all, "docs/SUMMARY.md lists the pages on the left");
}

#[test]
fn a_heading_is_an_anchor_as_in_a_browser() {
    let page = "# Drift\n```sh\n# no heading\n```\n## `make`, 3 a.m.\n## Drift\n### The [log](log.md) says: \"x_y\"\n";
    let expected = ["drift", "make-3-am", "drift-1", "the-log-says-x_y"].map(str::to_owned);
    assert_eq!(anchors(page), expected.into());
}

/// The targets of a page's links.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

/// Whether a link leads out of the repository.
fn is_elsewhere(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

/// The file that a page's link leads to.
fn resolve(page: &Path, file: &str) -> PathBuf {
    let mut path = page.parent().expect("a page is in a folder").to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

/// The anchors of a page's headings, as GitHub and mdbook name them: letters, digits, `_` and `-` in lower case, a hyphen for each space, and a
/// number for the second of its name.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut in_block = false;
    for line in page.lines() {
        in_block ^= line.trim_start().starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !in_block) else { continue };
        let name = slug(heading.trim_start_matches('#').trim());
        let numbered = (1..).map(|n| format!("{name}-{n}"));
        found.extend(std::iter::once(name.clone()).chain(numbered).find(|name| !found.contains(name)));
    }
    found
}

/// A heading's text as an anchor.
fn slug(heading: &str) -> String {
    // Of a link only the text is shown.
    let shown: String =
        heading.split("](").enumerate().map(|(n, part)| if n == 0 { part } else { after_link(part) }).collect();
    let kept = shown.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// What follows the target of a link.
fn after_link(part: &str) -> &str {
    part.split_once(')').map_or(part, |(_, rest)| rest)
}
