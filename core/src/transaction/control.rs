//! Transaction control in the caller's own SQL.

use std::collections::VecDeque;

use sqlx::{Database, Either};

use crate::{
    driver::Driver,
    driver::session::Enders,
    error::end_reason::EndReason,
    sql::callers_sql::QuotingRules,
    transaction::queue::{Mark, Queue},
    transaction::state::State,
};

/// The savepoint set before a statement that may end the transaction.
///
/// It lives as long as the transaction that it was set in.
pub(super) const GUARD: &str = "upsertable_guard";

/// A statement that controls the transaction around it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Control {
    MayEnd(EndReason),
    Savepoint(String),
    RollbackTo(String),
    Release(String),
}

/// The control statements of a text.
///
/// Each has its place among all statements there.
#[derive(Debug, Default)]
pub(super) struct Controls {
    waiting: VecDeque<(usize, Control)>,
    statements: usize,
    answered: usize,
}

impl Controls {
    pub(super) fn of<DB: Driver>(text: &str) -> Self {
        let read = |quotes| Self::read(text, quotes, DB::ENDERS);
        let controls = read(DB::QUOTING);
        // A setting of the session says whether a backslash takes the next character with it.
        if controls.waiting.is_empty() && text.contains('\\') {
            return read(QuotingRules { backslashes: !DB::QUOTING.backslashes, ..DB::QUOTING });
        }
        controls
    }

    fn read(text: &str, quotes: QuotingRules, enders: Enders) -> Self {
        let statements = quotes.statements(text);
        let controls = statements.iter().map(|statement| Control::read(statement, quotes, enders));
        let mut waiting: VecDeque<_> =
            controls.enumerate().filter_map(|(place, control)| Some((place, control?))).collect();
        // MySQL runs these comments.
        if matches!(enders, Enders::AllBut { .. }) && ["/*!", "/*M!"].iter().any(|comment| text.contains(comment)) {
            waiting.push_back((statements.len(), Control::MayEnd(EndReason::Statement("in a comment"))));
        }
        Self { waiting, statements: statements.len(), answered: 0 }
    }

    /// The reason why the transaction may be over after the text.
    pub(super) fn may_end(&self) -> Option<EndReason> {
        self.waiting.iter().find_map(|(_, control)| match control {
            Control::MayEnd(ending) => Some(*ending),
            _ => None,
        })
    }

    /// Takes the control statement that the server has answered just now.
    fn answered(&mut self) -> Option<Control> {
        let place = self.answered;
        self.answered += 1;
        self.waiting.pop_front_if(|(waiting, _)| *waiting == place).map(|(_, control)| control)
    }
}

impl Control {
    fn read(statement: &str, quotes: QuotingRules, enders: Enders) -> Option<Self> {
        let mut words = quotes.words(statement);
        let first = words.next()?.to_uppercase();
        match first.as_str() {
            "SAVEPOINT" => return words.next().map(|name| Self::Savepoint(compared(name, quotes))),
            "RELEASE" => return savepoint(words).map(|name| Self::Release(compared(name, quotes))),
            "ROLLBACK" => {
                let mut words = words.skip_while(|word| is_one_of(word, &["WORK", "TRANSACTION"]));
                if words.next().is_some_and(|word| is_one_of(word, &["TO"])) {
                    return savepoint(words).map(|name| Self::RollbackTo(compared(name, quotes)));
                }
            }
            _ => {}
        }
        let known = |list: &[&'static str]| list.iter().copied().find(|word| *word == first);
        let ending = match enders {
            Enders::Only(ends) => EndReason::Statement(known(ends)?),
            Enders::AllBut { keep, .. } if known(keep).is_some() && !sets_autocommit(&first, statement) => return None,
            Enders::AllBut { commit, .. } => match (first.as_str(), known(commit)) {
                ("COMMIT", _) => EndReason::Statement("COMMIT"),
                ("ROLLBACK", _) => EndReason::Statement("ROLLBACK"),
                (_, Some(word)) => EndReason::ImplicitCommit(word),
                (_, None) => EndReason::Statement("one that can commit"),
            },
        };
        Some(Self::MayEnd(ending))
    }
}

/// Tests if a SET can end the transaction.
///
/// `SET autocommit = 1` commits, and `SET STATEMENT .. FOR` runs any statement.
fn sets_autocommit(first: &str, statement: &str) -> bool {
    let statement = statement.to_uppercase();
    first == "SET" && ["AUTOCOMMIT", "STATEMENT", "PASSWORD"].iter().any(|word| statement.contains(word))
}

fn is_one_of(word: &str, list: &[&str]) -> bool {
    list.iter().any(|listed| word.eq_ignore_ascii_case(listed))
}

/// The name behind the word SAVEPOINT, which may be missing.
fn savepoint<'s>(mut words: impl Iterator<Item = &'s str>) -> Option<&'s str> {
    words.find(|word| !is_one_of(word, &["SAVEPOINT"]))
}

