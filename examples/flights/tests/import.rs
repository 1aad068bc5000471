//! Runs the program and checks its count of new flights.
//!
//! They are counted here by other means.

use std::{
    collections::HashSet,
    env,
    fs::{self, File},
    io::{self, Write as _},
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    process::{self, Command, Output},
    time::UNIX_EPOCH,
};

use csv::StringRecord;
use flate2::{Compression, write::GzEncoder};
use futures_util::FutureExt as _;
use sqlx::{
    AssertSqlSafe, ColumnIndex, ConnectOptions, Connection as _, Database, Decode, Executor, IntoArguments, MySql,
    Postgres, SqliteConnection, Type, mysql::MySqlConnectOptions, postgres::PgConnectOptions,
};
use tempfile::TempDir;

/// A copy of the data to change, and a new database.
///
/// The database is not there yet.
struct Case {
    folder: TempDir,
    database_url: String,
}

impl Case {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for file in ["airlines.csv", "airports.csv", "flights.csv", "planes.csv"] {
            fs::copy(shipped(file), folder.path().join(file)).unwrap();
        }
        let database_url = format!("sqlite://{}", folder.path().join("test.db").display());
        Self { folder, database_url }
    }

    fn flights(&self) -> PathBuf {
        self.folder.path().join("flights.csv")
    }

    /// Sets a field of the line with this number.
    ///
    /// Lines are counted from 1, as an editor does.
    fn set(&self, line: usize, column: &str, value: &str) {
        let mut lines: Vec<_> = fs::read_to_string(self.flights()).unwrap().lines().map(str::to_owned).collect();
        let column = lines[0].split(',').position(|name| name == column).unwrap();
        let mut fields: Vec<_> = lines[line - 1].split(',').collect();
        fields[column] = value;
        lines[line - 1] = fields.join(",");
        fs::write(self.flights(), lines.join("\n") + "\n").unwrap();
    }

    fn run(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_flights"))
            .args(["--database-url", &self.database_url, "--data"])
            .arg(self.folder.path())
            .output()
            .unwrap()
    }

    /// Runs successfully and returns what each window added and read.
    fn import(&self) -> Vec<(usize, usize)> {
        let output = self.run();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        counts(&output)
    }

    /// Runs to the malformed line 2000 and checks what is kept.
    ///
    /// The line is one of day 3 and so of the third window: the first two windows are kept.
    async fn import_fails(&self, message: &str) {
        let output = self.run();
        assert_eq!(output.status.code(), Some(1));
        let message = format!("flights.csv:2000: {message}; nothing of 2013-01-01 to 2013-01-04 is kept\n");
        assert_eq!(text(&output.stderr), message);

        let kept = expected(&shipped("flights.csv"), &[1..=1, 1..=2]);
        assert_eq!(counts(&output), kept);
        assert_eq!(self.count("SELECT count(*) FROM flights").await, kept[1].1);
        assert_eq!(self.count("SELECT count(*) FROM flights WHERE day > 2").await, 0);
        assert_eq!(self.count("SELECT count(*) FROM airports WHERE faa LIKE 'X_X'").await, 0);
        assert_eq!(self.count("SELECT count(*) FROM planes WHERE tailnum LIKE 'X%'").await, 0);
    }

    async fn count(&self, sql: &'static str) -> usize {
        let mut database = SqliteConnection::connect(&self.database_url).await.unwrap();
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap();
        database.close().await.unwrap();
        usize::try_from(count).unwrap()
    }
}

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(file)
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// Reads the numbers of lines ending with `N of M records added`.
fn counts(output: &Output) -> Vec<(usize, usize)> {
    let count = |line: &str| {
        let (_, counts) = line.strip_suffix(" records added")?.rsplit_once(": ")?;
        let (added, read) = counts.split_once(" of ")?;
        Some((added.parse().unwrap(), read.parse().unwrap()))
    };
    text(&output.stdout).lines().filter_map(count).collect()
}

fn lines(file: &Path) -> Vec<StringRecord> {
    csv::Reader::from_path(file).unwrap().into_records().map(Result::unwrap).collect()
}

