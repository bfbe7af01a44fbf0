//! Shares strings that occur in many objects: namespaces, node names, port names.

use std::collections::BTreeSet;
use std::sync::Arc;

/// When so many strings are known they are forgotten, so that names of the past do not pile up.
const LIMIT: usize = 1 << 16;

/// A set of strings that are handed out as shared copies. Owned by one source; forgetting costs memory, never truth.
#[derive(Debug, Default)]
pub struct Interner(BTreeSet<Arc<str>>);

impl Interner {
    /// The shared copy of a string.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        if self.0.len() >= LIMIT {
            self.0.clear();
        }
        let shared: Arc<str> = text.into();
        self.0.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_one_allocation() {
        let mut names = Interner::default();
        assert!(Arc::ptr_eq(&names.share("node-1"), &names.share("node-1")));
    }

    #[test]
    fn the_set_is_bounded() {
        let mut names = Interner::default();
        for i in 0..LIMIT + 10 {
            names.share(&i.to_string());
        }
        assert!(names.0.len() <= LIMIT);
    }
}
