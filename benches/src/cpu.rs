//! Processor time used by the benchmark and its server.
//!
//! It says more than the clock's where others use the machine too.

use std::{collections::HashMap, fs, iter, path::Path, time::Duration};

/// Processor time used so far by this process and the server.
///
/// The server is the process whose id `BENCH_SERVER_PID` names, with all that it has started.
pub fn used() -> Duration {
    let mut total = of_process(Path::new("/proc/self"));
    if let Some(server) = std::env::var("BENCH_SERVER_PID").ok().and_then(|pid| pid.parse().ok()) {
        total += of_family(server);
    }
    total
}

fn of_family(root: u32) -> Duration {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: Vec<u32> = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parents: HashMap<u32, u32> = pids.iter().filter_map(|&pid| Some((pid, parent(pid)?))).collect();
    let family =
        pids.iter().filter(|&&pid| iter::successors(Some(pid), |pid| parents.get(pid).copied()).any(|pid| pid == root));
    family.map(|pid| of_process(Path::new(&format!("/proc/{pid}")))).sum()
}

/// Number of the parent of this process.
///
/// It is the word behind the state, which is behind the name in parentheses.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn of_process(folder: &Path) -> Duration {
    let threads = fs::read_dir(folder.join("task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let used = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        used.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
