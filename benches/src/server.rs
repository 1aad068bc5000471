//! Interface between the measurements and a database.

use anyhow::Result;
use upsertable::{Backend, On};

use crate::{
    contender::Entry,
    workload::{Bind, Workload, retweets::NewRetweet},
};

/// Rows per statement, where a contender leaves the choice to its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// The size found to be the fastest.
    Best,
    Of(usize),
}

impl Chunks {
    pub fn or(self, best: usize) -> usize {
        match self {
            Self::Best => best,
            Self::Of(rows) => rows,
        }
    }
}

/// A database with a table for each workload.
///
/// Beside each stands a table called `seed`, which holds the rows that are there when a contender begins.
pub trait Server {
    type Database: Backend;

    const NAME: &'static str;

    async fn version(&self) -> Result<String>;

    /// Makes the tables anew, and fills the seed.
    async fn seed<R: Workload + Bind<Self::Database>>(&self, rows: &[R]) -> Result<()>;

    /// Gives the table back the rows of the seed, or none.
    async fn reset<R: Workload>(&self, seeded: bool) -> Result<()>;

    async fn count(&self, table: &str) -> Result<u64>;

    fn contenders<R: Workload + Bind<Self::Database>>(&self, chunks: Chunks) -> Result<Vec<Entry<R>>>
    where
        R::Model: On<Self::Database>;

    /// Contenders that get or create each row by itself.
    fn one_by_one(&self) -> Result<Vec<Entry<NewRetweet>>>;

    /// This crate's pool.
    fn pool(&self) -> &sqlx::Pool<Self::Database>;
}
