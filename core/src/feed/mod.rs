//! Rows of a bulk call on their way to the database.

pub(crate) mod progress;
pub(crate) mod source;

use std::collections::VecDeque;

#[cfg(feature = "sqlite")]
use futures_util::FutureExt as _;

use crate::{
    driver::bind::Columns,
    driver::encoding::Encoding,
    feed::progress::Progress,
    feed::source::{Failure, Source},
    model::values::Values,
    sql::table::Table,
    trace::span::CallSpan,
};

/// Hands a backend its rows, a chunk at a time.
pub struct RowFeed<'f, DB: Encoding> {
    table: &'static Table,
    source: &'f mut dyn Source<DB>,
    on_progress: &'f mut (dyn FnMut(Progress) + Send),
    /// Rows that were read ahead, or taken back.
    ahead: VecDeque<Chunk<DB>>,
    /// Makes the encoder that collects the values of rows.
    encoder: fn() -> DB::Encoder,
    ended: bool,
    sent: u64,
    /// Bytes of the values handed out and not yet sent.
    bytes: usize,
    watch: &'f CallSpan,
}

/// Rows that have been written and not yet sent.
pub(crate) struct Chunk<DB: Encoding> {
    pub(crate) rows: usize,
    pub(crate) values: DB::Encoder,
}

impl<'f, DB: Encoding> RowFeed<'f, DB> {
    /// Reads the first row, before there is a connection.
    ///
    /// Gives `None` where there is no row, as there is nothing to feed then.
    pub(crate) async fn start(
        table: &'static Table,
        source: &'f mut dyn Source<DB>,
        on_progress: &'f mut (dyn FnMut(Progress) + Send),
        encoder: fn() -> DB::Encoder,
        watch: &'f CallSpan,
    ) -> Result<Option<Self>, Failure> {
        let ahead = VecDeque::new();
        let mut feed = Self { table, source, on_progress, ahead, encoder, ended: false, sent: 0, bytes: 0, watch };
        Ok(if feed.has_more().await? { Some(feed) } else { None })
    }

    /// Tests if there are rows to come.
    ///
    /// It reads one ahead.
    pub(crate) async fn has_more(&mut self) -> Result<bool, Failure> {
        if self.ahead.is_empty() && !self.ended {
            let mut values = (self.encoder)();
            if self.add_row(&mut values).await? {
                self.ahead.push_back(Chunk { rows: 1, values });
            }
        }
        Ok(!self.ahead.is_empty())
    }

    /// The next chunk of up to `rows` rows.
    ///
    /// `None` when all have been handed out.
    #[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code, reason = "MySQL counts bytes too"))]
    pub(crate) async fn chunk(&mut self, rows: usize) -> Result<Option<Chunk<DB>>, Failure> {
        self.chunk_while(|chunk| chunk.rows < rows).await
    }

    /// The next chunk, filled while `wanted` says so.
    pub(crate) async fn chunk_while(
        &mut self,
        wanted: impl Fn(&Chunk<DB>) -> bool + Send,
    ) -> Result<Option<Chunk<DB>>, Failure> {
        let encoder = self.encoder;
        let mut chunk = self.ahead.pop_front().unwrap_or_else(|| Chunk { rows: 0, values: encoder() });
        // Where there are more, the rows that come next are written already.
        while self.ahead.is_empty() && !self.ended && wanted(&chunk) && self.add_row(&mut chunk.values).await? {
            chunk.rows += 1;
        }
        self.bytes += DB::bytes(&chunk.values);
        Ok((chunk.rows > 0).then_some(chunk))
    }

    /// Reads rows ahead as far as the source has them.
    ///
    /// They are rows of the chunk after the one in hand, up to `rows`. It never waits.
    #[cfg(feature = "sqlite")]
    pub(crate) fn read_ahead(&mut self, rows: usize) -> Result<(), Failure> {
        let mut chunk = self.ahead.pop_front().unwrap_or_else(|| Chunk { rows: 0, values: (self.encoder)() });
        let mut outcome = Ok(true);
        while self.ahead.is_empty() && !self.ended && chunk.rows < rows && matches!(outcome, Ok(true)) {
            outcome = self.add_row(&mut chunk.values).now_or_never().unwrap_or(Ok(false));
            chunk.rows += usize::from(matches!(outcome, Ok(true)));
        }
        if chunk.rows > 0 {
            self.ahead.push_front(chunk);
        }
        outcome.map(drop)
    }

    /// Takes a chunk back, to hand it out again next.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) fn take_back(&mut self, chunk: Chunk<DB>) {
        self.bytes -= DB::bytes(&chunk.values);
        self.ahead.push_front(chunk);
    }

    /// Takes back a chunk that the database refused.
    ///
    /// It was noted as sent.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) fn take_back_sent(&mut self, chunk: Chunk<DB>) {
        self.sent -= chunk.rows as u64;
        self.watch.take_back_bytes(DB::bytes(&chunk.values));
        self.ahead.push_front(chunk);
    }

    /// Sets another encoder for the rows to come.
    #[cfg(feature = "postgres")]
    pub(crate) fn write_with(&mut self, encoder: fn() -> DB::Encoder) {
        self.encoder = encoder;
    }

    /// Counts rows that the database has taken.
    pub(crate) fn note_sent(&mut self, rows: usize) {
        self.sent += rows as u64;
        self.watch.add_bytes(std::mem::take(&mut self.bytes));
        (self.on_progress)(Progress { received: self.sent, committed: 0 });
    }

    /// Notes how the rows travel.
    pub(crate) fn note_way(&self, way: &'static str) {
        self.watch.way(way);
    }

    /// The bytes of the values that the call has sent.
    #[cfg(feature = "postgres")]
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.watch.bytes()
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes the source's next row.
    ///
    /// At the end it says `false`.
    async fn add_row(&mut self, values: &mut DB::Encoder) -> Result<bool, Failure> {
        let mut values = Values::new(self.table, None, Columns::Row, values);
        let written = std::future::poll_fn(|context| self.source.poll_row(context, &mut values)).await;
        self.ended = written.is_none();
        match written {
            None => Ok(false),
            Some(true) => values.outcome.map(|()| true).map_err(Failure::from),
            Some(false) => Err(Failure::Item),
        }
    }
}
