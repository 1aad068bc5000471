//! The derived trait, with every call of the crate.

use std::sync::Arc;

use futures_core::Stream;
use futures_util::stream;
use sqlx::Pool;

use crate::{
    backend::Backend,
    connection::handle::Handle,
    driver::bind::Columns,
    error::Error,
    model::new_row::Row,
    model::{CreateKey, Model, On, UniqueKey, erased},
    operations::batches::builder::Batches,
    operations::bulk::builder::Bulk,
    operations::bulk::report::{BulkCreated, BulkUpserted},
    operations::one_row::{self, OneRowCall},
    operations::target::Target,
    operations::verify::{self, Verified},
    operations::{created, find},
    outcome::{CallFuture, Outcome},
    sql::table::Table,
    trace::span::CallSpan,
    transaction::callback::Output,
    transaction::hooks::{Hook, PendingHook, Registry},
};

/// A model: a struct with rows found or created by key.
///
/// Derive it: `#[derive(Upsertable)]`. The calls work on every [handle](Handle), and on every [database](Backend) that can hold the model's
/// field types.
///
/// # Example
///
/// ```
/// use upsertable::{Outcome, Upsertable};
///
/// #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
/// #[upsertable(table = "retweets")]
/// #[unique(tweet, retweeter)]
/// pub struct Retweet {
///     #[upsertable(generated)]
///     pub id: i64,
///     pub tweet: i64,
///     pub retweeter: i64,
///     pub original_author: i64,
/// }
///
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let new = NewRetweet { tweet: 1, retweeter: 2, original_author: 3 };
/// let Outcome { row, created } = Retweet::get_or_create(&pool, new).await?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    label = "expected a struct that derives `Upsertable`",
    note = "add `#[derive(sqlx::FromRow, upsertable::Upsertable)]` and `#[unique(..)]` to the struct"
)]
pub trait Upsertable: Model {
    /// This row's key: the fields of the first `#[unique(..)]`.
    fn key(&self) -> Self::Key {
        self.unique_key()
    }

