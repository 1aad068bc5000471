//! The trait that the derive implements, with every call of the crate.

use std::pin::pin;

use futures_core::Stream;
use futures_util::stream;

use crate::{
    Error, Outcome,
    backend::Backend,
    bulk::{self, BulkCreated, Streamed},
    find::{self, Part},
    get_or_create::{self, Known},
    handle::{Call, Handle, Session},
    model::{CreateKey, On, Row, Table, Target, UniqueKey, Values},
};

/// A struct whose rows may already be there. Derive it: `#[derive(Upsertable)]`.
///
/// The calls work on every [handle](Handle), and on every [database](Backend) that can hold the model's field types.
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
pub trait Upsertable: Sized + Send + Sync + Unpin + 'static {
    /// What a caller supplies of a new row: `New{Model}`, or the model itself where no field is `generated`.
    type New: Row<Self::New, Error = Error> + Send + 'static;

    /// The model's first key: `{Model}Key`.
    type Key: CreateKey<Self>;

    /// Any of the model's keys.
    #[doc(hidden)]
    type Keys: Send + 'static;

    /// What is known of the table.
    #[doc(hidden)]
    fn table() -> &'static Table;

    /// This row's key: the fields of the first `#[unique(..)]`.
    fn key(&self) -> Self::Key;

    /// The row with the key of `new`, found or made; `created` says which.
    ///
    /// Safe when many tasks and processes race for one key: all get the one row, exactly one of them with `created: true`. A row that is
    /// found is never changed: the other columns of `new` count for a new row only.
    ///
    /// # Statements
    ///
    /// A SELECT when the row exists, and an INSERT more when it does not. When another caller creates the row between the two, the SELECT
    /// is done again. No id is used up for a row that is found. No transaction is begun.
    ///
    /// # Errors
    ///
    /// * [`Error::OtherUnique`]: the row is new by this key, and another row has its value in another unique index.
    /// * [`Error::MissingUniqueIndex`]: there is no unique index on the key, so the new row was not written.
    /// * [`Error::ManyRows`]: the key found more than one row.
    /// * [`Error::Vanished`]: the row was deleted each time between the conflict and the re-read.
    /// * [`Error::Unsupported`]: a key with `nulls_not_distinct` on a database that has no such index.
    /// * [`Error::Ended`]: the transaction that was given is over.
    /// * [`Error::Sql`]: every other refusal of the database, as by NOT NULL or CHECK.
    ///
    /// After all of them but `Ended`, a transaction can go on unless the database itself has ended it. On a pool, the work is done up to five
    /// times when it loses against other transactions.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the row has been created or not; calling again is safe. Inside a [`Transaction`](crate::Transaction), dropping it
    /// while it inserts ends the transaction.
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
    fn get_or_create<'a, DB, H>(db: H, new: Self::New) -> Call<'a, Outcome<Self>>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Self::table(), Self::Key::INDEX, "get_or_create");
            let write = &mut move |part: Part, encoder: &mut DB::Encoder| put_new::<DB, Self>(target, &new, part, encoder);
            let found = get_or_create::get_or_create::<DB>(db.session(), target, Known::Nothing, write).await?;
            outcome::<DB, Self>(found)
        })
    }

    /// The row with this key, found, or made from what `make` gives.
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
    fn get_or_create_with<'a, DB, H, K, F, Fut, E>(db: H, key: K, make: F) -> Call<'a, Outcome<Self>, E>
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
            let target = Target::new(Self::table(), K::INDEX, "get_or_create_with");
            let mut session = db.session();
            let keys = key.clone().into_keys();
            let write = &mut move |_: Part, encoder: &mut DB::Encoder| put_key::<DB, Self>(target, &keys, encoder);
            if let Some(row) = find::find::<DB>(session.again(), target, write).await? {
                return Ok(outcome::<DB, Self>((row, false))?);
            }
            let mut new = make().await?;
            key.store(&mut new);
            let write = &mut move |part: Part, encoder: &mut DB::Encoder| put_new::<DB, Self>(target, &new, part, encoder);
            let found = get_or_create::get_or_create::<DB>(session, target, Known::Absent, write).await?;
            Ok(outcome::<DB, Self>(found)?)
        })
    }

    /// The row with this key, if there is one.
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
    fn find<'a, DB, H, K>(db: H, key: K) -> Call<'a, Option<Self>>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        K: UniqueKey<Self> + 'a,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Self::table(), K::INDEX, "find");
            let key = key.into_keys();
            let write = &mut move |_: Part, encoder: &mut DB::Encoder| put_key::<DB, Self>(target, &key, encoder);
            let row = find::find::<DB>(db.session(), target, write).await?;
            Ok(row.as_ref().map(Self::from_row).transpose()?)
        })
    }

    /// Creates the rows whose key is not in the table yet, and counts them. Rows that exist are skipped and never changed.
    ///
    /// The rows travel through a temporary table and are merged from there, so there may be any number of them. Of several rows with one
    /// key the first wins. The call is kept whole or not at all; inside a transaction it is a savepoint. While rows are staged the table is
    /// not locked: the lock comes with the merge.
    ///
    /// # Statements
    ///
    /// None for no rows. Otherwise one that looks for the unique index, one that makes the temporary table, one for each chunk of up to a
    /// thousand rows, one merge, and one that drops the temporary table; beside them BEGIN and COMMIT of the merge on a pool, or SAVEPOINT
    /// and RELEASE around all in a transaction.
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
    /// up to five times when it loses against other transactions.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, nothing is written and nothing is left on the connection. Inside a [`Transaction`](crate::Transaction) that ends
    /// the transaction.
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
    fn bulk_create_new<'a, DB, H, I>(db: H, rows: I) -> Call<'a, BulkCreated>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        I: IntoIterator<Item = Self::New> + Send + 'a,
        I::IntoIter: Send + 'a,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Self::table(), Self::Key::INDEX, "bulk_create_new");
            bulk_create_new::<DB, Self, _, _>(db.session(), target, stream::iter(rows)).await
        })
    }

    /// The same for a stream of rows, or of results of rows: an error in the stream ends the call, and is its error.
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
    fn bulk_create_new_stream<'a, DB, H, S, E>(db: H, rows: S) -> Call<'a, BulkCreated, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        S: Stream + Send + 'a,
        S::Item: Row<Self::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
        Self: On<DB>,
    {
        Box::pin(async move {
            let target = Target::new(Self::table(), Self::Key::INDEX, "bulk_create_new_stream");
            bulk_create_new::<DB, Self, S, E>(db.session(), target, rows).await
        })
    }
}

