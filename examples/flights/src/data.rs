//! Data files in CSV, plain or compressed.
//!
//! `NA` stands for a missing value.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    iter,
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use chrono::NaiveDate;
use csv::{ByteRecord, ErrorKind, Position, StringRecord};
use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;

/// One CSV file.
///
/// Its errors say where they are, as in `flights.csv:123: dep_time: invalid digit found in string`.
pub struct DataFile {
    name: String,
    reader: csv::Reader<File>,
    header: StringRecord,
    line: StringRecord,
}

/// Consecutive days of flights, and their lines in the file.
pub struct Window {
    first: NaiveDate,
    last: NaiveDate,
    runs: Vec<Run>,
}

/// Lines of one day that follow each other.
#[derive(Clone)]
struct Run {
    start: Position,
    lines: u64,
}

impl DataFile {
    /// Opens `table.csv` or `table.csv.gz` in the folder.
    pub fn open(folder: &Path, table: &str) -> Result<Self> {
        let plain = format!("{table}.csv");
        let (name, file) = if folder.join(&plain).exists() {
            let file = File::open(folder.join(&plain));
            (plain, file)
        } else {
            let name = plain + ".gz";
            let file = unpack(&folder.join(&name));
            (name, file)
        };
        let file = file.map_err(|error| anyhow!("{table}.csv or {table}.csv.gz in {}: {error}", folder.display()))?;
        // Lines of any length are let through here, so that `values` can say more clearly what is wrong with them.
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let header = reader.headers().map_err(|error| anyhow!("{name}: {error}"))?.clone();
        Ok(Self { name, reader, header, line: StringRecord::new() })
    }

    /// Reads all lines.
    pub fn lines<T: DeserializeOwned>(&mut self) -> impl Iterator<Item = Result<T>> {
        iter::from_fn(|| self.next_line(Ok))
    }

    /// Reads the lines of a window, each made into a `T`.
    pub fn lines_of<L: DeserializeOwned, T>(
        &mut self,
        window: &Window,
        mut make: impl FnMut(L) -> Result<T>,
    ) -> impl Iterator<Item = Result<T>> {
        let mut runs = window.runs.iter();
        let mut left = 0;
        iter::from_fn(move || {
            while left == 0 {
                let run = runs.next()?;
                if let Err(error) = self.reader.seek(run.start.clone()) {
                    return Some(Err(self.unreadable(error)));
                }
                left = run.lines;
            }
            left -= 1;
            self.next_line(&mut make)
        })
    }

    /// Windows in which somebody who asks repeatedly sees the flights.
    ///
    /// In the first week they see all of them so far, then a week at a time.
    pub fn windows(&mut self) -> Result<Vec<Window>> {
        let days: Vec<_> = self.days()?.into_iter().collect();
        let mut spans = Vec::new();
        if days.len() <= 7 {
            spans.extend([1, 2, 4, 7].map(|end| 0..days.len().min(end)));
            spans.dedup();
        } else {
            spans.extend((1..=7).map(|end| 0..end));
            spans.extend((7..days.len()).step_by(7).map(|start| start..days.len().min(start + 7)));
        }
        let window = |span| {
            let days: &[(NaiveDate, Vec<Run>)] = &days[span];
            let runs = days.iter().flat_map(|(_, runs)| runs).cloned().collect();
            Some(Window { first: days.first()?.0, last: days.last()?.0, runs })
        };
        Ok(spans.into_iter().filter_map(window).collect())
    }

