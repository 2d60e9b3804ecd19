//! The bytes of an output, also across a broken connection and across redirects.
//!
//! - [`Gemini::place`] decides where an output is read from: only from the API's own host, over the configured scheme.
//! - [`Gemini::download`] opens it. The host may redirect to another one over https. That host never gets the key.
//! - [`Download::bytes`] reads it. After a broken connection it goes on by `Range` and `If-Range` (RFC 9110, sections
//!   13.1.5 and 14.2), but only where the server shows that the content is still the same: length and strong `ETag`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::{
    Response, StatusCode, Url,
    header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, LOCATION, RANGE},
};
use tokio::time::sleep;

use super::{Gemini, Name, broken};
use crate::error::ProcessingError;

/// How many redirects are followed.
const REDIRECTS: usize = 4;

/// How often a whole download is resumed. Each time waits 100 ms longer than the one before.
const RESUMES: u32 = 8;
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Where the API has the bytes of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file of the API, which is downloaded by its name whatever its address says.
    File(Name),
    /// Another address on the API's own host.
    Address(Url),
}

/// How far an earlier invocation read an output, and what the server said of it then.
#[derive(Clone, Copy, Debug)]
pub struct Resume<'a> {
    /// The first byte that is wanted.
    pub from: u64,
    /// Of the whole output, in bytes.
    pub length: u64,
    /// The strong validator of the content. None where the server sent none, and then it must send none now.
    pub etag: Option<&'a str>,
}

/// Why there is nothing to read.
#[derive(Debug)]
pub enum Undelivered {
    /// It is redirected to a place that nothing is fetched from.
    Nowhere(String),
    /// 404 or 410: the file has expired, or it is not there yet.
    Missing(String),
    /// 403, which the API also answers for a file that has expired.
    Forbidden(String),
    /// Any other error, in its class.
    ProcessingError(ProcessingError),
}

/// An output while it is being read.
pub struct Download<'a> {
    /// Of the whole output, also where only its rest is read.
    pub length: Option<u64>,
    pub content_type: Option<String>,
    /// A strong one.
    pub etag: Option<String>,
    /// Whether it begins where it was asked for, and not at the first byte.
    pub resumed: bool,
    gemini: &'a Gemini,
    url: Url,
    answer: Response,
    read: u64,
    resumes: u32,
}

impl Gemini {
    /// Where an output is fetched from, or why it is not fetched. An event or an answer cannot choose another host.
    pub fn place(&self, uri: &str) -> Result<Place, &'static str> {
        if uri.starts_with("files/") {
            return Name::parse(uri).map(Place::File).ok_or("it is no name of a file");
        }
        if uri.starts_with("gs://") {
            return Err("it is in Google Cloud Storage, which an API key does not open");
        }
        let url = Url::parse(uri).map_err(|_| "it is no address")?;
        if !self.is_own(&url) {
            return Err("it is not on the API's own host");
        }
        let segments: Vec<&str> = url.path_segments().into_iter().flatten().collect();
        if let [.., "files", id] = segments.as_slice() {
            let id = id.strip_suffix(":download").unwrap_or(id);
            if let Some(name) = Name::parse(&format!("files/{id}")) {
                return Ok(Place::File(name));
            }
        }
        Ok(Place::Address(url))
    }

    /// The content of an output: from where an earlier invocation stopped, if the server shows that it is still the
    /// same content, else from its beginning.
    pub async fn download(
        &self,
        place: &Place,
        resume: Option<Resume<'_>>,
    ) -> Result<Download<'_>, Undelivered> {
        let url = match place {
            Place::File(file) => {
                let mut url = self.url(&format!("{}:download", file.path()));
                url.set_query(Some("alt=media"));
                url
            }
            Place::Address(url) => url.clone(),
        };
        if let Some(resume) = resume {
            let answer = self.follow(&url, resume.headers()).await?;
            if resume.is_answered_by(&answer) {
                return Ok(Download {
                    resumed: true,
                    read: resume.from,
                    ..Download::of(self, url, answer, Some(resume.length))
                });
            }
            if answer.status() == StatusCode::OK {
                return Ok(Download::of(self, url, answer, None));
            }
        }
        let answer = self.follow(&url, HeaderMap::new()).await?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(ProcessingError::transient(
                "download the output: Gemini answered 416 to a request for all of it",
            )
            .into());
        }
        Ok(Download::of(self, url, answer, None))
    }

    /// Same scheme, host and port, and nothing that names a user.
    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none()
    }

    /// Sends a GET and follows redirects. After a redirect to another host the key is not sent any more. Of the answers
    /// that are not a success, only 416 (a range that cannot be served) is returned as an answer.
    async fn follow(&self, url: &Url, headers: HeaderMap) -> Result<Response, Undelivered> {
        let doing = "download the output";
        let (mut url, mut trusted) = (url.clone(), true);
        for _ in 0..=REDIRECTS {
            trusted = trusted && self.is_own(&url);
            let mut request = self.http.get(url.clone()).headers(headers.clone());
            if trusted {
                request = request.header("x-goog-api-key", self.key().await?.expose());
            }
            let answer = self.send(request).await.map_err(|error| broken(doing, &error))?;
            if answer.status().is_redirection()
                && let Some(to) = header(&answer, LOCATION)
            {
                let to = url.join(&to).map_err(|_| nowhere("it is redirected to no address"))?;
                if to.scheme() != "https" && to.scheme() != self.base.scheme() {
                    return Err(nowhere("it is redirected to an address without https"));
                }
                url = to;
                continue;
            }
            let status = answer.status();
            if status == StatusCode::RANGE_NOT_SATISFIABLE {
                return Ok(answer);
            }
            return Self::accepted(doing, answer)
                .await
                .map_err(|error| Undelivered::sort(status, trusted, error));
        }
        Err(nowhere("it is redirected without an end"))
    }
}

