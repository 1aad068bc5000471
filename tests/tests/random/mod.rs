//! Random sequences of all calls, on the database named `Subject`.
//!
//! They are in and out of transactions and savepoints. The test program names the database, whatever it is.
//!
//! `PROPTEST_CASES` says how many. A sequence that fails is made as small as it can be, and its seed is kept in `regressions.txt`.

mod oracle;
mod sequence;
mod world;

use sqlx::Database as _;
use upsertable_tests::TestDb;

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use self::world::World;
use crate::Subject;

/// File of the seeds of failures, from the package's folder.
const REGRESSIONS: &str = "tests/random/regressions.txt";

/// Default number of sequences on a server.
///
/// Each takes longer there.
const ON_A_SERVER: u32 = 64;

#[test]
fn any_sequence_of_calls_does_what_a_plain_map_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fewer = std::env::var_os("PROPTEST_CASES").is_none() && <Subject as TestDb>::Db::NAME != "SQLite";
    let config = Config {
        cases: if fewer { ON_A_SERVER } else { Config::default().cases },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let world = tokio::sync::Mutex::new(None);
    let outcome = TestRunner::new(config).run(&sequence::sequences(), |steps| {
        runtime.block_on(async {
            let mut world = world.lock().await;
            let mut here = match world.take() {
                Some(world) => world,
                None => World::new().await,
            };
            here.run(&steps).await.map_err(TestCaseError::fail)?;
            // Only a world in which all went well is used again.
            *world = Some(here);
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