    /// Days in the file, which need not be in order.
    ///
    /// A line without a readable date counts to the day before it.
    fn days(&mut self) -> Result<BTreeMap<NaiveDate, Vec<Run>>> {
        let column = |name: &str| {
            let found = self.header.iter().position(|column| column == name);
            found.with_context(|| format!("{}:1: there is no column {name}", self.name))
        };
        let columns = [column("year")?, column("month")?, column("day")?];
        let mut days = BTreeMap::<_, Vec<Run>>::new();
        let mut current = None;
        let mut line = ByteRecord::new();
        while self.reader.read_byte_record(&mut line).map_err(|error| self.unreadable(error))? {
            let [year, month, day] = columns.map(|column| str::from_utf8(line.get(column)?).ok()?.parse().ok());
            let date = year.zip(month).zip(day).and_then(|((year, month), day)| date(year, month, day).ok());
            let start = line.position().cloned().unwrap_or_else(Position::new);
            let day = date.or(current).with_context(|| format!("{}: there is no date", self.place(Some(&start))))?;
            let runs = days.entry(day).or_default();
            match runs.last_mut() {
                Some(run) if current == Some(day) => run.lines += 1,
                _ => runs.push(Run { start, lines: 1 }),
            }
            current = Some(day);
        }
        Ok(days)
    }

    fn next_line<L: DeserializeOwned, T>(&mut self, make: impl FnOnce(L) -> Result<T>) -> Option<Result<T>> {
        match self.reader.read_record(&mut self.line) {
            Ok(false) => None,
            Ok(true) => {
                let value = self.values().and_then(make);
                Some(value.map_err(|error| anyhow!("{}: {error}", self.place(self.line.position()))))
            }
            Err(error) => Some(Err(self.unreadable(error))),
        }
    }

    fn values<L: DeserializeOwned>(&self) -> Result<L> {
        let (expected, found) = (self.header.len(), self.line.len());
        ensure!(found == expected, "expected {expected} fields, found {found}");
        // A missing value is left out together with its name: serde reads that as `None`, or says which field must not be missing.
        let present = self.header.iter().zip(&self.line).filter(|(_, value)| !matches!(*value, "" | "NA"));
        let (names, values): (StringRecord, StringRecord) = present.unzip();
        values.deserialize(Some(&names)).map_err(|error| match error.into_kind() {
            ErrorKind::Deserialize { err, .. } => {
                let field = err.field().and_then(|field| names.get(usize::try_from(field).ok()?));
                anyhow!("{}{}", field.map(|name| format!("{name}: ")).unwrap_or_default(), err.kind())
            }
            other => anyhow!("{other:?}"),
        })
    }

    fn unreadable(&self, error: csv::Error) -> anyhow::Error {
        let place = self.place(error.position());
        match error.into_kind() {
            ErrorKind::Utf8 { err, .. } => anyhow!("{place}: {err}"),
            ErrorKind::Io(error) => anyhow!("{place}: {error}"),
            other => anyhow!("{place}: {other:?}"),
        }
    }

    /// File name and line number of a position.
    ///
    /// A position is that before the line ends which the reader skips, as the second half of `\r\n`, so these are counted too.
    fn place(&self, position: Option<&Position>) -> String {
        let Some(position) = position else { return self.name.clone() };
        let mut file = self.reader.get_ref();
        let skipped = file.seek(SeekFrom::Start(position.byte())).map_or(0, |_| {
            let bytes = BufReader::new(file).bytes().map_while(Result::ok);
            bytes.take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n').count()
        });
        format!("{}:{}", self.name, position.line() + skipped as u64)
    }
}

impl Window {
    /// Number of lines in the window.
    pub fn lines(&self) -> u64 {
        self.runs.iter().map(|run| run.lines).sum()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last != self.first {
            write!(f, " to {}", self.last)?;
        }
        Ok(())
    }
}

/// The day, if the calendar has it.
pub fn date(year: i32, month: i32, day: i32) -> Result<NaiveDate> {
    let known = u32::try_from(month).ok().zip(u32::try_from(day).ok());
    let date = known.and_then(|(month, day)| NaiveDate::from_ymd_opt(year, month, day));
    date.with_context(|| format!("{year}-{month:02}-{day:02} is not a day"))
}

/// Unpacks the data into a file that is gone once closed.
///
/// Windows overlap, and compressed data cannot be read from the middle.
fn unpack(path: &Path) -> io::Result<File> {
    let mut unpacked = tempfile::tempfile()?;
    io::copy(&mut MultiGzDecoder::new(File::open(path)?), &mut unpacked)?;
    unpacked.rewind()?;
    Ok(unpacked)
}
