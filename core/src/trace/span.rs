//! Spans of operations, and warnings of slow ones.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tracing::{Instrument as _, Span, field};

/// Threshold of the warning in nanoseconds; the largest number means never.
static SLOW: AtomicU64 = AtomicU64::new(u64::MAX);

/// Warns of each operation that takes longer than `threshold`.
///
/// It counts for the whole process. `None`, as it is at first, never warns.
///
/// The warning is an event of `tracing` at level WARN, inside the operation's span. Where the merge of a bulk call took so long on a pool,
/// its plan follows at level DEBUG, as the database explains it then: that costs one EXPLAIN, while level DEBUG is listened to.
/// [`batches`](crate::Upsertable::batches) are meant to take long: what counts there is the transaction of each batch.
///
/// # Spans
///
/// Every call is a span of `tracing` at level INFO, with the target `upsertable`: `upsertable.get_or_create`, `upsertable.bulk_upsert`,
/// `upsertable.transaction` and so on. The fields, where they are known, are `table`, `rows` (received, found or done), `created`,
/// `updated`, `failed`, `tries`, `way` (how the rows of a bulk call travelled: `unnest`, into a `stage`, there as bound `values`, or by
/// `copy`), `bytes` (of their values; not on SQLite, where the driver does not tell), and `elapsed`, in seconds. They never hold a value
/// of a row. A COPY, which sqlx does not log, is an event at level DEBUG.
///
/// # Example
///
/// ```
/// upsertable::warn_slower_than(Some(std::time::Duration::from_secs(10)));
/// ```
pub fn warn_slower_than(threshold: Option<Duration>) {
    let nanoseconds = threshold.and_then(|threshold| u64::try_from(threshold.as_nanos()).ok());
    SLOW.store(nanoseconds.unwrap_or(u64::MAX), Ordering::Relaxed);
}

pub(crate) fn is_slow(elapsed: Duration) -> bool {
    let slow = SLOW.load(Ordering::Relaxed);
    slow != u64::MAX && elapsed.as_nanos() > u128::from(slow)
}

macro_rules! span {
    ($name:literal, $table:expr) => {
        tracing::info_span!(
            target: "upsertable",
            $name,
            table = $table,
            rows = field::Empty,
            created = field::Empty,
            updated = field::Empty,
            failed = field::Empty,
            tries = field::Empty,
            way = field::Empty,
            bytes = field::Empty,
            elapsed = field::Empty,
        )
    };
}

/// Creates the span of an operation.
///
/// A span's name is part of the program, so each operation has a span of its own.
fn span(operation: &str, table: Option<&str>) -> Span {
    match operation {
        "get_or_create" => span!("upsertable.get_or_create", table),
        "get_or_create_with" => span!("upsertable.get_or_create_with", table),
        "find" => span!("upsertable.find", table),
        "find_all" => span!("upsertable.find_all", table),
        "upsert" => span!("upsertable.upsert", table),
        "bulk_create_new" => span!("upsertable.bulk_create_new", table),
        "bulk_get_or_create" => span!("upsertable.bulk_get_or_create", table),
        "bulk_upsert" => span!("upsertable.bulk_upsert", table),
        "batches" => span!("upsertable.batches", table),
        "verify" => span!("upsertable.verify", table),
        _ => span!("upsertable.transaction", table),
    }
}

/// An operation under way.
///
/// When it is dropped, done or not, its time is taken.
pub(crate) struct CallSpan {
    span: Span,
    operation: &'static str,
    table: Option<&'static str>,
    start: Instant,
    bytes: AtomicU64,
    /// True where the operation may be slow without a warning.
    may_be_slow: bool,
}

impl CallSpan {
    pub(crate) fn begin(operation: &'static str, table: &'static str) -> Self {
        Self::new(operation, Some(table))
    }

    pub(crate) fn transaction() -> Self {
        Self::new("transaction", None)
    }

    fn new(operation: &'static str, table: Option<&'static str>) -> Self {
        let may_be_slow = operation == "batches";
        Self {
            span: span(operation, table),
            operation,
            table,
            start: Instant::now(),
            bytes: AtomicU64::new(0),
            may_be_slow,
        }
    }

    /// Runs the operation inside its span.
    pub(crate) fn run<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.instrument(self.span.clone())
    }

    pub(crate) fn way(&self, way: &'static str) {
        self.span.record("way", way);
    }

    pub(crate) fn add_bytes(&self, bytes: usize) {
        if bytes > 0 {
            let all = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
            self.span.record("bytes", all);
        }
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) fn take_back_bytes(&self, bytes: usize) {
        let all = self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed) - bytes as u64;
        self.span.record("bytes", all);
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn rows(&self, rows: u64) {
        self.span.record("rows", rows);
    }

    pub(crate) fn created(&self, rows: u64) {
        self.span.record("created", rows);
    }

    pub(crate) fn updated(&self, rows: u64) {
        self.span.record("updated", rows);
    }

    pub(crate) fn failed(&self, rows: u64) {
        self.span.record("failed", rows);
    }

    pub(crate) fn tries(&self, tries: u32) {
        self.span.record("tries", tries);
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        let elapsed = self.start.elapsed();
        self.span.record("elapsed", elapsed.as_secs_f64());
        if is_slow(elapsed) && !self.may_be_slow {
            tracing::warn!(
                target: "upsertable",
                parent: &self.span,
                operation = self.operation,
                table = self.table,
                elapsed = elapsed.as_secs_f64(),
                "slow operation"
            );
        }
    }
}
