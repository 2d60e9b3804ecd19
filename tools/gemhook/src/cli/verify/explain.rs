//! The steps of a verdict: headers, time, form, signature, binding. Where a signature does not match, what was given is
//! read in the ways in which it is usually got wrong, and each reading is put before the verifier.

use bytes::Bytes;
use lambda_http::http::HeaderMap;

use super::{
    anchors::Anchors,
    bodies,
    captured::{Captured, NAMES, seconds},
    partial_capture,
    readings::{self, Reading},
    report::Report,
    times::{Clock, WIDE, span, told},
    token,
};
use gemhook::webhook::{Event, Rejection, SigningSecrets, Tolerance, Trust, Unverified, Verified, Verifier};

pub(super) fn explain(captured: &Captured, anchors: &Anchors, tolerance: Tolerance, at: i64) -> Report {
    let mut report = Report::default();
    for note in &captured.notes {
        report.unchecked("capture", note);
    }
    if let Some(kept) = &captured.kept {
        partial_capture::explain(&mut report, captured, kept, anchors);
        return report;
    }
    let delivery = match Unverified::new(&captured.headers, captured.body.clone()) {
        Ok(delivery) => delivery,
        Err(rejection) => {
            report.refused(rejection);
            malformed(&mut report, captured, rejection);
            return report;
        }
    };
    let secrets = secrets(&mut report, anchors);
    let verifier = Verifier {
        secrets: secrets.as_ref(),
        keys: anchors.keys.as_ref().map(|keys| &keys.set),
        audience: anchors.audience.as_deref(),
        tolerance,
    };
    report.ok("headers", format!("all three, and a body of {} bytes", captured.body.len()));
    let verdict = verifier.verify(&delivery, at);
    match &verdict {
        Ok(verified) => {
            report.verified = true;
            report.scheme = Some(verified.scheme().name());
            report.key_id = Some(verified.key_id().to_owned());
        }
        Err(rejection) => report.refused(*rejection),
    }
    if let Some(signed) = time(&mut report, captured, tolerance, at) {
        form(&mut report, captured, anchors, verifier, Clock { signed, at });
    }
    if let Ok(verified) = &verdict {
        binding(&mut report, verified, anchors);
    }
    report
}

fn secrets(report: &mut Report, anchors: &Anchors) -> Option<SigningSecrets> {
    match SigningSecrets::parse(anchors.secrets.as_ref()?.expose()) {
        Ok(secrets) => Some(secrets),
        Err(why) => {
            let hint = "a signing secret is whsec_ and base64, as it was shown when the webhook was created";
            report.failed("secret", format!("it {why}"), hint);
            None
        }
    }
}

fn malformed(report: &mut Report, captured: &Captured, rejection: Rejection) {
    let missing: Vec<&str> = NAMES
        .into_iter()
        .filter(|name| captured.header(name).is_none_or(|value| value.trim().is_empty()))
        .collect();
    if !missing.is_empty() {
        let names: Vec<&str> = captured.headers.keys().map(|name| name.as_str()).collect();
        let hint = match names.iter().find(|name| name.contains("signature")) {
            Some(other) => format!("there is {other}: this is a delivery of another sender than Gemini"),
            None if names.is_empty() => "the capture holds no headers at all".to_owned(),
            None => format!("there are {}; a proxy may have dropped the others", names.join(", ")),
        };
        return report.failed("headers", format!("{} is missing or empty", missing.join(", ")), hint);
    }
    for name in NAMES {
        let value = captured.header(name).unwrap_or_default();
        if captured.headers.get_all(name).iter().count() > 1
            || (name != "webhook-signature" && value.contains(','))
        {
            let hint = "each header must come once; a front door joins two of one name by a comma";
            return report.failed("headers", format!("{name} came more than once"), hint);
        }
    }
    let id = captured.header("webhook-id").unwrap_or_default();
    let hint = match rejection {
        Rejection::BadId => "an id is up to 256 visible ASCII characters, without `~` and comma",
        _ => "the headers must be plain text",
    };
    report.failed("headers", format!("the id is {id:?}"), hint);
}

