//! The database, and the checks of each step.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures_util::{future::BoxFuture, stream};
use sqlx::{AssertSqlSafe, Database, Pool};
use upsertable::{Error, Handle, Hooks, Outcome, Progress, Transaction, Upsertable as _};
use upsertable_tests::{Fixture, TestDb};

use super::{
    Subject,
    oracle::{
        Answer, BROKEN, Done, Item, Key, NewItem, Numbered, OTHER_UNIQUE, REFUSED, Request, TABLE, Table, expected,
    },
    sequence::{Bulk, CODES, Call, End, Hooked, Inner, Plain, SAVEPOINTS, Step, Way},
};

type Db = <Subject as TestDb>::Db;
type Connection = <Db as Database>::Connection;

/// True if a rollback gives ids back.
///
/// Then a gap between two ids tells of one that was used up for nothing.
const COUNTS_IDS: bool = matches!(Db::NAME.as_bytes(), b"SQLite");

/// Reasons to give a sequence up.
///
/// A promise was broken, or a savepoint is to be undone.
enum Stop {
    Broken(String),
    Undo,
    /// The database has ended the transaction, as it does after an error.
    Dead,
    /// The transaction is over, and every later call has to say so.
    Over,
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Broken(what)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(format!("an error of the transaction: {error}"))
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Broken(format!("an error of plain sqlx: {error}"))
    }
}

/// Result that a call gave.
#[derive(Debug)]
enum Given {
    Found(Vec<Option<Item>>),
    Outcomes(Vec<Outcome<Item>>),
    Counts(u64, u64, u64),
    Nothing,
}

