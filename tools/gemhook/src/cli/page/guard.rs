//! Who may see the page: a browser on this machine that was pointed at it, and no page of another site.
//!
//! Another site can have a browser send requests here, by its own scripts or by a name that it lets point to this machine.
//! The first kind has a foreign `Origin` or `Sec-Fetch-Site`, the second a foreign `Host`. A request that changes something
//! must have the page's own `Origin` and a token in a header of its own: no form can send a header, and no other site can
//! read the token.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Nothing but this page's own files. `require-trusted-types-for` has the browser refuse to read any text as HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

const TOKEN: HeaderName = HeaderName::from_static("x-gemhook-token");

pub(super) struct Guard {
    /// By what names the page is asked for.
    hosts: [String; 2],
    /// Nothing may be changed where there is none.
    token: Option<String>,
}

type Checked = Result<(), (StatusCode, &'static str)>;

const FOREIGN: (StatusCode, &str) = (StatusCode::FORBIDDEN, "another site may not ask for this");

const ONLY_READS: (StatusCode, &str) =
    (StatusCode::FORBIDDEN, "this page only reads: --allow-writes lets it redrive and replay");
const NO_TOKEN: (StatusCode, &str) =
    (StatusCode::FORBIDDEN, "the token of this page is missing or old: load the page again");

impl Guard {
    pub(super) fn new(port: u16, token: Option<String>) -> Self {
        Self { hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")], token }
    }

    fn check(&self, request: &Request) -> Checked {
        let host = self.host(request)?;
        let origin = origin(request.headers(), host)?;
        site(request)?;
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(());
        }
        if !origin {
            return Err((StatusCode::FORBIDDEN, "only the page itself may change something"));
        }
        match (only(request.headers(), &TOKEN), &self.token) {
            (_, None) => Err(ONLY_READS),
            (Some(given), Some(token)) if given == token => Ok(()),
            _ => Err(NO_TOKEN),
        }
    }

    /// The one of our names by which the request asks.
    fn host<'a>(&self, request: &'a Request) -> Result<&'a str, (StatusCode, &'static str)> {
        let own = |host: &str| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        let named = request.uri().authority().map(|authority| authority.as_str());
        match only(request.headers(), &header::HOST) {
            Some(host) if own(host) && named.is_none_or(own) => Ok(host),
            _ => Err((StatusCode::MISDIRECTED_REQUEST, "this page has another address")),
        }
    }
}

/// Whether the request says that the page itself sends it. A browser leaves `Origin` out of a plain `GET`.
fn origin(headers: &HeaderMap, host: &str) -> Result<bool, (StatusCode, &'static str)> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(false);
    }
    let origin = only(headers, &header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
    if origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host)) { Ok(true) } else { Err(FOREIGN) }
}

/// Older browsers and programs do not say where a request comes from. A link on another site may lead to the page, but no
/// other site may put it into a frame.
fn site(request: &Request) -> Checked {
    let word = |name: &'static str| only(request.headers(), &HeaderName::from_static(name));
    let foreign = word("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let link = word("sec-fetch-mode") == Some("navigate")
        && word("sec-fetch-dest").is_none_or(|place| place == "document")
        && *request.method() == Method::GET
        && request.uri().path() == "/";
    if foreign && !link { Err(FOREIGN) } else { Ok(()) }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

pub(super) async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err((status, why)) => (status, Json(json!({"error": why}))).into_response(),
    };
    for (name, value) in HEADERS {
        // An output has a policy of its own, which is stricter.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
