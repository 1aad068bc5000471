//! Every kind of table and index of MySQL and MariaDB.
//!
//! These are the kinds that both document: what `verify` says of one is what the calls do.
//!
//! <https://dev.mysql.com/doc/refman/9.7/en/create-table.html>, <https://dev.mysql.com/doc/refman/9.7/en/create-index.html>,
//! <https://mariadb.com/docs/server/server-usage/tables/create-table>, <https://mariadb.com/docs/server/server-usage/storage-engines>

use sqlx::MySql;
use upsertable::{On, Upsertable};
use upsertable_tests::{
    Fixture, OnMySql,
    kinds::{Expect, Kind, Mended, Parcel, Refused, Specimen, Swallows, Warned, Works, assert_none, try_kind},
};

use crate::run;

/// Servers that have a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    Both,
    MySql,
    MariaDb,
}
use Has::{Both, MariaDb};

const fn kind(name: &'static str, ddl: &'static [&'static str], expect: Expect) -> (Has, Kind) {
    (Both, Kind { name, ddl, expect })
}

const fn on_mysql(name: &'static str, ddl: &'static [&'static str], expect: Expect) -> (Has, Kind) {
    (Has::MySql, Kind { name, ddl, expect })
}

const fn on_mariadb(name: &'static str, ddl: &'static [&'static str], expect: Expect) -> (Has, Kind) {
    (MariaDb, Kind { name, ddl, expect })
}

const TABLE: &str = "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)";
const BARE: &str =
    "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL)";
const BEHIND: &str = "CREATE TABLE behind (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)";

const FILLED_BY_TRIGGER: &[&str] = &[
    "CREATE TABLE parcels (id BIGINT NOT NULL, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)",
    "CREATE TRIGGER t BEFORE INSERT ON parcels FOR EACH ROW SET NEW.id = 7",
];

const TABLES: &[(Has, Kind)] = &[
    kind("InnoDB", &[TABLE], Works),
    kind(
        "MyISAM",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL) ENGINE = MyISAM",
        ],
        Warned("MyISAM, which has no transactions"),
    ),
    kind(
        "MEMORY",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL) ENGINE = MEMORY",
        ],
        Warned("MEMORY, which has no transactions"),
    ),
    on_mariadb(
        "Aria",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL) ENGINE = Aria",
        ],
        Mended("storage engine Aria has no savepoints"),
    ),
    on_mariadb(
        "Aria without transactions",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL) \
           ENGINE = Aria TRANSACTIONAL = 0",
        ],
        Mended("storage engine Aria has no savepoints"),
    ),
    kind(
        "MyISAM, an index missing",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) ENGINE = MyISAM",
        ],
        Mended("no unique index on (code)"),
    ),
    kind(
        "CSV",
        &[
            "CREATE TABLE parcels (id BIGINT NOT NULL DEFAULT 1, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) ENGINE = CSV",
        ],
        Mended("storage engine CSV"),
    ),
    on_mysql(
        "ARCHIVE",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) ENGINE = ARCHIVE",
        ],
        Mended("storage engine ARCHIVE"),
    ),
    on_mysql(
        "BLACKHOLE",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL) ENGINE = BLACKHOLE",
        ],
        Swallows("storage engine BLACKHOLE"),
    ),
    kind(
        "MERGE",
        &[
            "CREATE TABLE behind (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) ENGINE = MyISAM",
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) \
             ENGINE = MERGE UNION = (behind) INSERT_METHOD = LAST",
        ],
        Refused("storage engine MRG_"),
    ),
    kind(
        "a temporary table",
        &[
            "CREATE TEMPORARY TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)",
        ],
        Refused("is a temporary table"),
    ),
    kind("a view", &[BEHIND, "CREATE VIEW parcels AS SELECT * FROM behind"], Refused("is a view")),
    kind(
        "a view that takes no rows",
        &[BEHIND, "CREATE VIEW parcels AS SELECT DISTINCT * FROM behind"],
        Refused("is a view"),
    ),
    on_mariadb("a sequence", &["CREATE SEQUENCE parcels"], Refused("is a sequence")),
    kind(
        "a comment that says what the table is not",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY COMMENT ') ENGINE=CSV', code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) \
             COMMENT = 'ENGINE=CSV SEQUENCE=1 WITH SYSTEM VERSIONING'",
        ],
        Mended("no unique index on (code)"),
    ),
    kind(
        "partitioned, the key covered",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL, INDEX (id)) \
             PARTITION BY KEY (code) PARTITIONS 4",
        ],
        Works,
    ),
    kind(
        "partitioned, an index missing",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL, INDEX (id)) \
             PARTITION BY KEY (code) PARTITIONS 4",
        ],
        Mended("no unique index on (code)"),
    ),
    kind(
        "partitioned, the key not covered",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) \
             PARTITION BY HASH (id) PARTITIONS 4",
        ],
        Refused("it is partitioned by columns that are not in the key"),
    ),
    kind(
        "partitioned by its primary key, the key not covered",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) \
             PARTITION BY KEY () PARTITIONS 4",
        ],
        Refused("it is partitioned by columns that are not in the key"),
    ),
    kind(
        "subpartitioned, the key not covered",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL, PRIMARY KEY (id, weight)) \
             PARTITION BY RANGE (weight) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (PARTITION p VALUES LESS THAN MAXVALUE)",
        ],
        Refused("it is partitioned by columns that are not in the key"),
    ),
    kind(
        "a stored column",
        &[
            "CREATE TABLE parcels (id BIGINT AS (weight + 1) STORED, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)",
        ],
        Warned("column id can be NULL"),
    ),
    kind(
        "a virtual column",
        &[
            "CREATE TABLE parcels (id BIGINT AS (weight + 1) VIRTUAL, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)",
        ],
        Warned("column id can be NULL"),
    ),
    kind(
        "a column that takes no value",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT AS (1) STORED)",
        ],
        Refused("column weight is computed by the database"),
    ),
    kind(
        "invisible columns",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL DEFAULT 1 INVISIBLE, \
           label BIGINT NOT NULL DEFAULT 1 INVISIBLE)",
        ],
        Works,
    ),
    on_mysql("a trigger that fills a column in", FILLED_BY_TRIGGER, Warned("unless a trigger does")),
    on_mariadb("a trigger that fills a column in", FILLED_BY_TRIGGER, Refused("column id is `generated`")),
    kind(
        "names of columns in another case",
        &[
            "CREATE TABLE parcels (ID BIGINT AUTO_INCREMENT PRIMARY KEY, CODE VARCHAR(50) NOT NULL UNIQUE, Weight BIGINT NOT NULL)",
        ],
        Works,
    ),
    kind(
        "a table of the same name in another case",
        &[
            BARE,
            "CREATE TABLE PARCELS (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)",
        ],
        Mended("no unique index on (code)"),
    ),
    kind(
        "a name in another case",
        &[
            "CREATE TABLE PARCELS (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)",
        ],
        Refused("no table"),
    ),
    kind(
        "a column missing and rows there",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE)",
            "INSERT INTO parcels (code) VALUES ('x'), ('y')",
        ],
        Refused("no column weight"),
    ),
    kind(
        "the key's column missing and rows there",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, weight BIGINT NOT NULL)",
            "INSERT INTO parcels (weight) VALUES (1), (2)",
        ],
        Refused("no column code"),
    ),
    kind("columns missing", &["CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY)"], Mended("no column code")),
    kind(
        "the counted column missing",
        &["CREATE TABLE parcels (code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL)"],
        Mended("no column id"),
    ),
    kind(
        "the counted column missing, and another counted",
        &[
            "CREATE TABLE parcels (code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL, number BIGINT NOT NULL AUTO_INCREMENT UNIQUE)",
        ],
        Refused("no column id"),
    ),
    kind(
        "a check that is not enforced, or is",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL, CHECK (weight >= 0))",
        ],
        Works,
    ),
    on_mariadb(
        "system versioning",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL) WITH SYSTEM VERSIONING",
        ],
        Works,
    ),
    on_mariadb(
        "system versioning, an index missing",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL) WITH SYSTEM VERSIONING",
        ],
        Mended("no unique index on (code)"),
    ),
    on_mariadb(
        "system versioning, a column missing",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE) WITH SYSTEM VERSIONING",
        ],
        Mended("no column weight"),
    ),
    on_mariadb(
        "system versioning with columns of its own",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL, \
           s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) \
           WITH SYSTEM VERSIONING",
        ],
        Refused("the end of each row's time"),
    ),
    on_mariadb(
        "system versioning by partitions",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL UNIQUE, weight BIGINT NOT NULL) WITH SYSTEM VERSIONING \
           PARTITION BY SYSTEM_TIME (PARTITION h HISTORY, PARTITION c CURRENT)",
        ],
        Works,
    ),
];

