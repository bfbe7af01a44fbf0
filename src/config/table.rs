//! The tables of docs/configuration.md.

use std::fmt::Write;

use super::fields::{ConfigField, FIELDS};
use super::flags::FLAGS;

/// Two Markdown tables: every field and every flag, with its default and how Pointsman treats it.
pub fn table() -> String {
    let mut text =
        "## Fields\n\n| ConfigField | Default | Here | What it does, or why it is ignored |\n|---|---|---|---|\n"
            .to_owned();
    for field in FIELDS {
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "| `{}` | {} | {} | {} |", field.path, default(field), field.treatment.label(), field.note);
    }
    text.push_str("\n## Flags\n\n| Flag | Sets | In Pointsman | With `--config` | What it does, or why it is ignored |\n|---|---|---|---|---|\n");
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

fn default(field: &ConfigField) -> String {
    if field.default.is_empty() { String::new() } else { format!("`{}`", field.default) }
}
