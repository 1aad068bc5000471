//! Workloads: one list of columns for each table.
//!
//! Every contender's own struct is made from it, so that all store the same rows.

use std::cmp::Ordering;

use sea_orm::{EntityTrait, Iterable as _};
use sqlx::{Arguments as _, Database, Encode, Type, error::BoxDynError};
use upsertable::Upsertable;

/// A new row of one of the tables.
///
/// It has all that every contender needs to know of the row.
pub trait Workload: Clone + Send + Sync + 'static {
    type Model: Upsertable<New = Self>;
    type Entity: EntityTrait;
    type Diesel;

    const TABLE: &'static str;
    const COLUMNS: &'static [Column];
    const KEY: &'static [&'static str];

    fn compare_keys(&self, other: &Self) -> Ordering;

    fn sea(&self) -> <Self::Entity as EntityTrait>::ActiveModel;
    fn sea_key() -> Vec<<Self::Entity as EntityTrait>::Column>;

    fn diesel(&self) -> Self::Diesel;
    #[cfg(feature = "sqlite")]
    fn diesel_sqlite(conn: &mut diesel::SqliteConnection, rows: &[Self::Diesel]) -> diesel::QueryResult<usize>;
    #[cfg(feature = "postgres")]
    fn diesel_postgres(conn: &mut diesel::PgConnection, rows: &[Self::Diesel]) -> diesel::QueryResult<usize>;
    /// Copies the rows into a temporary table called `staged`.
    #[cfg(feature = "postgres")]
    fn diesel_copy(conn: &mut diesel::PgConnection, rows: &[Self::Diesel]) -> diesel::QueryResult<usize>;
    #[cfg(feature = "mysql")]
    fn diesel_mysql(conn: &mut diesel::MysqlConnection, rows: &[Self::Diesel]) -> diesel::QueryResult<usize>;

    /// Makes one array for each column, for UNNEST.
    #[cfg(feature = "postgres")]
    fn arrays(rows: Vec<Self>) -> Result<sqlx::postgres::PgArguments, BoxDynError>;

    /// Appends the row in the binary format of COPY.
    #[cfg(feature = "postgres")]
    fn copy(&self, buffer: &mut sqlx::postgres::PgArgumentBuffer) -> Result<(), BoxDynError>;
}

/// Binds a row's values one by one.
pub trait Bind<DB: Database>: Sized {
    fn bind(self, arguments: &mut DB::Arguments) -> Result<(), BoxDynError>;
}

pub struct Column {
    pub name: &'static str,
    /// Type as written in CREATE TABLE.
    pub sql: &'static str,
}