const INDEXES: &[(Has, Kind)] = &[
    kind("no index", &[BARE], Mended("no unique index on (code)")),
    kind("a plain index", &[BARE, "CREATE INDEX i ON parcels (code)"], Mended("no unique index on (code)")),
    kind("a unique index", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code)"], Works),
    kind("descending", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code DESC)"], Works),
    kind(
        "a primary key",
        &["CREATE TABLE parcels (id BIGINT NOT NULL DEFAULT 1, code VARCHAR(50) PRIMARY KEY, weight BIGINT NOT NULL)"],
        Works,
    ),
    kind("a prefix", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code(40))"], Mended("the first 40 characters")),
    kind(
        "a prefix, with the name that one on all would have",
        &[BARE, "CREATE UNIQUE INDEX parcels_code_key ON parcels (code(40))"],
        Mended("the first 40 characters"),
    ),
    kind("a prefix that is all", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code(50))"], Works),
    on_mysql(
        "an expression",
        &[BARE, "CREATE UNIQUE INDEX i ON parcels ((LOWER(code)))"],
        Mended("no unique index on (code)"),
    ),
    on_mysql(
        "an expression beside",
        &[BARE, "CREATE UNIQUE INDEX i ON parcels (code, (weight + 1))"],
        Mended("no unique index on (code)"),
    ),
    on_mysql("invisible", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code) INVISIBLE"], Works),
    on_mariadb("ignored", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code) IGNORED"], Works),
    kind(
        "one column more",
        &[BARE, "CREATE UNIQUE INDEX i ON parcels (code, weight)"],
        Mended("no unique index on (code)"),
    ),
    on_mariadb(
        "a hash of a long text",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code LONGTEXT NOT NULL UNIQUE, weight BIGINT NOT NULL)",
        ],
        Works,
    ),
    on_mariadb(
        "a long text, an index missing",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code LONGTEXT NOT NULL, weight BIGINT NOT NULL)",
        ],
        Mended("no unique index on (code)"),
    ),
    on_mysql(
        "a long text",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code LONGTEXT NOT NULL, weight BIGINT NOT NULL)",
        ],
        Refused("too long for an index"),
    ),
    on_mysql(
        "a text that is too long for an index",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(1000) NOT NULL, weight BIGINT NOT NULL)",
        ],
        Refused("too long for an index"),
    ),
    on_mysql(
        "a text as long as an index takes",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(768) NOT NULL, weight BIGINT NOT NULL)",
        ],
        Mended("no unique index on (code)"),
    ),
    on_mysql(
        "a text too long for an index of MyISAM",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(500) NOT NULL, weight BIGINT NOT NULL) ENGINE = MyISAM",
        ],
        Refused("too long for an index"),
    ),
    kind(
        "a hash in memory",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) NOT NULL, weight BIGINT NOT NULL, \
           UNIQUE INDEX (code) USING HASH) ENGINE = MEMORY",
        ],
        Warned("MEMORY"),
    ),
    kind(
        "a key that can be NULL",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) UNIQUE, weight BIGINT NOT NULL)",
        ],
        Warned("column code can be NULL"),
    ),
    kind(
        "another collation",
        &[
            "CREATE TABLE parcels (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(50) COLLATE utf8mb4_bin NOT NULL UNIQUE, weight BIGINT NOT NULL)",
        ],
        Works,
    ),
];

