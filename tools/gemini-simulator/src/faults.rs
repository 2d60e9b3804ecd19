//! The faults that clients of the API are given on purpose. They can be changed while the simulator runs and are
//! forgotten when it stops.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{locked, movable_clock::MovableClock};
use crate::clock::{Clock, Millis, millis};

/// One fault, and when it strikes: always, unless something narrows it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Only for the first calls, or events, of this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// Only for this long, by the simulator's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Seconds>,
    /// Only paths, or types of events, that hold this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Every answer waits.
    Slow { wait: Seconds },
    /// 429, with the time after which to come again, and with the quota that is used up if one is named.
    Throttled {
        #[serde(skip_serializing_if = "Option::is_none")]
        wait: Option<Seconds>,
        #[serde(skip_serializing_if = "Option::is_none")]
        quota: Option<Quota>,
    },
    /// 503.
    Unavailable {},
    /// 404 for each `GET` of one job or file, although it is there (googleapis/python-genai#2985).
    NotFound {},
    /// 400 or 403 for each `GET` of one job or file (googleapis/python-genai#1218, #1759).
    Rejected {
        status: Rejection,
        /// Instead of Google's usual words.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Jobs and files are those of another project, so that only this key finds them. Any other key gets 404 for a job
    /// and 403 for a file.
    OtherKey { key: String },
    /// A job that has ended shows no output.
    NoOutput {},
    /// A download succeeds and has 0 bytes.
    Empty {},
    /// A download breaks off after N bytes.
    Cut { after: u64 },
    /// A download is said to be that much longer than it is, or shorter if this is negative.
    WrongLength { by: i64 },
    /// A download is at another host, which wants no key: by default from this one by its other name.
    Redirected {
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Ranges are not understood, so that a download begins anew.
    NoRanges {},
    /// A generated file is not there any more.
    Expired { status: Gone },
    /// An event is never sent.
    Dropped {},
    /// An event is sent late. Where it strikes one event only, the next one overtakes it.
    Delayed { wait: Seconds },
    /// An attempt sends so many copies at once.
    Duplicated { copies: u32 },
    /// An attempt after the first has the first one's timestamp and signature.
    NotRestamped {},
    /// The timestamp of an attempt is that old, and signed.
    Stale { age: Seconds },
    /// An entry of a secret that was rotated out comes before the right signature.
    TwoSignatures {},
    /// The sender waits only that long for an answer, then counts the attempt as failed.
    Impatient { wait: Seconds },
    /// The second half of the body comes that much later.
    Trickled { wait: Seconds },
    /// A connection is opened for that long, and nothing is sent.
    Silent { wait: Seconds },
}

/// Of which time the used-up quota is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    Minute,
    Day,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub enum Rejection {
    BadRequest,
    Forbidden,
}

impl From<Rejection> for u16 {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::BadRequest => 400,
            Rejection::Forbidden => 403,
        }
    }
}

impl TryFrom<u16> for Rejection {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            400 => Ok(Self::BadRequest),
            403 => Ok(Self::Forbidden),
            _ => Err("a request is rejected with 400 or 403"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub enum Gone {
    NotFound,
    Forbidden,
}

/// A number of seconds that a timer can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Seconds(pub Duration);

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> Self {
        seconds.0.as_secs_f64()
    }
}

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|error| error.to_string())
    }
}

impl From<Gone> for u16 {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::NotFound => 404,
            Gone::Forbidden => 403,
        }
    }
}

impl TryFrom<u16> for Gone {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            404 => Ok(Self::NotFound),
            403 => Ok(Self::Forbidden),
            _ => Err("an expired file is answered with 404 or 403"),
        }
    }
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    until: Option<Millis>,
}

pub(super) struct Faults {
    active: Mutex<Vec<Active>>,
    clock: Arc<MovableClock>,
}

impl Faults {
    pub(super) fn new(faults: Vec<Fault>, clock: &Arc<MovableClock>) -> Self {
        let this = Self { active: Mutex::default(), clock: Arc::clone(clock) };
        this.set(faults);
        this
    }

