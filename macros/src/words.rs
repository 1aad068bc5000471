//! Words of the derive's attributes and of the table's text, each written once.

// Attributes.
pub(crate) const UPSERTABLE: &str = "upsertable";
pub(crate) const UNIQUE: &str = "unique";
pub(crate) const SQLX: &str = "sqlx";

// In `#[upsertable(..)]` on the struct.
pub(crate) const TABLE: &str = "table";
pub(crate) const SCHEMA: &str = "schema";
pub(crate) const CRATE: &str = "crate";
pub(crate) const NEW: &str = "new";
pub(crate) const NAME: &str = "name";
pub(crate) const DERIVE: &str = "derive";

// In `#[upsertable(..)]` on a field.
pub(crate) const GENERATED: &str = "generated";
pub(crate) const CREATE_ONLY: &str = "create_only";

// In `#[unique(..)]`.
pub(crate) const KEY: &str = "key";
pub(crate) const NULLS_NOT_DISTINCT: &str = "nulls_not_distinct";

// In `#[sqlx(..)]`.
pub(crate) const RENAME: &str = "rename";
pub(crate) const RENAME_ALL: &str = "rename_all";
pub(crate) const SKIP: &str = "skip";
pub(crate) const JSON: &str = "json";
pub(crate) const NULLABLE: &str = "nullable";
pub(crate) const DEFAULT: &str = "default";
pub(crate) const FLATTEN: &str = "flatten";
pub(crate) const TRY_FROM: &str = "try_from";

// In the table's text alone, which also has words from above: `core/src/sql/table.rs` reads it at run time.
pub(crate) const MODEL: &str = "model";
pub(crate) const COLUMN: &str = "column";
pub(crate) const NAMED: &str = "named";
pub(crate) const ASKED: &str = "asked";
