//! The troubles that clients of the API are given on purpose. They can be changed while the simulator runs and are
//! forgotten when it stops.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::locked;

/// One trouble, and when it strikes: always, unless something narrows it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    #[serde(flatten)]
    pub mishap: Mishap,
    /// Only so many calls, or events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// Only so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Seconds>,
    /// Only paths, or types of events, that hold this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mishap {
    /// Every answer waits.
    Slow { wait: Seconds },
    /// 429, with the time after which to come again.
    Throttled {
        #[serde(skip_serializing_if = "Option::is_none")]
        wait: Option<Seconds>,
    },
    /// 503.
    Unavailable {},
    /// A download breaks off after so many bytes.
    Cut { after: u64 },
    /// A download is said to be that much longer than it is, or shorter if this is negative.
    WrongLength { by: i64 },
    /// A download is to be had from another host, which wants no key: by default from this one by its other name.
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
    /// An event is sent late.
    Delayed { wait: Seconds },
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
    until: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Active>>);

impl Faults {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        let this = Self::default();
        this.set(faults);
        this
    }

    /// Instead of those that were there.
    pub(super) fn set(&self, faults: Vec<Fault>) {
        let now = Instant::now();
        let active = |fault: Fault| {
            let until = fault.seconds.and_then(|Seconds(time)| now.checked_add(time));
            Active { fault, until }
        };
        *locked(&self.0) = faults.into_iter().map(active).collect();
    }

    /// Those that may still strike.
    pub(super) fn list(&self) -> Vec<Fault> {
        let mut faults = locked(&self.0);
        forget(&mut faults);
        faults.iter().map(|active| active.fault.clone()).collect()
    }

    /// What the first fault that strikes `on` makes of it, if `of` makes anything of its mishap.
    pub(super) fn strike<T>(&self, on: &str, of: impl Fn(&Mishap) -> Option<T>) -> Option<T> {
        let mut faults = locked(&self.0);
        forget(&mut faults);
        faults.iter_mut().find_map(|Active { fault, .. }| {
            if fault.on.as_ref().is_some_and(|text| !on.contains(text.as_str())) {
                return None;
            }
            let struck = of(&fault.mishap)?;
            fault.calls = fault.calls.map(|calls| calls.saturating_sub(1));
            Some(struck)
        })
    }
}

fn forget(faults: &mut Vec<Active>) {
    let now = Instant::now();
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
        faults.strike(path, |mishap| (*mishap == Mishap::Unavailable {}).then_some(())).is_some()
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_says_and_only_where() {
        let set = json!([{"fault": "unavailable", "calls": 2, "on": "/batches"}, {"fault": "dropped"}]);
        let faults = Faults::new(faults(set.clone()).unwrap());
        assert_eq!(serde_json::to_value(faults.list()).unwrap(), set);
        let struck = ["/v1/files/f", "/v1/batches/b", "/v1/batches", "/v1/batches"];
        assert_eq!(struck.map(|path| unavailable(&faults, path)), [false, true, true, false]);
        assert_eq!(serde_json::to_value(faults.list()).unwrap(), json!([{"fault": "dropped"}]));
    }

    #[test]
    fn a_fault_ends_when_its_time_is_over() {
        let faults = Faults::new(faults(json!([{"fault": "unavailable", "seconds": 0}])).unwrap());
        assert!(!unavailable(&faults, "/"));
        assert!(faults.list().is_empty());
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for (list, why) in [
            (json!([{"fault": "gremlins"}]), "unknown variant `gremlins`"),
            (json!([{"fault": "cut"}]), "missing field `after`"),
            (json!([{"fault": "cut", "after": 1, "cals": 2}]), "unknown field `cals`"),
            (json!([{"fault": "slow", "wait": -1}]), "negative"),
            (json!([{"fault": "expired", "status": 500}]), "404 or 403"),
        ] {
            let error = faults(list).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
