//! What a new user tries: servers that do not answer, journals that end early, and output to a pipe.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::apiserver::{self, ApiServer, Fault, Resource};
use crate::{EXAMPLES, POINTSMAN, run};

/// A dry run against this server that gives up after a second: the exit code and the log.
fn dry_run(server: &ApiServer, args: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = server.write_kubeconfig(folder.path());
    let mut command = Command::new(POINTSMAN);
    command.args(["--dry-run", "--against", "empty", "--hostname-override", "n1", "--kubeconfig"]).arg(kubeconfig);
    let (code, stdout, stderr) = run(command.args(args));
    assert_eq!(stdout, "", "{stderr}");
    (code, stderr)
}

#[test]
fn a_dry_run_gives_up_on_a_server_that_does_not_answer() {
    let mut server = ApiServer::start();
    server.down();
    let (code, log) = dry_run(&server, &["--timeout", "1s"]);
    assert_eq!(code, Some(2), "{log}");
    for words in ["no complete lists within 1s", "--timeout", "cannot watch"] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
}

#[test]
fn what_a_server_answers_is_said_in_words() {
    for (status, words) in [(401, "does not accept our credentials"), (403, "Allow our service account")] {
        let server = ApiServer::start();
        server.apply(apiserver::service("default/web", "10.96.0.10"));
        for resource in [Resource::Services, Resource::EndpointSlices] {
            server.fail(resource, None, Fault::Status(status), None);
        }
        let (code, log) = dry_run(&server, &["--timeout=1s"]);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(&format!("the server answers {status}")) && log.contains(words), "{log}");
        assert!(!log.contains("Status {") && !log.contains("Some("), "{log}");
    }
}

#[test]
fn a_journal_that_ends_before_the_lists_gives_no_plan() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    let mut record = Command::new(POINTSMAN);
    record.args(["--manifests", EXAMPLES, "--dry-run", "--against", "empty", "--hostname-override", "node-a"]);
    assert_eq!(run(record.arg("--record").arg(&journal).stdin(Stdio::null())).0, Some(1));
    let replay = |until: &str| run(Command::new(POINTSMAN).arg("replay").arg(&journal).args(["--until", until]));
    let (code, stdout, stderr) = replay("1");
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert!(stderr.contains("the node would have programmed nothing"), "{stderr}");
    let all = fs::read_to_string(&journal).expect("text").lines().count();
    let (code, plan, stderr) = replay(&all.to_string());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(plan.contains("Plan: "), "{plan}");
    for (until, name) in [
        ((all + 1).to_string(), format!("event {}", all + 1)),
        ("2999-01-01T00:00:00Z".into(), "2999-01-01T00:00:00Z".into()),
    ] {
        let (code, stdout, stderr) = replay(&until);
        assert_eq!((code, &stdout), (Some(0), &plan), "{stderr}");
        let expected = format!("the journal ends before {name}: its last event is number {all}, of 20");
        assert!(stderr.contains(&expected), "{stderr}");
    }
}

#[test]
fn a_written_configuration_can_go_into_a_pipe() {
    let (code, stdout, _) = run(Command::new(POINTSMAN).args(["--cluster-cidr=10.0.0.0/8", "--write-config-to=-"]));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("clusterCIDR: 10.0.0.0/8\n"), "{stdout}");
    assert!(!std::path::Path::new("-").exists());
}

#[test]
fn an_empty_variable_for_the_log_level_counts_as_none_and_a_misspelt_one_is_refused() {
    let with = |level: &str| {
        let mut command = Command::new(POINTSMAN);
        command.args(["--dry-run", "--against", "empty", "--manifests", EXAMPLES, "--hostname-override", "node-a"]);
        run(command.env("POINTSMAN_LOG", level).stdin(Stdio::null()))
    };
    assert_eq!(with("").0, Some(1));
    let (code, stdout, stderr) = with("inof");
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("$POINTSMAN_LOG") && stderr.contains("\"inof\" is no level"), "{stderr}");
}