/// When it was signed, if that can be read.
fn time(report: &mut Report, captured: &Captured, tolerance: Tolerance, at: i64) -> Option<i64> {
    let text = captured.header("webhook-timestamp").unwrap_or_default().trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(signed) = text.parse::<i64>().ok().filter(|_| digits && text.len() <= 12) else {
        let hint = match (digits, seconds(text)) {
            (true, _) => "so long a number is in milliseconds or finer: the sender must write seconds",
            (false, Ok(_)) => "it is a date: the sender must write seconds since the epoch",
            (false, Err(_)) => "it must be seconds since the epoch, in decimal digits",
        };
        report.failed("timestamp", format!("{text:?} is no timestamp"), hint);
        return None;
    };
    let age = at.saturating_sub(signed);
    let (past, future) = (tolerance.past_seconds, tolerance.future_seconds);
    if age > past {
        let found = format!(
            "signed {}, {} before the clock says {}: stale by {}",
            told(signed),
            span(age),
            told(at),
            span(age - past)
        );
        let hint = format!(
            "WEBHOOK_TOLERANCE_SECONDS={age} would take it; if it arrived earlier than that, say when with --at"
        );
        report.failed("timestamp", found, hint);
    } else if age < -future {
        let found = format!("signed {}, {} after the clock says {}", told(signed), span(-age), told(at));
        report.failed("timestamp", found, "one of the two clocks is wrong");
    } else {
        report.ok("timestamp", format!("signed {}, {} off, {past} s may be", told(signed), span(age.abs())));
    }
    Some(signed)
}

fn form(report: &mut Report, captured: &Captured, anchors: &Anchors, verifier: Verifier<'_>, clock: Clock) {
    let signature = captured.header("webhook-signature").unwrap_or_default();
    if token::is_one(signature) {
        return token::explain(report, captured, anchors, verifier, clock);
    }
    let forms: Vec<&str> =
        signature.split_ascii_whitespace().filter_map(|entry| Some(entry.split_once(',')?.0)).collect();
    let wanted = [
        ("v1", anchors.secrets.is_some(), "an HMAC with the signing secret", "--secret"),
        ("v1a", anchors.keys.is_some(), "Ed25519 with Google's key, of a dynamic webhook", "--jwks"),
    ];
    let named: Vec<_> = wanted.into_iter().filter(|(form, ..)| forms.contains(form)).collect();
    if named.is_empty() {
        return unknown_form(report, captured, verifier, clock, &forms);
    }
    let told: Vec<String> = named.iter().map(|(form, _, what, _)| format!("{form}: {what}")).collect();
    if named.iter().any(|(_, given, ..)| *given) {
        report.ok("form", told.join("; "));
        signed(report, captured, anchors, verifier, clock);
    } else {
        let options: Vec<&str> = named.iter().map(|(.., option)| *option).collect();
        let hint =
            format!("that is checked by other means than what was given: give {}", options.join(" or "));
        report.failed("form", told.join("; "), hint);
    }
}

/// The signature may be right all the same, if only its form were.
fn unknown_form(
    report: &mut Report,
    captured: &Captured,
    verifier: Verifier<'_>,
    clock: Clock,
    forms: &[&str],
) {
    let found = match forms {
        [] => "an entry without its form".to_owned(),
        forms => format!("of forms that Gemini does not use: {}", forms.join(", ")),
    };
    let attempt = Attempt { verifier, clock };
    let hint = readings::of_headers(&captured.headers)
        .into_iter()
        .find(|reading| attempt.verifies(&reading.value, &captured.body, None))
        .map_or(
            "an entry is v1,BASE64 or v1a,BASE64, or all of the header is a token".to_owned(),
            |reading| format!("it verifies {}: {}", reading.how, reading.hint),
        );
    report.failed("form", found, hint);
}

