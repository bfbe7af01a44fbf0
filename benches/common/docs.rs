//! Tables in docs/performance.md that a benchmark writes itself, between two lines that name them.

use std::path::PathBuf;

/// The page.
fn page() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "docs", "performance.md"].iter().collect()
}

/// The folder of the plots that the page shows.
pub fn plots() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "docs", "performance"].iter().collect()
}

/// Replaces what is between the lines `<!-- NAME: written by … -->` and `<!-- end of NAME -->`.
pub fn replace(name: &str, text: &str) {
    let path = page();
    let old = std::fs::read_to_string(&path).expect("docs/performance.md can be read");
    let begin = old.find(&format!("<!-- {name}: ")).expect("docs/performance.md has the line that begins the block");
    let begin = begin + old[begin..].find('\n').expect("the line ends") + 1;
    let end = begin + old[begin..].find(&format!("<!-- end of {name} -->")).expect("and the line that ends it");
    let new = format!("{}{}\n{}", &old[..begin], text.trim_end(), &old[end..]);
    std::fs::write(&path, new).expect("docs/performance.md can be written");
}
