//! Every kind of table and index that SQLite documents.
//!
//! What `verify` says of it is what the calls do.
//!
//! <https://www.sqlite.org/lang_createtable.html>, <https://www.sqlite.org/lang_createindex.html>, <https://www.sqlite.org/withoutrowid.html>,
//! <https://www.sqlite.org/stricttables.html>, <https://www.sqlite.org/gencol.html>, <https://www.sqlite.org/vtab.html>

use upsertable::Upsertable;
use upsertable_tests::kinds::{Kind, Mended, Parcel, Refused, Specimen, Warned, Works, assert_none, kind, try_kind};

use crate::{in_memory, run};

const TABLES: [Kind; 33] = [
    kind(
        "rowid",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)"],
        Works,
    ),
    kind(
        "AUTOINCREMENT",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
        ],
        Works,
    ),
    kind(
        "a row id that is named as a constraint, backwards",
        &[
            "CREATE TABLE parcels (id INTEGER, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL, PRIMARY KEY (id DESC))",
        ],
        Works,
    ),
    kind(
        "INTEGER PRIMARY KEY DESC is no row id",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY DESC, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)"],
        Refused("column id is `generated`"),
    ),
    kind(
        "INT PRIMARY KEY is no row id",
        &["CREATE TABLE parcels (id INT PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)"],
        Refused("column id is `generated`"),
    ),
    kind(
        "WITHOUT ROWID, and nothing fills the key in",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL) WITHOUT ROWID",
        ],
        Refused("column id is `generated`"),
    ),
    kind(
        "WITHOUT ROWID, filled in",
        &[
            "CREATE TABLE parcels (id INTEGER NOT NULL DEFAULT (abs(random())), code TEXT PRIMARY KEY, weight INTEGER NOT NULL) WITHOUT ROWID",
        ],
        Works,
    ),
    kind(
        "WITHOUT ROWID, an index missing",
        &[
            "CREATE TABLE parcels (id INTEGER NOT NULL DEFAULT (abs(random())), code TEXT NOT NULL, weight INTEGER NOT NULL, PRIMARY KEY (code, id)) \
           WITHOUT ROWID",
        ],
        Mended("no unique index on (code)"),
    ),
    kind(
        "STRICT",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INT NOT NULL) STRICT"],
        Works,
    ),
    kind(
        "STRICT with ANY",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code ANY NOT NULL UNIQUE, weight ANY NOT NULL) STRICT"],
        Works,
    ),
    kind(
        "STRICT, a text refused",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code INTEGER NOT NULL UNIQUE, weight INT NOT NULL) STRICT"],
        Refused("column code"),
    ),
    kind(
        "STRICT, a text refused by a blob",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code BLOB NOT NULL UNIQUE, weight INT NOT NULL) STRICT"],
        Refused("column code"),
    ),
    kind(
        "STRICT, a number made a text",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight TEXT NOT NULL) STRICT"],
        Refused("column weight"),
    ),
    kind(
        "numbers stored as floats",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight REAL NOT NULL)"],
        Refused("column weight"),
    ),
    kind(
        "names in another case",
        &["CREATE TABLE PARCELS (ID INTEGER PRIMARY KEY, CODE TEXT NOT NULL UNIQUE, Weight INTEGER NOT NULL)"],
        Works,
    ),
    kind(
        "names in another case, an index missing",
        &["CREATE TABLE PARCELS (ID INTEGER PRIMARY KEY, CODE TEXT NOT NULL, Weight INTEGER NOT NULL)"],
        Mended("no unique index on (code)"),
    ),
    kind(
        "a stored column that is generated",
        &[
            "CREATE TABLE parcels (id INTEGER NOT NULL AS (weight + 1) STORED, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
        ],
        Works,
    ),
    kind(
        "a virtual column that is generated",
        &["CREATE TABLE parcels (id INTEGER AS (weight + 1), code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)"],
        Warned("column id can be NULL"),
    ),
    kind(
        "a column that takes no value",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL AS (1) STORED)",
        ],
        Refused("column weight is computed by the database"),
    ),
    kind(
        "a default of NULL",
        &[
            "CREATE TABLE parcels (id INTEGER NOT NULL DEFAULT NULL, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
        ],
        Refused("column id is `generated`"),
    ),
    kind(
        "another column that must be given",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL, \
           label TEXT NOT NULL DEFAULT NULL)"],
        Refused("column label is NOT NULL"),
    ),
    kind(
        "a column missing",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE)"],
        Mended("no column weight"),
    ),
    kind(
        "a column missing and rows there",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE)",
            "INSERT INTO parcels (code) VALUES ('x'), ('y')",
        ],
        Refused("no column weight"),
    ),
    kind(
        "the key's column missing and rows there",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, weight INTEGER NOT NULL)",
            "INSERT INTO parcels (weight) VALUES (1), (2)",
        ],
        Refused("no column code"),
    ),
    kind(
        "the row id missing",
        &["CREATE TABLE parcels (code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)"],
        Refused("no column id"),
    ),
    kind(
        "conflict clauses",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY ON CONFLICT IGNORE, code TEXT NOT NULL ON CONFLICT IGNORE UNIQUE ON CONFLICT REPLACE, \
           weight INTEGER NOT NULL ON CONFLICT FAIL)",
        ],
        Works,
    ),
    kind(
        "a temporary table",
        &[
            "CREATE TEMPORARY TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
        ],
        Works,
    ),
    kind(
        "a temporary table, an index missing, that hides another",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
            "CREATE TEMPORARY TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL, weight INTEGER NOT NULL)",
        ],
        Mended("no unique index on (code)"),
    ),
    kind(
        "a table of an attached database that the model does not name",
        &[
            "ATTACH ':memory:' AS \"the other\"",
            "CREATE TABLE \"the other\".parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL, weight INTEGER NOT NULL)",
        ],
        Mended("no unique index on (code)"),
    ),
    kind(
        "a view",
        &[
            "CREATE TABLE behind (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
            "CREATE VIEW parcels AS SELECT * FROM behind",
        ],
        Refused("is a view"),
    ),
    kind(
        "a view with triggers",
        &[
            "CREATE TABLE behind (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
            "CREATE VIEW parcels AS SELECT * FROM behind",
            "CREATE TRIGGER inserts INSTEAD OF INSERT ON parcels BEGIN INSERT INTO behind (code, weight) VALUES (NEW.code, NEW.weight); END",
            "CREATE TRIGGER updates INSTEAD OF UPDATE ON parcels BEGIN UPDATE behind SET weight = NEW.weight WHERE id = NEW.id; END",
        ],
        Refused("is a view"),
    ),
    kind(
        "a temporary view that hides a table",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
            "CREATE TEMPORARY VIEW parcels AS SELECT * FROM main.parcels",
        ],
        Refused("is a view"),
    ),
    kind(
        "triggers",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)",
            "CREATE TABLE log (line TEXT)",
            "CREATE TRIGGER before BEFORE INSERT ON parcels BEGIN INSERT INTO log VALUES (NEW.code); END",
            "CREATE TRIGGER after AFTER UPDATE ON parcels BEGIN INSERT INTO log VALUES (NEW.code); END",
        ],
        Works,
    ),
];

