//! Options that do not go together. clap knows some of them, but it drops a requirement when the required option is in conflict with
//! another one that was given. So all of them are checked here.

use anyhow::bail;

use super::args::{Args, CleanUp, OutputFormat, Subcommand};
use crate::watch::STDIN;

/// What the program does if none of the commands is given: it proxies until it is asked to end.
const PROXYING: &str = "a proxy that keeps running";

/// An option, whether it was given, and the commands with which it has an effect.
type Scoped = (&'static str, bool, &'static [&'static str]);

/// Refuses two commands at once, and options without effect.
///
/// # Errors
///
/// Names both options.
pub(super) fn check(args: &Args) -> anyhow::Result<()> {
    let commands = [
        ("--once", args.once),
        ("--dry-run", args.dry_run),
        ("--watch", args.watch),
        ("--cleanup", args.cleans_up().is_some()),
        ("--init-only", args.init_only),
        ("--write-config-to", args.write_config_to.is_some()),
        ("replay", matches!(args.command, Some(Subcommand::Replay(_)))),
        ("doctor", matches!(args.command, Some(Subcommand::Doctor(_)))),
        ("explain", matches!(args.command, Some(Subcommand::Explain(_)))),
        ("status", matches!(args.command, Some(Subcommand::Status(_)))),
        ("get", matches!(args.command, Some(Subcommand::Get(_)))),
        ("top", matches!(args.command, Some(Subcommand::Top(_)))),
    ];
    let mut given = commands.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
    let command = given.next().unwrap_or(PROXYING);
    if let Some(other) = given.next() {
        bail!("{command} and {other} cannot be given together: choose one");
    }
    let has_manifests = !args.manifests.is_empty();
    // A dry run takes all options of the proxy that it stands for, so that an operator can add --dry-run to them.
    let scoped: [Scoped; 10] = [
        ("-o wide", args.output == OutputFormat::Wide, &["get"]),
        ("--against", args.against.is_some(), &["--dry-run", "explain"]),
        ("--force", args.force, &["--cleanup"]),
        ("--timeout", args.timeout.is_some(), &["--dry-run", "--once", "explain", "get"]),
        ("--take-over", args.take_over.is_some(), &[PROXYING, "--once", "--watch", "--dry-run"]),
        ("--beside-other-proxy", args.beside_other_proxy, &[PROXYING, "--once", "--watch", "--dry-run"]),
        ("--drift", args.drift.is_some(), &[PROXYING, "--watch", "--dry-run"]),
        ("--record", args.record.is_some(), &[PROXYING, "--once", "--watch", "--dry-run"]),
        ("--manifests", has_manifests, &[PROXYING, "--once", "--watch", "--dry-run", "--init-only", "explain", "get"]),
        (
            "--master",
            args.flags.value("master").is_some(),
            &[PROXYING, "--once", "--dry-run", "--init-only", "explain"],
        ),
    ];
    if let Some((option, _, belongs)) = scoped.iter().find(|(_, given, belongs)| *given && !belongs.contains(&command))
    {
        bail!("{option} has no effect with {command}: it belongs to {}", belongs.join(", "));
    }
    if args.record.as_deref().is_some_and(|path| path.as_os_str() == STDIN) {
        bail!("--record appends to a file, and - is none: name a file (one of this name is ./-)");
    }
    if args.watch && !has_manifests {
        bail!(
            "--watch follows the files of --manifests: give --manifests as well. The API server is followed without it"
        );
    }
    if has_manifests && args.flags.value("master").is_some() {
        bail!(
            "--manifests and --master cannot be given together: objects come either from files or from the API server"
        );
    }
    if has_manifests && args.flags.value("kubeconfig").is_some() {
        bail!(
            "--manifests and --kubeconfig cannot be given together: objects come either from files or from the API server"
        );
    }
    Ok(())
}

impl Args {
    /// What to clean up; none without `--cleanup`, or with `--cleanup=false`.
    pub fn cleans_up(&self) -> Option<CleanUp> {
        self.cleanup.filter(|scope| *scope != CleanUp::Off)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Every command, and every option that belongs to some of them.
    const COMMANDS: [&str; 10] = [
        "--once",
        "--dry-run",
        "--watch",
        "--cleanup",
        "--init-only",
        "--write-config-to=f",
        "replay j",
        "doctor",
        "status",
        "get services n",
    ];
    const OPTIONS: [&str; 8] = [
        "-o=wide",
        "--against=empty",
        "--force",
        "--timeout=5s",
        "--take-over=never",
        "--beside-other-proxy",
        "--record=r",
        "--drift=observe",
    ];

    fn refused(line: &str) -> bool {
        match Args::try_parse_from(format!("pointsman {line}").split_whitespace()) {
            Ok(mut args) => args.read_settings().is_err(),
            Err(_) => true,
        }
    }

    #[test]
    fn no_two_commands_go_together() {
        for first in COMMANDS {
            for second in COMMANDS.iter().filter(|second| **second != first) {
                assert!(refused(&format!("--manifests m {first} {second}")), "{first} {second}");
            }
        }
    }

    #[test]
    fn an_option_without_effect_is_refused_with_every_command_that_ignores_it() {
        let allowed = [
            ("--against=empty", "--dry-run"),
            ("--force", "--cleanup"),
            ("-o=wide", "get services n"),
            ("--timeout=5s", "get services n"),
            ("--timeout=5s", "--dry-run"),
            ("--timeout=5s", "--once"),
            ("--take-over=never", "--once"),
            ("--take-over=never", "--watch"),
            ("--take-over=never", "--dry-run"),
            ("--beside-other-proxy", "--once"),
            ("--beside-other-proxy", "--watch"),
            ("--beside-other-proxy", "--dry-run"),
            ("--record=r", "--once"),
            ("--record=r", "--watch"),
            ("--record=r", "--dry-run"),
            ("--drift=observe", "--watch"),
            ("--drift=observe", "--dry-run"),
        ];
        for option in OPTIONS {
            for command in COMMANDS {
                let manifests =
                    if matches!(command, "--once" | "--dry-run" | "--watch") { "--manifests m" } else { "" };
                let line = format!("{manifests} {option} {command}");
                assert_eq!(refused(&line), !allowed.contains(&(option, command)), "{line}");
            }
        }
    }

    #[test]
    fn every_command_and_a_plain_proxy_are_accepted() {
        for line in [
            "",
            "--once",
            "--dry-run",
            "--manifests m --watch",
            "--cleanup",
            "--cleanup=own --force",
            "--init-only",
            "--write-config-to=f",
            "replay j",
            "doctor",
            "status",
            "get endpoints shop/cart -o wide",
            "--manifests m get clashes",
            "--take-over=force --record r --beside-other-proxy",
            "--cleanup=false --once",
            "--init-only=false --once",
        ] {
            assert!(!refused(line), "{line}");
        }
        for line in ["--watch", "--watch --kubeconfig k", "--cleanup=false --force", "--manifests m --master http://a"]
        {
            assert!(refused(line), "{line}");
        }
    }
}
