//! Log of the crate, for tests to look at.
//!
//! It has the crate's errors in the whole program, and all that it logs for one future.

use std::{
    collections::BTreeMap,
    fmt::{Debug, Write as _},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    instrument::WithSubscriber as _,
    level_filters::LevelFilter,
    span,
};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins to keep what is logged in this program.
///
/// By every test and on every thread.
pub fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Log).expect("nobody else takes the log"));
}

/// The kept lines that have this text in them.
#[must_use]
pub fn logged(text: &str) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(text)).cloned().collect()
}

struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("upsertable")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The fields of one event, one after the other.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

/// A span or an event of the crate.
#[derive(Debug, Clone)]
pub struct Traced {
    /// Name of the span, or message of the event.
    pub name: String,
    /// Level of the event or span.
    pub level: Level,
    /// Fields and their values, as text.
    pub fields: BTreeMap<String, String>,
    /// Name of the span that it is in.
    pub parent: Option<String>,
}

impl Traced {
    /// Value of one of its fields.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Runs a future, and returns the crate's spans and events.
///
/// Spans come first.
pub async fn traced<F: Future>(work: F) -> (F::Output, Vec<Traced>) {
    // While there is only one listener, `tracing` asks the thread that first comes to an event whether anybody wants it, and that can be
    // a thread of another test.
    keep_log();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let output = work.with_subscriber(Tracer(Arc::clone(&seen))).await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    (output, seen.spans.iter().chain(&seen.events).cloned().collect())
}

#[derive(Default)]
struct Seen {
    spans: Vec<Traced>,
    events: Vec<Traced>,
    entered: Vec<u64>,
}

impl Seen {
    fn name(&self, id: Option<u64>) -> Option<String> {
        let position = usize::try_from(id?).ok()?.checked_sub(1)?;
        self.spans.get(position).map(|span| span.name.clone())
    }

    /// Name of the parent span.
    ///
    /// Something that happens names its parent, or says that it is where the program is.
    fn parent(&self, explicit: Option<&span::Id>, is_contextual: bool) -> Option<String> {
        let current = if is_contextual { self.entered.last().copied() } else { None };
        self.name(explicit.map(span::Id::into_u64).or(current))
    }
}

struct Tracer(Arc<Mutex<Seen>>);

impl Tracer {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Tracer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().split("::").next() == Some("upsertable")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let mut seen = self.seen();
        let parent = seen.parent(span.parent(), span.is_contextual());
        let (name, level) = (span.metadata().name().to_owned(), *span.metadata().level());
        seen.spans.push(Traced { name, level, fields: fields.0, parent });
        span::Id::from_u64(seen.spans.len() as u64)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        let position = usize::try_from(span.into_u64()).unwrap() - 1;
        self.seen().spans[position].fields.extend(fields.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut seen = self.seen();
        let parent = seen.parent(event.parent(), event.is_contextual());
        let name = fields.0.remove("message").unwrap_or_default();
        seen.events.push(Traced { name, level: *event.metadata().level(), fields: fields.0, parent });
    }

    fn enter(&self, span: &span::Id) {
        self.seen().entered.push(span.into_u64());
    }

    fn exit(&self, _: &span::Id) {
        self.seen().entered.pop();
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}
