//! Finding the frontends that the kernel refuses, when whole plans were refused again and again.
//!
//! Plans of a moderate size are tried. After the first refusal the foundation is committed alone: the program, and the shared elements that
//! frontends need. From then on a plan that is refused is halved, down to single frontends, or the few of one new address. It takes about
//! log2(frontends of a plan) commits for each frontend that is refused. A refused batch changes nothing, so the tables stay known.

use std::collections::BTreeMap;

use super::backlog::{Backlog, Comparison, Selection};
use crate::dataplane::{Family, Frontend, SetName};
use crate::diff::{Plan, SharedElement};

/// About how many operations a plan has, to begin with: few enough not to keep the kernel busy for long.
const OPERATIONS: usize = 2_000;
/// More refusals than this, and none that was accepted: the reason is not in single frontends.
const MAX_REFUSED_WITHOUT_SUCCESS: usize = 16;
/// The most groups that are searched for. Beyond that the search is given up.
const MAX_REFUSED: usize = 256;

/// A search.
#[derive(Clone, Debug, Default)]
pub(super) struct Bisect {
    foundation: Foundation,
    /// Groups of frontends that are to be tried together, the next at the end.
    ahead: Vec<Vec<Vec<Frontend>>>,
    /// The refused frontends, and what the kernel said.
    refused: BTreeMap<Frontend, String>,
    /// How many groups were refused.
    refusals: usize,
    /// The tables work: they hold other frontends.
    tables_work: bool,
    /// How many plans with frontends the kernel accepted.
    successes: usize,
}

/// Whether the program and what all frontends need was tried alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Foundation {
    /// Nothing was refused yet.
    #[default]
    Untried,
    /// It is next.
    Due,
    /// It was tried.
    Tried,
}

impl Bisect {
    /// A search in tables that work, or that hold no frontend so far.
    pub fn new(tables_work: bool) -> Self {
        Self { tables_work, ..Self::default() }
    }

    /// The keys of the next plan.
    pub fn select(&mut self, backlog: &mut Backlog, with: Comparison<'_>) -> Selection {
        if self.foundation == Foundation::Due {
            self.foundation = Foundation::Tried;
            return backlog.select_foundation(with);
        }
        match self.ahead.pop() {
            Some(groups) => Selection::from_groups(&groups, with),
            None => backlog.select(with, OPERATIONS, true),
        }
    }

    /// Whether nothing is left to be tried but what the backlog has.
    pub fn is_done(&self) -> bool {
        self.foundation != Foundation::Due && self.ahead.is_empty()
    }

    /// The kernel accepted a plan.
    pub fn accepted(&mut self, plan: &Plan) {
        self.successes += usize::from(!plan.frontends.is_empty());
        // One that was refused may have changed since.
        plan.frontends.iter().for_each(|change| drop(self.refused.remove(&change.frontend)));
    }

    /// The kernel refused a plan. False if that gives no hope to find single frontends.
    pub fn refused(&mut self, selection: Selection, says: &str, backlog: &mut Backlog) -> bool {
        let mut groups = selection.groups();
        let is_first = self.foundation == Foundation::Untried;
        // What frontends need has to be there before their halves are.
        let needs = |element: &SharedElement| matches!(element.set, SetName::Hairpin | SetName::NodeportIps);
        if is_first || (!groups.is_empty() && selection.shared.iter().any(needs)) {
            self.foundation = Foundation::Due;
        }
        let is_alone = !is_first && groups.len() == 1 && selection.shared.len() <= 1;
        backlog.add_shared(selection.shared);
        match groups.len() {
            // The first plan may have been refused for its program: the foundation tells.
            0 => return is_first,
            1 if is_alone => {
                self.refusals += 1;
                let most = if self.successes > 0 { MAX_REFUSED } else { MAX_REFUSED_WITHOUT_SUCCESS };
                if self.refusals > most {
                    return false;
                }
                let group = groups.remove(0);
                self.refused.extend(group.into_iter().map(|frontend| (frontend, says.to_owned())));
            }
            1 => self.ahead.push(groups),
            _ => {
                let second = groups.split_off(groups.len() / 2);
                self.ahead.extend([second, groups]);
            }
        }
        // If the kernel accepts nothing at all, it may be for another reason.
        self.tables_work || self.successes > 0 || !(self.is_done() && backlog.is_empty())
    }

    /// Whether a frontend of this family is refused or still to be tried.
    pub fn concerns(&self, family: Family) -> bool {
        let mut ahead = self.ahead.iter().flatten().flatten();
        ahead.any(|frontend| frontend.family() == family) || self.refused.keys().any(|it| it.family() == family)
    }

    /// Whether this frontend was found to be refused.
    #[cfg(test)]
    pub fn has_refused(&self, frontend: &Frontend) -> bool {
        self.refused.contains_key(frontend)
    }

    /// The refused frontends, and what the kernel said.
    pub fn into_refused(self) -> BTreeMap<Frontend, String> {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::frontend;
    use crate::state::SharedDemand;

    fn selection(frontends: &[&str]) -> Selection {
        Selection {
            frontends: frontends.iter().map(|text| frontend(text)).collect(),
            group_ends: (1..=frontends.len()).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn a_search_concerns_the_families_of_what_is_refused_or_still_to_be_tried() {
        let v4 = selection(&["10.96.0.1 80/tcp"]);
        let mut bisect = Bisect { foundation: Foundation::Tried, successes: 1, ..Bisect::default() };
        assert!(bisect.refused(v4, "no", &mut Backlog::default()));
        assert!(bisect.concerns(Family::Ip) && !bisect.concerns(Family::Ip6));
        let v6 = selection(&["fd00::1 80/tcp", "fd00::2 80/tcp"]);
        bisect = Bisect { foundation: Foundation::Tried, successes: 1, ..Bisect::default() };
        assert!(bisect.refused(v6, "no", &mut Backlog::default()));
        assert!(bisect.concerns(Family::Ip6) && !bisect.concerns(Family::Ip));
    }

    #[test]
    fn a_refused_plan_without_frontends_gives_no_hope_unless_it_was_the_first() {
        for (foundation, hope) in [(Foundation::Untried, true), (Foundation::Tried, false)] {
            let mut bisect = Bisect { foundation, successes: 1, ..Bisect::default() };
            assert_eq!(bisect.refused(Selection::default(), "no", &mut Backlog::default()), hope);
            assert!(bisect.ahead.is_empty());
        }
    }

    #[test]
    fn the_foundation_is_tried_once_unless_what_was_refused_has_a_part_of_it() {
        let mut bisect = Bisect { foundation: Foundation::Tried, successes: 1, ..Bisect::default() };
        bisect.refused(selection(&["10.96.0.1 80/tcp", "10.96.0.2 80/tcp"]), "no", &mut Backlog::default());
        assert_eq!(bisect.foundation, Foundation::Tried);
        let element = SharedElement::from(SharedDemand::NodePortAddress("192.0.2.1".parse().unwrap()));
        let with_part = Selection { shared: vec![element], ..selection(&["10.96.0.1 80/tcp"]) };
        bisect.refused(with_part, "no", &mut Backlog::default());
        assert_eq!(bisect.foundation, Foundation::Due);
    }
}
