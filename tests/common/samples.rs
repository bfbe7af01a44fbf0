//! Samples of commands in the documentation, held against what the program prints for `examples/`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Set to 1 to write the samples instead of comparing them.
const UPDATE: &str = "POINTSMAN_UPDATE_DOCS";

/// Runs the program in the folder of the project.
pub fn pointsman(command: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(command.split_whitespace())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("POINTSMAN_LOG")
        .output()
        .expect("the proxy starts")
}

/// Compares the samples of a subcommand on a page, or writes them. How many there are. `before` is what the page leaves out before the
/// subcommand; `exit_code` says with which code the program ends after an answer.
pub fn check_samples(page_name: &str, before: &str, subcommand: &str, exit_code: fn(&str) -> i32) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page_name);
    let page = fs::read_to_string(&path).expect("the page");
    let mut parts: Vec<String> = page.split("```").map(str::to_owned).collect();
    let begin = format!("console\n$ pointsman … {subcommand} ");
    let mut samples = 0;
    for block in parts.iter_mut().skip(1).step_by(2) {
        let Some(rest) = block.strip_prefix(&begin) else { continue };
        let (asked, _) = rest.split_once('\n').expect("a command and an answer");
        let output = pointsman(&format!("{before} {subcommand} {asked}"));
        let answer = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit_code(&answer)), "{asked}: {said}");
        *block = format!("{begin}{asked}\n{answer}");
        samples += 1;
    }
    let written = parts.join("```");
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        fs::write(&path, written).expect("the page can be written");
        return samples;
    }
    assert_eq!(page, written, "{page_name} is out of date: run {UPDATE}=1 cargo test --test {subcommand}");
    samples
}
