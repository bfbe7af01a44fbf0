use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(line.split_whitespace())
}

fn args(line: &str) -> Args {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn addresses_may_lack_the_port_or_be_empty() {
    let parse = |text| bind_address::<10256>(text).map(|address| address.0.map(|a| a.to_string()));
    assert_eq!(parse("0.0.0.0"), Ok(Some("0.0.0.0:10256".to_owned())));
    assert_eq!(parse("[::1]:1"), Ok(Some("[::1]:1".to_owned())));
    assert_eq!(parse("::"), Ok(Some("[::]:10256".to_owned())));
    assert_eq!(parse(""), Ok(None));
    for text in ["localhost:1", "1.2.3.4:", "1.2.3.4:65536", ":10256", " "] {
        let error = parse(text).unwrap_err();
        assert!(error.contains("such as 127.0.0.1:10256 or [::]:10256, or \"\""), "{text:?}: {error}");
    }
}

#[test]
fn the_defaults_are_those_of_kube_proxy_where_it_has_them() {
    let args = args("pointsman");
    assert_eq!(args.metrics_bind_address.0.unwrap().to_string(), "127.0.0.1:10249");
    assert_eq!(args.healthz_bind_address.0.unwrap().to_string(), "0.0.0.0:10256");
    assert_eq!((args.output, args.against, args.log_format), (Format::Text, Against::Kernel, LogFormat::Text));
    assert!(!args.once && !args.dry_run && !args.watch && !args.masquerade_all && args.command.is_none());
    assert_eq!(args.options().unwrap(), Options::default());
}

#[test]
fn options_that_contradict_or_lack_each_other_are_refused() {
    for (line, kind) in [
        ("pointsman --manifests a --kubeconfig b", ErrorKind::ArgumentConflict),
        ("pointsman --once --dry-run", ErrorKind::ArgumentConflict),
        ("pointsman --manifests a --watch --once", ErrorKind::ArgumentConflict),
        ("pointsman --manifests a --watch --dry-run", ErrorKind::ArgumentConflict),
        ("pointsman --watch", ErrorKind::MissingRequiredArgument),
        ("pointsman --against empty", ErrorKind::MissingRequiredArgument),
        ("pointsman replay", ErrorKind::MissingRequiredArgument),
        ("pointsman --against nothing --dry-run", ErrorKind::InvalidValue),
        ("pointsman --output yaml", ErrorKind::InvalidValue),
        ("pointsman --watch-timeout 0", ErrorKind::ValueValidation),
        ("pointsman --watch-timeout 291", ErrorKind::ValueValidation),
        ("pointsman --cluster-cidr 10.0.0.0", ErrorKind::ValueValidation),
        ("pointsman --cluster-cidr 10.0.0.0/33", ErrorKind::ValueValidation),
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
fn what_decides_the_output_may_follow_a_subcommand() {
    let args = args(
        "pointsman replay j --until 7 -o json --hostname-override node-a --cluster-cidr 10.0.0.0/8 --masquerade-all",
    );
    assert_eq!(args.output, Format::Json);
    assert_eq!(args.node_name().unwrap(), "node-a");
    assert!(args.options().unwrap().masquerade_all);
    let Some(Command::Replay(replay)) = args.command else { panic!("{args:?}") };
    assert_eq!((replay.file.as_path(), replay.until), (Path::new("j"), Some(Until::Count(7))));
}

#[test]
fn at_most_one_pod_network_of_each_family_is_taken_in_one_list_or_several() {
    for (line, expected) in [
        ("pointsman", Some(vec![])),
        ("pointsman --cluster-cidr 10.0.0.0/8,fd00::/64", Some(vec!["10.0.0.0/8", "fd00::/64"])),
        ("pointsman --cluster-cidr 10.0.0.0/8 --cluster-cidr fd00::/64", Some(vec!["10.0.0.0/8", "fd00::/64"])),
        ("pointsman --cluster-cidr 10.1.2.3/8", Some(vec!["10.0.0.0/8"])),
        ("pointsman --cluster-cidr 10.0.0.0/8,11.0.0.0/8", None),
        ("pointsman --cluster-cidr fd00::/64,10.0.0.0/8,fd01::/64", None),
    ] {
        let options = args(line).options();
        let networks = options.map(|options| match options.local_pods {
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
fn a_second_pod_network_is_refused_by_name() {
    let error = args("pointsman --cluster-cidr fd00::/64,fd01::/64").scope().unwrap_err();
    let expected = "--cluster-cidr has more than one IPv6 network: at most one of each family is possible";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_nodes_name_is_trimmed_and_in_lower_case() {
    let mut args = args("pointsman --hostname-override Node-A.Example");
    assert_eq!(args.node_name().unwrap(), "node-a.example");
    args.hostname_override = Some(" node-b\n".to_owned());
    assert_eq!(args.node_name().unwrap(), "node-b");
    args.hostname_override = Some("  ".to_owned());
    assert!(args.node_name().unwrap_err().to_string().contains("--hostname-override"));
    args.hostname_override = None;
    assert!(!args.node_name().unwrap().is_empty(), "this host's");
}

#[test]
fn a_path_to_nft_is_taken_as_it_is_and_a_name_is_looked_for() {
    assert_eq!(args("pointsman --nft ./nft").nft_program(), Path::new("./nft"));
    assert_eq!(args("pointsman --nft /opt/nft").nft_program(), Path::new("/opt/nft"));
    assert!(args("pointsman --nft sh").nft_program().is_absolute());
    assert_eq!(args("pointsman --nft no-such-program").nft_program(), Path::new("no-such-program"));
}
