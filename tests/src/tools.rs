//! Tools for the hard cases.

use std::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicI64, Ordering},
    task::Poll,
};

use sqlx::{Database, Decode, Encode, Type, encode::IsNull, error::BoxDynError};

/// Moment at which a future is dropped.
///
/// Both find what it waits for in another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Once it waits, with what it asked for under way.
    AtOnce,
    /// Once it would be polled again.
    ///
    /// What it asked for is done, and nobody has taken note.
    WhenWoken,
}

/// Every cut of a future, in each of several sweeps.
///
/// A sweep cuts it in both ways at its 1st, 2nd, 3rd .. poll until it is done. There are several, as which of its steps a poll meets is up
/// to the threads.
pub struct Cuts {
    sweeps: usize,
    cut: Cut,
    polls: usize,
}

impl Cuts {
    /// Cuts the future in so many sweeps.
    #[must_use]
    pub fn sweeps(sweeps: usize) -> Self {
        Self { sweeps, cut: Cut::WhenWoken, polls: 0 }
    }

    /// Next cut of the future, until all sweeps are done.
    ///
    /// A sweep is done when the future has been.
    pub fn next_cut(&mut self) -> Option<(Cut, usize)> {
        (self.cut, self.polls) = match self.cut {
            Cut::AtOnce => (Cut::WhenWoken, self.polls),
            Cut::WhenWoken => (Cut::AtOnce, self.polls + 1),
        };
        assert!(self.polls < 10_000, "the future is never done");
        (self.sweeps > 0).then_some((self.cut, self.polls))
    }

    /// Begins the next sweep.
    ///
    /// The future was done before it was cut.
    pub fn done(&mut self) {
        *self = Self::sweeps(self.sweeps - 1);
    }

    /// Begins the next sweep, unless it has been cut `enough`.
    ///
    /// All of a future can be done in a few polls, where the answers come before they are asked for.
    pub fn done_if(&mut self, enough: bool) {
        *self = Self::sweeps(if enough { 0 } else { self.sweeps - 1 });
    }
}

/// Polls a future so many times and drops it.
///
/// `None` says that it was not done by then.
pub async fn cut_short<F: Future>(future: F, cut: Cut, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 && cut == Cut::AtOnce => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The text that something panicked with.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

static LIVE: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);

/// A number that counts how many of its kind are alive.
///
/// For one test only, as the count is the program's.
#[derive(PartialEq, Eq)]
pub struct LiveRows(i64);

impl LiveRows {
    /// Counts one more, with this number.
    #[must_use]
    pub fn new(number: i64) -> Self {
        MOST.fetch_max(LIVE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Self(number)
    }

    /// The most that were alive at any time.
    #[must_use]
    pub fn most() -> i64 {
        MOST.load(Ordering::SeqCst)
    }
}

impl Clone for LiveRows {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

impl Drop for LiveRows {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for LiveRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<DB: Database> Type<DB> for LiveRows
where
    i64: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <i64 as Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <i64 as Type<DB>>::compatible(ty)
    }
}

impl<'q, DB: Database> Encode<'q, DB> for LiveRows
where
    i64: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.0.encode_by_ref(buffer)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for LiveRows
where
    i64: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        i64::decode(value).map(Self::new)
    }
}