async fn bulk_create_new<DB, M, S, E>(session: Session<'_, DB>, target: Target, rows: S) -> Result<BulkCreated, E>
where
    DB: Backend,
    M: On<DB>,
    S: Stream + Send,
    S::Item: Row<M::New, Error = E> + Send,
    E: From<Error> + Send,
{
    let rows = pin!(rows);
    let mut rows = Streamed::<M, S, E>::new(rows);
    let done = bulk::create_new::<DB>(session, target, &mut rows).await;
    done.map_err(|failure| rows.error(failure))
}

fn put_new<DB: Backend, M: On<DB>>(
    target: Target,
    new: &M::New,
    part: Part,
    encoder: &mut DB::Encoder,
) -> Result<(), sqlx::Error> {
    let mut values = match part {
        Part::Key => Values::key(target.table, target.key, encoder),
        Part::Row => Values::all(target.table, encoder),
    };
    M::put(new, &mut values)
}

fn put_key<DB: Backend, M: On<DB>>(target: Target, key: &M::Keys, encoder: &mut DB::Encoder) -> Result<(), sqlx::Error> {
    M::put_key(key, &mut Values::all(target.table, encoder))
}

fn outcome<DB: Backend, M: On<DB>>((row, created): (DB::Row, bool)) -> Result<Outcome<M>, Error> {
    Ok(Outcome { row: M::from_row(&row)?, created })
}
