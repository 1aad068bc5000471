//! Notices a run that does not come nearer to its end.

/// Pages after which the rows to come are first counted.
///
/// Where a filter passes over most of the table, counting takes as long as finding them.
const PAGES: u64 = 16;
const FILTERED_PAGES: u64 = 256;

/// Compares the rows met by a run with those to come.
///
/// Rows that a closure moves ahead of the run are met again; without an end, where it moves them each time.
#[derive(Debug)]
pub(super) struct Pace {
    /// Rows in hand at most, plus enough to make counting worthwhile.
    slack: u64,
    /// Rows to be met before the rest is counted again.
    due: u64,
    /// Rows that were to come when they were counted last.
    ahead: Option<u64>,
}

impl Pace {
    pub(super) fn new(size: usize, concurrency: usize, filtered: bool) -> Self {
        let pages = if filtered { FILTERED_PAGES } else { PAGES };
        let in_hand = (concurrency as u64).saturating_mul(2);
        let slack = pages.saturating_add(in_hand).saturating_mul(size as u64);
        Self { slack, due: slack, ahead: None }
    }

    pub(super) fn is_due(&self, met: u64) -> bool {
        met >= self.due
    }

    /// Tests if the run comes no nearer to its end.
    ///
    /// At least half as many rows are to come as were when they were counted last, though twice as many have been met since.
    pub(super) fn is_lost(&mut self, met: u64, ahead: u64) -> bool {
        let is_lost = self.ahead.is_some_and(|before| ahead >= before.div_ceil(2));
        self.ahead = Some(ahead);
        self.due = met.saturating_add(ahead.saturating_mul(2)).saturating_add(self.slack);
        is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that a run meets, and true if it ends.
    ///
    /// `ahead` tells how many are to come when it has met so many.
    fn run(size: usize, mut ahead: impl FnMut(u64) -> u64) -> (u64, bool) {
        let mut pace = Pace::new(size, 1, false);
        let mut met = 0;
        loop {
            let to_come = ahead(met);
            if pace.is_due(met) && pace.is_lost(met, to_come) {
                return (met, false);
            }
            if to_come == 0 {
                return (met, true);
            }
            met += to_come.min(size as u64);
        }
    }

    #[test]
    fn a_run_over_rows_that_stay_comes_to_its_end() {
        for rows in [0, 1, 31, 32, 33, 1_000, 100_000] {
            assert_eq!(run(2, |met| rows - met), (rows, true));
        }
    }

    #[test]
    fn a_run_beside_which_rows_are_added_ahead_comes_to_its_end() {
        // One for each that is met, spread over what is ahead and what is behind.
        let rows: u64 = 10_000;
        let mut added = 0;
        let (met, at_end) = run(10, |met| {
            added = added.max(met.min(rows) / 2);
            (rows + added).saturating_sub(met)
        });
        assert_eq!((met, at_end), (15_000, true));
    }

    #[test]
    fn a_run_whose_rows_come_again_ends_when_it_has_met_a_few_times_as_many() {
        for rows in [1, 2, 10, 1_000, 100_000] {
            let (met, at_end) = run(10, |_| rows);
            assert!(!at_end && met <= 3 * rows + 2 * (18 * 10 + 10), "{rows}: {met}");
        }
        // Though ever fewer do.
        let (met, at_end) = run(10, |met| 100_000_u64.saturating_sub(met / 1_000).max(1));
        assert!(!at_end && met < 400_000, "{met}");
    }
}
