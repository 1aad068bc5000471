//! MySQL and MariaDB.

use std::cell::RefCell;

use anyhow::Result;
use sea_orm::SqlxMySqlConnector;
use sqlx::{AssertSqlSafe, MySql, MySqlPool, mysql::MySqlPoolOptions};
use upsertable::On;

use crate::{
    contender::{Contender as _, DieselInsert, Entry, OneByHand, Ours, OursOneByOne, Role, Sea, Values, fitting},
    server::{Chunks, Server},
    workload::{self, Bind, Workload, retweets::NewRetweet},
};

const MAX_BINDS: usize = 65_535;
const ID: &str = "bigint auto_increment primary key";

// `--tune` tells these.
const BEST_BY_HAND: usize = 5_000;
const BEST_SEA: usize = 1_000;
const BEST_DIESEL: usize = 1_000;

pub struct OnMySql {
    pool: MySqlPool,
    url: String,
}

impl OnMySql {
    pub async fn open(url: &str) -> Result<Self> {
        let pool = MySqlPoolOptions::new().max_connections(2).connect(url).await?;
        Ok(Self { pool, url: url.to_owned() })
    }

    async fn run(&self, sql: String) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await?;
        Ok(())
    }

    fn values(&self, table: &'static str, conflict: String, chunk: usize) -> Values<MySql> {
        Values { pool: self.pool.clone(), table, begin: "BEGIN", conflict, chunk }
    }

    fn diesel(&self) -> Result<RefCell<diesel::MysqlConnection>> {
        Ok(RefCell::new(<diesel::MysqlConnection as diesel::Connection>::establish(&self.url)?))
    }
}

impl Server for OnMySql {
    type Database = MySql;

    const NAME: &'static str = "mysql";

    async fn version(&self) -> Result<String> {
        let version: String = sqlx::query_scalar("SELECT version()").fetch_one(&self.pool).await?;
        Ok(if version.contains("MariaDB") { version } else { format!("MySQL {version}") })
    }

    async fn seed<R: Workload + Bind<MySql>>(&self, rows: &[R]) -> Result<()> {
        for table in [R::TABLE, "seed"] {
            self.run(format!("DROP TABLE IF EXISTS {table}")).await?;
            self.run(workload::create_table::<R>(table, ID, "datetime")).await?;
        }
        self.values("seed", String::new(), fitting::<R>(5_000, MAX_BINDS)).prepare(rows).await
    }

    async fn reset<R: Workload>(&self, seeded: bool) -> Result<()> {
        let (table, columns) = (R::TABLE, workload::columns::<R>());
        self.run(format!("TRUNCATE {table}")).await?;
        if seeded {
            self.run(format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM seed")).await?;
        }
        self.run(format!("ANALYZE TABLE {table}")).await
    }

    async fn count(&self, table: &str) -> Result<u64> {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        Ok(sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.pool).await?.cast_unsigned())
    }

    fn contenders<R: Workload + Bind<MySql>>(&self, chunks: Chunks) -> Result<Vec<Entry<R>>>
    where
        R::Model: On<MySql>,
    {
        let chunk = |best| fitting::<R>(chunks.or(best), MAX_BINDS);
        let conflict = "ON DUPLICATE KEY UPDATE id = id".to_owned();
        let sea = SqlxMySqlConnector::from_sqlx_mysql_pool(self.pool.clone());
        let diesel = DieselInsert::<_, R> { conn: self.diesel()?, chunk: chunk(BEST_DIESEL), insert: R::diesel_mysql };
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
            insert: "INSERT INTO retweets (tweet, retweeter, original_author) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE id = id",
        };
        Ok(vec![
            Entry::new("upsertable", Role::Ours, OursOneByOne(self.pool.clone())),
            Entry::new("sqlx by hand", Role::Rival, by_hand),
        ])
    }

    fn pool(&self) -> &MySqlPool {
        &self.pool
    }
}
