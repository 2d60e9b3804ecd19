//! The shape of the two tables: names of attributes, keys, index, stream and TTL.
//!
//! The local machine makes its tables from here, and a test holds the template to it.

/// The version of a row's shape. Code reads its own and the one before.
pub const SCHEMA: i64 = 1;

pub mod attr {
    pub const WEBHOOK_ID: &str = "webhook_id";
    pub const STATE: &str = "state";
    pub const OUTCOME: &str = "outcome";
    pub const BODY: &str = "body";
    pub const EVENT_TYPE: &str = "event_type";
    pub const EVENT_TIME: &str = "event_time";
    pub const RECEIVED_AT: &str = "received_at";
    pub const JOB_HINT: &str = "job_hint";
    pub const JOB_ID: &str = "job_id";
    pub const SCHEME: &str = "scheme";
    pub const KEY_ID: &str = "key_id";
    pub const TRUST: &str = "trust";
    pub const RECEIPT: &str = "receipt";
    pub const BODY_SHA256: &str = "body_sha256";
    pub const ATTEMPT: &str = "attempt";
    pub const CRASHES: &str = "crashes";
    pub const GIVE_UP_AT: &str = "give_up_at";
    pub const LEASE_UNTIL: &str = "lease_until";
    pub const HOLDER: &str = "holder";
    pub const OPEN: &str = "open";
    pub const DUE_AT: &str = "due_at";
    pub const LAST_ERROR: &str = "last_error";
    /// The class of the present error, and since when it has been this class (milliseconds since the epoch).
    pub const ERROR_KIND: &str = "error_kind";
    pub const ERROR_SINCE: &str = "error_since";
    /// How far a transfer has come that outlasts an invocation. The ledger does not read it.
    pub const CHECKPOINT: &str = "checkpoint";
    /// Of the delivery, redacted. Only while first deliveries are recorded.
    pub const HEADERS: &str = "headers";
    /// The nonce of the last redrive: its repeat recognises itself by it.
    pub const REDRIVE: &str = "redrive";
    pub const SCHEMA: &str = "schema";
    pub const EXPIRES_AT: &str = "expires_at";

    pub const ENDED_BY: &str = "ended_by";
    pub const ENDED_AT: &str = "ended_at";
    pub const WATCH_UNTIL: &str = "watch_until";
    /// How often a followed job was looked at, and when it is next.
    pub const LOOKS: &str = "looks";
    pub const LOOK_AT: &str = "look_at";
    /// The ids of the deliveries that reported a job, a string set.
    pub const DELIVERIES: &str = "deliveries";
    pub const KIND: &str = "kind";
    pub const USER_METADATA: &str = "user_metadata";
    pub const MODEL: &str = "model";
    pub const DISPLAY_NAME: &str = "display_name";
    pub const OUTPUTS: &str = "outputs";
    /// Outputs that were not fetched, and why.
    pub const SKIPPED: &str = "skipped";
    pub const SUMMARY: &str = "summary";
    /// The final text, or its beginning, and whether there is more.
    pub const TEXT: &str = "text";
    pub const TEXT_CUT: &str = "text_cut";
    /// The calls that an open interaction waits for.
    pub const CALLS: &str = "calls";
    pub const ERROR: &str = "error";
    /// The delivery whose `gone` end this end has replaced.
    pub const REPLACES: &str = "replaces";
    /// The attributes of the row that do not hold all of their value, a string set.
    pub const SHORTENED: &str = "shortened";
}

/// Open rows are spread over this many values of `open`: one index partition takes 1,000 writes a second.
pub const SHARDS: u8 = 8;

pub struct Table {
    pub key: &'static str,
    pub index: Option<Index>,
    pub ttl: Option<&'static str>,
    /// Whether the table has a stream of new images.
    pub stream: bool,
}

pub struct Index {
    pub name: &'static str,
    pub hash: &'static str,
    /// A number.
    pub range: &'static str,
    pub includes: &'static [&'static str],
}

pub const DELIVERIES: Table =
    Table { key: attr::WEBHOOK_ID, index: Some(DUE), ttl: Some(attr::EXPIRES_AT), stream: true };

/// The rows that have not ended, by when a sweep looks at them next. It includes what a sweep decides by before it
/// takes a lease: which rows wait for an absent job, and which have cost a worker.
pub const DUE: Index = Index {
    name: "due",
    hash: attr::OPEN,
    range: attr::DUE_AT,
    includes: &[attr::RECEIVED_AT, attr::ERROR_KIND, attr::CRASHES],
};

/// The jobs that are followed. Its hash is the table's own key: a row is in it as soon as it has `watch_until`, so an
/// application sets that one attribute and nothing else, and a scan of it costs what the followed jobs cost.
pub const WATCHED: Index = Index {
    name: "watched",
    hash: attr::JOB_ID,
    range: attr::WATCH_UNTIL,
    includes: &[attr::LOOKS, attr::LOOK_AT],
};

pub const JOBS: Table = Table { key: attr::JOB_ID, index: Some(WATCHED), ttl: None, stream: false };
