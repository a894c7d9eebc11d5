//! Answers over HTTP, and the page for a person: three files that are part of the
//! program. The page asks `/debug/state` again and again, so that it outlives a restart
//! of the host; and says how old what it shows is.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// An answer; all are made at once and none is streamed.
pub(super) type Answer = Response<Full<Bytes>>;

/// What every answer says: nobody keeps it, guesses what it is, frames it or reads it
/// from a page of another origin; and the page itself may load nothing from anywhere
/// else, run no script but its own, and make no HTML of text, whatever a name says.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
];

/// The file of the page at this path.
pub(super) fn file(path: &str) -> Option<Answer> {
    let (kind, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("page/page.html")),
        "/page.css" => ("text/css; charset=utf-8", include_str!("page/page.css")),
        "/page.js" => (
            "text/javascript; charset=utf-8",
            include_str!("page/page.js"),
        ),
        _ => return None,
    };
    Some(answer(kind, Bytes::from_static(text.as_bytes())))
}

pub(super) fn text(code: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = answer("text/plain; charset=utf-8", text);
    *answer.status_mut() = code;
    answer
}

pub(super) fn answer(kind: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(content.into()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