const BARE: &str = "CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL, weight INTEGER NOT NULL)";

const INDEXES: [Kind; 15] = [
    kind("no index", &[BARE], Mended("no unique index on (code)")),
    kind("a plain index", &[BARE, "CREATE INDEX i ON parcels (code)"], Mended("no unique index on (code)")),
    kind("a unique index", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code)"], Works),
    kind("descending", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code DESC)"], Works),
    kind(
        "the key is the primary key",
        &[
            "CREATE TABLE parcels (id INTEGER NOT NULL DEFAULT 1, code TEXT NOT NULL PRIMARY KEY, weight INTEGER NOT NULL)",
        ],
        Works,
    ),
    kind("partial", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code) WHERE weight > 0"], Mended("it is partial")),
    kind(
        "partial, with the name that one without WHERE would have",
        &[BARE, "CREATE UNIQUE INDEX parcels_code_key ON parcels (code) WHERE weight > 0"],
        Mended("parcels_code_key does not count: it is partial"),
    ),
    kind(
        "two with the names that it would have, and a table",
        &[
            BARE,
            "CREATE INDEX PARCELS_code_key ON parcels (code)",
            "CREATE TABLE parcels_code_key_2 (a)",
            "CREATE VIEW parcels_code_key_3 AS SELECT 1",
        ],
        Mended("no unique index on (code)"),
    ),
    kind(
        "an expression",
        &[BARE, "CREATE UNIQUE INDEX i ON parcels (lower(code))"],
        Mended("no unique index on (code)"),
    ),
    kind(
        "an expression beside the column",
        &[BARE, "CREATE UNIQUE INDEX i ON parcels (code, (weight + 1))"],
        Mended("no unique index on (code)"),
    ),
    kind(
        "one column more",
        &[BARE, "CREATE UNIQUE INDEX i ON parcels (code, weight)"],
        Mended("no unique index on (code)"),
    ),
    kind("another collation", &[BARE, "CREATE UNIQUE INDEX i ON parcels (code COLLATE NOCASE)"], Works),
    kind(
        "another collation, descending, and one that is partial",
        &[
            BARE,
            "CREATE UNIQUE INDEX i ON parcels (code COLLATE RTRIM DESC)",
            "CREATE UNIQUE INDEX j ON parcels (code) WHERE weight < 0",
        ],
        Works,
    ),
    kind(
        "a column with a collation",
        &[
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL COLLATE NOCASE UNIQUE, weight INTEGER NOT NULL)",
        ],
        Works,
    ),
    kind(
        "a key that can be NULL",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT UNIQUE, weight INTEGER NOT NULL)"],
        Warned("column code can be NULL"),
    ),
];

