//! Run with: cargo run -p retweets -- --count 2 21947795900469248
//!
//! Stores who retweeted a tweet, from an answer of an API that tells the same retweets again and again: each is added once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, anyhow, ensure};
use clap::Parser as _;
use serde::Deserialize;
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use upsertable::Upsertable;

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "retweets")]
#[unique(tweet, retweeter)]
pub struct Retweet {
    #[upsertable(generated)]
    pub id: i64,
    pub tweet: i64,
    pub retweeter: i64,
    pub original_author: i64,
}

/// A retweet as the API tells it.
#[derive(Debug, Deserialize)]
struct Told {
    user: User,
    retweeted_status: Tweet,
}

#[derive(Debug, Deserialize)]
struct Tweet {
    id: i64,
    user: User,
}

#[derive(Debug, Deserialize)]
struct User {
    id: i64,
    screen_name: String,
}

impl From<&Told> for NewRetweet {
    fn from(told: &Told) -> Self {
        let tweet = &told.retweeted_status;
        Self { tweet: tweet.id, retweeter: told.user.id, original_author: tweet.user.id }
    }
}

/// Stores who retweeted these tweets, and adds what is new.
#[derive(Debug, clap::Parser)]
struct Options {
    /// The ids of tweets.
    #[arg(required_unless_present = "table")]
    tweets: Vec<i64>,

    /// Takes this many retweets of each tweet. Without it, all that the file has.
    #[arg(long, value_name = "N")]
    count: Option<usize>,

    /// Prints how often each author was retweeted by each person.
    #[arg(long)]
    table: bool,

    /// The database; its file is made when it is missing.
    #[arg(long, value_name = "sqlite://PATH", default_value = "sqlite://retweets.db")]
    database_url: String,

    /// A JSON file with a list of retweets. Without it, the one that comes with this program is read.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let url = &options.database_url;
    ensure!(url.starts_with("sqlite:"), "{url}: expected sqlite://PATH");
    let file = options.data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("data/retweets.json"));
    let told = read(&file).map_err(|error| anyhow!("{}: {error}", file.display()))?;

    let database = url.parse::<SqliteConnectOptions>()?.create_if_missing(true);
    let pool = SqlitePool::connect_with(database).await.map_err(|error| anyhow!("{url}: {error}"))?;
    sqlx::migrate!("migrations/sqlite").run(&pool).await?;

    let count = options.count.unwrap_or(usize::MAX);
    let of_tweet = |tweet| told.iter().filter(move |retweet| retweet.retweeted_status.id == tweet).take(count);
    let rows = options.tweets.iter().copied().flat_map(of_tweet).map(NewRetweet::from);
    let done = Retweet::bulk_create_new(&pool, rows).await?;
    if options.table {
        print_table(&pool, &told).await?;
    }
    println!("{done}");
    pool.close().await;
    Ok(())
}

fn read(file: &Path) -> Result<Vec<Told>> {
    Ok(serde_json::from_reader(BufReader::new(File::open(file)?))?)
}

/// Prints retweets by author and person, of all that is stored.
///
/// One line for each author and one column for each person.
async fn print_table(pool: &SqlitePool, told: &[Told]) -> Result<()> {
    let sql = "SELECT original_author, retweeter, count(*) FROM retweets GROUP BY original_author, retweeter";
    let counted: Vec<(i64, i64, i64)> = sqlx::query_as(sql).fetch_all(pool).await?;

    let users = told.iter().flat_map(|retweet| [&retweet.user, &retweet.retweeted_status.user]);
    let names: HashMap<i64, &str> = users.map(|user| (user.id, user.screen_name.as_str())).collect();
    let name = |id: i64| names.get(&id).map_or_else(|| id.to_string(), ToString::to_string);
    let counts: BTreeMap<_, _> =
        counted.into_iter().map(|(author, retweeter, count)| ((name(author), name(retweeter)), count)).collect();
    let authors: BTreeSet<_> = counts.keys().map(|(author, _)| author).collect();
    let retweeters: BTreeSet<_> = counts.keys().map(|(_, retweeter)| retweeter).collect();

    let margin = authors.iter().map(|author| author.len()).max().unwrap_or(0);
    print!("{:margin$}", "");
    for retweeter in &retweeters {
        print!("  {retweeter}");
    }
    println!();
    for author in authors {
        print!("{author:margin$}");
        for retweeter in &retweeters {
            let count = counts.get(&(author.clone(), (*retweeter).clone())).unwrap_or(&0);
            print!("  {count:>0$}", retweeter.len());
        }
        println!();
    }
    Ok(())
}
