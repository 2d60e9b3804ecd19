//! What of the functions is tested without the local machine: signatures, tokens, the template, and the programs as
//! they start.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails panics"
)]

mod advisories;
mod bit_flips;
mod functions;
mod issuer;
mod signatures;
#[allow(dead_code, reason = "the tests on the local machine use the rest")]
mod signing;
mod template;
mod timing;
mod tokens;
