//! The parts of a table still to be looked at.

use std::collections::VecDeque;

/// Parts left for later at most, so that memory stays flat.
///
/// They are parts that others have in hand.
const MOST_LEFT: usize = 1_000;

/// The rows between two keys, the second one included.
#[derive(Debug, Clone)]
pub(super) struct Span<K> {
    pub(super) after: Option<K>,
    pub(super) up_to: Option<K>,
}

/// The parts still to be looked at, in their order.
pub(super) struct Spans<K> {
    /// The rest of the table.
    table: Option<Span<K>>,
    /// Parts of it in which rows were locked by others.
    left: VecDeque<Span<K>>,
}

impl<K: Clone> Spans<K> {
    /// The table up to its last row, where it has one.
    pub(super) fn up_to(last: Option<K>) -> Self {
        let table = last.map(|last| Span { after: None, up_to: Some(last) });
        Self { table, left: VecDeque::new() }
    }

    /// The rest of the table, and the number of parts left.
    pub(super) fn rest(&self) -> (Option<&Span<K>>, usize) {
        (self.table.as_ref(), self.left.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_none() && self.left.is_empty()
    }

    /// The next part, and true if it was left before.
    pub(super) fn next(&mut self) -> Option<(&mut Span<K>, bool)> {
        match &mut self.table {
            Some(table) if self.left.len() < MOST_LEFT => Some((table, false)),
            _ => self.left.front_mut().map(|span| (span, true)),
        }
    }

    /// Removes the next part, as nothing is left in it.
    pub(super) fn next_is_done(&mut self, was_left: bool) {
        if was_left {
            self.left.pop_front();
        } else {
            self.table = None;
        }
    }

    /// Leaves the rows of a page that were not seen.
    ///
    /// They are left for later in as few parts as there are. Each key comes with true if it was seen.
    pub(super) fn leave(&mut self, after: Option<K>, page: impl Iterator<Item = (K, bool)>) {
        let mut last_seen = after;
        let mut open: Option<Span<K>> = None;
        for (key, was_seen) in page {
            if was_seen {
                self.left.extend(open.take());
                last_seen = Some(key);
            } else {
                let after = last_seen.clone();
                open.get_or_insert(Span { after, up_to: None }).up_to = Some(key);
            }
        }
        self.left.extend(open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(page: &[u8], seen: &[u8]) -> Vec<(Option<u8>, Option<u8>)> {
        let mut spans = Spans { table: None, left: VecDeque::new() };
        spans.leave(None, page.iter().map(|key| (*key, seen.contains(key))));
        spans.left.into_iter().map(|span| (span.after, span.up_to)).collect()
    }

    #[test]
    fn what_was_not_seen_is_left_and_nothing_else() {
        assert_eq!(left(&[1, 2, 3], &[1, 2, 3]), []);
        assert_eq!(left(&[1, 2, 3], &[]), [(None, Some(3))]);
        assert_eq!(left(&[1, 2, 3, 4, 5], &[1, 4]), [(Some(1), Some(3)), (Some(4), Some(5))]);
        assert_eq!(left(&[1, 2, 3], &[2]), [(None, Some(1)), (Some(2), Some(3))]);
        assert_eq!(left(&[], &[]), []);
    }
}
