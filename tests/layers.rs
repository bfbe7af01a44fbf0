//! The layers point one way: what each folder of `src` uses is compared with the table of layers in CONTRIBUTING.md.
//!
//! A folder uses another if its code has a path into it: in a `use`, in an expression, in a macro, or up by `super`. Links in
//! documentation do not count, nor does code that only tests have.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "common/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use sources::{CodePath, Source};

/// The line of CONTRIBUTING.md that the table follows.
const BEGIN: &str = "<!-- layers: checked by tests/layers.rs -->\n";

/// Paths that begin like this are effects, clocks or chance, which a pure folder has none of.
const IMPURE: [&str; 20] = [
    "futures",
    "jiff::Timestamp::now",
    "k8s_openapi",
    "kube",
    "metrics",
    "netlink_sys",
    "nix",
    "rand",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "std::time",
    "tokio",
    "tokio_util",
    "tracing",
    "Timestamp::now",
];

/// The core: these folders are pure where they exist.
const CORE: [&str; 7] = ["dataplane", "state", "diff", "drift", "engine", "listing", "status"];

/// A span of time is a value; of the clocks in `std::time` a pure folder knows nothing.
const PURE: &str = "std::time::Duration";

/// Files that spawn tasks by themselves, beside `tasks`, and why no such task can end in silence.
const SPAWNING: [(&str, &str); 8] = [
    ("src/localhost/listener.rs", "one port or one connection each; an end concerns its clients"),
    ("src/observe/serve.rs", "one connection each; an end concerns its client"),
    ("src/proxy/guard.rs", "the loop awaits it"),
    ("src/proxy/reading.rs", "the loop awaits it"),
    ("src/takeover/interfaces.rs", "serves one listing, which fails without it"),
    ("src/watch/host.rs", "its end ends the stream of changes, and so the task that reads it"),
    ("src/watch/kubernetes.rs", "the task that spawned them awaits them"),
    (
        "src/watch/kubernetes/one_connection.rs",
        "its end ends the answers on its connection, and the next request opens another one",
    ),
];

/// A row of the table.
#[derive(Debug)]
struct Layer {
    /// A folder of `src`, as `state`, or a part of a folder, as `doctor/rules`.
    name: String,
    /// The folders that it may use.
    may_use: BTreeSet<String>,
    /// Whether it is without effects.
    is_pure: bool,
}

#[test]
fn each_folder_uses_what_the_table_of_layers_allows() {
    let (layers, arrows) = (table(), arrows());
    let mut faults = Vec::new();
    for layer in &layers {
        let used: BTreeSet<&String> = arrows.get(&layer.name).into_iter().flatten().map(|(to, _)| to).collect();
        for to in layer.may_use.iter().filter(|to| !used.contains(to)) {
            faults.push(format!("{} does not use {to} any more: remove it from the table", layer.name));
        }
        for (to, files) in arrows.get(&layer.name).into_iter().flatten() {
            if !layer.may_use.contains(to) {
                faults.push(format!("{} uses {to}, which the table does not allow, in {}", layer.name, list(files)));
            }
        }
    }
    assert_none("CONTRIBUTING.md", &faults);
}

#[test]
fn every_folder_has_a_row_in_the_table_of_layers() {
    let layers = table();
    let rows: BTreeSet<&str> =
        layers.iter().map(|layer| layer.name.as_str()).filter(|name| !name.contains('/')).collect();
    assert_eq!(rows.len() + layers.iter().filter(|layer| layer.is_part()).count(), layers.len(), "a row occurs twice");
    let program = sources::program();
    let folders: BTreeSet<&str> = program.iter().map(Source::folder).filter(|folder| !folder.is_empty()).collect();
    assert_eq!(rows, folders, "left: rows of the table in CONTRIBUTING.md; right: folders of src");
}

#[test]
fn each_folder_uses_only_folders_above_it_in_the_table() {
    let layers = table();
    let position = |name: &str| layers.iter().position(|layer| layer.name == name);
    let mut faults = Vec::new();
    for layer in layers.iter().filter(|layer| !layer.is_part()) {
        for to in layer.may_use.iter().filter(|to| position(to) >= position(&layer.name)) {
            faults.push(format!("{} uses {to}, which is not above it: move the row, or break the circle", layer.name));
        }
    }
    assert_none("CONTRIBUTING.md", &faults);
}

#[test]
fn the_command_line_is_the_top_and_only_the_program_uses_it() {
    let layers = table();
    let users: Vec<&str> =
        layers.iter().filter(|layer| layer.may_use.contains("cli")).map(|layer| layer.name.as_str()).collect();
    assert_eq!(users, ["main"]);
}