const VIRTUAL: [Kind; 2] = [
    kind("full text", &["CREATE VIRTUAL TABLE parcels USING fts5(id, code, weight)"], Refused("is a virtual table")),
    kind("an R-tree", &["CREATE VIRTUAL TABLE parcels USING rtree(id, code, weight)"], Refused("is a virtual table")),
];

/// A model that reads a row id without a column for it.
///
/// The table has none.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "parcels")]
#[unique(code)]
#[unique(rowid)]
struct Numbered {
    #[upsertable(generated)]
    rowid: i64,
    code: String,
    weight: i64,
}

impl Specimen for Numbered {
    fn make(number: i64, weight: i64) -> NewNumbered {
        NewNumbered { code: number.to_string(), weight }
    }

    fn key_of(number: i64) -> NumberedKey {
        NumberedKey { code: number.to_string() }
    }

    fn weight(&self) -> i64 {
        self.weight
    }
}

const NUMBERED: [Kind; 4] = [
    kind("a hidden row id", &["CREATE TABLE parcels (code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)"], Works),
    kind(
        "a row id with a name",
        &["CREATE TABLE parcels (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL)"],
        Works,
    ),
    kind(
        "no row id",
        &["CREATE TABLE parcels (code TEXT PRIMARY KEY, weight INTEGER NOT NULL) WITHOUT ROWID"],
        Refused("no column rowid"),
    ),
    kind(
        "another column of its name",
        &["CREATE TABLE parcels (code TEXT NOT NULL UNIQUE, weight INTEGER NOT NULL, rowid TEXT UNIQUE)"],
        Refused("column rowid"),
    ),
];

#[tokio::test]
async fn verify_says_of_the_row_id_what_the_calls_do() {
    let mut wrong = Vec::new();
    for kind in &NUMBERED {
        wrong.extend(try_kind::<_, Numbered>(&in_memory(&[]).await, kind).await);
    }
    assert_none(&wrong);
}

/// Types that sqlx has names of its own for.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "days")]
#[unique(date)]
struct Day {
    date: chrono::NaiveDate,
    is_free: bool,
    at: Option<chrono::NaiveDateTime>,
    picture: Vec<u8>,
    warmth: f64,
}

