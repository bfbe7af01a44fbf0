use std::os::unix::process::ExitStatusExt;

use super::*;

const FAILED: i32 = 1 << 8;

fn error_for(stderr: &str) -> Error {
    failure("testing", ExitStatus::from_raw(FAILED), stderr)
}

#[test]
fn refusals_are_recognised_by_the_messages_of_nft_1_1_3() {
    #[rustfmt::skip]
    let cases = [
        ("internal:0:0-0: Error: Could not process rule: No such file or directory\n\n", Refusal::Missing),
        ("internal:0:0-0: Error: No such file or directory\n\n", Refusal::Missing),
        ("Error: No such file or directory\nlist table ip x\n              ^\n", Refusal::Missing),
        ("internal:0:0-0: Error: element does not exist\n\n", Refusal::Missing),
        ("internal:0:0-0: Error: Could not process rule: File exists\n\n", Refusal::Exists),
        ("internal:0:0-0: Error: interval overlaps with an existing one\n\n", Refusal::Exists),
        ("internal:0:0-0: Error: Could not process rule: Device or resource busy\n\n", Refusal::Busy),
        ("internal:0:0-0: Error: Could not resolve hostname: Temporary failure in name resolution\n\n", Refusal::Other),
        ("/dev/stdin:1:1-1: Error: syntax error, unexpected '{'\n{\"nftables\":[\n^\n", Refusal::Other),
        ("", Refusal::Other),
    ];
    for (stderr, refusal) in cases {
        assert_eq!(error_for(stderr).refusal(), Some(refusal), "{stderr}");
    }
}

#[test]
fn a_missing_permission_is_no_refusal() {
    for stderr in [
        "Operation not permitted (you must be root)\nnetlink: Error: cache initialization failed: Operation not permitted\n",
        "internal:0:0-0: Error: Could not process rule: Operation not permitted\n",
        "Permission denied\n",
    ] {
        assert!(matches!(error_for(stderr), Error::NotPermitted { .. }), "{stderr}");
        assert_eq!(error_for(stderr).refusal(), None);
        assert!(error_for(stderr).to_string().ends_with("Run as root, or give the process the capability NET_ADMIN"));
    }
}

#[test]
fn a_kernel_without_nf_tables_is_no_refusal() {
    for stderr in
        ["Unable to initialize Netlink socket: Protocol not supported\n", "netlink: Error: Protocol not supported\n"]
    {
        assert!(matches!(error_for(stderr), Error::NoKernelSupport { .. }), "{stderr}");
    }
}

#[test]
fn the_messages_of_nft_are_joined_to_one_line() {
    let error = error_for("Error: one\n  list table ip x\n\n   ^\n");
    let text = error.to_string();
    assert!(
        text.starts_with("refused while testing; the batch changed nothing: Error: one; list table ip x; ^. "),
        "{text}"
    );
}

#[test]
fn an_nft_without_messages_is_reported_by_its_exit_status() {
    let killed = failure("testing", ExitStatus::from_raw(9), "\n");
    let text = killed.to_string();
    assert!(
        text.contains("refused while testing; the batch changed nothing: nft ended with signal: 9 (SIGKILL). "),
        "{text}"
    );
}

/// Runs a shell script in place of nft.
async fn shell(script: &str, input: &[u8]) -> Result<Vec<u8>, Error> {
    run(Path::new("/bin/sh"), &["-c", script], input.to_vec(), "testing").await
}

#[tokio::test]
async fn the_output_is_returned() {
    assert_eq!(shell("cat", b"a batch").await.unwrap(), b"a batch");
}

#[tokio::test]
async fn a_program_that_does_not_read_its_input_is_judged_by_its_exit_status() {
    let large = vec![b'x'; 1 << 20];
    assert_eq!(shell("exec 0<&-; echo done", &large).await.unwrap(), b"done\n");
    let refused = shell("exec 0<&-; echo 'Error: File exists' >&2; exit 1", &large).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::Exists));
}

#[tokio::test]
async fn input_and_output_larger_than_a_pipe_do_not_block() {
    let large = vec![b'x'; 1 << 20];
    assert_eq!(shell("cat; head -c 1000000 /dev/zero >&2", &large).await.unwrap().len(), large.len());
}

#[tokio::test]
async fn the_program_gets_no_environment_except_the_language() {
    let environment = String::from_utf8(shell("/usr/bin/env", b"").await.unwrap()).unwrap();
    assert!(environment.lines().any(|line| line == "LC_ALL=C"), "{environment}");
    assert!(!environment.lines().any(|line| line.starts_with("HOME=") || line.starts_with("CARGO")), "{environment}");
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let error = run(Path::new("/nowhere/nft"), &[], Vec::new(), "testing").await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { .. }));
    assert!(error.to_string().starts_with("cannot run /nowhere/nft: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_does_not_end_is_killed_at_the_timeout() {
    let error = shell("exec sleep 600", b"").await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { limit: RUN_TIMEOUT, .. }), "{error}");
}
