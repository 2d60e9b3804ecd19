//! What must hold in every state, by name. `checks` says when it holds.

use stateright::{Model, Property};

/// A model that says of each promise whether it is kept.
pub(crate) trait Keeps: Model {
    fn keeps(&self, promise: Promise, state: &Self::State) -> bool;
}

/// Makes the enum and what stateright checks of it, so that no promise is left out of the check.
macro_rules! promises {
    ($($promise:ident => $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Promise {
            $($promise,)*
        }

        impl Promise {
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$promise => $name,)*
                }
            }
        }

        pub(crate) fn properties<M: Keeps>() -> Vec<Property<M>> {
            vec![$(Property::always($name, |model: &M, state| model.keeps(Promise::$promise, state)),)*]
        }
    };
}

promises! {
    Acknowledged => "a 2xx answer means that a row is durable",
    Fenced => "a worker whose lease was taken over writes nothing",
    TakenOverLate => "a lease is taken over only after its end",
    Absorbing => "a row that has ended changes only by a redrive",
    CommittedOnce => "a job's end is written once, and only a gone end is replaced, once, by an output",
    NoLeaseLeft => "a worker that lives leaves no lease behind",
    Announced => "what is announced is committed, and what is committed is announced",
    RedriveKnown => "a redrive whose answer was lost is reported as made",
    Ends => "left to the sweep, every row ends",
    NotLost => "left to the sweep and to redrives, every row is done and the job is archived",
}
