//! Who may see the page: a browser on this machine that was pointed at it, and no page of another site.
//!
//! Another site can have a browser send requests here, by its own scripts or by a name that it lets point to this machine.
//! The first kind has a foreign `Origin` or `Sec-Fetch-Site`, the second a foreign `Host`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Nothing but this page's own files. `require-trusted-types-for` has the browser refuse to read any text as HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

pub(super) struct Guard {
    /// By what names the page is asked for.
    hosts: [String; 2],
}

impl Guard {
    pub(super) fn new(port: u16) -> Self {
        Self { hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")] }
    }

    fn check(&self, request: &Request) -> Result<(), (StatusCode, &'static str)> {
        let headers = request.headers();
        let own = |host: &str| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        let named = request.uri().authority().map(|authority| authority.as_str());
        if !only(headers, &header::HOST).is_some_and(own) || named.is_some_and(|named| !own(named)) {
            return Err((StatusCode::MISDIRECTED_REQUEST, "this page has another address"));
        }
        if headers.contains_key(header::ORIGIN) {
            let origin = only(headers, &header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
            if !origin.is_some_and(own) {
                return Err((StatusCode::FORBIDDEN, "another site may not ask for this"));
            }
        }
        let word = |name: &'static str| only(headers, &HeaderName::from_static(name));
        // Older browsers and programs do not say where a request comes from.
        let foreign = word("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
        let link = request.uri().path() == "/" && word("sec-fetch-mode") == Some("navigate");
        if foreign && !link {
            return Err((StatusCode::FORBIDDEN, "another site may not ask for this"));
        }
        Ok(())
    }
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
        Err(refused) => refused.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
