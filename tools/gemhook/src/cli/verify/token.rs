//! A token, taken apart for a person. The verifier alone says whether it counts.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    anchors::Anchors,
    captured::Captured,
    report::Report,
    times::{Clock, WIDE, span, told},
};
use gemhook::webhook::{Rejection, Unverified, Verifier};

/// As the verifier distinguishes a token from entries.
pub(super) fn is_one(signature: &str) -> bool {
    !signature.contains(',') && signature.trim().split('.').count() == 3
}

struct Parts {
    algorithm: String,
    key_id: Option<String>,
    audiences: Vec<String>,
    expires: Option<i64>,
}

pub(super) fn explain(
    report: &mut Report,
    captured: &Captured,
    anchors: &Anchors,
    verifier: Verifier<'_>,
    clock: Clock,
) {
    let Some(keys) = &anchors.keys else {
        let hint = "that is checked by Google's public keys: give --jwks and --audience";
        return report.failed("form", "a token, RS256 with Google's key, of a dynamic webhook", hint);
    };
    report.ok("form", "a token: it signs neither id nor timestamp nor body");
    let signature = captured.header("webhook-signature").unwrap_or_default();
    let Some(parts) = parts(signature) else {
        return report.failed(
            "token",
            "its parts are no base64url of JSON",
            "it was cut or written anew on its way",
        );
    };
    let Some(audience) = anchors.audience.as_deref() else {
        let meant = parts.audiences.join(", ");
        return report.failed(
            "audience",
            format!("the token is meant for {meant}"),
            "tokens count only where an audience is set: JWT_AUDIENCE, here --audience",
        );
    };
    // Judged apart from time and audience, which have steps of their own.
    let meant = parts.audiences.first().map_or(audience, String::as_str);
    let in_time = parts.expires.map_or(clock.at, |expires| expires.saturating_sub(1));
    let apart = Verifier { audience: Some(meant), tolerance: WIDE, ..verifier };
    let verdict = Unverified::new(&captured.headers, captured.body.clone())
        .and_then(|delivery| apart.verify(&delivery, in_time));
    let key = parts.key_id.as_deref().unwrap_or("(no kid)");
    match verdict {
        Ok(_) => report.ok("signature", format!("RS256 by {key}")),
        Err(Rejection::BodyMismatch) => {
            report.ok("signature", format!("RS256 by {key}"));
            let hint = "the body was changed, or it belongs to another delivery";
            report.failed("body", "it says otherwise than the token's claims", hint);
        }
        Err(rejection) => fault(report, &parts, keys.ids.as_slice(), &keys.target, rejection),
    }
    if parts.audiences.iter().any(|meant| meant == audience) {
        report.ok("audience", format!("meant for {audience}"));
    } else {
        let found = format!("meant for {}, not for {audience}", parts.audiences.join(", "));
        report.failed("audience", found, "JWT_AUDIENCE must be the webhook's address, letter by letter");
    }
    expiry(report, &parts, clock.at);
}

fn fault(report: &mut Report, parts: &Parts, ids: &[String], target: &str, rejection: Rejection) {
    let key = parts.key_id.as_deref().unwrap_or("(no kid)");
    match rejection {
        Rejection::AlgorithmNotAllowed => report.failed(
            "signature",
            format!("its algorithm is {}", parts.algorithm),
            "RS256 is the only one that counts, whatever a token asks for",
        ),
        Rejection::UnknownKey => report.failed(
            "signature",
            format!("its key {key} is not in the set at {target}, which has {}", ids.join(", ")),
            "fetch the set again: keys rotate; else the token is of another issuer",
        ),
        Rejection::NoMatchingSignature => report.failed(
            "signature",
            format!("it was not made by {key}"),
            "the token was changed, or the set holds another key under this id",
        ),
        other => report.failed(
            "signature",
            format!("the token is refused: {}", other.code()),
            "a token may not name keys of its own, nor hold a member twice or of an odd type",
        ),
    }
}

fn expiry(report: &mut Report, parts: &Parts, at: i64) {
    match parts.expires {
        None => report.failed("expiry", "the token never expires", "one without `exp` is not taken"),
        // A minute of leeway, as the verifier has it.
        Some(expires) if expires <= at.saturating_sub(60) => report.failed(
            "expiry",
            format!("expired {}, {} before the clock says {}", told(expires), span(at - expires), told(at)),
            "if it arrived earlier than that, say when with --at",
        ),
        Some(expires) => report.ok("expiry", format!("good until {}", told(expires))),
    }
}

fn parts(token: &str) -> Option<Parts> {
    let mut parts = token
        .trim()
        .split('.')
        .map(|part| serde_json::from_slice::<Value>(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok());
    let (header, claims) = (parts.next()??, parts.next()??);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Parts {
        algorithm: header.get("alg").and_then(text).unwrap_or_else(|| "none".to_owned()),
        key_id: header.get("kid").and_then(text),
        audiences: match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().filter_map(text).collect(),
            one => one.and_then(text).into_iter().collect(),
        },
        expires: claims.get("exp").and_then(Value::as_i64),
    })
}
