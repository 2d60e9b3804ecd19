//! What can still be checked of a delivery whose signature was not kept: a row, or a record of a first delivery.

use sha2::{Digest, Sha256};

use super::{
    anchors::Anchors,
    captured::{Captured, Kept, NAMES},
    readings,
    report::Report,
    times::told,
};

pub(super) fn explain(report: &mut Report, captured: &Captured, kept: &Kept, anchors: &Anchors) {
    let when = captured.arrived.map_or("at a time that it does not tell".to_owned(), told);
    report.unchecked(
        "signature",
        format!("not kept; it was verified {when}: {} by {}", kept.scheme, kept.key_id),
    );
    key(report, kept, anchors);
    let digest: String = Sha256::digest(&captured.body).iter().map(|byte| format!("{byte:02x}")).collect();
    match &kept.body_sha256 {
        Some(known) if *known == digest => {
            report.ok(
                "body",
                format!("{} bytes, as they were verified (SHA-256 {digest})", captured.body.len()),
            );
        }
        Some(known) => report.failed(
            "body",
            format!("its SHA-256 is {digest}, but {known} was verified"),
            "the body was changed after it was recorded",
        ),
        None => report.unchecked("body", format!("{} bytes, SHA-256 {digest}", captured.body.len())),
    }
    if captured.headers.is_empty() {
        report.unchecked("headers", "not kept: with RECORD_FIRST=n the first n deliveries keep theirs");
        return;
    }
    let told: Vec<String> = NAMES
        .into_iter()
        .map(|name| format!("{name}: {}", captured.header(name).unwrap_or("(missing)")))
        .collect();
    report.ok("headers", format!("{} in all; {}", captured.headers.len(), told.join(", ")));
}

/// Whether the key that proved it is still one of ours.
fn key(report: &mut Report, kept: &Kept, anchors: &Anchors) {
    let known = match kept.scheme.as_str() {
        "v1" => anchors.secrets.as_ref().map(|text| readings::tails(text.expose())),
        _ => anchors.keys.as_ref().map(|keys| keys.ids.clone()),
    };
    match known {
        None => report.unchecked("key", "there is nothing here to look for it in"),
        Some(known) if known.contains(&kept.key_id) => report.ok("key", "it is still among those in use"),
        Some(known) => report.failed(
            "key",
            format!("{} is not among {}", kept.key_id, known.join(", ")),
            "it has been rotated since, or this is another place than the one that verified it",
        ),
    }
}