/// The error of a call.
#[derive(Debug)]
enum Failed {
    Stream,
    Call(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl Failed {
    fn kind(&self) -> &'static str {
        match self {
            Self::Stream => BROKEN,
            Self::Call(Error::OtherUnique { .. }) => OTHER_UNIQUE,
            Self::Call(Error::Sql(_)) => REFUSED,
            Self::Call(_) => "another",
        }
    }
}

/// Handle on which calls are made.
enum Place<'p> {
    Pool(&'p Pool<Db>),
    Connection(&'p mut Connection),
    Ours(&'p mut Transaction<Db>, Way),
}

impl Place<'_> {
    async fn make(&mut self, request: &Request) -> Result<Given, Failed> {
        if let Request::Delete(_, key) = request {
            let code = key.code.replace('\'', "''");
            self.execute(format!("DELETE FROM items WHERE room = {} AND code = '{code}'", key.room)).await?;
            return Ok(Given::Nothing);
        }
        match self {
            Self::Pool(pool) => make(*pool, request).await,
            Self::Connection(conn) => make(&mut **conn, request).await,
            Self::Ours(tx, Way::Transaction) => make(&mut **tx, request).await,
            Self::Ours(tx, Way::Connection) => make(&mut ***tx, request).await,
            Self::Ours(tx, Way::Raw) => make(tx.raw(), request).await,
        }
    }

    async fn execute(&mut self, sql: String) -> Result<(), Error> {
        let query = sqlx::query(AssertSqlSafe(sql));
        match self {
            Self::Pool(pool) => query.execute(*pool).await?,
            Self::Connection(conn) => query.execute(&mut **conn).await?,
            Self::Ours(tx, _) => query.execute(&mut ***tx).await?,
        };
        Ok(())
    }

    async fn items(&mut self) -> Result<Vec<Item>, sqlx::Error> {
        let query = sqlx::query_as("SELECT * FROM items");
        match self {
            Self::Pool(pool) => query.fetch_all(*pool).await,
            Self::Connection(conn) => query.fetch_all(&mut **conn).await,
            Self::Ours(tx, _) => query.fetch_all(&mut ***tx).await,
        }
    }
}

async fn make<'h>(db: impl Handle<'h, Db>, request: &Request) -> Result<Given, Failed> {
    let received = Arc::new(Mutex::new(0));
    let told = Arc::clone(&received);
    let note = move |progress: Progress| *told.lock().unwrap() = progress.received;
    let given = match request.clone() {
        Request::Find(keys) => {
            let (_, key) = keys[0].clone();
            Given::Found(vec![Item::find(db, key).await?])
        }
        Request::FindAll(keys) => Given::Found(Item::find_all(db, keys.into_iter().map(|(_, key)| key)).await?),
        Request::GetOrCreate(row) => Given::Outcomes(vec![Item::get_or_create(db, row.new).await?]),
        Request::GetOrCreateWith(key, _, made) => {
            Given::Outcomes(vec![Item::get_or_create_with(db, key, async || Ok::<_, Failed>(made)).await?])
        }
        Request::Upsert(row) => Given::Outcomes(vec![Item::upsert(db, row.new).await?]),
        Request::Bulk(Bulk::CreateNew, rows) => {
            let done = Item::bulk(rows.into_iter().map(|row| row.new)).on_progress(note).create_new(db).await?;
            assert_eq!(*received.lock().unwrap(), done.received, "the progress told last is all");
            Given::Counts(done.received, done.created, 0)
        }
        Request::Bulk(Bulk::GetOrCreate, rows) => {
            Given::Outcomes(Item::bulk_get_or_create(db, rows.into_iter().map(|row| row.new)).await?)
        }
        Request::Bulk(Bulk::Upsert, rows) => {
            let rows = stream::iter(rows.into_iter().map(|row| Ok::<_, Failed>(row.new)));
            let done = Item::bulk_stream(rows).on_progress(note).upsert(db).await?;
            assert_eq!(*received.lock().unwrap(), done.received, "the progress told last is all");
            Given::Counts(done.received, done.created, done.updated)
        }
        Request::BrokenStream(bulk, rows) => {
            let rows =
                Item::bulk_stream(stream::iter(rows.into_iter().map(|row| Ok(row.new)).chain([Err(Failed::Stream)])));
            match bulk {
                Bulk::CreateNew => rows.create_new(db).await.map(drop)?,
                Bulk::GetOrCreate => rows.get_or_create(db).await.map(drop)?,
                Bulk::Upsert => rows.upsert(db).await.map(drop)?,
            }
            Given::Nothing
        }
        Request::Delete(..) => Given::Nothing,
    };
    Ok(given)
}

/// Known state of the database at one moment.
#[derive(Clone, Default)]
struct State {
    table: Table,
    /// The highest id that was given out.
    last_id: i64,
    /// The items created since the transaction began, as they were given.
    created: Vec<Item>,
    callbacks: Vec<String>,
}

/// A savepoint of the caller's.
struct PlainSavepoint {
    name: usize,
    /// Number of our savepoints around it.
    level: usize,
    state: State,
}

/// The database with its table of items, and expected rows.
///
/// They are what is to be in the table.
pub(super) struct World {
    db: Fixture<Subject>,
    classes: Vec<usize>,
    serial: i64,
    state: State,
    /// State in which the transaction began.
    begun: State,
    savepoints: Vec<PlainSavepoint>,
    level: usize,
    /// True in a transaction of plain SQL.
    ///
    /// A call of one row does not know of it: a statement that fails ends it on PostgreSQL.
    in_plain: bool,
    log: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub(super) async fn new() -> Self {
        let db = Fixture::with_connections(2).await;
        db.run(TABLE).await;
        let classes = classes(&db).await;
        let (state, begun) = (State::default(), State::default());
        Self {
            db,
            classes,
            serial: 0,
            state,
            begun,
            savepoints: Vec::new(),
            level: 0,
            in_plain: false,
            log: Arc::default(),
        }
    }

