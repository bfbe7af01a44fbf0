//! Lists that are nearly always empty.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A list that is nearly always empty, and is then no larger than a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::box_collection, reason = "a list takes three words, and this one is nearly always empty")]
pub struct Few<T>(Option<Box<Vec<T>>>);

impl<T> Few<T> {
    /// No entries.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: T) {
        self.0.get_or_insert_default().push(entry);
    }
}

impl<T> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, all: I) {
        all.into_iter().for_each(|entry| self.push(entry));
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut all: Vec<T>) -> Self {
        all.shrink_to_fit();
        Self((!all.is_empty()).then(|| Box::new(all)))
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        Vec::from_iter(all).into()
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Serialize> Serialize for Few<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_a_pointer_and_all_are_written_as_lists() {
        assert_eq!(size_of::<Few<String>>(), size_of::<usize>());
        let mut few: Few<u8> = Vec::with_capacity(3).into();
        assert_eq!(few, Few::new());
        few.push(7);
        assert_eq!(serde_json::to_string(&few).unwrap(), "[7]");
        assert_eq!(serde_json::from_str::<Few<u8>>("[7]").unwrap(), few);
        assert_eq!(serde_json::from_str::<Few<u8>>("[]").unwrap(), Few::new());
    }
}
