//! Frontends that wait, by the weight of their change.

use std::collections::{BTreeMap, BTreeSet};

use crate::dataplane::Frontend;
use crate::state::{ChangedFrontend, Weight};

/// Frontends in the order of the weights of their changes. Each is in it once.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    order: BTreeSet<(Weight, Frontend)>,
    waiting: BTreeMap<Frontend, ChangedFrontend>,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The frontends that wait, in order of frontends.
    pub fn frontends(&self) -> impl Iterator<Item = Frontend> {
        self.waiting.keys().copied()
    }

    /// Whether a frontend waits.
    pub fn contains(&self, frontend: &Frontend) -> bool {
        self.waiting.contains_key(frontend)
    }

    /// A frontend's change, if it waits.
    pub fn get(&self, frontend: &Frontend) -> Option<ChangedFrontend> {
        self.waiting.get(frontend).copied()
    }

    /// The weight of the smallest change.
    pub fn least_weight(&self) -> Option<Weight> {
        self.order.first().map(|(weight, _)| *weight)
    }

    /// The weight of the largest change.
    pub fn largest_weight(&self) -> Option<Weight> {
        self.order.last().map(|(weight, _)| *weight)
    }

    /// Adds a frontend. One that waits already waits for both changes: it takes the operations of both, with the larger weight. True if it
    /// did not wait.
    pub fn add(&mut self, changed: ChangedFrontend) -> bool {
        let ChangedFrontend { frontend, weight, elements } = changed;
        let Some(waiting) = self.waiting.get_mut(&frontend) else {
            self.waiting.insert(frontend, changed);
            self.order.insert((weight, frontend));
            return true;
        };
        waiting.elements = waiting.elements.saturating_add(elements);
        if weight > waiting.weight {
            self.order.remove(&(waiting.weight, frontend));
            self.order.insert((weight, frontend));
            waiting.weight = weight;
        }
        false
    }

    /// Moves a frontend to where changes of this weight are, if it is behind them.
    pub fn hurry(&mut self, frontend: &Frontend, weight: Weight) {
        if let Some(waiting) = self.waiting.get_mut(frontend).filter(|waiting| waiting.weight > weight) {
            self.order.remove(&(waiting.weight, *frontend));
            self.order.insert((weight, *frontend));
            waiting.weight = weight;
        }
    }

    /// Takes out a frontend.
    pub fn remove(&mut self, frontend: &Frontend) -> Option<ChangedFrontend> {
        let changed = self.waiting.remove(frontend)?;
        self.order.remove(&(changed.weight, *frontend));
        Some(changed)
    }

    /// Takes out the first frontend of the smallest change.
    pub fn pop_first(&mut self) -> Option<ChangedFrontend> {
        let (_, frontend) = self.order.pop_first()?;
        self.waiting.remove(&frontend)
    }

    /// Takes out the last frontend of the largest change.
    pub fn pop_last(&mut self) -> Option<ChangedFrontend> {
        let (_, frontend) = self.order.pop_last()?;
        self.waiting.remove(&frontend)
    }
}
