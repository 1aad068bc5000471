//! The facts that are known of a transaction.

use std::time::Instant;

use crate::{
    error::end_reason::EndReason,
    error::meaning::{Meaning, TransactionEffect},
};

/// State of a transaction, as far as it is known.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is known by itself")]
pub(super) struct State {
    pub(super) ended: Option<EndReason>,
    /// The reason why it may be over.
    ///
    /// It is the one to give if the database says that it is.
    pub(super) ask: Option<EndReason>,
    /// True while the savepoint to ask for is set.
    pub(super) guarded: bool,
    /// True if a failed statement may have aborted the transaction.
    ///
    /// The database then answers COMMIT with a rollback.
    pub(super) aborted: bool,
    /// True if the last statement lost against another transaction.
    pub(super) conflict: bool,
    /// True once a statement prepared here can no longer run.
    pub(super) outdated: bool,
    /// True while a call is in the middle of its work.
    ///
    /// Where the next call finds it so, this one was dropped there.
    pub(super) unfinished: bool,
    /// Time of the last answer to a statement.
    pub(super) used: Option<Instant>,
}

impl State {
    pub(super) fn observe(&mut self, error: &sqlx::Error) {
        let meaning = Meaning::of(error);
        self.outdated |= meaning.outdated;
        // Once a statement has failed, the others fail because of it.
        self.conflict = meaning.retryable || (self.aborted && self.conflict);
        self.used = Some(Instant::now());
        let reason = if self.conflict { EndReason::Conflict } else { EndReason::Server };
        if meaning.connection_lost {
            return self.end(EndReason::Server);
        }
        match meaning.effect {
            TransactionEffect::Alive => {}
            TransactionEffect::Aborted => self.aborted = true,
            TransactionEffect::Ask => self.ask = Some(reason),
            TransactionEffect::Ended(reason) => self.end(reason),
        }
    }

    pub(super) fn end(&mut self, reason: EndReason) {
        self.ended = self.ended.or(Some(reason));
    }

    /// Notes that a statement has succeeded.
    ///
    /// Whatever conflict there was before has been dealt with.
    pub(super) fn observe_success(&mut self) {
        self.conflict = false;
        self.used = Some(Instant::now());
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.unfinished || self.ended.is_some() || self.ask.is_some()
    }
}