/// The form of a savepoint's name that the database compares.
fn compared(name: &str, quotes: QuotingRules) -> String {
    let bare = name.trim_matches(['"', '`', '[', ']', '\'']);
    if quotes.exact_names && bare != name { bare.to_owned() } else { bare.to_lowercase() }
}

/// A savepoint that the caller has set by plain SQL.
struct PlainSavepoint {
    name: String,
    /// Number of our BEGINs and SAVEPOINTs that were open around it.
    level: usize,
    mark: Mark,
}

/// The caller's own savepoints, in the order set.
///
/// They were set by plain SQL and are still there.
#[derive(Default)]
pub(super) struct PlainSavepoints(Vec<PlainSavepoint>);

impl PlainSavepoints {
    /// Forgets those that went with a savepoint of ours.
    pub(super) fn level_ended(&mut self, level: usize) {
        self.0.retain(|savepoint| savepoint.level <= level);
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().rposition(|savepoint| savepoint.name == name)
    }
}

/// A row or a result of an answer.
type Step<DB> = Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, sqlx::Error>;

/// A text of the caller on its way.
///
/// What it does to the transaction is noted as the server answers its statements.
pub(super) struct Underway<'c> {
    pub(super) controls: Controls,
    pub(super) state: &'c mut State,
    pub(super) queue: &'c mut Queue,
    pub(super) savepoints: &'c mut PlainSavepoints,
    /// Number of our BEGINs and SAVEPOINTs that are open.
    pub(super) level: usize,
    pub(super) failed: bool,
}

impl Underway<'_> {
    /// Notes a step of the answer, or its end.
    pub(super) fn step<DB: Driver>(&mut self, step: Option<&Step<DB>>) {
        // The rest behind a row may be left unread. MySQL's driver does not know whether a statement's result was the last.
        self.state.unfinished = DB::SESSIONS.broken_when_given_up && matches!(step, Some(Ok(Either::Left(_))));
        match step {
            Some(Ok(Either::Right(_))) => self.state.observe_success(),
            Some(Ok(Either::Left(_))) => self.answered(),
            Some(Err(error)) => self.failed(error),
            None => {}
        }
    }

    /// Notes that a statement has been done.
    fn answered(&mut self) {
        self.state.observe_success();
        match self.controls.answered() {
            // Without a savepoint to ask for, the transaction was aborted, and nothing but its end is done there.
            Some(Control::MayEnd(ending)) if !self.state.guarded => self.state.end(ending),
            Some(Control::MayEnd(_)) | None => {}
            Some(Control::Savepoint(name)) => {
                self.savepoints.0.push(PlainSavepoint { name, level: self.level, mark: self.queue.mark() });
            }
            Some(Control::RollbackTo(name)) => self.rolled_back_to(&name),
            Some(Control::Release(name)) => self.released(&name),
        }
    }

    /// Notes that all statements of a text have been done.
    pub(super) fn all_answered(&mut self) {
        while !self.controls.waiting.is_empty() {
            self.answered();
        }
        self.state.observe_success();
    }

    fn rolled_back_to(&mut self, name: &str) {
        match self.savepoints.position(name) {
            Some(position) if self.savepoints.0[position].level == self.level => {
                self.queue.return_to(&self.savepoints.0[position].mark);
                self.savepoints.0.truncate(position + 1);
            }
            // Set where nobody saw it, or before one of ours, which is gone with it.
            _ => self.state.end(EndReason::Statement("ROLLBACK TO SAVEPOINT")),
        }
    }

    fn released(&mut self, name: &str) {
        if let Some(position) = self.savepoints.position(name) {
            if self.savepoints.0[position].level < self.level {
                self.state.end(EndReason::Statement("RELEASE SAVEPOINT"));
            }
            self.savepoints.0.truncate(position);
        }
    }

    pub(super) fn failed(&mut self, error: &sqlx::Error) {
        self.failed = true;
        let asked = self.state.ask.take();
        self.state.observe(error);
        // LOAD DATA commits nothing.
        let committed = matches!(asked, Some(EndReason::ImplicitCommit(word)) if word != "LOAD");
        if (self.controls.statements > 1 && asked.is_some() || committed) && self.state.ended.is_some() {
            self.state.ended = asked;
        }
        self.state.ask = match asked {
            // A statement that commits implicitly does so before it fails. Of several statements, it may have been done before another
            // failed.
            Some(EndReason::ImplicitCommit(_)) => asked,
            Some(_) if self.controls.statements > 1 => asked,
            Some(_) => self.state.ask.or(Some(EndReason::Server)),
            None => self.state.ask,
        };
    }
}

