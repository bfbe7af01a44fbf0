//! The service ports that ask for the same frontend, and which of them has it.

use std::sync::Arc;

use super::compile::{ClaimClass, FrontendSpec};

/// The service ports that ask for one frontend, the winner first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    winner: Arc<FrontendSpec>,
    losers: Losers,
}

/// Why one claim to a frontend comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimRule {
    /// The API server allocated the address to the winner.
    ClusterIp,
    /// The winner has endpoints, the loser none.
    HasEndpoints,
    /// The winner's Service is older.
    Older,
    /// Neither is older: the winner is first by namespace, name and port.
    FirstByName,
}

/// The claims that lost, in order of rank; nearly always none, and then without an allocation.
pub(super) type Losers = Option<Arc<Vec<Arc<FrontendSpec>>>>;

impl Claims {
    /// The service port that has the frontend: the first by rank.
    pub fn winner(&self) -> &Arc<FrontendSpec> {
        &self.winner
    }

    /// The service ports that ask for the frontend too, and wait.
    pub fn losers(&self) -> &[Arc<FrontendSpec>] {
        self.losers.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Why the winner comes before this claim.
    pub fn rule(&self, loser: &FrontendSpec) -> ClaimRule {
        let age = |spec: &FrontendSpec| (spec.created.is_none(), spec.created);
        match (self.winner.claim_class(), loser.claim_class()) {
            (winner, loser) if winner != loser && winner == ClaimClass::ClusterIp => ClaimRule::ClusterIp,
            (winner, loser) if winner != loser => ClaimRule::HasEndpoints,
            _ if age(&self.winner) == age(loser) => ClaimRule::FirstByName,
            _ => ClaimRule::Older,
        }
    }

    /// The losers, to keep: cloning costs O(1).
    pub(super) fn shared_losers(&self) -> &Losers {
        &self.losers
    }

    /// Adds a claim of the last rank.
    pub(super) fn add_last(&mut self, spec: Arc<FrontendSpec>) {
        Arc::make_mut(self.losers.get_or_insert_default()).push(spec);
    }

    /// Withdraws the claim `old` and adds the claim `new`. False if no claim is left.
    pub(super) fn exchange(&mut self, old: Option<&FrontendSpec>, new: Option<Arc<FrontendSpec>>) -> bool {
        // Nearly always: another version of the only claim.
        match new {
            Some(new) if self.losers.is_none() && old == Some(&*self.winner) => self.winner = new,
            new => {
                let mut specs: Vec<_> = std::iter::once(&self.winner).chain(self.losers()).cloned().collect();
                if let Some(at) = specs.iter().position(|other| old == Some(&**other)) {
                    specs.remove(at);
                }
                if let Some(new) = new {
                    specs.insert(specs.partition_point(|other| other.rank() <= new.rank()), new);
                }
                let mut specs = specs.into_iter();
                let Some(winner) = specs.next() else { return false };
                *self = Self::from(winner);
                specs.for_each(|spec| self.add_last(spec));
            }
        }
        true
    }
}

impl ClaimRule {
    /// The code.
    pub fn code(self) -> &'static str {
        match self {
            Self::ClusterIp => "cluster-ip",
            Self::HasEndpoints => "has-endpoints",
            Self::Older => "older",
            Self::FirstByName => "first-by-name",
        }
    }

    /// For people: what follows the winner's name.
    pub fn text(self) -> &'static str {
        match self {
            Self::ClusterIp => "holds this frontend: it is its ClusterIP",
            Self::HasEndpoints => "holds this frontend and has endpoints",
            Self::Older => "holds this frontend and is older",
            Self::FirstByName => "holds this frontend, and its name comes first",
        }
    }
}

impl From<Arc<FrontendSpec>> for Claims {
    fn from(winner: Arc<FrontendSpec>) -> Self {
        Self { winner, losers: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists and JSON have the codes, so they stay.
    #[test]
    fn each_rule_has_a_code_and_a_text() {
        let rules = [ClaimRule::ClusterIp, ClaimRule::HasEndpoints, ClaimRule::Older, ClaimRule::FirstByName];
        assert_eq!(rules.map(ClaimRule::code), ["cluster-ip", "has-endpoints", "older", "first-by-name"]);
        let texts = rules.map(ClaimRule::text);
        assert!(texts.iter().all(|text| text.starts_with("holds this frontend")), "{texts:?}");
        assert!((1..texts.len()).all(|n| !texts[..n].contains(&texts[n])), "{texts:?}");
    }
}
