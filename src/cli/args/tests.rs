use std::collections::BTreeSet;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;
use crate::config::flags::FLAGS;
use crate::dataplane::{LocalPods, Options};

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(line.split_whitespace())
}

fn configured(line: &str) -> anyhow::Result<Args> {
    let mut args = parse(line)?;
    args.read_settings()?;
    Ok(args)
}

fn args(line: &str) -> Args {
    configured(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refused(line: &str) -> String {
    configured(line).err().unwrap_or_else(|| panic!("{line} is accepted")).to_string()
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn every_flag_of_kube_proxy_is_accepted() {
    let command = Args::command();
    let here: BTreeSet<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    for flag in FLAGS {
        assert!(here.contains(flag.name), "{}", flag.name);
    }
}

#[test]
fn an_address_may_lack_its_port_or_be_empty() {
    let health = |flag: &str| {
        let mut args = Args::try_parse_from(["pointsman", flag]).unwrap();
        args.read_settings()
            .map(|_| args.settings.healthz.map(|address| address.to_string()))
            .map_err(|e| e.to_string())
    };
    let at = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(health("--healthz-bind-address=0.0.0.0"), at("0.0.0.0:10256"));
    assert_eq!(health("--healthz-bind-address=[::1]:1"), at("[::1]:1"));
    assert_eq!(health("--healthz-bind-address=::"), at("[::]:10256"));
    assert_eq!(health("--healthz-bind-address="), Ok(None));
    assert_eq!(health("--healthz-bind-address=none"), Ok(None));
    assert_eq!(health("--healthz-port=0"), Ok(None));
    assert_eq!(health("--healthz-port=80"), at("0.0.0.0:80"));
    for text in ["localhost:1", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:0", ":10256", " "] {
        let error = health(&format!("--healthz-bind-address={text}")).unwrap_err();
        assert!(error.contains("such as 127.0.0.1:10256 or [::]:10256, or none"), "{text:?}: {error}");
    }
}

#[test]
fn a_separate_port_completes_an_address_without_one() {
    let metrics = |line| args(line).settings.metrics.unwrap().to_string();
    assert_eq!(metrics("pointsman --metrics-port 9 --metrics-bind-address ::1"), "[::1]:9");
    assert_eq!(metrics("pointsman --metrics-port 9 --metrics-bind-address 127.0.0.2:8"), "127.0.0.2:8");
    assert_eq!(metrics("pointsman --metrics-port 9"), "127.0.0.1:9");
    assert!(refused("pointsman --metrics-port 65536").contains("--metrics-port"));
}

#[test]
fn the_defaults_are_those_of_kube_proxy_where_it_has_them() {
    let args = args("pointsman");
    assert_eq!(args.settings.metrics.unwrap().to_string(), "127.0.0.1:10249");
    assert_eq!(args.settings.healthz.unwrap().to_string(), "0.0.0.0:10256");
    assert_eq!((args.output, args.against, args.settings.log_format), (OutputFormat::Text, None, LogFormat::Text));
    assert!(!args.once && !args.dry_run && !args.watch && args.command.is_none());
    assert_eq!(args.dual_stack().options, Options::default());
    assert_eq!(args.settings, Settings::default());
}

#[test]
fn switches_accept_gos_spellings() {
    for (line, on) in [
        ("pointsman --masquerade-all", true),
        ("pointsman --masquerade-all=true", true),
        ("pointsman --masquerade-all=T --watch-timeout 1", true),
        ("pointsman --masquerade-all=false", false),
        ("pointsman --masquerade-all=0", false),
        // The last flag counts.
        ("pointsman --masquerade-all --masquerade-all=false", false),
    ] {
        assert_eq!(args(line).settings.options.masquerade_all, on, "{line}");
    }
    assert!(refused("pointsman --masquerade-all=maybe").contains("--masquerade-all: \"maybe\""));
    assert_eq!(parse("pointsman --masquerade-all false").unwrap_err().kind(), ErrorKind::InvalidSubcommand);
}

#[test]
fn the_version_flag_accepts_a_value() {
    for (line, version) in [
        ("pointsman", VersionFormat::False),
        ("pointsman --version", VersionFormat::True),
        ("pointsman -V", VersionFormat::True),
        ("pointsman --version=raw", VersionFormat::Raw),
        ("pointsman --version=false", VersionFormat::False),
    ] {
        assert_eq!(parse(line).unwrap().version, version, "{line}");
    }
}

#[test]
fn conflicting_and_incomplete_options_are_refused() {
    for (line, kind) in [
        ("pointsman --once --dry-run", ErrorKind::ArgumentConflict),
        ("pointsman --manifests a --watch --once", ErrorKind::ArgumentConflict),
        ("pointsman --manifests a --watch --dry-run", ErrorKind::ArgumentConflict),
        ("pointsman --watch", ErrorKind::MissingRequiredArgument),
        ("pointsman replay", ErrorKind::MissingRequiredArgument),
        ("pointsman --against nothing --dry-run", ErrorKind::InvalidValue),
        ("pointsman --output yaml", ErrorKind::InvalidValue),
        ("pointsman --watch-timeout 0", ErrorKind::ValueValidation),
        ("pointsman --watch-timeout 291", ErrorKind::ValueValidation),
        ("pointsman replay j --until yesterday", ErrorKind::ValueValidation),
        ("pointsman --no-such-option", ErrorKind::UnknownArgument),
    ] {
        assert_eq!(parse(line).err().map(|error| error.kind()), Some(kind), "{line}");
    }
}

#[test]
fn manifests_may_be_repeated_and_be_standard_input() {
    let paths = args("pointsman --manifests a/ --manifests - --dry-run --against empty -o nft").manifests;
    assert_eq!(paths, [Path::new("a/"), Path::new("-")]);
}

#[test]
fn options_that_affect_the_output_may_follow_a_subcommand() {
    let args = args(
        "pointsman replay j --until 7 -o json --hostname-override node-a --cluster-cidr 10.0.0.0/8 --masquerade-all",
    );
    assert_eq!(args.output, OutputFormat::Json);
    assert_eq!(args.node_name().unwrap(), "node-a");
    assert!(args.dual_stack().options.masquerade_all);
    let Some(Subcommand::Replay(replay)) = args.command else { panic!("{args:?}") };
    assert_eq!((replay.file.as_path(), replay.until), (Path::new("j"), Some(ReadUntil::Count(7))));
}

#[test]
fn one_pod_network_of_each_family_is_accepted_in_one_list_or_several() {
    for (line, expected) in [
        ("pointsman", Some(vec![])),
        ("pointsman --cluster-cidr 10.0.0.0/8,fd00::/64", Some(vec!["10.0.0.0/8", "fd00::/64"])),
        ("pointsman --cluster-cidr 10.0.0.0/8 --cluster-cidr fd00::/64", Some(vec!["10.0.0.0/8", "fd00::/64"])),
        ("pointsman --cluster-cidr 10.1.2.3/8", Some(vec!["10.0.0.0/8"])),
        ("pointsman --cluster-cidr 10.0.0.0/8,11.0.0.0/8", None),
        ("pointsman --cluster-cidr fd00::/64,10.0.0.0/8,fd01::/64", None),
    ] {
        let configured = configured(line);
        let networks = configured.map(|args| match args.settings.options.local_pods {
            LocalPods::Networks(networks) => networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        assert_eq!(
            networks.ok().as_deref(),
            expected.as_deref().map(|e| e.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).as_deref(),
            "{line}"
        );
    }
}

#[test]
fn all_problems_are_reported_together_under_the_names_of_the_flags() {
    assert_eq!(
        refused(
            "pointsman --cluster-cidr fd00::/64,fd01::/64 --oom-score-adj -1001 --conntrack-udp-timeout 5 --bind-address here \
             --conntrack-min=-1 --iptables-min-sync-period 1m"
        ),
        "--conntrack-udp-timeout: \"5\" is not allowed: expected a duration of 0 or more, such as 30s or 1h0m0s; \
         --bind-address: \"here\" is not allowed: expected an IP address; \
         --oom-score-adj: -1001 is not allowed: expected a whole number from -1000 to 1000; \
         --conntrack-min: -1 is not allowed: expected a whole number from 0; \
         --iptables-min-sync-period: 1m0s is not allowed: expected no more than nftables.syncPeriod, 30s; \
         --cluster-cidr: \"fd00::/64,fd01::/64\" is not allowed: expected at most one network of each family"
    );
}

#[test]
fn the_node_name_is_trimmed_and_in_lower_case() {
    let name = |given: &str| {
        let mut args = Args::try_parse_from(["pointsman", "--hostname-override", given])?;
        args.read_settings()?;
        args.node_name()
    };
    assert_eq!(name("Node-A.Example").unwrap(), "node-a.example");
    assert_eq!(name(" node-b\n").unwrap(), "node-b");
    assert!(name("  ").unwrap_err().to_string().contains("--hostname-override"));
    assert!(!name("").unwrap().is_empty(), "this host's");
}

#[test]
fn only_the_url_of_a_server_is_taken_as_master() {
    for url in ["https://192.0.2.1:6443", "http://localhost:8080/prefix", "https://[fd00::1]:6443"] {
        args(&format!("pointsman --master {url}"));
    }
    args("pointsman --master=");
    for text in ["10.0.0.1:6443", "banana", "/foo", "https://", "ftp://a", "https:///x"] {
        let error = refused(&format!("pointsman --master {text}"));
        assert!(error.contains(text) && error.contains("such as https://192.0.2.1:6443"), "{error}");
    }
}

#[test]
fn cleanup_takes_the_spellings_of_a_switch() {
    for (line, scope) in [
        ("pointsman --cleanup", Some(CleanUp::All)),
        ("pointsman --cleanup=true", Some(CleanUp::All)),
        ("pointsman --cleanup=1", Some(CleanUp::All)),
        ("pointsman --cleanup=own", Some(CleanUp::Own)),
        ("pointsman --cleanup=false", None),
        ("pointsman --cleanup=F", None),
    ] {
        assert_eq!(args(line).cleans_up(), scope, "{line}");
    }
}

#[test]
fn a_timeout_is_a_duration_of_more_than_0() {
    assert_eq!(args("pointsman --dry-run --timeout 1m").timeout, Some(Duration::from_secs(60)));
    for text in ["0", "0s", "-1s", "5", "soon"] {
        let error = parse(&format!("pointsman --dry-run --timeout={text}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ValueValidation, "{text}");
    }
}
