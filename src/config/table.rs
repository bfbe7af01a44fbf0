//! The tables of docs/configuration.md.

use std::fmt::Write;

use super::fields::{FIELDS, Field};
use super::flags::FLAGS;

/// Every field and every flag, what becomes of it, and why: Markdown.
pub fn table() -> String {
    let mut text =
        "## Fields\n\n| Field | Default | Here | What it does, or why it is ignored |\n|---|---|---|---|\n".to_owned();
    for field in FIELDS {
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "| `{}` | {} | {} | {} |", field.path, default(field), field.treatment.label(), field.note);
    }
    text.push_str("\n## Flags\n\n| Flag | Sets | Here | With `--config` | What it does, or why it is ignored |\n|---|---|---|---|---|\n");
    for flag in FLAGS {
        let dashes = if flag.name.len() == 1 { "-" } else { "--" };
        let sets = flag.field.map(|path| format!("`{path}`")).unwrap_or_default();
        let beside = if flag.with_file { "counts" } else { "ignored" };
        let _ = writeln!(
            text,
            "| `{dashes}{}` | {sets} | {} | {beside} | {} |",
            flag.name,
            flag.treatment().label(),
            flag.explanation().replace('|', "\\|")
        );
    }
    text
}

fn default(field: &Field) -> String {
    if field.default.is_empty() { String::new() } else { format!("`{}`", field.default) }
}
