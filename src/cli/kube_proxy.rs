//! kube-proxy's flags on the command line, from the table in [`crate::config::flags`].

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::flags::{FLAGS, Flag};

/// The flags that were given, with their values.
#[derive(Clone, Debug, Default)]
pub(super) struct KubeProxyFlags {
    /// In the table's order.
    pub given: Vec<(&'static Flag, String)>,
}

impl KubeProxyFlags {
    /// The value that a flag was given; none if it was not given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(flag, _)| flag.name == name).map(|(_, value)| value.as_str())
    }
}

impl clap::Args for KubeProxyFlags {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().filter(|flag| !flag.declared).map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for KubeProxyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for flag in FLAGS.iter().filter(|flag| !flag.declared) {
            if matches.value_source(flag.name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let mut values = Vec::new();
            for value in matches.get_many::<OsString>(flag.name).into_iter().flatten() {
                let not_text = || {
                    clap::Error::raw(
                        ErrorKind::InvalidUtf8,
                        format!("the value of --{} is not UTF-8 text\n", flag.name),
                    )
                };
                values.push(value.to_str().ok_or_else(not_text)?);
            }
            given.push((flag, values.join(",")));
        }
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(flag: &'static Flag) -> Arg {
    let (value_name, default) = flag.value_name_and_default();
    let mut help = match (flag.is_ignored(), default) {
        (true, _) => format!("Ignored: {}", flag.explanation()),
        (false, Some(default)) => format!("{} [default: {default}]", capitalised(flag.explanation())),
        (false, None) => capitalised(flag.explanation()),
    };
    if !flag.possible_values().is_empty() {
        help = format!("{help} [possible values: {}]", flag.possible_values().join(", "));
    }
    let heading = if flag.is_ignored() { "Ignored options of kube-proxy" } else { "Options of kube-proxy" };
    // A list may be given in several parts.
    let action = if flag.is_list() { ArgAction::Append } else { ArgAction::Set };
    let argument = Arg::new(flag.name)
        .long(flag.name)
        .help(help.replace('`', ""))
        .help_heading(heading)
        .value_name(value_name)
        .value_parser(clap::value_parser!(OsString))
        .action(action)
        .global(flag.program)
        .hide_short_help(flag.is_ignored())
        // A negative number is a value, not a flag.
        .allow_negative_numbers(true);
    let argument = if flag.name == "v" { argument.short('v') } else { argument };
    if flag.switch { argument.num_args(0..=1).require_equals(true).default_missing_value("true") } else { argument }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