#[test]
fn tasks_are_spawned_through_the_supervisor() {
    let spawns = |path: &CodePath| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let of_tokio = matches!(path.first(), Some(&("tokio" | "tokio_util")));
        of_tokio && matches!(path.last(), Some(&("spawn" | "JoinSet" | "TaskTracker")))
    };
    let program = sources::program();
    let spawning: BTreeSet<&str> = program
        .iter()
        .filter(|source| source.folder() != "tasks" && source.code_paths().iter().any(spawns))
        .map(|source| source.path.as_str())
        .collect();
    let allowed = SPAWNING.map(|(file, _)| file).into();
    assert_eq!(spawning, allowed, "left: files that spawn tasks; right: those that may without `Supervisor`");
}

#[test]
fn pure_folders_have_no_effects_and_no_clock() {
    let layers = table();
    let pure: BTreeSet<&str> = layers.iter().filter(|layer| layer.is_pure).map(|layer| layer.name.as_str()).collect();
    for layer in layers.iter().filter(|layer| CORE.contains(&layer.name.as_str())) {
        assert!(layer.is_pure, "{} is part of the core and must be pure", layer.name);
    }
    let program = sources::program();
    let mut faults = Vec::new();
    for layer in layers.iter().filter(|layer| layer.is_pure) {
        for to in layer.may_use.iter().filter(|to| !layer.is_part() && !pure.contains(to.as_str())) {
            faults.push(format!("{} is pure and uses {to}, which is not", layer.name));
        }
        for source in program.iter().filter(|source| layer.has(source)) {
            for path in source.code_paths() {
                let text = path.join("::");
                let is =
                    |start: &str| text.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
                // A single word may be a variable's name.
                let has_effect = path.len() > 1 && IMPURE.iter().any(|start| is(start)) && !is(PURE);
                if text == "async" || has_effect {
                    faults.push(format!("{}: {text}", source.path));
                }
            }
        }
    }
    assert_none("pure folders", &faults);
}

#[test]
fn a_group_a_rename_and_a_way_up_are_read_as_paths() {
    let tokens =
        "use crate::{a::{B, c as d}, e}; mod inner { fn f() { super::super::g::H::i(); } } fn k() { vec![crate::l::M] }
        #[cfg(test)] mod tests { use crate::never; }";
    let source = Source {
        path: "src/x.rs".to_owned(),
        module: vec!["x".to_owned()],
        tokens: sources::without_tests(tokens.parse().expect("tokens")),
    };
    let paths: Vec<String> =
        source.code_paths().iter().filter(|path| path[0] == "crate").map(|path| path.join("::")).collect();
    assert_eq!(paths, ["crate::a::B", "crate::a::c", "crate::e", "crate::g::H::i", "crate::l::M"]);
}

impl Layer {
    /// Whether it is a part of a folder. Such a row restricts that part further.
    fn is_part(&self) -> bool {
        self.name.contains('/')
    }

    /// Whether a file belongs to it.
    fn has(&self, source: &Source) -> bool {
        let parts: Vec<&str> = self.name.split('/').collect();
        source.module.iter().map(String::as_str).take(parts.len()).eq(parts.iter().copied())
    }
}

/// The table of layers: folder, job, what it may use, and whether it is pure.
fn table() -> Vec<Layer> {
    let page = sources::text("CONTRIBUTING.md");
    let (_, rest) = page.split_once(BEGIN).expect("CONTRIBUTING.md has the line that the table follows");
    let lines = rest.trim_start().lines().take_while(|line| line.starts_with('|'));
    // The head and the line below it come first.
    let layers: Vec<Layer> = lines.skip(2).map(layer).collect();
    assert!(layers.len() > 5, "the table is short: {layers:?}");
    layers
}

fn layer(row: &str) -> Layer {
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [name, _, may_use, pure] = cells[..] else { panic!("not four cells: {row}") };
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let [name] = <[String; 1]>::try_from(names(name)).expect("one folder in a row");
    assert!(["yes", ""].contains(&pure), "{name}: pure is `yes` or empty");
    Layer { name, may_use: names(may_use).into_iter().collect(), is_pure: pure == "yes" }
}

/// Which folders each row uses, and in which files.
fn arrows() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let layers = table();
    let mut arrows: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in sources::program().iter().filter(|source| !source.folder().is_empty()) {
        let parts = layers.iter().filter(|layer| layer.is_part() && layer.has(source)).map(|layer| layer.name.as_str());
        let rows: Vec<&str> = std::iter::once(source.folder()).chain(parts).collect();
        for to in source.code_paths().iter().filter_map(|path| target(path)).filter(|to| *to != source.folder()) {
            for row in &rows {
                let files = arrows.entry((*row).to_owned()).or_default().entry(to.to_owned()).or_default();
                files.insert(source.path.clone());
            }
        }
    }
    arrows
}

/// The folder that a path leads to; `src/main.rs` says `pointsman` where the others say `crate`.
fn target(path: &CodePath) -> Option<&str> {
    match path.first().map(String::as_str) {
        Some("crate" | "pointsman") => path.get(1).map(String::as_str),
        _ => None,
    }
}

fn list(files: &BTreeSet<String>) -> String {
    files.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn assert_none(subject: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{subject}:\n  {}", faults.join("\n  "));
}