impl Drop for Underway<'_> {
    /// Ends the transaction if a savepoint may be rolled back unseen.
    ///
    /// A text of one statement that failed has done nothing. Of others it is not known what was done after the last answer.
    fn drop(&mut self) {
        let nothing_done = self.failed && self.controls.statements == 1;
        let rolls_back = |(_, control): &(usize, Control)| matches!(control, Control::RollbackTo(_));
        if !nothing_done && self.controls.waiting.iter().any(rolls_back) {
            self.state.end(EndReason::Statement("ROLLBACK TO SAVEPOINT"));
        }
    }
}

#[cfg(all(test, feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod tests {
    use sqlx::{MySql, Postgres, Sqlite};

    use super::*;

    fn controls<DB: Driver>(text: &str) -> Vec<(usize, Control)> {
        Controls::of::<DB>(text).waiting.into()
    }

    fn ends<DB: Driver>(text: &str) -> Option<EndReason> {
        Controls::of::<DB>(text).may_end()
    }

    #[test]
    fn what_ends_a_transaction_is_known_behind_anything() {
        for text in
            ["ROLLBACK", "rollback;", " /* a */ -- b\n ROLLBACK", "SELECT ';'; ROLLBACK", "SELECT 1;;ROLLBACK WORK"]
        {
            assert_eq!(ends::<Postgres>(text), Some(EndReason::Statement("ROLLBACK")), "{text}");
            assert_eq!(ends::<Sqlite>(text), Some(EndReason::Statement("ROLLBACK")), "{text}");
            assert_eq!(ends::<MySql>(text), Some(EndReason::Statement("ROLLBACK")), "{text}");
        }
        assert_eq!(ends::<Postgres>("END"), Some(EndReason::Statement("END")));
        assert_eq!(ends::<Postgres>("DO $$ BEGIN; COMMIT; END $$"), None);
        assert_eq!(ends::<Sqlite>("INSERT INTO [a;COMMIT] VALUES (';COMMIT')"), None);
    }

    #[test]
    fn a_backslash_may_end_a_text_or_not() {
        assert!(ends::<MySql>(r"SELECT 'a\'; COMMIT; -- '").is_some());
        assert!(ends::<MySql>(r"SELECT 'a\''; COMMIT; -- '").is_some());
        assert!(ends::<Postgres>(r"SELECT 'a\''; COMMIT; -- '").is_some());
    }

    #[test]
    fn mysql_commits_at_more_than_it_lists() {
        assert_eq!(ends::<MySql>("ALTER TABLE a ADD b INT"), Some(EndReason::ImplicitCommit("ALTER")));
        assert_eq!(ends::<MySql>("begin"), Some(EndReason::ImplicitCommit("BEGIN")));
        for text in [
            "CALL p()",
            "/*!50000 COMMIT */",
            "EXECUTE s",
            "SET autocommit = 1",
            "SET STATEMENT a = 1 FOR COMMIT",
            "FUTURE WORD",
        ] {
            assert!(ends::<MySql>(text).is_some(), "{text}");
        }
        for text in
            ["(SELECT 1)", "SET NAMES utf8mb4", "WITH a AS (SELECT 1) SELECT 1", "ROLLBACK TO a", "SAVEPOINT a", "DO 1"]
        {
            assert_eq!(ends::<MySql>(text), None, "{text}");
        }
    }

    #[test]
    fn savepoints_are_known_by_their_names() {
        let to = |name: &str| Control::RollbackTo(name.to_owned());
        for text in ["ROLLBACK TO a", "rollback transaction to savepoint A", "ROLLBACK WORK/**/TO \"a\""] {
            assert_eq!(controls::<Postgres>(text), [(0, to("a"))], "{text}");
        }
        assert_eq!(controls::<Postgres>("ROLLBACK TO \"A\""), [(0, to("A"))]);
        assert_eq!(controls::<MySql>("ROLLBACK TO `A`"), [(0, to("a"))]);
        assert_eq!(
            controls::<Sqlite>("SAVEPOINT a; SELECT 1; RELEASE SAVEPOINT a; RELEASE a"),
            [
                (0, Control::Savepoint("a".to_owned())),
                (2, Control::Release("a".to_owned())),
                (3, Control::Release("a".to_owned())),
            ]
        );
    }
}