    /// Instead of those that were there.
    pub(super) fn set(&self, faults: Vec<Fault>) {
        let now = self.clock.now();
        let active = |fault: Fault| {
            let until = fault.seconds.map(|Seconds(time)| now.saturating_add(millis(time)));
            Active { fault, until }
        };
        *locked(&self.active) = faults.into_iter().map(active).collect();
    }

    /// Those that may still strike.
    pub(super) fn list(&self) -> Vec<Fault> {
        let mut faults = locked(&self.active);
        forget(&mut faults, self.clock.now());
        faults.iter().map(|active| active.fault.clone()).collect()
    }

    /// What the first fault that strikes `on` makes of it, if `of` makes anything of its mishap.
    pub(super) fn strike<T>(&self, on: &str, of: impl Fn(&FaultKind) -> Option<T>) -> Option<T> {
        let mut faults = locked(&self.active);
        forget(&mut faults, self.clock.now());
        faults.iter_mut().find_map(|Active { fault, .. }| {
            if fault.on.as_ref().is_some_and(|text| !on.contains(text.as_str())) {
                return None;
            }
            let struck = of(&fault.kind)?;
            fault.calls = fault.calls.map(|calls| calls.saturating_sub(1));
            Some(struck)
        })
    }
}

fn forget(faults: &mut Vec<Active>, now: Millis) {
    faults.retain(|active| active.fault.calls != Some(0) && active.until.is_none_or(|until| now < until));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(list: serde_json::Value) -> Result<Vec<Fault>, String> {
        serde_json::from_value(list).map_err(|error| error.to_string())
    }

    fn unavailable(faults: &Faults, path: &str) -> bool {
        faults.strike(path, |kind| (*kind == FaultKind::Unavailable {}).then_some(())).is_some()
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_says_and_only_where() {
        let set = json!([{"fault": "unavailable", "calls": 2, "on": "/batches"}, {"fault": "dropped"}]);
        let faults = Faults::new(faults(set.clone()).unwrap(), &Arc::default());
        assert_eq!(serde_json::to_value(faults.list()).unwrap(), set);
        let struck = ["/v1/files/f", "/v1/batches/b", "/v1/batches", "/v1/batches"];
        assert_eq!(struck.map(|path| unavailable(&faults, path)), [false, true, true, false]);
        assert_eq!(serde_json::to_value(faults.list()).unwrap(), json!([{"fault": "dropped"}]));
    }

    #[test]
    fn a_fault_ends_when_its_time_is_over() {
        let faults =
            Faults::new(faults(json!([{"fault": "unavailable", "seconds": 0}])).unwrap(), &Arc::default());
        assert!(!unavailable(&faults, "/"));
        assert!(faults.list().is_empty());
    }

    #[tokio::test]
    async fn its_time_goes_by_the_clock_of_the_simulator() {
        let clock = Arc::new(MovableClock::default());
        let set = json!([{"fault": "unavailable", "seconds": 172_800}]);
        let faults = Faults::new(faults(set).unwrap(), &clock);
        clock.move_to(Duration::from_secs(172_700)).await.unwrap();
        assert!(unavailable(&faults, "/"));
        clock.move_to(Duration::from_secs(172_801)).await.unwrap();
        assert!(!unavailable(&faults, "/"));
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for (list, why) in [
            (json!([{"fault": "gremlins"}]), "unknown variant `gremlins`"),
            (json!([{"fault": "cut"}]), "missing field `after`"),
            (json!([{"fault": "cut", "after": 1, "cals": 2}]), "unknown field `cals`"),
            (json!([{"fault": "slow", "wait": -1}]), "negative"),
            (json!([{"fault": "expired", "status": 500}]), "404 or 403"),
            (json!([{"fault": "rejected", "status": 404}]), "400 or 403"),
            (json!([{"fault": "throttled", "quota": "year"}]), "unknown variant `year`"),
            (json!([{"fault": "other_key"}]), "missing field `key`"),
        ] {
            let error = faults(list).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