/// Column names, separated by commas.
pub fn columns<R: Workload>() -> String {
    R::COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

pub fn key<R: Workload>() -> String {
    R::KEY.join(", ")
}

/// `CREATE TABLE` with the id as the database writes it.
pub fn create_table<R: Workload>(name: &str, id: &str, timestamp: &str) -> String {
    let columns =
        R::COLUMNS.iter().map(|column| format!("{} {}", column.name, column.sql.replace("timestamp", timestamp)));
    let columns = columns.collect::<Vec<_>>().join(", ");
    format!("CREATE TABLE {name} (id {id}, {columns}, UNIQUE ({}))", key::<R>())
}

#[cfg(feature = "postgres")]
fn copy_value<'q, T: Encode<'q, sqlx::Postgres>>(
    value: &T,
    buffer: &mut sqlx::postgres::PgArgumentBuffer,
) -> Result<(), BoxDynError> {
    let start = buffer.len();
    buffer.extend_from_slice(&(-1_i32).to_be_bytes());
    if !value.encode_by_ref(buffer)?.is_null() {
        let length = i32::try_from(buffer.len() - start - 4)?;
        buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

macro_rules! workload {
    (
        $module:ident, $table:tt, $model:ident, $new:ident, key ($($key:ident),+),
        $($column:ident: [$($rust:tt)+], [$($diesel:tt)+], $sql:literal;)+
    ) => {
        pub mod $module {
            use super::*;

            #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
            #[upsertable(table = $table)]
            #[unique($($key),+)]
            #[allow(dead_code, reason = "what is read back is not looked at")]
            #[allow(clippy::struct_field_names, reason = "the names of the data set's columns")]
            pub struct $model {
                #[upsertable(generated)]
                pub id: i64,
                $(pub $column: $($rust)+,)+
            }

            pub mod sea {
                use sea_orm::entity::prelude::*;

                #[derive(Clone, Debug, DeriveEntityModel)]
                #[sea_orm(table_name = $table)]
                pub struct Model {
                    #[sea_orm(primary_key)]
                    pub id: i64,
                    $(pub $column: $($rust)+,)+
                }

                #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
                pub enum Relation {}

                impl ActiveModelBehavior for ActiveModel {}
            }

            pub mod schema {
                diesel::table! {
                    $module (id) {
                        id -> BigInt,
                        $($column -> $($diesel)+,)+
                    }
                }

                diesel::table! {
                    staged ($($key),+) {
                        $($column -> $($diesel)+,)+
                    }
                }
            }

            /// A row for Diesel, without defaults.
            ///
            /// So SQLite too takes many rows in one statement.
            #[derive(diesel::Insertable)]
            #[diesel(table_name = schema::$module, treat_none_as_default_value = false)]
            pub struct DieselRow {
                $($column: $($rust)+,)+
            }

            #[cfg(feature = "postgres")]
            #[derive(diesel::Insertable)]
            #[diesel(table_name = schema::staged, treat_none_as_default_value = false)]
            pub struct DieselStaged<'r> {
                $($column: &'r $($rust)+,)+
            }

            impl Workload for $new {
                type Model = $model;
                type Entity = sea::Entity;
                type Diesel = DieselRow;

                const TABLE: &'static str = $table;
                const COLUMNS: &'static [Column] = &[$(Column { name: stringify!($column), sql: $sql }),+];
                const KEY: &'static [&'static str] = &[$(stringify!($key)),+];

                fn compare_keys(&self, other: &Self) -> Ordering {
                    ($(&self.$key),+).cmp(&($(&other.$key),+))
                }

                fn sea(&self) -> sea::ActiveModel {
                    sea::ActiveModel {
                        id: sea_orm::ActiveValue::NotSet,
                        $($column: sea_orm::ActiveValue::Set(self.$column.clone()),)+
                    }
                }

                fn sea_key() -> Vec<sea::Column> {
                    use sea_orm::Iden as _;
                    sea::Column::iter().filter(|column| Self::KEY.contains(&column.to_string().as_str())).collect()
                }

                fn diesel(&self) -> DieselRow {
                    DieselRow { $($column: self.$column.clone(),)+ }
                }

                #[cfg(feature = "sqlite")]
                fn diesel_sqlite(conn: &mut diesel::SqliteConnection, rows: &[DieselRow]) -> diesel::QueryResult<usize> {
                    use diesel::RunQueryDsl as _;
                    use schema::$module::dsl::*;
                    diesel::insert_into($module).values(rows).on_conflict(($($key),+)).do_nothing().execute(conn)
                }

                #[cfg(feature = "postgres")]
                fn diesel_postgres(conn: &mut diesel::PgConnection, rows: &[DieselRow]) -> diesel::QueryResult<usize> {
                    use diesel::RunQueryDsl as _;
                    use schema::$module::dsl::*;
                    diesel::insert_into($module).values(rows).on_conflict(($($key),+)).do_nothing().execute(conn)
                }

                #[cfg(feature = "postgres")]
                fn diesel_copy(conn: &mut diesel::PgConnection, rows: &[DieselRow]) -> diesel::QueryResult<usize> {
                    use diesel::ExecuteCopyFromDsl as _;
                    let rows: Vec<_> = rows.iter().map(|row| DieselStaged { $($column: &row.$column,)+ }).collect();
                    diesel::copy_from(schema::staged::table).from_insertable(rows).execute(conn)
                }

                #[cfg(feature = "mysql")]
                fn diesel_mysql(conn: &mut diesel::MysqlConnection, rows: &[DieselRow]) -> diesel::QueryResult<usize> {
                    use diesel::RunQueryDsl as _;
                    use schema::$module::dsl::*;
                    diesel::insert_into($module)
                        .values(rows)
                        .on_conflict(diesel::dsl::DuplicatedKeys)
                        .do_nothing()
                        .execute(conn)
                }

                #[cfg(feature = "postgres")]
                fn arrays(rows: Vec<Self>) -> Result<sqlx::postgres::PgArguments, BoxDynError> {
                    $(let mut $column = Vec::with_capacity(rows.len());)+
                    for row in rows {
                        $($column.push(row.$column);)+
                    }
                    let mut arguments = sqlx::postgres::PgArguments::default();
                    $(arguments.add($column)?;)+
                    Ok(arguments)
                }

                #[cfg(feature = "postgres")]
                fn copy(&self, buffer: &mut sqlx::postgres::PgArgumentBuffer) -> Result<(), BoxDynError> {
                    buffer.extend_from_slice(&i16::try_from(Self::COLUMNS.len())?.to_be_bytes());
                    $(copy_value(&self.$column, buffer)?;)+
                    Ok(())
                }
            }

            impl<DB: Database> Bind<DB> for $new
            where
                $($($rust)+: for<'q> Encode<'q, DB> + Type<DB>,)+
            {
                fn bind(self, arguments: &mut DB::Arguments) -> Result<(), BoxDynError> {
                    $(arguments.add(self.$column)?;)+
                    Ok(())
                }
            }
        }
    };
}

workload! {
    retweets, "retweets", Retweet, NewRetweet, key (tweet, retweeter),
    tweet: [i64], [BigInt], "bigint not null";
    retweeter: [i64], [BigInt], "bigint not null";
    original_author: [i64], [BigInt], "bigint not null";
}

workload! {
    flights, "flights", Flight, NewFlight, key (year, month, day, carrier, flight, origin),
    year: [i32], [Integer], "integer not null";
    month: [i32], [Integer], "integer not null";
    day: [i32], [Integer], "integer not null";
    dep_time: [Option<i32>], [Nullable<Integer>], "integer null";
    sched_dep_time: [i32], [Integer], "integer not null";
    dep_delay: [Option<i32>], [Nullable<Integer>], "integer null";
    arr_time: [Option<i32>], [Nullable<Integer>], "integer null";
    sched_arr_time: [i32], [Integer], "integer not null";
    arr_delay: [Option<i32>], [Nullable<Integer>], "integer null";
    carrier: [String], [Text], "varchar(2) not null";
    flight: [i32], [Integer], "integer not null";
    tailnum: [Option<String>], [Nullable<Text>], "varchar(6) null";
    origin: [String], [Text], "varchar(3) not null";
    dest: [String], [Text], "varchar(3) not null";
    air_time: [Option<i32>], [Nullable<Integer>], "integer null";
    distance: [i32], [Integer], "integer not null";
    hour: [i32], [Integer], "integer not null";
    minute: [i32], [Integer], "integer not null";
    time_hour: [chrono::NaiveDateTime], [Timestamp], "timestamp not null";
}