impl Resume<'_> {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let range = format!("bytes={}-", self.from);
        headers.extend(range.parse().ok().map(|range| (RANGE, range)));
        headers.extend(self.etag.and_then(|etag| Some((IF_RANGE, etag.parse().ok()?))));
        headers
    }

    /// Whether it is the rest that was asked for, of the same content.
    fn is_answered_by(&self, answer: &Response) -> bool {
        let range = format!("bytes {}-{}/{}", self.from, self.length.saturating_sub(1), self.length);
        answer.status() == StatusCode::PARTIAL_CONTENT
            && header(answer, CONTENT_RANGE).as_deref() == Some(range.as_str())
            && strong_etag(answer).as_deref() == self.etag
    }
}

impl Undelivered {
    /// A host that is not the API's own says nothing about our key: there, 401 and 403 are about its signed address.
    fn sort(status: StatusCode, trusted: bool, error: ProcessingError) -> Self {
        match (status, error) {
            (StatusCode::UNAUTHORIZED, ProcessingError::Unauthorized(why)) if !trusted => {
                Self::Forbidden(why)
            }
            (StatusCode::FORBIDDEN, ProcessingError::Rejected(why)) => Self::Forbidden(why),
            (_, ProcessingError::NotFound(why)) => Self::Missing(why),
            (_, error) => Self::ProcessingError(error),
        }
    }
}

impl From<ProcessingError> for Undelivered {
    fn from(error: ProcessingError) -> Self {
        Self::ProcessingError(error)
    }
}

impl<'a> Download<'a> {
    fn of(gemini: &'a Gemini, url: Url, answer: Response, whole: Option<u64>) -> Self {
        Self {
            length: whole.or_else(|| answer.content_length()),
            content_type: header(&answer, CONTENT_TYPE),
            etag: strong_etag(&answer),
            resumed: false,
            gemini,
            url,
            answer,
            read: 0,
            resumes: 0,
        }
    }

