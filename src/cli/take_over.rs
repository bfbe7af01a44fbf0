//! `--take-over`: what becomes of kube-proxy's rules once ours are in the kernel.

use anyhow::Context;
use tokio::sync::oneshot;

use super::args;
use crate::apply::Netlink;
use crate::takeover::{Answers, HEALTH_PORT, Report, Traces, find, remove, who_answers};

/// What was decided at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TakeOver {
    wanted: args::TakeOver,
    answers: Answers,
}

impl TakeOver {
    /// Looks who serves health checks, before we do.
    pub async fn decide(wanted: args::TakeOver) -> Self {
        Self { wanted, answers: who_answers(HEALTH_PORT).await }
    }

    /// Whether kube-proxy's rules are to be removed.
    fn removes(self) -> bool {
        match self.wanted {
            args::TakeOver::Auto => matches!(self.answers, Answers::Nobody | Answers::Pointsman),
            args::TakeOver::Force => true,
            args::TakeOver::Never => false,
        }
    }

    /// Adds to an error about a port that is taken who probably has it.
    pub fn explain(self, error: anyhow::Error) -> anyhow::Error {
        match describe(self.answers) {
            Some(who) => error.context(format!("{who} on port {HEALTH_PORT} of this host: end it first")),
            None => error,
        }
    }

    /// Waits for the first sync, then does what was decided. Ends at once if there will be none.
    pub async fn after(self, first_sync: oneshot::Receiver<()>) {
        if first_sync.await.is_err() {
            return;
        }
        if let Err(error) = self.perform().await {
            tracing::error!("kube-proxy's rules, if there are any, stay: {error:#}");
        }
    }

    async fn perform(self) -> anyhow::Result<()> {
        let mut netlink = Netlink::open()?;
        let traces = find(&mut netlink).await.context("cannot look for kube-proxy's rules")?;
        if self.removes() {
            log(&remove(&mut netlink, &traces).await);
        } else if !traces.is_empty() {
            tracing::warn!("{}", self.beside(&traces));
        }
        Ok(())
    }

    /// Why kube-proxy's rules stay, and what that means.
    fn beside(self, traces: &Traces) -> String {
        let why = match describe(self.answers) {
            Some(who) if self.wanted == args::TakeOver::Auto => format!("{who} on port {HEALTH_PORT} of this host"),
            _ => "--take-over=never says so".to_owned(),
        };
        format!(
            "kube-proxy's rules stay (mode {}), because {why}. Both translate now: the one whose chains were attached last decides, \
             and the other serves what only it knows. End kube-proxy, then run `pointsman --cleanup=kube-proxy` here or start \
             Pointsman anew",
            traces.modes().join(" and ")
        )
    }
}

/// Who answers, as the beginning of a sentence; none if nobody does.
pub(super) fn describe(answers: Answers) -> Option<&'static str> {
    match answers {
        Answers::Nobody => None,
        Answers::KubeProxy => Some("a kube-proxy answers"),
        Answers::Pointsman => Some("another Pointsman answers"),
        Answers::Somebody => Some("something that is no Service proxy listens"),
    }
}

fn log(report: &Report) {
    for what in &report.removed {
        tracing::info!("taken over from kube-proxy; removed: {what}");
    }
    for what in &report.left {
        tracing::warn!("left: {what}");
    }
    for what in &report.warnings {
        tracing::warn!("{what}");
    }
    for what in &report.failed {
        tracing::error!("not removed: {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_proxy_that_runs_are_removed_only_by_force() {
        use args::TakeOver::{Auto, Force, Never};
        for (wanted, answers, removes) in [
            (Auto, Answers::Nobody, true),
            (Auto, Answers::Pointsman, true),
            (Auto, Answers::KubeProxy, false),
            (Auto, Answers::Somebody, false),
            (Force, Answers::KubeProxy, true),
            (Never, Answers::Nobody, false),
        ] {
            assert_eq!(TakeOver { wanted, answers }.removes(), removes, "{wanted:?} {answers:?}");
        }
    }

    #[test]
    fn a_taken_port_is_explained_by_who_answers_there() {
        let explained = |answers| {
            let take_over = TakeOver { wanted: args::TakeOver::Auto, answers };
            format!("{:#}", take_over.explain(anyhow::anyhow!("cannot listen")))
        };
        assert_eq!(explained(Answers::Nobody), "cannot listen");
        assert_eq!(
            explained(Answers::KubeProxy),
            "a kube-proxy answers on port 10256 of this host: end it first: cannot listen"
        );
    }
}
