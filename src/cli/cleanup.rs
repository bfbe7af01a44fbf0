//! `--cleanup`: what is ours, and what kube-proxy left, is removed.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::args::{Args, CleanUp};
use super::take_over::describe;
use crate::apply::{Netlink, Removal};
use crate::dataplane::{Family, TABLE};
use crate::takeover::{Answers, HEALTH_PORT, Report, Traces, find, remove, who_answers};

/// Something was not removed.
const FAILED: u8 = 1;

/// The scratch tables that a killed start may have left.
const SCRATCH: &str = "pointsman-self-test";

pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let what = args.cleanup.unwrap_or(CleanUp::All);
    let done = match refusal(what, who_answers(HEALTH_PORT).await) {
        Some(why) if !args.force => Err(anyhow!(why)),
        _ => clean(what).await,
    };
    match done {
        Ok(report) => {
            print(&report).context("cannot write to standard output")?;
            Ok(ExitCode::from(if report.failed.is_empty() { 0 } else { FAILED }))
        }
        Err(error) => {
            tracing::error!("nothing was removed: {error:#}");
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// Why nothing is removed while somebody serves health checks; none if that is fine.
fn refusal(what: CleanUp, answers: Answers) -> Option<String> {
    // The rules of one may go while the other runs.
    let other = match what {
        CleanUp::All => false,
        CleanUp::Own => answers != Answers::Pointsman,
        CleanUp::KubeProxy => answers == Answers::Pointsman,
    };
    let who = describe(answers).filter(|_| !other)?;
    let instead = match (what, answers) {
        (CleanUp::All, Answers::KubeProxy) => " To remove Pointsman's tables only: --cleanup=own.",
        (CleanUp::All, Answers::Pointsman) => " To remove kube-proxy's rules only: --cleanup=kube-proxy.",
        _ => "",
    };
    Some(format!(
        "{who} on port {HEALTH_PORT} of this host, and Services would stop working under it. End it first.{instead} To remove them \
         nevertheless: --force"
    ))
}

async fn clean(what: CleanUp) -> anyhow::Result<Report> {
    let mut netlink = Netlink::open()?;
    let traces = if what == CleanUp::Own { Traces::default() } else { find(&mut netlink).await? };
    let (tables, _) = netlink.list_all().await?;
    let mut report = remove(&mut netlink, &traces).await;
    let ours: &[&str] = if what == CleanUp::KubeProxy { &[] } else { &[TABLE, SCRATCH] };
    for family in Family::ALL {
        for name in ours {
            if tables.iter().any(|table| table.family == family.nft() && table.name == *name) {
                let done = netlink.remove(vec![Removal::Table(family, (*name).to_owned())]).await;
                report.note(format!("table {} {name}", family.nft()), done);
            }
        }
    }
    Ok(report)
}

fn print(report: &Report) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let lines = [("removed", &report.removed), ("left", &report.left), ("failed", &report.failed)];
    for (word, whats) in lines {
        for what in whats {
            writeln!(stdout, "{word}: {what}")?;
        }
    }
    if lines.iter().all(|(_, whats)| whats.is_empty()) {
        writeln!(stdout, "there was nothing to remove")?;
    }
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_runs_is_not_cleaned_up_under() {
        use Answers::{KubeProxy, Nobody, Pointsman, Somebody};
        for (what, answers, refused) in [
            (CleanUp::All, Nobody, false),
            (CleanUp::All, KubeProxy, true),
            (CleanUp::All, Pointsman, true),
            (CleanUp::All, Somebody, true),
            (CleanUp::Own, Nobody, false),
            (CleanUp::Own, KubeProxy, false),
            (CleanUp::Own, Pointsman, true),
            (CleanUp::Own, Somebody, false),
            (CleanUp::KubeProxy, Nobody, false),
            (CleanUp::KubeProxy, KubeProxy, true),
            (CleanUp::KubeProxy, Pointsman, false),
            (CleanUp::KubeProxy, Somebody, true),
        ] {
            let why = refusal(what, answers);
            assert_eq!(why.is_some(), refused, "{what:?} {answers:?}");
            assert!(why.is_none_or(|why| why.contains("--force")));
        }
    }
}