/// Rows that windows of these days should add and read.
///
/// They are told from the file alone. The days are those of the month.
fn expected(file: &Path, windows: &[RangeInclusive<u32>]) -> Vec<(usize, usize)> {
    let lines = lines(file);
    let mut known = HashSet::new();
    let mut count = |days: &RangeInclusive<u32>| {
        let read: Vec<_> = lines.iter().filter(|line| days.contains(&line[2].parse().unwrap())).collect();
        let key = |line: &StringRecord| [0, 1, 2, 9, 10, 12].map(|column| line[column].to_owned());
        (read.iter().filter(|line| known.insert(key(line))).count(), read.len())
    };
    windows.iter().map(&mut count).collect()
}

/// Number of codes of the flights that another file lacks.
///
/// They stand in a column of the flights and not in the first column of the other file.
fn codes_missing_from(file: &str, column: usize) -> usize {
    let known: HashSet<_> = lines(&shipped(file)).iter().map(|line| line[0].to_owned()).collect();
    let named: HashSet<_> = lines(&shipped("flights.csv")).iter().map(|line| line[column].to_owned()).collect();
    named.difference(&known).filter(|code| *code != "NA").count()
}

#[tokio::test]
async fn each_window_adds_what_is_new_in_it_and_a_second_run_nothing() {
    let case = Case::new();
    let expected = expected(&case.flights(), &[1..=1, 1..=2, 1..=4, 1..=7]);
    assert_eq!(expected[3].1, 6_099);
    assert_eq!(case.import(), expected);
    assert_eq!(case.count("SELECT count(*) FROM flights").await, 6_099);

    let nothing: Vec<_> = expected.iter().map(|(_, read)| (0, *read)).collect();
    assert_eq!(case.import(), nothing);
    assert_eq!(case.count("SELECT count(*) FROM flights").await, 6_099);
}

#[tokio::test]
async fn airports_and_planes_that_only_flights_name_are_made_once() {
    let case = Case::new();
    case.import();
    let (airports, planes) = (codes_missing_from("airports.csv", 13), codes_missing_from("planes.csv", 11));
    assert_eq!((airports, planes), (4, 319));
    assert_eq!(case.count("SELECT count(*) FROM airports").await, lines(&shipped("airports.csv")).len() + airports);
    assert_eq!(case.count("SELECT count(*) FROM planes").await, lines(&shipped("planes.csv")).len() + planes);

    let by_airport = "SELECT count(*) FROM flights JOIN airports ON airports.id = dest WHERE faa = 'SJU'";
    let to_san_juan = lines(&case.flights()).iter().filter(|line| &line[13] == "SJU").count();
    assert_eq!(case.count(by_airport).await, to_san_juan);
}

#[test]
fn new_flights_are_announced_once() {
    let case = Case::new();
    let announced =
        |output: &Output| text(&output.stdout).lines().filter(|line| line.starts_with("announcing")).count();
    assert_eq!(announced(&case.run()), 4);
    assert_eq!(announced(&case.run()), 0);
}

#[tokio::test]
async fn a_malformed_line_rolls_back_its_window_and_ends_the_program() {
    for (column, value, message) in [
        ("dep_time", "noon", "dep_time: invalid digit found in string"),
        ("day", "third", "day: invalid digit found in string"),
        ("month", "13", "2013-13-03 is not a day"),
        ("carrier", "NA", "missing field `carrier`"),
        ("carrier", "XX", "the airline XX is not known"),
        ("time_hour", "2013", "time_hour: premature end of input"),
        ("time_hour", "2013-01-03T14:00:00Z,", "expected 19 fields, found 20"),
    ] {
        let case = Case::new();
        case.set(1_999, "dest", "XYX");
        case.set(1_999, "tailnum", "XNEW");
        case.set(2_000, column, value);
        case.import_fails(message).await;
    }
}

#[tokio::test]
async fn a_line_is_found_by_its_number_whatever_ends_the_lines() {
    let case = Case::new();
    case.set(2_000, "dep_time", "noon");
    let text = fs::read_to_string(case.flights()).unwrap();
    fs::write(case.flights(), text.replace('\n', "\r\n")).unwrap();
    case.import_fails("dep_time: invalid digit found in string").await;
}

