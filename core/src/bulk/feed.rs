//! The rows of a bulk call on their way to the staging table.

use super::{Failure, Progress, Source};
use crate::backend::Backend;

/// Hands a backend its rows, a chunk at a time.
pub struct Feed<'f, DB: Backend> {
    source: &'f mut dyn Source<DB>,
    on_progress: &'f mut (dyn FnMut(Progress) + Send),
    /// The first row, which was read before there was a connection.
    first: Option<DB::Encoder>,
    ended: bool,
    sent: u64,
}

/// Rows that have been written and not yet sent.
pub(crate) struct Chunk<DB: Backend> {
    pub(crate) rows: usize,
    pub(crate) values: DB::Encoder,
}

impl<'f, DB: Backend> Feed<'f, DB> {
    /// Reads the first row. Where there is none there is nothing to feed.
    pub(crate) async fn start(
        source: &'f mut dyn Source<DB>,
        on_progress: &'f mut (dyn FnMut(Progress) + Send),
    ) -> Result<Option<Self>, Failure> {
        let mut feed = Self { source, on_progress, first: None, ended: false, sent: 0 };
        let mut values = DB::Encoder::default();
        if !feed.add_row(&mut values).await? {
            return Ok(None);
        }
        feed.first = Some(values);
        Ok(Some(feed))
    }

    /// The next chunk of up to `rows` rows, or `None` when all have been handed out.
    #[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code, reason = "MySQL counts bytes too"))]
    pub(crate) async fn chunk(&mut self, rows: usize) -> Result<Option<Chunk<DB>>, Failure> {
        self.chunk_while(|chunk| chunk.rows < rows).await
    }

    /// The next chunk, to which rows are added while `wanted` says so.
    pub(crate) async fn chunk_while(
        &mut self,
        wanted: impl Fn(&Chunk<DB>) -> bool + Send,
    ) -> Result<Option<Chunk<DB>>, Failure> {
        let first = self.first.take();
        let mut chunk = Chunk { rows: usize::from(first.is_some()), values: first.unwrap_or_default() };
        while !self.ended && wanted(&chunk) && self.add_row(&mut chunk.values).await? {
            chunk.rows += 1;
        }
        Ok((chunk.rows > 0).then_some(chunk))
    }

    /// Notes that the database has taken so many rows more.
    pub(crate) fn note_sent(&mut self, rows: usize) {
        self.sent += rows as u64;
        (self.on_progress)(Progress { received: self.sent });
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes the source's next row. At the end it says `false`.
    async fn add_row(&mut self, values: &mut DB::Encoder) -> Result<bool, Failure> {
        let written = std::future::poll_fn(|context| self.source.poll_row(context, values)).await;
        self.ended = written.is_none();
        written.transpose().map(|row| row.is_some())
    }
}
