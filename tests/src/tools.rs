//! Tools for the hard cases.

use std::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::Poll,
};

use sqlx::{Database, Decode, Encode, Pool, Type, encode::IsNull, error::BoxDynError};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Barrier,
    task::JoinSet,
};

/// Place at which a future is dropped: at which of its polls, and when.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    moment: Moment,
    polls: usize,
}

/// Moment at which a future is dropped.
///
/// Both find what it waits for in another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Once it waits, with what it asked for under way.
    Waiting,
    /// Once it would be polled again.
    ///
    /// What it asked for is done, and nobody has taken note.
    Woken,
}

impl Cut {
    /// Drops the future once it first waits.
    pub const AT_FIRST: Self = Self { moment: Moment::Waiting, polls: 1 };

    /// Polls a future up to this place and drops it.
    ///
    /// `None` says that it was not done by then.
    pub async fn short<F: Future>(self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut left = self.polls;
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            match future.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if left == 0 && self.moment == Moment::Waiting => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dropped at poll {} once {:?}", self.polls, self.moment)
    }
}

/// Tries every place at which a future can be dropped, in each of several sweeps.
///
/// A sweep cuts it in both ways at its 1st, 2nd, 3rd .. poll, until `attempt` says that it was done before. There are several, as which of
/// its steps a poll meets is up to the threads.
pub async fn at_every_poll(sweeps: usize, mut attempt: impl AsyncFnMut(Cut) -> bool) {
    for _ in 0..sweeps {
        let places = (1..10_000).flat_map(|polls| [Moment::Waiting, Moment::Woken].map(|moment| Cut { moment, polls }));
        let mut is_done = false;
        for cut in places {
            is_done = attempt(cut).await;
            if is_done {
                break;
            }
        }
        assert!(is_done, "the future is never done");
    }
}

/// Runs work in a task for each caller, with a pool and a barrier that all can meet at.
pub async fn race<DB: Database, C, T, Work>(
    pool: &Pool<DB>,
    callers: impl Iterator<Item = C> + Clone,
    mut work: impl FnMut(C, Pool<DB>, Arc<Barrier>) -> Work,
) -> Vec<T>
where
    T: Send + 'static,
    Work: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(callers.clone().count()));
    let tasks: JoinSet<T> = callers.map(|caller| work(caller, pool.clone(), Arc::clone(&start))).collect();
    tasks.join_all().await
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

/// Cleans up after a test, in a runtime of its own.
///
/// The test's runtime goes on meanwhile: a connection that it still has to close may hold what is cleaned up.
pub(crate) fn clean_up(left: &str, work: impl Future<Output = ()> + Send + 'static) {
    let cleaning = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    });
    let is_shared = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    let cleaned = if is_shared { tokio::task::block_in_place(|| cleaning.join()) } else { cleaning.join() };
    if cleaned.is_err() {
        eprintln!("a test's {left} is left on the server");
    }
}
