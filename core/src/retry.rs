//! Tries of work that lost against another transaction, with backoff.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use crate::error::meaning::Meaning;

/// Default number of tries, after which the error is returned.
pub(crate) const ATTEMPTS: u32 = 5;

/// The tries of one call.
pub(crate) struct Retry {
    done: u32,
    spent: u32,
    most: u32,
}

impl Retry {
    pub(crate) fn new(most: u32) -> Self {
        Self { done: 0, spent: 0, most }
    }

    /// Waits before another try; returns false when none is left.
    ///
    /// `error` is what the last try failed with.
    pub(crate) async fn again(&mut self, error: Option<&sqlx::Error>) -> bool {
        self.done += 1;
        self.spent += error.map_or(1, |error| Meaning::of(error).attempts);
        if self.spent >= self.most {
            return false;
        }
        tokio::time::sleep(backoff(self.done, Duration::from_millis(5), Duration::from_millis(500))).await;
        true
    }
}

/// Pause after the try with this number, counted from 1.
///
/// It doubles each time, and half of it is chance, so that two that collided do not meet again.
pub(crate) fn backoff(tries: u32, first: Duration, longest: Duration) -> Duration {
    let whole = first.saturating_mul(1 << (tries - 1).min(16)).min(longest);
    // A new `RandomState` is seeded anew: chance enough for a pause, without a dependency.
    let chance = RandomState::new().build_hasher().finish() % 1000;
    let half = whole / 2;
    half + half.mul_f64(f64::from(u32::try_from(chance).unwrap_or(0)) / 1000.0)
}
