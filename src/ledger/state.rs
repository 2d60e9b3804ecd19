//! The words that a row's `state`, `outcome` and `error_kind` can have.

/// Declares an enum whose variants are words of a row, with both ways between them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// As a row has it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// None where no variant has this name.
            pub fn of(name: &str) -> Option<Self> {
                match name {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// Where a delivery stands.
    DeliveryState {
        /// Durable. Nobody has worked on it since it came, or since it was redriven.
        Received = "received",
        /// A worker has a lease on it.
        Archiving = "archiving",
        /// Put off until `due_at`.
        Waiting = "waiting",
        /// Ended, with an outcome.
        Done = "done",
        /// Ended without success; `last_error` says why. It has an outcome only where a commit was not announced.
        Failed = "failed",
    }
}

words! {
    /// How a delivery ended.
    Outcome {
        /// Outputs safe and checked.
        Archived = "archived",
        /// The job ended with nothing to fetch.
        Ended = "ended",
        /// Ours, but deleted at Gemini before it could be read.
        Gone = "gone",
        /// Nothing was committed: not understood, or the job is still open.
        Recorded = "recorded",
        /// The job's row had ended already.
        Repeated = "repeated",
        /// Signed by Google, but for somebody else's job.
        Foreign = "foreign",
    }
}

words! {
    /// The class of what a waiting row waits out. How long a class is waited for counts from `error_since`.
    ErrorKind {
        /// Load, timeouts, a result that is not there yet.
        Transient = "transient",
        /// Our API key does not work.
        Unauthorized = "unauthorized",
        /// The API rejects the request (400, 402 or 403).
        Rejected = "rejected",
        /// The API knows no such job (404 or 410).
        NotFound = "not_found",
        /// The job has ended, and an output of it is not there.
        OutputMissing = "output_missing",
        /// The invocation ran out of time.
        Deadline = "deadline",
        /// The event bus did not take the announcement.
        Announce = "announce",
    }
}