#[tokio::test]
async fn more_than_a_week_grows_day_by_day_and_goes_on_week_by_week() {
    let case = Case::new();
    let (text, week) = (fs::read_to_string(case.flights()).unwrap(), lines(&case.flights()));
    let mut flights = csv::Writer::from_path(case.flights()).unwrap();
    flights.write_record(text.lines().next().unwrap().split(',')).unwrap();
    // Days 8 to 10 are days 1 to 3 once more, and come first in the file.
    for line in week.iter().filter(|line| matches!(&line[2], "1" | "2" | "3")) {
        let later = (line[2].parse::<u32>().unwrap() + 7).to_string();
        let fields = line.iter().enumerate().map(|(column, field)| if column == 2 { &later } else { field });
        flights.write_record(fields).unwrap();
    }
    for line in &week {
        flights.write_record(line).unwrap();
    }
    drop(flights);
    let windows = [1..=1, 1..=2, 1..=3, 1..=4, 1..=5, 1..=6, 1..=7, 8..=10];
    let expected = expected(&case.flights(), &windows);

    let mut packed =
        GzEncoder::new(File::create(case.folder.path().join("flights.csv.gz")).unwrap(), Compression::fast());
    std::io::copy(&mut File::open(case.flights()).unwrap(), &mut packed).unwrap();
    packed.finish().unwrap();
    fs::remove_file(case.flights()).unwrap();
    assert_eq!(case.import(), expected);
    assert_eq!(case.count("SELECT count(*) FROM flights").await, 6_099 + expected[7].0);
}

#[tokio::test]
async fn the_week_comes_into_postgres_as_into_sqlite() {
    on_a_server::<Postgres, _>(&["DATABASE_URL_POSTGRES"], PgConnectOptions::database).await;
}

#[tokio::test]
async fn the_week_comes_into_mysql_as_into_sqlite() {
    on_a_server::<MySql, _>(&["DATABASE_URL_MYSQL", "DATABASE_URL_MARIADB"], MySqlConnectOptions::database).await;
}

/// Imports the week twice into a database on a server.
///
/// The environment names the server. The database is the test's own, and is dropped whatever comes.
async fn on_a_server<DB, O>(variables: &[&str], in_database: fn(O, &str) -> O)
where
    DB: Database,
    DB::Connection: sqlx::Connection<Options = O>,
    O: ConnectOptions<Connection = DB::Connection>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    let Some(url) = variables.iter().find_map(|variable| env::var(variable).ok()) else {
        // Written past the test harness, which shows nothing of a test that passes.
        let skipped = format!("SKIPPED the import of a week of flights: none of {variables:?} is set\n");
        io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    };
    let server: O = url.parse().unwrap();
    let name = format!("flights_{}_{}", process::id(), UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let mut connection = server.connect().await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();

    let options = in_database(server, &name);
    let tried = AssertUnwindSafe(async {
        let case = Case { database_url: options.to_url_lossy().into(), ..Case::new() };
        let mut database = options.connect().await.unwrap();
        let expected = expected(&case.flights(), &[1..=1, 1..=2, 1..=4, 1..=7]);
        let nothing: Vec<_> = expected.iter().map(|(_, read)| (0, *read)).collect();
        for windows in [expected, nothing] {
            assert_eq!(case.import(), windows);
            for (sql, rows) in [
                ("SELECT count(*) FROM flights", 6_099),
                ("SELECT count(*) FROM airports", lines(&shipped("airports.csv")).len() + 4),
                ("SELECT count(*) FROM planes", lines(&shipped("planes.csv")).len() + 319),
                // The hour of the first flights, in UTC, of which the file has six.
                ("SELECT count(*) FROM flights WHERE time_hour = '2013-01-01 10:00:00'", 6),
            ] {
                let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap();
                assert_eq!(usize::try_from(count).unwrap(), rows, "{sql}");
            }
        }
        database.close().await.unwrap();
    });
    let tried = tried.catch_unwind().await;

    let dropped = connection.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await;
    if let Err(panic) = tried {
        resume_unwind(panic);
    }
    dropped.unwrap();
}
