//! SQLite, in a file of its own, in WAL mode.

use std::cell::RefCell;

use anyhow::Result;
use diesel::connection::SimpleConnection as _;
use sea_orm::SqlxSqliteConnector;
use sqlx::{
    AssertSqlSafe, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tempfile::TempDir;
use upsertable::On;

use crate::{
    contender::{Contender as _, DieselInsert, Entry, OneByHand, Ours, OursOneByOne, Role, Sea, Values, fitting},
    server::{Chunks, Server},
    workload::{self, Bind, Workload, retweets::NewRetweet},
};

const MAX_BINDS: usize = 32_766;
const ID: &str = "integer primary key";

// `--tune` tells these. With rows in random order larger is better all the way to the limit of binds: SQLite keeps for each statement the
// pages as they were before it, and a page that ten statements write to is kept ten times.
const BEST_BY_HAND: usize = 10_000;
const BEST_SEA: usize = 10_000;
const BEST_DIESEL: usize = 10_000;

pub struct OnSqlite {
    pool: SqlitePool,
    folder: TempDir,
}

impl OnSqlite {
    pub async fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("bench.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        Ok(Self { pool, folder })
    }

    async fn run(&self, sql: String) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await?;
        Ok(())
    }

    fn values(&self, table: &'static str, conflict: String, chunk: usize) -> Values<Sqlite> {
        Values { pool: self.pool.clone(), table, begin: "BEGIN IMMEDIATE", conflict, chunk }
    }

    fn diesel(&self) -> Result<RefCell<diesel::SqliteConnection>> {
        let file = self.folder.path().join("bench.db");
        let mut conn = <diesel::SqliteConnection as diesel::Connection>::establish(&file.to_string_lossy())?;
        // These are sqlx's settings.
        conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000")?;
        Ok(RefCell::new(conn))
    }
}

impl Server for OnSqlite {
    type Database = Sqlite;

    const NAME: &'static str = "sqlite";

    async fn version(&self) -> Result<String> {
        let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&self.pool).await?;
        Ok(format!("SQLite {version}"))
    }

    async fn seed<R: Workload + Bind<Sqlite>>(&self, rows: &[R]) -> Result<()> {
        for table in [R::TABLE, "seed"] {
            self.run(format!("DROP TABLE IF EXISTS {table}; {}", workload::create_table::<R>(table, ID, "timestamp")))
                .await?;
        }
        self.values("seed", String::new(), fitting::<R>(1_000, MAX_BINDS)).prepare(rows).await
    }

    async fn reset<R: Workload>(&self, seeded: bool) -> Result<()> {
        let (table, columns) = (R::TABLE, workload::columns::<R>());
        self.run(format!("DELETE FROM {table}")).await?;
        if seeded {
            self.run(format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM seed")).await?;
        }
        self.run("PRAGMA wal_checkpoint(TRUNCATE)".to_owned()).await
    }

    async fn count(&self, table: &str) -> Result<u64> {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        Ok(sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.pool).await?.cast_unsigned())
    }

    fn contenders<R: Workload + Bind<Sqlite>>(&self, chunks: Chunks) -> Result<Vec<Entry<R>>>
    where
        R::Model: On<Sqlite>,
    {
        let chunk = |best| fitting::<R>(chunks.or(best), MAX_BINDS);
        let conflict = format!("ON CONFLICT ({}) DO NOTHING", workload::key::<R>());
        let sea = SqlxSqliteConnector::from_sqlx_sqlite_pool(self.pool.clone());
        let diesel = DieselInsert::<_, R> { conn: self.diesel()?, chunk: chunk(BEST_DIESEL), insert: R::diesel_sqlite };
        Ok(vec![
            Entry::new("upsertable", Role::Ours, Ours(self.pool.clone())),
            Entry::new("plain INSERT", Role::Limit, self.values(R::TABLE, String::new(), chunk(BEST_BY_HAND))),
            Entry::new("sqlx by hand", Role::Rival, self.values(R::TABLE, conflict, chunk(BEST_BY_HAND))),
            Entry::new("SeaORM", Role::Rival, Sea { db: sea, chunk: chunk(BEST_SEA) }),
            Entry::new("Diesel", Role::Rival, diesel),
        ])
    }

    fn one_by_one(&self) -> Result<Vec<Entry<NewRetweet>>> {
        let by_hand = OneByHand {
            pool: self.pool.clone(),
            select: "SELECT id, tweet, retweeter, original_author FROM retweets WHERE tweet = ? AND retweeter = ?",
            insert: "INSERT INTO retweets (tweet, retweeter, original_author) VALUES (?, ?, ?) \
                     ON CONFLICT (tweet, retweeter) DO NOTHING RETURNING id, tweet, retweeter, original_author",
        };
        Ok(vec![
            Entry::new("upsertable", Role::Ours, OursOneByOne(self.pool.clone())),
            Entry::new("sqlx by hand", Role::Rival, by_hand),
        ])
    }

    fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}