fn signed(report: &mut Report, captured: &Captured, anchors: &Anchors, verifier: Verifier<'_>, clock: Clock) {
    let attempt = Attempt { verifier, clock };
    if let Some(verified) = attempt.verified(&captured.headers, &captured.body, None) {
        let (scheme, key) = (verified.scheme().name(), verified.key_id());
        return report.ok("signature", format!("{scheme} by {key}, over id, timestamp and body"));
    }
    if let Some((found, hint)) = search(&attempt, captured, anchors) {
        return report.failed("signature", found, hint);
    }
    let secrets = anchors.secrets.as_ref().map(|text| readings::tails(text.expose()));
    let mut tried = secrets.clone().unwrap_or_default();
    tried.extend(anchors.keys.as_ref().map(|keys| format!("the keys at {}", keys.target)));
    let hint = match secrets {
        Some(_) => {
            "the secret is that of another webhook or was rotated (compare its end with `gemhook webhook get`), or \
             the body was changed in more than its spelling"
        }
        None => {
            "the key set is older than the key or another issuer's, or the body was changed in more than its spelling"
        }
    };
    report.failed("signature", format!("made by none of {}", tried.join(", ")), hint);
}

struct Attempt<'a> {
    verifier: Verifier<'a>,
    clock: Clock,
}

impl Attempt<'_> {
    fn verified(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        secrets: Option<&SigningSecrets>,
    ) -> Option<Verified> {
        let verifier =
            Verifier { secrets: secrets.or(self.verifier.secrets), tolerance: WIDE, ..self.verifier };
        let delivery = Unverified::new(headers, body.clone()).ok()?;
        verifier.verify(&delivery, self.clock.signed).ok()
    }

    fn verifies(&self, headers: &HeaderMap, body: &Bytes, secrets: Option<&SigningSecrets>) -> bool {
        self.verified(headers, body, secrets).is_some()
    }
}

const RAW: &str = "the body was re-serialised or re-encoded between the sender and here: keep the raw bytes, and \
                   verify those before anything parses them";

/// The first reading that verifies: one thing wrong, or the secret and the body at once.
fn search(attempt: &Attempt, captured: &Captured, anchors: &Anchors) -> Option<(String, String)> {
    let (headers, body) = (&captured.headers, &captured.body);
    let bodies: Vec<(String, Bytes)> =
        bodies::others(body).into_iter().map(|(how, body)| (how, Bytes::from(body))).collect();
    if let Some((how, _)) = bodies.iter().find(|(_, body)| attempt.verifies(headers, body, None)) {
        return Some((format!("made over another body than this: over this one {how}"), RAW.to_owned()));
    }
    let secrets =
        anchors.secrets.as_ref().map(|text| readings::of_secrets(text.expose())).unwrap_or_default();
    let respelled = readings::of_headers(headers);
    let by = secrets.iter().find(|reading| attempt.verifies(headers, body, Some(&reading.value)));
    let by = by.map(|reading| (&reading.how, reading.hint));
    let over = || respelled.iter().find(|reading| attempt.verifies(&reading.value, body, None));
    if let Some((how, hint)) = by.or_else(|| over().map(|reading| (&reading.how, reading.hint))) {
        return Some((format!("made otherwise: it verifies {how}"), hint.to_owned()));
    }
    let both = |reading: &Reading<SigningSecrets>| {
        let over = bodies.iter().find(|(_, body)| attempt.verifies(headers, body, Some(&reading.value)))?;
        Some((format!("it verifies {}, and over this body {}", reading.how, over.0), reading.hint))
    };
    secrets.iter().find_map(both).map(|(found, hint)| (found, format!("{hint}; {RAW}")))
}

/// Where the event carries its job's metadata, the receiver wants a token of ours in them.
fn binding(report: &mut Report, verified: &Verified, anchors: &Anchors) {
    let (Some(key), Trust::Issuer) = (&anchors.binding, verified.scheme().trust()) else { return };
    match Event::parse(verified.body()).user_metadata {
        None => {
            report.unchecked("binding", "the event carries no user_metadata: the job itself is asked later")
        }
        Some(metadata) if key.binds(&metadata) => {
            report.ok("binding", "user_metadata carries a token of ours")
        }
        Some(_) => {
            report.failed(
                "binding",
                "user_metadata carries no token made with our binding key",
                "the job must be created with the output of `gemhook token` as its user_metadata",
            );
            report.refused(Rejection::NotBound);
        }
    }
}