    /// Runs a sequence on the empty table.
    ///
    /// What is wrong is told in words.
    pub(super) async fn run(&mut self, steps: &[Step]) -> Result<(), String> {
        self.db.run("DELETE FROM items").await;
        if COUNTS_IDS {
            self.db.run("DELETE FROM sqlite_sequence WHERE name = 'items'").await;
        }
        self.state = State::default();
        for (number, step) in steps.iter().enumerate() {
            self.step(step).await.map_err(|stop| match stop {
                Stop::Broken(what) => format!("step {number}: {what}"),
                Stop::Undo | Stop::Dead | Stop::Over => format!("step {number}: given up"),
            })?;
            self.look(number).await?;
        }
        Ok(())
    }

    /// Compares the table as others see it, and the pool's connections.
    async fn look(&self, number: usize) -> Result<(), String> {
        let seen = Place::Pool(&self.db.outside).items().await.map_err(|error| error.to_string())?;
        same_table(&self.classes, &self.state.table, &seen)
            .map_err(|what| format!("after step {number}, from outside: {what}"))?;
        for _ in 0..2 {
            let mut conn = self.db.pool.acquire().await.map_err(|error| error.to_string())?;
            let (open, left) = (Subject::in_transaction(&mut conn).await, Subject::temporary_tables(&mut conn).await);
            if open || !left.is_empty() {
                return Err(format!("after step {number}: a connection in transaction: {open}, with {left:?}"));
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        let pool = self.db.pool.clone();
        match step {
            Step::OnPool(call) => self.call(&mut Place::Pool(&pool), call).await,
            Step::OnConnection(call) => {
                let mut conn = pool.acquire().await?;
                self.call(&mut Place::Connection(&mut conn), call).await
            }
            Step::InTheirs(calls, kept) => {
                let before = self.state.clone();
                let mut theirs = pool.begin().await?;
                let dead = self.calls(&mut theirs, calls).await?;
                if *kept && !dead {
                    theirs.commit().await?;
                } else {
                    theirs.rollback().await?;
                    self.state = before;
                }
                Ok(())
            }
            Step::InPlain(calls, kept) => {
                let before = self.state.clone();
                let mut conn = pool.acquire().await?;
                sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
                self.in_plain = true;
                let dead = self.calls(&mut conn, calls).await;
                self.in_plain = false;
                let dead = dead?;
                let kept = *kept && !dead;
                sqlx::raw_sql(if kept { "COMMIT" } else { "ROLLBACK" }).execute(&mut *conn).await?;
                if !kept {
                    self.state = before;
                }
                Ok(())
            }
            Step::InOurs(inner, end, hooked) => self.in_ours(&pool, inner, *end, *hooked).await,
        }
    }

    /// Makes calls in a transaction that is not ours.
    ///
    /// Says whether the database has ended it.
    async fn calls(&mut self, conn: &mut Connection, calls: &[Call]) -> Result<bool, Stop> {
        for call in calls {
            match self.call(&mut Place::Connection(conn), call).await {
                Ok(()) => {}
                Err(Stop::Dead) => return Ok(true),
                Err(stop) => return Err(stop),
            }
        }
        Ok(false)
    }

    async fn in_ours(&mut self, pool: &Pool<Db>, inner: &[Inner], end: End, hooked: Hooked) -> Result<(), Stop> {
        self.log.lock().unwrap().clear();
        let mut hooks = Hooks::new();
        if hooked == Hooked::Yes {
            let log = Arc::clone(&self.log);
            Item::after_commit(&mut hooks, async move |items: Arc<[Item]>| {
                log.lock().unwrap().push(format!("{items:?}"));
            });
        }
        let before = self.state.clone();
        self.state.created.clear();
        self.state.callbacks.clear();
        self.begun = before.clone();
        self.savepoints.clear();
        self.level = 0;
        let mut tx = upsertable::begin_with(pool, &hooks).await?;
        let dead = match self.inside(&mut tx, inner, &before.table).await {
            Ok(()) => false,
            Err(Stop::Dead) => true,
            Err(Stop::Over) => return self.over(tx, end).await,
            Err(stop) => return Err(stop),
        };
        let mut expected = Vec::new();
        match end {
            End::Commit if !dead => {
                let committed = tx.commit().await?;
                if !committed.failures().is_empty() {
                    return Err(format!("callbacks failed: {:?}", committed.failures()).into());
                }
                if hooked == Hooked::Yes && !self.state.created.is_empty() {
                    expected.push(format!("{:?}", self.state.created));
                }
                expected.append(&mut self.state.callbacks);
            }
            End::Drop => {
                drop(tx);
                self.state = before;
            }
            End::Commit | End::Rollback => {
                tx.rollback().await?;
                self.state = before;
            }
        }
        let told = self.log.lock().unwrap().clone();
        if told != expected {
            return Err(format!("after the commit {told:?} was told, and it should have been {expected:?}").into());
        }
        Ok(())
    }

    /// Checks a transaction that was over before its end.
    ///
    /// The state is what its end has left.
    async fn over(&mut self, mut tx: Transaction<Db>, end: End) -> Result<(), Stop> {
        let row = NewItem { room: 0, code: "a".to_owned(), badge: None, score: 1, maker: 1 };
        let refused = Item::upsert(&mut tx, row).await;
        if !matches!(refused, Err(Error::Ended { .. })) {
            return Err(format!("a call in a transaction that is over gave {refused:?}").into());
        }
        match end {
            End::Commit => match tx.commit().await {
                Err(Error::Ended { .. }) => {}
                other => return Err(format!("the commit of a transaction that is over gave {other:?}").into()),
            },
            End::Rollback => tx.rollback().await?,
            End::Drop => drop(tx),
        }
        let told = self.log.lock().unwrap().clone();
        if told.is_empty() { Ok(()) } else { Err(format!("{told:?} was told of a transaction that was over").into()) }
    }

    /// Runs the caller's plain SQL, and notes what is known then.
    async fn plain(&mut self, tx: &mut Transaction<Db>, plain: Plain) -> Result<(), Stop> {
        let run = async |tx: &mut Transaction<Db>, sql: String| {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **tx).await.map(drop)
        };
        match plain {
            Plain::Rollback => {
                run(tx, "/* ; */ ROLLBACK".to_owned()).await?;
                self.ends(false)
            }
            Plain::Commit => {
                run(tx, "SELECT 1; COMMIT".to_owned()).await?;
                self.ends(true)
            }
            Plain::Anew => {
                run(tx, "ROLLBACK; BEGIN".to_owned()).await?;
                self.ends(false)
            }
            Plain::Ddl => {
                run(tx, "CREATE TABLE made (n BIGINT)".to_owned()).await?;
                if Db::NAME == "MySQL" {
                    self.db.run("DROP TABLE made").await;
                    return self.ends(true);
                }
                Ok(run(tx, "DROP TABLE made".to_owned()).await?)
            }
            Plain::Spoil => {
                Subject::spoil(tx, &self.db.pool).await;
                self.ends(false)
            }
            Plain::Kill => self.kill(tx).await,
            Plain::Savepoint(name) => {
                run(tx, format!("SAVEPOINT {}", SAVEPOINTS[name])).await?;
                if Db::NAME == "MySQL" {
                    self.savepoints.retain(|savepoint| savepoint.name != name);
                }
                self.savepoints.push(PlainSavepoint { name, level: self.level, state: self.state.clone() });
                Ok(())
            }
            Plain::RollbackTo(name) | Plain::Release(name) => {
                let verb = if plain == Plain::Release(name) { "RELEASE" } else { "ROLLBACK TO" };
                let done = run(tx, format!("{verb} SAVEPOINT {}", SAVEPOINTS[name])).await;
                let Some(position) = self.savepoints.iter().rposition(|savepoint| savepoint.name == name) else {
                    done.err().ok_or_else(|| Stop::Broken(format!("{verb} a savepoint that is not there")))?;
                    return if Db::NAME == "PostgreSQL" { Err(Stop::Dead) } else { Ok(()) };
                };
                done?;
                // Ours are gone with it.
                if self.savepoints[position].level < self.level {
                    return self.ends(false);
                }
                if verb == "RELEASE" {
                    self.savepoints.truncate(position);
                } else {
                    self.state = self.savepoints[position].state.clone();
                    self.savepoints.truncate(position + 1);
                }
                Ok(())
            }
        }
    }

    async fn kill(&mut self, tx: &mut Transaction<Db>) -> Result<(), Stop> {
        let (ask, kill) = match Db::NAME {
            "PostgreSQL" => ("SELECT pg_backend_pid()::int8", "SELECT pg_terminate_backend({})"),
            "MySQL" => ("SELECT CAST(CONNECTION_ID() AS SIGNED)", "KILL {}"),
            _ => return Ok(()),
        };
        let id = Subject::numbers(tx.raw(), ask.to_owned()).await?[0];
        let mut outside = self.db.outside.acquire().await?;
        sqlx::raw_sql(AssertSqlSafe(kill.replace("{}", &id.to_string()))).execute(&mut *outside).await?;
        // The first to meet it may be told of the connection.
        while sqlx::raw_sql("SELECT 1").execute(&mut **tx).await.is_ok() {}
        self.ends(false)
    }

    /// Notes the end of the transaction, with its work or without.
    fn ends(&mut self, kept: bool) -> Result<(), Stop> {
        if !kept {
            self.state = self.begun.clone();
        }
        Err(Stop::Over)
    }

    fn inside<'w>(
        &'w mut self,
        tx: &'w mut Transaction<Db>,
        steps: &'w [Inner],
        outside: &'w Table,
    ) -> BoxFuture<'w, Result<(), Stop>> {
        Box::pin(async move {
            for step in steps {
                match step {
                    Inner::Call(way, call) => self.call(&mut Place::Ours(tx, *way), call).await?,
                    Inner::OnCommit => {
                        let line = format!("callback {}", self.state.callbacks.len());
                        self.state.callbacks.push(line.clone());
                        let log = Arc::clone(&self.log);
                        tx.on_commit(async move { log.lock().unwrap().push(line) });
                    }
                    Inner::Look => {
                        let seen = Place::Pool(&self.db.outside).items().await?;
                        same_table(&self.classes, outside, &seen)
                            .map_err(|what| format!("before the commit, from outside: {what}"))?;
                    }
                    Inner::Plain(plain) => self.plain(tx, *plain).await?,
                    Inner::Savepoint(steps, kept) => {
                        let before = self.state.clone();
                        self.level += 1;
                        let here = &mut *self;
                        let outcome = tx.savepoint(async move |tx| {
                            here.inside(tx, steps, outside).await?;
                            if *kept { Ok(()) } else { Err(Stop::Undo) }
                        });
                        let outcome = outcome.await;
                        self.level -= 1;
                        let level = self.level;
                        self.savepoints.retain(|savepoint| savepoint.level <= level);
                        match outcome {
                            Ok(()) => {}
                            Err(Stop::Undo) => self.state = before,
                            Err(stop) => return Err(stop),
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Makes a call and checks all that can be seen of it.
    async fn call(&mut self, place: &mut Place<'_>, call: &Call) -> Result<(), Stop> {
        let mut numbered = Numbered { codes: &CODES, classes: &self.classes, last: self.serial };
        let request = numbered.request(call);
        self.serial = numbered.last;
        let expected = expected(&self.state.table, &request);
        let wrong = |what: String| Stop::Broken(format!("{request:?} on {:?}: {what}", self.state.table.values()));

        let given = match place.make(&request).await {
            Ok(given) => given,
            Err(failed) => {
                if !expected.failures.contains(failed.kind()) {
                    return Err(wrong(format!("failed with {failed:?}, and it should not have")));
                }
                if self.in_plain && Db::NAME == "PostgreSQL" && request.is_of_one_row() {
                    return Err(Stop::Dead);
                }
                let seen = place.items().await?;
                return same_table(&self.classes, &self.state.table, &seen)
                    .map(drop)
                    .map_err(|what| wrong(format!("after its failure: {what}")));
            }
        };
        let Some(done) = expected.done else {
            return Err(wrong(format!("gave {given:?}, and should have failed with one of {:?}", expected.failures)));
        };
        let seen = place.items().await?;
        let seen = same_table(&self.classes, &done.table, &seen).map_err(&wrong)?;
        same_answer(&done, &given, &seen).map_err(&wrong)?;
        let mut ids: Vec<i64> = done.created.iter().map(|key| seen[key].id).collect();
        let through_us = !matches!(place, Place::Ours(_, Way::Raw));
        let created: Vec<Item> = done.created.iter().map(|key| seen[key].clone()).collect();
        ids.sort_unstable();
        if COUNTS_IDS && !ids.iter().copied().eq(self.state.last_id + 1..=self.state.last_id + ids.len() as i64) {
            return Err(wrong(format!("the new ids are {ids:?}, and the last one before was {}", self.state.last_id)));
        }
        self.state.last_id = ids.last().copied().unwrap_or(self.state.last_id).max(self.state.last_id);
        if through_us {
            self.state.created.extend(created);
        }
        self.state.table = seen;
        Ok(())
    }
}

/// Checks that the rows are those of the table, with ids.
///
/// Ids that were not known are learnt.
fn same_table(classes: &[usize], table: &Table, seen: &[Item]) -> Result<Table, String> {
    let class = |item: &Item| {
        (item.room, CODES.iter().position(|code| *code == item.code).map_or(usize::MAX, |code| classes[code]))
    };
    let seen: BTreeMap<Key, Item> = {
        let by_key: BTreeMap<Key, Item> = seen.iter().map(|item| (class(item), item.clone())).collect();
        if by_key.len() != seen.len() {
            return Err(format!("two rows of one key: {seen:?}"));
        }
        by_key
    };
    let without_new_ids = seen.iter().map(|(key, item)| {
        let known = table.get(key).is_some_and(|expected| expected.id != 0);
        (*key, Item { id: if known { item.id } else { 0 }, ..item.clone() })
    });
    if without_new_ids.collect::<Table>() == *table {
        return Ok(seen);
    }
    Err(format!("the table is {:?}, and should be {:?}", seen.values(), table.values()))
}

fn same_answer(done: &Done, given: &Given, seen: &Table) -> Result<(), String> {
    let same = match (&done.answer, given) {
        (Answer::Found(keys), Given::Found(rows)) => {
            keys.iter().map(|key| key.map(|key| &seen[&key])).eq(rows.iter().map(Option::as_ref))
        }
        (Answer::Outcomes(outcomes), Given::Outcomes(rows)) => outcomes
            .iter()
            .map(|(key, created)| (&seen[key], *created))
            .eq(rows.iter().map(|outcome| (&outcome.row, outcome.created))),
        (Answer::Counts(received, created, updated), Given::Counts(a, b, c)) => {
            (received, created, updated) == (a, b, c)
        }
        (Answer::Nothing, Given::Nothing) => true,
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("gave {given:?}, and should have given {:?}", done.answer)) }
}

/// Asks the database which codes are equal.
async fn classes(db: &Fixture<Subject>) -> Vec<usize> {
    let quoted = |code: usize| CODES[code].replace('\'', "''");
    let mut classes: Vec<usize> = Vec::new();
    for code in 0..CODES.len() {
        let mut class = code;
        for (earlier, its_class) in classes.iter().enumerate() {
            db.run("DELETE FROM items").await;
            let values = format!("(0, '{}', NULL, 0, 0)", quoted(earlier));
            db.run(&format!("INSERT INTO items (room, code, badge, score, maker) VALUES {values}")).await;
            if db.number(&format!("SELECT count(*) FROM items WHERE code = '{}'", quoted(code))).await == 1 {
                class = *its_class;
                break;
            }
        }
        classes.push(class);
    }
    classes
}
