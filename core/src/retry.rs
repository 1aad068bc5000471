//! How long to wait before work that lost against another transaction is done again.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// How often a call on a pool does its work before it gives the error back.
pub(crate) const TRIES: u32 = 5;

/// The tries of one call.
pub(crate) struct Retry {
    done: u32,
}

impl Retry {
    pub(crate) fn new() -> Self {
        Self { done: 0 }
    }

    /// Waits, and says `true`, when there is a try left.
    pub(crate) async fn again(&mut self) -> bool {
        self.done += 1;
        if self.done >= TRIES {
            return false;
        }
        tokio::time::sleep(backoff(self.done, Duration::from_millis(5), Duration::from_millis(500))).await;
        true
    }
}

/// The pause after the try with this number, counted from 1: it doubles each time, and half of it is chance, so that two that collided do not meet again.
pub(crate) fn backoff(tries: u32, first: Duration, longest: Duration) -> Duration {
    let whole = first.saturating_mul(1 << (tries - 1).min(16)).min(longest);
    // A new `RandomState` is seeded anew: chance enough for a pause, without a dependency.
    let chance = RandomState::new().build_hasher().finish() % 1000;
    let half = whole / 2;
    half + half.mul_f64(f64::from(u32::try_from(chance).unwrap_or(0)) / 1000.0)
}