/// A model with a time in its key.
///
/// For constraints that forbid overlaps.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "parcels")]
#[unique(code, since, until)]
struct Stay {
    code: i64,
    since: chrono::NaiveDate,
    until: chrono::NaiveDate,
    weight: i64,
}

impl Specimen for Stay {
    fn make(number: i64, weight: i64) -> Self {
        let StayKey { code, since, until } = Self::key_of(number);
        Self { code, since, until, weight }
    }

    fn key_of(number: i64) -> StayKey {
        let day = |day| chrono::NaiveDate::from_ymd_opt(2001, 1, day).unwrap();
        StayKey { code: number, since: day(1), until: day(2) }
    }

    fn weight(&self) -> i64 {
        self.weight
    }
}

const STAYS: &[(Has, Kind)] = &[
    kind(
        "a unique index on dates",
        &[
            "CREATE TABLE parcels (code BIGINT NOT NULL, since DATE NOT NULL, until DATE NOT NULL, weight BIGINT NOT NULL, UNIQUE (code, since, until))",
        ],
        Works,
    ),
    on_mariadb(
        "WITHOUT OVERLAPS",
        &[
            "CREATE TABLE parcels (code BIGINT NOT NULL, since DATE, until DATE, weight BIGINT NOT NULL, PERIOD FOR stay (since, until), \
           UNIQUE (code, stay WITHOUT OVERLAPS))",
        ],
        Works,
    ),
];

/// Tries kinds one after another, each in an empty database.
///
/// With one connection.
async fn try_kinds<M: Specimen + On<MySql>>(kinds: &[(Has, Kind)]) {
    let db: Fixture<OnMySql> = Fixture::with_connections(1).await;
    let name: String = sqlx::query_scalar("SELECT CAST(DATABASE() AS CHAR)").fetch_one(&db.pool).await.unwrap();
    let other = if db.server.is_mysql() { MariaDb } else { Has::MySql };
    let mut wrong = Vec::new();
    for (_, kind) in kinds.iter().filter(|(on, _)| *on != other) {
        let pool = db.another_pool(1).await;
        run(&pool, &format!("DROP DATABASE {name}; CREATE DATABASE {name} DEFAULT CHARACTER SET utf8mb4; USE {name}"))
            .await;
        wrong.extend(try_kind::<_, M>(&pool, kind).await);
        pool.close().await;
    }
    assert_none(&wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_of_every_kind_of_table_what_the_calls_do() {
    try_kinds::<Parcel>(TABLES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_of_every_kind_of_index_what_the_calls_do() {
    try_kinds::<Parcel>(INDEXES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_of_every_kind_of_index_on_times_what_the_calls_do() {
    try_kinds::<Stay>(STAYS).await;
}
