//! The rows of a bulk call on their way to the staging table.

use std::collections::VecDeque;

use super::{Failure, Progress, Source};
use crate::backend::Backend;

/// Hands a backend its rows, a chunk at a time.
pub struct Feed<'f, DB: Backend> {
    source: &'f mut dyn Source<DB>,
    on_progress: &'f mut (dyn FnMut(Progress) + Send),
    /// Rows that were read ahead, or taken back.
    ahead: VecDeque<Chunk<DB>>,
    /// Makes what collects the values of rows.
    encoder: fn() -> DB::Encoder,
    ended: bool,
    sent: u64,
}

/// Rows that have been written and not yet sent.
pub(crate) struct Chunk<DB: Backend> {
    pub(crate) rows: usize,
    pub(crate) values: DB::Encoder,
}

impl<'f, DB: Backend> Feed<'f, DB> {
    /// Reads the first row, before there is a connection. Where there is none there is nothing to feed.
    pub(crate) async fn start(
        source: &'f mut dyn Source<DB>,
        on_progress: &'f mut (dyn FnMut(Progress) + Send),
        encoder: fn() -> DB::Encoder,
    ) -> Result<Option<Self>, Failure> {
        let mut feed = Self { source, on_progress, ahead: VecDeque::new(), encoder, ended: false, sent: 0 };
        Ok(if feed.has_more().await? { Some(feed) } else { None })
    }

    /// Whether there are rows to come. It reads one ahead.
    pub(crate) async fn has_more(&mut self) -> Result<bool, Failure> {
        if self.ahead.is_empty() && !self.ended {
            let mut values = (self.encoder)();
            if self.add_row(&mut values).await? {
                self.ahead.push_back(Chunk { rows: 1, values });
            }
        }
        Ok(!self.ahead.is_empty())
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
        let encoder = self.encoder;
        let mut chunk = self.ahead.pop_front().unwrap_or_else(|| Chunk { rows: 0, values: encoder() });
        if !self.ahead.is_empty() {
            // The rows that come next are written already.
            return Ok(Some(chunk));
        }
        while !self.ended && wanted(&chunk) && self.add_row(&mut chunk.values).await? {
            chunk.rows += 1;
        }
        Ok((chunk.rows > 0).then_some(chunk))
    }

    /// Takes a chunk back, to hand it out again as the next.
    #[cfg(feature = "postgres")]
    pub(crate) fn take_back(&mut self, chunk: Chunk<DB>) {
        self.ahead.push_front(chunk);
    }

    /// Collects the values of the rows to come in another way.
    #[cfg(feature = "postgres")]
    pub(crate) fn write_with(&mut self, encoder: fn() -> DB::Encoder) {
        self.encoder = encoder;
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
