//! The page's own files. They are part of the program, so that the page works without internet and without a build.

use std::sync::Arc;

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use super::Page;

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [(&str, &str, &str); 13] = [
    ("/", "text/html; charset=utf-8", include_str!("web/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("web/page.css")),
    ("/icon.svg", "image/svg+xml", include_str!("web/icon.svg")),
    ("/page.js", SCRIPT, include_str!("web/page.js")),
    ("/api.js", SCRIPT, include_str!("web/api.js")),
    ("/text.js", SCRIPT, include_str!("web/text.js")),
    ("/dom.js", SCRIPT, include_str!("web/dom.js")),
    ("/lists.js", SCRIPT, include_str!("web/lists.js")),
    ("/delivery.js", SCRIPT, include_str!("web/delivery.js")),
    ("/job.js", SCRIPT, include_str!("web/job.js")),
    ("/outputs.js", SCRIPT, include_str!("web/outputs.js")),
    ("/simulator.js", SCRIPT, include_str!("web/simulator.js")),
    ("/dialogs.js", SCRIPT, include_str!("web/dialogs.js")),
];

pub(super) fn router() -> Router<Arc<Page>> {
    ASSETS.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(move || async move { asset(kind, text) }))
    })
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
