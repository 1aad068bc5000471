//! What was learned of the servers in use.

use std::sync::atomic::AtomicBool;

/// Set once a server did not know `INSERT .. RETURNING`.
///
/// It is tried no more then. Either way works on every server.
pub(super) static NO_RETURNING: AtomicBool = AtomicBool::new(false);

/// Set once a server did not know `SKIP LOCKED`.
///
/// That is MySQL before 8, and MariaDB before 10.6. Waiting for locked rows works on every server.
pub(super) static NO_SKIP_LOCKED: AtomicBool = AtomicBool::new(false);

/// Set once a session began transactions by itself.
///
/// From here on each call asks for it at its end.
pub(super) static BEGINS_UNASKED: AtomicBool = AtomicBool::new(false);
