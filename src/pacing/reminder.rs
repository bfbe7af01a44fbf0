//! When to name a failure that lasts.

use std::time::Duration;

use super::Moment;

/// Says a thing at once, and again after each `every` for as long as it lasts.
#[derive(Clone, Copy, Debug)]
pub struct Reminder {
    every: Duration,
    last: Option<Moment>,
}

impl Reminder {
    /// Nothing was said yet.
    pub const fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// Whether to say it now. If so, that counts as said.
    pub fn is_due(&mut self, now: Moment) -> bool {
        let due = self.last.is_none_or(|last| now.since(last) >= self.every);
        if due {
            self.last = Some(now);
        }
        due
    }

    /// It is over: the next time it is said at once.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_then_now_and_then_and_at_once_after_its_end() {
        let start = Moment::default();
        let mut reminder = Reminder::new(Duration::from_secs(300));
        let due = [0, 1, 299, 300, 301, 599, 600].map(|s| reminder.is_due(start + Duration::from_secs(s)));
        assert_eq!(due, [true, false, false, true, false, false, true]);
        reminder.reset();
        assert!(reminder.is_due(start + Duration::from_secs(601)));
    }
}