#[tokio::test]
async fn columns_missing_from_a_strict_table_are_added_with_types_that_it_knows() {
    for strict in ["", " STRICT"] {
        let pool = in_memory(&[&format!("CREATE TABLE days (number INTEGER PRIMARY KEY){strict}")]).await;
        let Err(upsertable::Error::Schema { problems, .. }) = Day::verify(&pool).await else { panic!("{strict}") };
        for problem in problems {
            run(&pool, &problem.fix.unwrap()).await;
        }
        assert_eq!(Day::verify(&pool).await.unwrap().warnings, []);
        let day = Day { date: chrono::NaiveDate::default(), is_free: true, at: None, picture: vec![1], warmth: 2.0 };
        assert_eq!(Day::upsert(&pool, day.clone()).await.unwrap().row, day);
        assert_eq!(Day::find(&pool, day.key()).await.unwrap(), Some(day));
    }
}

#[tokio::test]
async fn verify_says_of_every_kind_of_table_what_the_calls_do() {
    let mut wrong = Vec::new();
    for kind in TABLES.iter().chain(&INDEXES).chain(&VIRTUAL) {
        let pool = in_memory(&[]).await;
        wrong.extend(try_kind::<_, Parcel>(&pool, kind).await);
    }
    assert_none(&wrong);
}

/// Types of columns, in an ordinary table and a STRICT one.
const DECLARED: [&str; 18] = [
    "INTEGER",
    "INT",
    "BIGINT",
    "TEXT",
    "VARCHAR(9)",
    "CLOB",
    "BLOB",
    "",
    "REAL",
    "DOUBLE",
    "FLOAT",
    "NUMERIC",
    "DECIMAL(10, 2)",
    "BOOLEAN",
    "DATE",
    "DATETIME",
    "STRING",
    "ANY",
];
const DECLARED_STRICT: [&str; 6] = ["INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY"];

/// Tries each field with two values.
///
/// One says nothing but its type, and the other a column can take for another.
macro_rules! kept {
    ($($test:ident: $field:ty = $plain:expr, $tricky:expr;)+) => {$(
        #[tokio::test]
        async fn $test() {
            #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
            #[upsertable(table = "one")]
            #[unique(k)]
            struct One {
                k: i64,
                v: $field,
            }
            let all = DECLARED.map(|declared| (declared, "")).into_iter().chain(DECLARED_STRICT.map(|declared| (declared, " STRICT")));
            for (declared, strict) in all {
                let pool = in_memory(&[&format!("CREATE TABLE one (k INTEGER PRIMARY KEY, v {declared} NOT NULL){strict}")]).await;
                let verified = One::verify(&pool).await;
                let keeps = async |k: i64, v: $field| {
                    let one = One { k, v };
                    let made = One::get_or_create(&pool, one.clone()).await;
                    made.is_ok_and(|made| made.row == one) && One::find(&pool, OneKey { k }).await.is_ok_and(|found| found == Some(one))
                };
                let (plain, tricky) = (keeps(1, $plain).await, keeps(2, $tricky).await);
                assert_eq!(verified.is_ok(), plain, "{declared:?}{strict}: {verified:?}");
                if let Ok(verified) = verified {
                    assert_eq!(verified.warnings.is_empty(), tricky, "{declared:?}{strict}: {verified:?}");
                }
            }
        }
    )+};
}

kept! {
    verify_knows_what_is_kept_of_an_integer: i64 = 7, 1;
    verify_knows_what_is_kept_of_a_small_integer: i16 = 7, 1;
    verify_knows_what_is_kept_of_a_bool: bool = true, false;
    verify_knows_what_is_kept_of_a_float: f64 = 1.5, 2.0;
    verify_knows_what_is_kept_of_a_text: String = "abc".to_owned(), "7".to_owned();
    verify_knows_what_is_kept_of_bytes: Vec<u8> = vec![1, 2, 255], b"7".to_vec();
    verify_knows_what_is_kept_of_a_date: chrono::NaiveDate = chrono::NaiveDate::default(), chrono::NaiveDate::default();
    verify_knows_what_is_kept_of_a_time: chrono::NaiveTime = chrono::NaiveTime::MIN, chrono::NaiveTime::default();
}
