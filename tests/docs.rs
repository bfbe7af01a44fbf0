//! The documentation, compared with the program: the table of metrics, links, options, and the sample of a plan.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "docs/links.rs"]
mod links;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the table of metrics begins and ends.
const BEGIN: &str = "<!-- table: generated, checked by a test -->\n";
const END: &str = "<!-- end of table -->";

/// Set to 1 to write the table instead of comparing it.
const UPDATE: &str = "POINTSMAN_UPDATE_DOCS";

#[test]
fn the_table_of_metrics_is_that_of_the_program() {
    assert_generated("docs/metrics.md", &pointsman::metrics::table());
}

#[test]
fn the_tables_of_the_configuration_are_those_of_the_program() {
    assert_generated("docs/configuration.md", &pointsman::config::table());
}

#[test]
fn every_test_that_the_page_about_kubernetes_own_tests_names_exists() {
    let page = read(&root().join("docs/upstream-tests.md"));
    let mut names = 0;
    for span in page.split('`').skip(1).step_by(2) {
        let Some((file, name)) = span.split_once(".rs: ") else { continue };
        let source = read(&root().join(format!("{file}.rs")));
        assert!(source.contains(&format!("fn {name}(")) || source.contains(&format!("\"{name}\"")), "{span}");
        names += 1;
    }
    assert!(names > 100, "{names} names");
}

#[test]
fn the_figures_of_the_readme_are_those_of_the_performance_page() {
    let (readme, page) = (read(&root().join("README.md")), read(&root().join("docs/performance.md")));
    // By the table, the row and the column.
    let figure = |table: &str, row: &str, column: &str| {
        let lines: Vec<&str> = page.lines().skip_while(|line| !line.starts_with(&format!("<!-- {table}: "))).collect();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let column = cells(lines[1]).iter().position(|cell| cell == column).expect("the column");
        let row = lines.iter().find(|line| line.starts_with(&format!("| {row} |"))).expect("the row");
        cells(row)[column].clone()
    };
    let of_one = figure("changes", "one endpoint replaced", "10,000 × 5");
    let (median, longest) = of_one.split_once(" / ").expect("two figures");
    let starts = |size: &str, column: &str| figure("starts", size, column);
    let [small, large] = ["1,000 × 5", "10,000 × 5"];
    for figures in [
        format!("| {}, process start included |", starts(small, "cold start")),
        format!("| {}, process start included |", starts(large, "cold start")),
        format!("| {median} (median), {longest} (99th percentile) |"),
        format!("| {} / {} |", starts(small, "resident memory"), starts(large, "resident memory")),
    ] {
        assert!(readme.contains(&figures), "the README lacks {figures}");
    }
}

/// Asserts that a page has this between the lines that begin and end a table, or puts it there.
fn assert_generated(name: &str, expected: &str) {
    let path = root().join(name);
    let page = read(&path);
    let (before, rest) =
        page.split_once(BEGIN).unwrap_or_else(|| panic!("{name} lacks the line that begins the table"));
    let (table, after) = rest.split_once(END).unwrap_or_else(|| panic!("{name} lacks the line that ends the table"));
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).expect("the page can be written");
        return;
    }
    assert_eq!(table, expected, "{name} is out of date: run {UPDATE}=1 cargo test --test docs");
}

#[test]
fn options_that_are_named_exist() {
    let program = options(&["--help"]);
    let [replay, doctor, explain, status, get, top] =
        ["replay", "doctor", "explain", "status", "get", "top"].map(|command| options(&[command, "--help"]));
    let pages = [
        "architecture",
        "at-3-am",
        "configuration",
        "counters",
        "dataplane",
        "health",
        "metrics",
        "performance",
        "take-over",
        "explain",
        "get",
    ];
    let pages = pages.map(|page| format!("docs/{page}.md"));
    for page in std::iter::once("README.md").chain(pages.iter().map(String::as_str)) {
        for usage in usages(&read(&root().join(page))) {
            let known = match usage.split_whitespace().filter(|word| *word != "…").nth(1) {
                Some("replay") => &replay,
                Some("doctor") => &doctor,
                Some("explain") => &explain,
                Some("status") => &status,
                Some("get") => &get,
                Some("top") => &top,
                _ => &program,
            };
            for option in usage.split_whitespace().filter(|word| is_option(word)) {
                let option = option.split('=').next().unwrap_or_default();
                // An option without a command may belong to either command.
                let exists = known.contains(option)
                    || (!usage.contains("pointsman")
                        && [&replay, &doctor, &explain, &status, &get, &top].iter().any(|it| it.contains(option)));
                assert!(exists, "{page} names {option} in `{usage}`: there is no such option");
            }
        }
    }
}

#[test]
fn the_sample_of_a_plan_is_what_the_program_prints() {
    let page = read(&root().join("README.md"));
    let (_, rest) = page.split_once("```console\n$ pointsman ").expect("README.md has a sample");
    let (block, _) = rest.split_once("```").expect("the sample ends");
    let (command, sample) = block.split_once('\n').expect("a command and what it prints");
    let output = pointsman(command.split_whitespace());
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut lines = printed.lines();
    for line in sample.lines().filter(|line| *line != "…") {
        assert!(
            lines.any(|printed| printed == line),
            "README.md shows {line:?}, which is not printed there:\n{printed}"
        );
    }
    let count = printed.lines().count();
    assert!(page.contains(&format!("({count} lines in all)")), "README.md: the sample is from {count} lines");
}

#[test]
fn every_finding_of_doctor_is_in_its_table() {
    let page = read(&root().join("docs/take-over.md"));
    for id in pointsman::doctor::IDS {
        assert!(page.contains(&format!("| `{id}` |")), "docs/take-over.md has no line for {id}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page of documentation.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "docs/adr", "docs/install", "deploy", "tests"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of documentation") {
            let path = entry.expect("an entry of the folder").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 8, "the documentation has moved: {pages:?}");
    pages
}

/// Whether a word is an option, and not a lone dash or a negative number.
fn is_option(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c == '-' || c.is_ascii_alphabetic()))
}

/// The places where a page calls this program or names its options: commands in blocks, and `spans`.
fn usages(page: &str) -> Vec<String> {
    let mut usages = Vec::new();
    for (n, part) in page.split("```").enumerate() {
        // Every other part is a block.
        if n % 2 == 1 {
            let lines = part.replace("\\\n", " ").replace("|\n", "| ");
            let commands = lines.lines().flat_map(|line| line.split('|'));
            let commands = commands.map(|command| command.trim_start_matches(['$', '#', ' ']).trim());
            usages.extend(commands.filter(|command| command.starts_with("pointsman ")).map(str::to_owned));
        } else {
            let spans = part.split('`').skip(1).step_by(2);
            usages.extend(spans.filter(|s| s.starts_with("pointsman ") || s.starts_with('-')).map(str::to_owned));
        }
    }
    usages
}

fn pointsman<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.args(args).current_dir(root()).env_remove("POINTSMAN_LOG").output().expect("the proxy starts")
}

/// The options that the program lists when it is called like this.
fn options(args: &[&'static str]) -> BTreeSet<String> {
    let output = pointsman(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    // `  -o, --output <OUTPUT>`: a line that begins with an option.
    let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
    lines
        .flat_map(|line| line.split_whitespace().take_while(|word| word.starts_with('-')))
        // A value that may be left out follows in brackets: `--cleanup[=<WHAT>]`.
        .map(|word| word.split('[').next().unwrap_or_default().trim_end_matches(',').to_owned())
        .collect()
}
