//! The order of rows' keys, found before the server is asked.
//!
//! It is whether rows have keys of their own, and come in their order.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use sqlx::TypeInfo as _;

use crate::{backend::mysql::dialect::StagingPlan, backend::mysql::encoding::Encoder};

/// The most keys that are looked at, 8 MiB.
///
/// Of more rows one in two, in four and so on are looked at. Where that misses a key that comes twice, the merge finds it.
const MOST: usize = 1 << 20;

/// Watches whether keys come twice, and whether they come sorted.
///
/// To find the first row of each key takes the server a sixth of a merge of 200,000 rows and more than a third of one of millions, where
/// most calls have no key twice.
pub(super) struct Keys {
    /// `None` if it cannot be told.
    seen: Option<Sample>,
    positions: Vec<usize>,
    /// True for each of the positions whose type has no sign.
    unsigned: Vec<bool>,
    hasher: RandomState,
    /// The last key, while each was larger than the one before.
    risen_to: Option<Vec<i128>>,
}

/// The relation of rows' keys to each other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// One may have come twice.
    #[default]
    Unknown,
    /// None has come twice.
    Distinct,
    /// Each is larger than the one before it.
    Sorted,
}

impl Keys {
    /// Watches the keys of a staging table.
    ///
    /// Only whole numbers are one key where their bytes are the same, and nowhere else.
    pub(super) fn new(stage: &StagingPlan) -> Self {
        let positions: Vec<usize> = stage.key_positions().collect();
        let are_whole = positions.iter().all(|&position| stage.types[position].name().contains("INT"));
        let unsigned = positions.iter().map(|&position| stage.types[position].name().ends_with("UNSIGNED")).collect();
        let risen_to = are_whole.then(Vec::new);
        Self { seen: are_whole.then(Sample::default), positions, unsigned, hasher: RandomState::new(), risen_to }
    }

    /// Adds the keys of so many rows of `width` columns.
    pub(super) fn add(&mut self, values: &Encoder, rows: usize, width: usize) {
        for row in 0..rows {
            if let Some(mut last) = self.risen_to.take()
                && (last.is_empty() || self.key(values, row, width).gt(last.iter().copied()))
            {
                last.clear();
                last.extend(self.key(values, row, width));
                self.risen_to = Some(last);
            }
            let Some(seen) = &mut self.seen else { continue };
            let mut hasher = self.hasher.build_hasher();
            for position in &self.positions {
                hasher.write(values.value(row * width + position));
            }
            if !seen.add(hasher.finish(), MOST) {
                self.seen = None;
            }
        }
    }

    /// Returns the order of the keys that were looked at.
    ///
    /// A key that looks like another counts as that.
    pub(super) fn order(&mut self) -> Order {
        if self.risen_to.is_some() {
            Order::Sorted
        } else if self.seen.as_mut().is_some_and(Sample::are_distinct) {
            Order::Distinct
        } else {
            Order::Unknown
        }
    }

    /// Returns a row's key as numbers that sort like the database.
    ///
    /// The row has `width` columns.
    pub(super) fn numbers(&self, values: &Encoder, row: usize, width: usize) -> Vec<i128> {
        self.key(values, row, width).collect()
    }

    fn key(&self, values: &Encoder, row: usize, width: usize) -> impl Iterator<Item = i128> {
        let number = move |(position, unsigned): (&usize, &bool)| {
            let bytes = values.value(row * width + position);
            let is_negative = !unsigned && bytes.last().is_some_and(|last| last & 0x80 != 0);
            let mut wide = [if is_negative { 0xff } else { 0 }; 16];
            let length = bytes.len().min(wide.len());
            wide[..length].copy_from_slice(&bytes[..length]);
            i128::from_le_bytes(wide)
        };
        self.positions.iter().zip(&self.unsigned).map(number)
    }
}

/// Hashes of the keys that have come.
///
/// There is a number for each key, the same for the same values. Of a key that comes twice, both are here or none.
#[derive(Default)]
struct Sample {
    numbers: Vec<u64>,
    /// The number of trailing bits that have to be zero.
    zeros: u32,
}

impl Sample {
    /// Returns true if the numbers were distinct when last looked at.
    fn add(&mut self, number: u64, most: usize) -> bool {
        if number.trailing_zeros() >= self.zeros {
            self.numbers.push(number);
            if self.numbers.len() >= most {
                if !self.are_distinct() {
                    return false;
                }
                self.zeros += 1;
                self.numbers.retain(|number| number.trailing_zeros() >= self.zeros);
            }
        }
        true
    }

    fn are_distinct(&mut self) -> bool {
        self.numbers.sort_unstable();
        self.numbers.windows(2).all(|pair| pair[0] != pair[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(numbers: impl Iterator<Item = u64>) -> Option<Sample> {
        let hasher = RandomState::new();
        let mut sample = Sample::default();
        numbers.map(|number| hasher.hash_one(number)).all(|number| sample.add(number, 100)).then_some(sample)
    }

    #[test]
    fn a_sample_is_bounded_and_finds_what_comes_twice() {
        for count in [0, 1, 99, 100, 10_000] {
            let mut distinct = sample(0..count).unwrap();
            assert!(distinct.are_distinct() && distinct.numbers.len() < 100);
            assert!(count < 100 || distinct.numbers.len() > 10, "{}", distinct.numbers.len());
            if count > 0 {
                assert!(sample((0..count).chain(0..count)).is_none_or(|mut sample| !sample.are_distinct()));
            }
        }
        assert!(sample([1; 100].into_iter().chain(2..10_000)).is_none());
    }
}