    /// Finds the row with the key of `new`, or creates it.
    ///
    /// `created` in the [`Outcome`] says which. It is safe when many tasks and processes race for one key: all get the one row, exactly one
    /// of them with `created: true`. A row that is found is never changed: the other columns of `new` count for a new row only.
    ///
    /// # Statements
    ///
    /// A SELECT when the row exists, and an INSERT more when it does not. When another caller creates the row between the two, the SELECT
    /// is done again. No id is used up for a row that is found.
    ///
    /// On MySQL, whose INSERT gives back no row, a missing row costs two more: one looks for the unique index, one reads the row; BEGIN and
    /// COMMIT are around them on a pool. In a transaction SAVEPOINT and RELEASE are around the INSERT on PostgreSQL; on MySQL a SAVEPOINT
    /// goes with the look for the index.
    ///
    /// # Errors
    ///
    /// * [`Error::OtherUnique`]: the row is new by this key, and another row has its value in another unique index.
    /// * [`Error::MissingUniqueIndex`]: there is no unique index on the key, so the new row was not written.
    /// * [`Error::ManyRows`]: the key found more than one row.
    /// * [`Error::KeyMismatch`]: the database stores the key otherwise, or hides the row that is in the way; nothing was written.
    /// * [`Error::Vanished`]: the row was deleted each time between the conflict and the re-read.
    /// * [`Error::Unsupported`]: a key with `nulls_not_distinct` on a database that has no such index.
    /// * [`Error::Ended`]: the transaction that was given is over.
    /// * [`Error::Sql`]: every other refusal of the database, as by NOT NULL or CHECK.
    ///
    /// After all of them but `Ended`, a transaction can go on unless the database itself has ended it. On a pool, the work is done up to five
    /// times, on MySQL twenty, when it loses against other transactions.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the row has been created or not; calling again is safe. Inside a [`Transaction`](crate::Transaction), dropping it
    /// while it inserts ends the transaction. A connection that you lent: see [`Handle`](crate::Handle#dropped-calls).
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::{Outcome, Upsertable};
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let Outcome { row, created } = Tag::get_or_create(&pool, NewTag { name: "jazz".into() }).await?;
    /// println!("{} tag {}", if created { "new" } else { "known" }, row.id);
    /// # Ok(())
    /// # }
    /// ```
    fn get_or_create<'a, DB, H>(db: H, new: Self::New) -> CallFuture<'a, Outcome<Self>>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Table::of::<Self>(), Self::Key::INDEX, "get_or_create");
            let span = target.span();
            let mut session = db.session();
            span.run(one_row::store::<DB, Self>(&span, &mut session, target, OneRowCall::GetOrCreate, new)).await
        })
    }

    /// Finds the row with this key, or creates it from `make`.
    ///
    /// `make` runs only when the row is not there, and then once, so it may be expensive: a call to an API, say. On a pool no connection is
    /// held while it runs. The columns of the key are stored as in `key`, whatever `make` says of them.
    ///
    /// # Statements
    ///
    /// As for [`get_or_create`](Self::get_or_create).
    ///
    /// # Errors
    ///
    /// The error of `make`, or one of those of [`get_or_create`](Self::get_or_create).
    ///
    /// # Cancel safety
    ///
    /// As for [`get_or_create`](Self::get_or_create); dropped while `make` runs, nothing has been written.
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(provider_game_id)]
    /// # struct Game { #[upsertable(generated)] id: i64, provider_game_id: i64, name: String }
    /// # async fn fetch(_: i64) -> Result<NewGame, upsertable::Error> { unimplemented!() }
    /// # async fn example(pool: sqlx::SqlitePool, provider_game_id: i64) -> Result<(), upsertable::Error> {
    /// let game = Game::get_or_create_with(&pool, GameKey { provider_game_id }, async || fetch(provider_game_id).await).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn get_or_create_with<'a, DB, H, K, F, Fut, E>(db: H, key: K, make: F) -> CallFuture<'a, Outcome<Self>, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        K: CreateKey<Self> + 'a,
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<Self::New, E>> + Send + 'a,
        E: From<Error> + Send + 'a,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Table::of::<Self>(), K::INDEX, "get_or_create_with");
            let span = target.span();
            let work = async {
                let mut session = db.session();
                let write = &mut |_: Columns, encoder: &mut DB::Encoder| {
                    erased::put_key::<DB, Self, K>(&key, target.table, target.key, encoder)
                };
                if let Some(found) = one_row::run::<DB>(&mut session, target, OneRowCall::Find, write).await? {
                    return Ok(created::outcome::<DB, Self>(&span, &mut session, found)?);
                }
                let mut new = make().await?;
                key.store(&mut new);
                Ok(one_row::store::<DB, Self>(&span, &mut session, target, OneRowCall::Create, new).await?)
            };
            span.run(work).await
        })
    }

    /// Finds the row with this key, if there is one.
    ///
    /// # Statements
    ///
    /// One SELECT.
    ///
    /// # Errors
    ///
    /// * [`Error::ManyRows`]: the key found more than one row.
    /// * [`Error::Unsupported`]: a key with `nulls_not_distinct` on a database that has no such index.
    /// * [`Error::Ended`]: the transaction that was given is over.
    /// * [`Error::Sql`]: any other error of the database.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, nothing is changed.
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let found: Option<Tag> = Tag::find(&pool, TagKey { name: "jazz".into() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn find<'a, DB, H, K>(db: H, key: K) -> CallFuture<'a, Option<Self>>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        K: UniqueKey<Self> + 'a,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Table::of::<Self>(), K::INDEX, "find");
            let span = target.span();
            let work = async {
                let write = &mut move |_: Columns, encoder: &mut DB::Encoder| {
                    erased::put_key::<DB, Self, K>(&key, target.table, target.key, encoder)
                };
                let found = one_row::run::<DB>(&mut db.session(), target, OneRowCall::Find, write).await?;
                span.rows(u64::from(found.is_some()));
                Ok(found.map(|(row, _)| erased::read::<DB, Self>(&row)).transpose()?)
            };
            span.run(work).await
        })
    }

    /// Creates the rows whose key is not in the table yet.
    ///
    /// The rows created are counted. Rows that exist are skipped and never changed.
    ///
    /// The rows travel through a temporary table and are merged from there, so there may be any number of them. Of several rows with one
    /// key the first wins. The call is kept whole or not at all; inside a transaction it is a savepoint. While rows are staged the table is
    /// not locked: the lock comes with the merge.
    ///
    /// # Statements
    ///
    /// None for no rows. Few rows go without a temporary table: on PostgreSQL one statement for up to 10,000 rows (from 1,001 on with BEGIN and
    /// COMMIT), on SQLite two for up to 1,000, on MariaDB two to fifteen for up to 1,024.
    ///
    /// More rows are staged. On PostgreSQL eight: BEGIN, one that looks for the unique index and makes the temporary table, a COPY or one
    /// INSERT for each 10,000 rows, SAVEPOINT, one that asks for the size of the table, the merge, RELEASE and COMMIT; one more where the key
    /// has a text, and up to five more where the planner is told how to join. On SQLite six, and one for each thousand to four thousand rows;
    /// on MySQL and MariaDB eight, and one for each two thousand rows. In a transaction SAVEPOINT and RELEASE are around all.
    ///
    /// On PostgreSQL a pool's call stages and merges in one transaction at READ COMMITTED. A slow stream holds it open, and no lock on the
    /// table: [`commit_every`](crate::Bulk::commit_every) bounds it. On SQLite, MySQL and MariaDB only the merge is a transaction.
    ///
    /// # Errors
    ///
    /// * [`Error::MissingUniqueIndex`]: there is no unique index on the key.
    /// * [`Error::OtherUnique`]: a row is new by the key, and another row has its value in another unique index.
    /// * [`Error::Unsupported`]: a key with `nulls_not_distinct` on a database that has no such index.
    /// * [`Error::Ended`]: the transaction that was given is over.
    /// * [`Error::Sql`]: every other refusal of the database, as by NOT NULL or CHECK.
    ///
    /// In each case nothing is written, and a transaction can go on unless the database itself has ended it. On a pool, the merge is done
    /// up to five times, on MySQL twenty, when it loses against other transactions.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, nothing is written, or all rows where the merge was under way already, and nothing is left on the connection. Inside
    /// a [`Transaction`](crate::Transaction) that ends the transaction. A connection that you lent: see [`Handle`](crate::Handle#dropped-calls).
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let tags = ["jazz", "blues", "jazz"].map(|name| NewTag { name: name.into() });
    /// let done = Tag::bulk_create_new(&pool, tags).await?;
    /// println!("{done}"); // "2 of 3 records added"
    /// # Ok(())
    /// # }
    /// ```
    fn bulk_create_new<'a, DB, H, I>(db: H, rows: I) -> CallFuture<'a, BulkCreated>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        I: IntoIterator<Item = Self::New> + Send + 'a,
        I::IntoIter: Send + 'a,
        Self: On<DB>,
    {
        Self::bulk(rows).create_new(db)
    }

    /// Creates the rows of a stream whose key is missing.
    ///
    /// It does what [`bulk_create_new`](Self::bulk_create_new) does, for a stream of rows, or of results of rows: an error in the stream
    /// ends the call, and is its error.
    ///
    /// Rows are read as they are sent and never collected, and a slow stream blocks nobody: the table is not locked while it runs. The first
    /// item is awaited before a connection is taken.
    ///
    /// # Statements
    ///
    /// As for [`bulk_create_new`](Self::bulk_create_new).
    ///
    /// # Errors
    ///
    /// The stream's own, or one of those of [`bulk_create_new`](Self::bulk_create_new).
    ///
    /// # Cancel safety
    ///
    /// As for [`bulk_create_new`](Self::bulk_create_new).
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// use futures_util::stream;
    ///
    /// let tags = stream::iter(["jazz", "blues"].map(|name| NewTag { name: name.into() }));
    /// let done = Tag::bulk_create_new_stream(&pool, tags).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn bulk_create_new_stream<'a, DB, H, S, E>(db: H, rows: S) -> CallFuture<'a, BulkCreated, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        S: Stream + Send + 'a,
        S::Item: Row<Self::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
        Self: On<DB>,
    {
        Self::bulk_stream(rows).create_new(db)
    }

    /// Creates the row with the key of `new`, or updates it.
    ///
    /// Other libraries call this `update_or_create`.
    ///
    /// An existing row gets every column of `new` but the key's and those marked `create_only`; `generated` columns stay. A model without
    /// such columns has nothing to update, and the call is [`get_or_create`](Self::get_or_create).
    ///
    /// # Statements
    ///
    /// An UPDATE when the row exists, and an INSERT more when it does not. When another caller creates the row between the two, the UPDATE is
    /// done again. No id is used up for a row that is found.
    ///
    /// On MySQL and MariaDB a SELECT reads the row that was updated, with BEGIN and COMMIT around both on a pool; on MySQL a missing row costs
    /// two more, as for [`get_or_create`](Self::get_or_create).
    ///
    /// # Errors
    ///
    /// As for [`get_or_create`](Self::get_or_create).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the row has been written or not; calling again is safe. Inside a [`Transaction`](crate::Transaction) that ends the
    /// transaction. A connection that you lent: see [`Handle`](crate::Handle#dropped-calls).
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::{Outcome, Upsertable};
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Song { #[upsertable(generated)] id: i64, name: String, score: i64 }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let Outcome { row, created } = Song::upsert(&pool, NewSong { name: "Naima".into(), score: 7 }).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn upsert<'a, DB, H>(db: H, new: Self::New) -> CallFuture<'a, Outcome<Self>>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Table::of::<Self>(), Self::Key::INDEX, "upsert");
            let span = target.span();
            let mut session = db.session();
            span.run(one_row::store::<DB, Self>(&span, &mut session, target, OneRowCall::Upsert, new)).await
        })
    }

    /// Finds the rows of many keys, in the keys' order.
    ///
    /// Gives `None` for a key that no row has.
    ///
    /// # Statements
    ///
    /// One for as many keys as a statement can carry: 5,000 on PostgreSQL, 10,000 on MySQL and MariaDB, 32,766 values on SQLite. None for no
    /// keys. On PostgreSQL more than 512 keys have BEGIN and COMMIT around them, and keys of texts one more that asks for the columns' types.
    ///
    /// # Errors
    ///
    /// As for [`find`](Self::find).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, nothing is changed.
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let keys = ["jazz", "blues"].map(|name| TagKey { name: name.into() });
    /// let tags: Vec<Option<Tag>> = Tag::find_all(&pool, keys).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn find_all<'a, DB, H, K, I>(db: H, keys: I) -> CallFuture<'a, Vec<Option<Self>>>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        K: UniqueKey<Self> + 'a,
        I: IntoIterator<Item = K> + Send + 'a,
        I::IntoIter: Send + 'a,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Table::of::<Self>(), K::INDEX, "find_all");
            let keys: Vec<K> = keys.into_iter().collect();
            let write_key = &mut |number: usize, encoder: &mut DB::Encoder| match keys.get(number) {
                Some(key) => erased::put_key::<DB, Self, K>(key, target.table, target.key, encoder).map(|()| true),
                None => Ok(false),
            };
            let span = target.span();
            let work = async { find::find_all::<DB>(&mut db.session(), target, write_key).await };
            let found = span.run(work).await?;
            span.rows(found.iter().flatten().count() as u64);
            found.iter().map(|row| Ok(row.as_ref().map(erased::read::<DB, Self>).transpose()?)).collect()
        })
    }

    /// Finds or creates a row for each of `rows`, in order.
    ///
    /// `created` in each [`Outcome`] says which.
    ///
    /// Rows that exist are never changed. Of several rows with one key the first is the one created; the others get its row with
    /// `created: false`, as if done one by one. The call is kept whole or not at all.
    ///
    /// # Statements
    ///
    /// The rows are staged whatever their number: those of [`bulk_create_new`](Self::bulk_create_new), with at most six more on PostgreSQL,
    /// four on MySQL and MariaDB and five on SQLite, however many rows there are.
    ///
    /// # Errors
    ///
    /// As for [`bulk_create_new`](Self::bulk_create_new), [`Error::Vanished`] where a row was deleted meanwhile, and [`Error::KeyMismatch`]
    /// where a row is stored with another key.
    ///
    /// # Cancel safety
    ///
    /// As for [`bulk_create_new`](Self::bulk_create_new).
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::{Outcome, Upsertable};
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let tags = ["jazz", "blues"].map(|name| NewTag { name: name.into() });
    /// let tags: Vec<Outcome<Tag>> = Tag::bulk_get_or_create(&pool, tags).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn bulk_get_or_create<'a, DB, H, I>(db: H, rows: I) -> CallFuture<'a, Vec<Outcome<Self>>>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        I: IntoIterator<Item = Self::New> + Send + 'a,
        I::IntoIter: Send + 'a,
        Self: On<DB>,
    {
        Self::bulk(rows).get_or_create(db)
    }

    /// Creates the rows whose key is missing, and updates the others.
    ///
    /// An existing row gets every column but the key's and those marked `create_only`; `generated` columns stay. Of several rows with one
    /// key the last wins, as if done one by one. The call is kept whole or not at all.
    ///
    /// # Statements
    ///
    /// The rows are staged whatever their number: those of [`bulk_create_new`](Self::bulk_create_new), with at most nine more on PostgreSQL,
    /// five on MySQL and MariaDB and seven on SQLite, however many rows there are.
    ///
    /// # Errors
    ///
    /// As for [`bulk_create_new`](Self::bulk_create_new).
    ///
    /// # Cancel safety
    ///
    /// As for [`bulk_create_new`](Self::bulk_create_new).
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Song { #[upsertable(generated)] id: i64, name: String, score: i64 }
    /// # async fn example(pool: sqlx::SqlitePool, songs: Vec<NewSong>) -> Result<(), upsertable::Error> {
    /// let done = Song::bulk_upsert(&pool, songs).await?;
    /// println!("{} new, {} updated", done.created, done.updated);
    /// # Ok(())
    /// # }
    /// ```
    fn bulk_upsert<'a, DB, H, I>(db: H, rows: I) -> CallFuture<'a, BulkUpserted>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        I: IntoIterator<Item = Self::New> + Send + 'a,
        I::IntoIter: Send + 'a,
        Self: On<DB>,
    {
        Self::bulk(rows).upsert(db)
    }

    /// Builds a bulk call with options.
    ///
    /// # Example
    ///
    /// See [`Bulk::on_progress`].
    fn bulk<'a, I>(rows: I) -> Bulk<'a, Self, stream::Iter<I::IntoIter>>
    where
        I: IntoIterator<Item = Self::New>,
    {
        Bulk::new(stream::iter(rows))
    }

    /// Builds a bulk call with options, from a stream.
    ///
    /// The stream gives rows, or results of rows.
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let tags = futures_util::stream::iter(["jazz", "blues"].map(|name| NewTag { name: name.into() }));
    /// let done = Tag::bulk_stream(tags).on_progress(|p| println!("{}", p.received)).upsert(&pool).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn bulk_stream<'a, S: Stream>(rows: S) -> Bulk<'a, Self, S> {
        Bulk::new(rows)
    }

    /// Checks that every call works on the table.
    ///
    /// That means: the table is of a kind that takes rows, its columns are there and fit the fields, and every `#[unique(..)]` has a real
    /// unique index on exactly its columns, which the calls can use. Nothing is changed.
    ///
    /// Call it once at start-up: without the unique index two callers can both create a row, and everything else here fails late.
    /// [`verify_all!`](crate::verify_all) takes several models.
    ///
    /// SQL is proposed where it mends what it stands beside. There is none where no SQL does, or only its owner can tell: a view, a rule, a
    /// table that is partitioned by another column, a column that the rows that are there need a value in. What a trigger, a policy or a CHECK
    /// does with a row is known when the row comes. Rights are not looked at.
    ///
    /// # Statements
    ///
    /// Three to seven that read the schema. Where something is missing, one that looks whether the table has rows, up to five that look for what
    /// mends it, and one that counts duplicates.
    ///
    /// # Errors
    ///
    /// * [`Error::Schema`]: everything that was found, each with the SQL that puts it right, where SQL can.
    /// * [`Error::Sql`]: the schema could not be read.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, nothing is changed.
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// for warning in Tag::verify(&pool).await?.warnings {
    ///     eprintln!("{warning}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn verify<'a, DB, H>(db: H) -> CallFuture<'a, Verified>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        Self: On<DB>,
    {
        Box::pin(async move {
            let span = CallSpan::begin("verify", Table::of::<Self>().name);
            let types = erased::types::<DB, Self>();
            span.run(async { verify::verify::<DB>(&mut db.session(), Table::of::<Self>(), types).await }).await
        })
    }

    /// Runs `work` after the commit, on the rows that were created.
    ///
    /// It gets every row of this model that the transaction created, in one call.
    ///
    /// Registered on a [`Transaction`](crate::Transaction) it counts for that one; on [`Hooks`](crate::Hooks), for every transaction begun
    /// with them. Rows created by `get_or_create`, `get_or_create_with`, `upsert` and every bulk call are seen, in the order created; rows
    /// that were found never are, nor rows of a savepoint that was rolled back. Where the transaction creates none, `work` is not called.
    /// Register before creating: rows are gathered from then on.
    /// All that holds for [callbacks](crate::Transaction::on_commit) holds here.
    ///
    /// # Statements
    ///
    /// None for one row. A bulk call that counts reads the rows it has created, with one SELECT more, in a transaction with such a hook only.
    ///
    /// # Example
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let mut tx = upsertable::begin(&pool).await?;
    /// Tag::after_commit(&mut tx, async |tags: Arc<[Tag]>| println!("{} new tags", tags.len()));
    /// Tag::get_or_create(&mut tx, NewTag { name: "jazz".into() }).await?;
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    fn after_commit<R, F, Fut>(registry: &mut R, work: F)
    where
        R: Registry,
        Self: Clone,
        F: FnOnce(Arc<[Self]>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Output,
    {
        registry.register(PendingHook(Hook::new(work)));
    }

    /// Builds a run of work over the rows of a table.
    ///
    /// The table may be full already: its rows are taken in batches, each of which is committed on its own.
    ///
    /// What is committed stays when the process dies, and where the [filter](Batches::filter) says what is still to do, a second run does
    /// only what is left. See [`Batches::run`] for how rows are taken, and what becomes of those that fail.
    ///
    /// # Statements
    ///
    /// See [`Batches::run`].
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Song { #[upsertable(generated)] id: i64, name: String, notes: String, chords: Option<String> }
    /// # fn chords(_: &str) -> Result<String, std::num::ParseIntError> { unimplemented!() }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// use upsertable::BoxError;
    ///
    /// let report = Song::batches(&pool)
    ///     .filter("chords IS NULL AND name <> ?")
    ///     .bind("Untitled")
    ///     .size(200)
    ///     .on_progress(|p| println!("{} songs done", p.done))
    ///     .run(async |tx, song: Song| {
    ///         let chords = chords(&song.notes)?;
    ///         sqlx::query("UPDATE song SET chords = ? WHERE id = ?").bind(chords).bind(song.id).execute(&mut **tx).await?;
    ///         Ok::<_, BoxError>(())
    ///     })
    ///     .await?;
    /// for (song, error) in &report.failures {
    ///     eprintln!("{}: {error}", song.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn batches<DB: Backend>(pool: &Pool<DB>) -> Batches<'_, DB, Self>
    where
        Self: On<DB>,
    {
        Batches::new(pool)
    }
}

impl<M: Model> Upsertable for M {}
