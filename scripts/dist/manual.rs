//! Writes man pages and completions for shells from the definition of the command line.
//!
//! Usage: cargo run --example manual -- FOLDER

#![allow(clippy::print_stderr, reason = "a program for the terminal")]

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use clap_complete::{Shell, generate_to};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("give a folder");
        return ExitCode::FAILURE;
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    // This names the pages of subcommands as well.
    let mut command = pointsman::cli::command().version(env!("CARGO_PKG_VERSION"));
    command.build();
    page(&command, &man)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        page(subcommand, &man)?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "pointsman", &completions)?;
    }
    Ok(())
}

/// Writes one page. Section 8 is for programs of administrators.
fn page(command: &clap::Command, folder: &Path) -> io::Result<()> {
    let title = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(&title).section("8").date("").render(&mut text)?;
    fs::write(folder.join(format!("{title}.8")), text)
}