    /// The content as a stream. An error is transient where trying again may help.
    pub fn bytes(self) -> impl Stream<Item = Result<Bytes, ProcessingError>> + Send + 'a {
        stream::try_unfold(self, |mut download| async move {
            Ok(download.next().await?.map(|piece| (piece, download)))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ProcessingError> {
        loop {
            let why = match self.answer.chunk().await {
                Ok(Some(piece)) => {
                    self.read += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(None) if self.length.is_none_or(|length| length == self.read) => return Ok(None),
                Ok(None) => self.cut_off(),
                Err(error) => match broken("read the output", &error) {
                    ProcessingError::Transient { why, .. } => why,
                    other => return Err(other),
                },
            };
            self.resume(why).await?;
        }
    }

    /// Goes on after the last byte that has come, if the server shows that the content is still the same.
    async fn resume(&mut self, why: String) -> Result<(), ProcessingError> {
        let Some(length) = self.length else { return Err(ProcessingError::transient(why)) };
        let etag = self.etag.clone();
        let resume = Resume { from: self.read, length, etag: etag.as_deref() };
        while self.resumes < RESUMES {
            self.resumes += 1;
            sleep(RETRY_DELAY * self.resumes).await;
            match self.gemini.follow(&self.url, resume.headers()).await {
                Ok(answer) if resume.is_answered_by(&answer) => {
                    tracing::info!(at = self.read, why, "a broken download goes on");
                    self.answer = answer;
                    return Ok(());
                }
                Ok(_) => break,
                Err(Undelivered::ProcessingError(ProcessingError::Transient { after: None, .. })) => {}
                Err(Undelivered::ProcessingError(error)) => return Err(error),
                Err(
                    Undelivered::Missing(then) | Undelivered::Forbidden(then) | Undelivered::Nowhere(then),
                ) => return Err(ProcessingError::transient(format!("{why}; then {then}"))),
            }
        }
        Err(ProcessingError::transient(why))
    }

    fn cut_off(&self) -> String {
        let stated = self.length.unwrap_or_default();
        format!("read the output: it was cut off after {} of {stated} bytes", self.read)
    }
}

fn header(answer: &Response, name: reqwest::header::HeaderName) -> Option<String> {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A weak validator does not promise the same bytes (RFC 9110, section 8.8.1), so it counts as none.
fn strong_etag(answer: &Response) -> Option<String> {
    header(answer, ETAG).filter(|etag| etag.starts_with('"'))
}

fn nowhere(why: &str) -> Undelivered {
    Undelivered::Nowhere(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{Secret, SecretSource, SecretStore};

    fn gemini(base: &str) -> Gemini {
        let config = aws_sdk_secretsmanager::Config::builder().behavior_version_latest().build();
        let key = SecretStore::new(
            SecretSource::Given(Secret::new("k")),
            aws_sdk_secretsmanager::Client::from_conf(config),
            |text| Ok(Secret::new(text)),
        );
        Gemini::new(base.parse().unwrap(), key, 1024).unwrap()
    }

    #[test]
    fn outputs_are_fetched_from_the_apis_own_host_and_from_nowhere_else() {
        let gemini = gemini("https://generativelanguage.googleapis.com");
        let file = |id: &str| Ok(Place::File(Name::parse(&format!("files/{id}")).unwrap()));
        for uri in [
            "files/vid-1",
            "https://generativelanguage.googleapis.com/v1beta/files/vid-1:download?alt=media",
            "https://generativelanguage.googleapis.com/download/v1beta/files/vid-1:download?alt=media",
            "https://generativelanguage.googleapis.com/v1/files/vid-1",
            "https://generativelanguage.googleapis.com:443/v1/files/vid-1",
        ] {
            assert_eq!(gemini.place(uri), file("vid-1"), "{uri}");
        }
        let other = "https://generativelanguage.googleapis.com/v1beta/media/x?alt=media";
        assert_eq!(gemini.place(other), Ok(Place::Address(other.parse().unwrap())));
        for uri in [
            "",
            "gs://bucket/video.mp4",
            "http://generativelanguage.googleapis.com/v1beta/files/a",
            "https://generativelanguage.googleapis.com:444/v1beta/files/a",
            "https://generativelanguage.googleapis.com.evil.example/v1beta/files/a",
            "https://generativelanguage.googleapis.com@evil.example/v1beta/files/a",
            "https://u:p@generativelanguage.googleapis.com/v1beta/files/a",
            "file:///etc/passwd",
            "//evil.example/x",
            "files/../batches/b",
            "data:video/mp4;base64,AA==",
        ] {
            assert!(gemini.place(uri).is_err(), "{uri}");
        }
    }
}
