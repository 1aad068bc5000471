//! Whether rows have keys of their own, told before the server is asked.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use sqlx::TypeInfo as _;

use super::{encoder::Encoder, stage::Stage};

/// Of more rows than this, 8 MiB, it is not told.
const MOST: usize = 1 << 20;

/// A number for each key that has come, the same for the same values.
///
/// To find the first row of each key takes the server a sixth of a merge, where most calls have no key twice.
pub(super) struct Keys {
    /// Nothing where it cannot be told.
    seen: Option<Vec<u64>>,
    positions: Vec<usize>,
    hasher: RandomState,
}

impl Keys {
    /// Only whole numbers are one key where their bytes are the same, and nowhere else.
    pub(super) fn new(stage: &Stage) -> Self {
        let positions: Vec<usize> = stage.key_positions().collect();
        let are_whole = positions.iter().all(|&position| stage.types[position].name().contains("INT"));
        Self { seen: are_whole.then(Vec::new), positions, hasher: RandomState::new() }
    }

    /// Adds the keys of so many rows of `width` columns.
    pub(super) fn add(&mut self, values: &Encoder, rows: usize, width: usize) {
        let Some(seen) = &mut self.seen else { return };
        if seen.len() + rows > MOST {
            self.seen = None;
            return;
        }
        for row in 0..rows {
            let mut hasher = self.hasher.build_hasher();
            for position in &self.positions {
                hasher.write(values.value(row * width + position));
            }
            seen.push(hasher.finish());
        }
    }

    /// Whether no key has come twice. A key that looks like another counts as that.
    pub(super) fn are_distinct(self) -> bool {
        self.seen.is_some_and(|mut seen| {
            seen.sort_unstable();
            seen.windows(2).all(|pair| pair[0] != pair[1])
        })
    }
}
