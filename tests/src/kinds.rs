//! Kinds of tables, to compare `verify` with the calls.
//!
//! What `verify` says of one is what the calls then do.

use std::fmt::Debug;

use sqlx::{AssertSqlSafe, Database, Executor, FromRow, IntoArguments, Pool};
use upsertable::{Backend, BoxError, BulkUpserted, Error, On, Outcome, Problem, Upsertable};

/// A table, and what is expected of it.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Name used in failure messages.
    pub name: &'static str,
    /// The statements that make it.
    pub ddl: &'static [&'static str],
    /// Result expected of `verify` and the calls.
    pub expect: Expect,
}

/// A kind by its name, the statements that make it, and what is expected of it.
#[must_use]
pub const fn kind(name: &'static str, ddl: &'static [&'static str], expect: Expect) -> Kind {
    Kind { name, ddl, expect }
}

/// Fails with all that is wrong, if anything is.
pub fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} are wrong:\n  {}", wrong.len(), wrong.join("\n  "));
}

/// Result that `verify` and the calls should have on a table.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// `verify` says Ok, and every call works.
    Works,
    /// `verify` says Ok with this warning, and every call works.
    Warned(&'static str),
    /// `verify` reports it in these words, with SQL that mends it.
    ///
    /// Before that SQL some call fails, and after it every call works.
    Mended(&'static str),
    /// `verify` reports it in these words, and proposes no SQL.
    ///
    /// None that it could know of helps.
    Refused(&'static str),
    /// The table takes rows and keeps none.
    ///
    /// So a call can count what is not there. `verify` reports it in these words, with the SQL that mends it if there is some.
    Swallows(&'static str),
    /// Each call works by itself, and the key is not unique.
    ///
    /// `verify` reports it in the first words, with the SQL that mends it. The second is a statement that, run by somebody else, makes a
    /// second row with one key.
    Loose(&'static str, &'static str),
}

pub use Expect::{Loose, Mended, Refused, Swallows, Warned, Works};

/// A model whose rows are made of two numbers.
pub trait Specimen: Upsertable + Clone + PartialEq + Debug {
    /// A new row: the number makes its key.
    fn make(number: i64, weight: i64) -> Self::New;
    /// The key of that number.
    fn key_of(number: i64) -> Self::Key;
    /// The weight.
    fn weight(&self) -> i64;
}

/// The model of most kinds.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "parcels")]
#[unique(code)]
pub struct Parcel {
    /// Id that the database fills in.
    #[upsertable(generated)]
    pub id: i64,
    /// The key.
    pub code: String,
    /// Value that upserts change.
    pub weight: i64,
}

impl Specimen for Parcel {
    fn make(number: i64, weight: i64) -> NewParcel {
        NewParcel { code: format!("code {number}"), weight }
    }

    fn key_of(number: i64) -> ParcelKey {
        ParcelKey { code: format!("code {number}") }
    }

    fn weight(&self) -> i64 {
        self.weight
    }
}

/// Reasons why a call was not as it should be.
#[derive(Debug)]
pub enum Trouble {
    /// The call failed.
    Failed(Error),
    /// The call told of rows that failed.
    Told(String),
    /// The call worked, and its result is not right.
    Wrong(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "most of them are made in place")]
fn same<T: PartialEq + Debug>(what: &str, given: T, expected: T) -> Result<(), Trouble> {
    if given == expected { Ok(()) } else { Err(Trouble::Wrong(format!("{what}: {given:?} in place of {expected:?}"))) }
}

/// Comparable parts of outcomes: weights, and which were created.
fn seen<M: Specimen>(outcomes: &[Outcome<M>]) -> Vec<(i64, bool)> {
    outcomes.iter().map(|outcome| (outcome.row.weight(), outcome.created)).collect()
}

/// Names of the calls.
const CALLS: [&str; 9] = [
    "get_or_create",
    "upsert",
    "find",
    "bulk_create_new",
    "bulk_create_new of many",
    "bulk_get_or_create",
    "bulk_upsert",
    "a transaction",
    "batches",
];

/// More rows than travel in one statement on every database but PostgreSQL.
const MANY: i64 = 1_200;

/// Does one call with numbers from `first` on.
async fn call<DB: Backend, M: Specimen + On<DB>>(pool: &Pool<DB>, name: &str, first: i64) -> Result<(), Trouble> {
    let new = |number: i64, weight: i64| M::make(first + number, weight);
    let key = |number: i64| M::key_of(first + number);
    match name {
        "get_or_create" => {
            let made = M::get_or_create(pool, new(1, 1)).await?;
            same("made", (made.row.weight(), made.created), (1, true))?;
            let found = M::get_or_create(pool, new(1, 2)).await?;
            same("found", (found.row, found.created), (made.row, false))
        }
        "upsert" => {
            let made = M::upsert(pool, new(1, 1)).await?;
            same("made", (made.row.weight(), made.created), (1, true))?;
            let changed = M::upsert(pool, new(1, 2)).await?;
            same("changed", (changed.row.weight(), changed.created), (2, false))?;
            same("kept", M::find(pool, key(1)).await?.map(|row| row.weight()), Some(2))
        }
        "find" => {
            same("none", M::find(pool, key(1)).await?, None)?;
            let made = M::get_or_create(pool, new(1, 1)).await?.row;
            same("one", M::find(pool, key(1)).await?, Some(made.clone()))?;
            same("all", M::find_all(pool, [key(2), key(1), key(3)]).await?, vec![None, Some(made), None])
        }
        "bulk_create_new" => {
            let done = M::bulk_create_new(pool, [new(1, 1)]).await?;
            same("one", (done.received, done.created), (1, 1))?;
            let done = M::bulk_create_new(pool, [new(1, 2), new(2, 2), new(3, 2), new(2, 3)]).await?;
            same("four", (done.received, done.created), (4, 2))?;
            let found = M::find_all(pool, [1, 2, 3].map(key)).await?;
            let weights: Vec<_> = found.iter().flatten().map(M::weight).collect();
            same("kept", weights, vec![1, 2, 2])
        }
        "bulk_create_new of many" => {
            for created in [MANY as u64, 0] {
                let done = M::bulk_create_new(pool, (0..MANY).map(|number| new(number, 1))).await?;
                same("many", (done.received, done.created), (MANY as u64, created))?;
            }
            Ok(())
        }
        "bulk_get_or_create" => {
            let made = M::bulk_get_or_create(pool, [new(1, 1), new(2, 1), new(1, 2)]).await?;
            same("made", seen(&made), vec![(1, true), (1, true), (1, false)])?;
            let found = M::bulk_get_or_create(pool, [new(3, 3), new(2, 3)]).await?;
            same("found", seen(&found), vec![(3, true), (1, false)])
        }
        "bulk_upsert" => {
            let done = M::bulk_upsert(pool, [new(1, 1), new(2, 1), new(1, 2)]).await?;
            same("made", done, BulkUpserted { received: 3, created: 2, updated: 0 })?;
            let done = M::bulk_upsert(pool, [new(2, 3), new(3, 3)]).await?;
            same("changed", done, BulkUpserted { received: 2, created: 1, updated: 1 })?;
            let found = M::find_all(pool, [1, 2, 3].map(key)).await?;
            let weights: Vec<_> = found.iter().flatten().map(M::weight).collect();
            same("kept", weights, vec![2, 3, 3])
        }
        "a transaction" => {
            let mut tx = upsertable::begin(pool).await?;
            let made = M::get_or_create(&mut tx, new(1, 1)).await?;
            same("made", (made.row.weight(), made.created), (1, true))?;
            let changed = M::upsert(&mut tx, new(1, 2)).await?;
            same("changed", (changed.row.weight(), changed.created), (2, false))?;
            let done = M::bulk_upsert(&mut tx, [new(1, 3), new(2, 3)]).await?;
            same("bulk", done, BulkUpserted { received: 2, created: 1, updated: 1 })?;
            M::verify(&mut tx).await?;
            tx.commit().await?;
            same("kept", M::find(pool, key(1)).await?.map(|row| row.weight()), Some(3))
        }
        _ => {
            M::bulk_create_new(pool, [new(1, 1), new(2, 1), new(3, 1)]).await?;
            let report = M::batches(pool).size(2).run(async |_, _: M| Ok::<_, BoxError>(())).await?;
            match report.failures.first() {
                Some((_, error)) => Err(Trouble::Told(error.to_string())),
                None => same("done", report.done >= 3, true),
            }
        }
    }
}

/// Makes every call, and returns what came of each.
async fn every_call<DB: Backend, M: Specimen + On<DB>>(
    pool: &Pool<DB>,
    round: i64,
) -> Vec<(&'static str, Result<(), Trouble>)> {
    let mut outcomes = Vec::new();
    for (number, name) in (0..).zip(CALLS) {
        let first = (round * 100 + number) * 10_000;
        outcomes.push((name, call::<DB, M>(pool, name, first).await));
    }
    outcomes
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Tries a table of this kind with `verify` and every call.
///
/// It makes the table, asks `verify`, does every call, and compares. Says all that is not as expected.
pub async fn try_kind<DB: Backend, M: Specimen + On<DB>>(pool: &Pool<DB>, kind: &Kind) -> Vec<String>
where
    (i64,): for<'r> FromRow<'r, DB::Row>,
    DB::Arguments: IntoArguments<DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let mut wrong = Vec::new();
    for sql in kind.ddl {
        if let Err(error) = run(pool, sql).await {
            wrong.push(format!("{}: cannot be made: {error}: {sql}", kind.name));
            return wrong;
        }
    }
    if let Err(why) = compare::<DB, M>(pool, kind, &mut wrong).await {
        wrong.push(why);
    }
    wrong.into_iter().map(|what| format!("{}: {what}", kind.name)).collect()
}

async fn run<DB: Database>(pool: &Pool<DB>, sql: &str) -> Result<(), sqlx::Error>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let mut conn = pool.acquire().await?;
    conn.execute(AssertSqlSafe(sql.to_owned())).await.map(drop)
}

/// Number of rows in the table, where it can be read.
async fn count<DB: Database>(pool: &Pool<DB>) -> Option<i64>
where
    (i64,): for<'r> FromRow<'r, DB::Row>,
    DB::Arguments: IntoArguments<DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let mut conn = pool.acquire().await.ok()?;
    let counted: Result<(i64,), _> = sqlx::query_as("SELECT count(*) FROM parcels").fetch_one(&mut *conn).await;
    counted.ok().map(|(count,)| count)
}

/// Results of `verify` and of the calls on a table.
struct Seen {
    problems: Vec<Problem>,
    warnings: String,
    calls: Vec<(&'static str, Result<(), Trouble>)>,
}

impl Seen {
    async fn of<DB: Backend, M: Specimen + On<DB>>(pool: &Pool<DB>, round: i64) -> Result<Self, String> {
        let (problems, warnings) = match M::verify(pool).await {
            Ok(verified) => (Vec::new(), listed(&verified.warnings)),
            Err(Error::Schema { problems, .. }) => (problems, String::new()),
            Err(other) => return Err(format!("verify fails: {other}")),
        };
        Ok(Self { problems, warnings, calls: every_call::<DB, M>(pool, round).await })
    }

    fn failed(&self) -> usize {
        self.calls.iter().filter(|(_, outcome)| outcome.is_err()).count()
    }

    fn fixes(&self) -> Vec<&str> {
        self.problems.iter().filter_map(|problem| problem.fix.as_deref()).collect()
    }

    /// Checks that all is well.
    fn works(&self) -> Result<(), String> {
        if !self.problems.is_empty() {
            return Err(format!("verify says: {}", listed(&self.problems)));
        }
        if self.failed() > 0 {
            return Err(format!("verify says Ok, and {} calls fail:{}", self.failed(), self.failures()));
        }
        Ok(())
    }

    fn failures(&self) -> String {
        let told = self.calls.iter().filter_map(|(name, outcome)| match outcome {
            Ok(()) => None,
            Err(Trouble::Failed(error)) => Some(format!("\n        {name}: {error}")),
            Err(Trouble::Told(what) | Trouble::Wrong(what)) => Some(format!("\n        {name}: {what}")),
        });
        told.collect()
    }

    /// Calls that give a wrong result.
    fn lies(&self) -> impl Iterator<Item = String> {
        self.calls.iter().filter_map(|(name, outcome)| match outcome {
            Err(Trouble::Wrong(what)) => Some(format!("{name} gives a wrong result: {what}")),
            _ => None,
        })
    }

    fn misses_index(&self) -> bool {
        let is_missing =
            |outcome: &Result<(), Trouble>| matches!(outcome, Err(Trouble::Failed(Error::MissingUniqueIndex { .. })));
        self.calls.iter().all(|(_, outcome)| is_missing(outcome))
    }

    /// Calls that propose other SQL than `verify` does.
    fn other_hints(&self) -> impl Iterator<Item = String> {
        self.calls.iter().filter_map(|(name, outcome)| {
            let Err(Trouble::Failed(Error::MissingUniqueIndex { create, why, .. })) = outcome else { return None };
            let is_said = why.as_ref().is_some_and(|why| listed(&self.problems).contains(why));
            let agrees = if create.is_empty() { is_said } else { self.fixes().contains(&create.as_str()) };
            (!agrees).then(|| format!("{name} proposes {create:?} ({why:?}), and verify {:?}", self.fixes()))
        })
    }
}

async fn compare<DB: Backend, M: Specimen + On<DB>>(
    pool: &Pool<DB>,
    kind: &Kind,
    wrong: &mut Vec<String>,
) -> Result<(), String>
where
    (i64,): for<'r> FromRow<'r, DB::Row>,
    DB::Arguments: IntoArguments<DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let before = count::<DB>(pool).await;
    let seen = Seen::of::<DB, M>(pool, 1).await?;
    if !matches!(kind.expect, Swallows(_)) {
        wrong.extend(seen.lies());
    }
    let words = match kind.expect {
        Works => return seen.works(),
        Warned(words) if seen.warnings.contains(words) => return seen.works(),
        Warned(words) => {
            return Err(format!("verify does not warn of {words:?}: {} {}", seen.warnings, listed(&seen.problems)));
        }
        Mended(words) | Refused(words) | Swallows(words) | Loose(words, _) => words,
    };
    if seen.problems.is_empty() {
        return Err(format!("verify says Ok, and {} calls fail:{}", seen.failed(), seen.failures()));
    }
    if !listed(&seen.problems).contains(words) {
        wrong.push(format!("verify does not say {words:?}: {}", listed(&seen.problems)));
    }
    wrong.extend(seen.other_hints());
    // An engine without transactions keeps what a statement has written before it fails.
    let is_kept = kind.ddl.iter().any(|sql| sql.contains("ENGINE"));
    if !is_kept && seen.misses_index() && count::<DB>(pool).await != before {
        wrong.push("a call that misses the index has written all the same".to_owned());
    }
    if let Loose(_, twice) = kind.expect {
        wrong.extend(try_twice::<DB, M>(pool, twice).await.err());
    } else if seen.failed() == 0 {
        wrong.push(format!("every call works, and verify says: {}", listed(&seen.problems)));
    }
    match (kind.expect, seen.fixes().as_slice()) {
        (Refused(_) | Swallows(_), []) => Ok(()),
        (Refused(_), fixes) => Err(format!("verify proposes {fixes:?}")),
        (_, []) => Err(format!("verify proposes no SQL: {}", listed(&seen.problems))),
        (_, fixes) => mended::<DB, M>(pool, fixes).await,
    }
}

/// Checks that `find` reports a second row with the same key.
///
/// The key is not kept unique: the statement makes that row.
async fn try_twice<DB: Backend, M: Specimen + On<DB>>(pool: &Pool<DB>, twice: &str) -> Result<(), String>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    call::<DB, M>(pool, "get_or_create", 0).await.map_err(|trouble| format!("get_or_create: {trouble:?}"))?;
    run(pool, twice).await.map_err(|error| format!("{twice}: {error}"))?;
    let found = M::find(pool, M::key_of(1)).await;
    run(pool, "DELETE FROM parcels").await.map_err(|error| error.to_string())?;
    match found {
        Err(Error::ManyRows { .. }) => Ok(()),
        other => Err(format!("find gives {other:?} where a key has two rows")),
    }
}

/// Runs what `verify` proposes, after which all is well.
async fn mended<DB: Backend, M: Specimen + On<DB>>(pool: &Pool<DB>, fixes: &[&str]) -> Result<(), String>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    for fix in fixes {
        run(pool, fix).await.map_err(|error| format!("{fix}: {error}"))?;
    }
    Seen::of::<DB, M>(pool, 2).await?.works().map_err(|what| format!("mended, {what}"))
}
