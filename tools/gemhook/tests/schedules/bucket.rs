//! A bucket as S3 keeps it: objects, and uploads in parts that become objects when they are completed.

use std::collections::{BTreeMap, BTreeSet};

use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::asked::{Answer, Asked, text_answer};

pub const BUCKET: &str = "results";

#[derive(Clone)]
pub struct Object {
    headers: BTreeMap<String, String>,
    pub content: Bytes,
}

/// An upload that is neither completed nor aborted.
pub struct Upload {
    key: String,
    headers: BTreeMap<String, String>,
    parts: BTreeMap<usize, Part>,
    /// Who has begun it, listed its parts, or tried to complete or to abort it.
    pub touched_by: BTreeSet<String>,
    /// Whether its object was there before its last part: somebody else was faster.
    pub is_overtaken: bool,
}

struct Part {
    etag: String,
    sha256: String,
    content: Bytes,
}

#[derive(Default)]
pub struct Bucket {
    pub objects: BTreeMap<String, Object>,
    pub uploads: BTreeMap<String, Upload>,
    /// Keys of objects that another one has taken the place of.
    pub overwritten: Vec<String>,
    /// Uploads and parts so far, for their names.
    named: usize,
    /// Objects that were made of parts.
    pub completed: usize,
    /// How often somebody asked for the parts that are there.
    pub resumed: usize,
}

impl Bucket {
    pub fn answer(&mut self, asked: &Asked) -> Answer {
        let prefix = format!("/{BUCKET}/");
        let key = asked.path.strip_prefix(&prefix).unwrap_or_else(|| panic!("{}", asked.path)).to_owned();
        let upload = parameter(&asked.query, "uploadId");
        if let Some(id) = &upload {
            let Some(upload) = self.uploads.get_mut(id).filter(|upload| upload.key == key) else {
                return fault(404, "NoSuchUpload");
            };
            if asked.method != "PUT" {
                upload.touched_by.insert(asked.caller.clone());
            }
        }
        match (asked.method.as_str(), upload) {
            ("POST", None) if asked.query.contains("uploads") => self.begin(key, asked),
            ("PUT", Some(id)) => self.put_part(&id, asked),
            ("GET", Some(id)) => {
                self.resumed += 1;
                self.list(&id)
            }
            ("POST", Some(id)) => self.complete(&id, asked),
            ("DELETE", Some(id)) => {
                self.uploads.remove(&id);
                text_answer(204, "")
            }
            ("PUT", None) => self.put(key, asked.described(), asked.body.clone(), asked),
            ("HEAD", None) => self.get(&key, true),
            ("GET", None) => self.get(&key, false),
            (method, _) => panic!("nothing here asks for {method} {key}?{}", asked.query),
        }
    }

    fn put(
        &mut self,
        key: String,
        headers: BTreeMap<String, String>,
        content: Bytes,
        asked: &Asked,
    ) -> Answer {
        let only_new = asked.headers.get("if-none-match").map(String::as_str) == Some("*");
        if self.objects.contains_key(&key) {
            if only_new {
                return fault(412, "PreconditionFailed");
            }
            self.overwritten.push(key.clone());
        }
        self.objects.insert(key, Object { headers, content });
        with_etag("\"1\"")
    }

    fn get(&self, key: &str, only_head: bool) -> Answer {
        let Some(object) = self.objects.get(key) else {
            return if only_head { text_answer(404, "") } else { fault(404, "NoSuchKey") };
        };
        let content = if only_head { Bytes::new() } else { object.content.clone() };
        let mut answer = Response::new(StatusCode::try_from(200).unwrap(), SdkBody::from(content));
        answer.headers_mut().insert("content-length", object.content.len().to_string());
        for (name, value) in &object.headers {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
        answer
    }

    /// Puts an object of somebody else's there.
    pub fn occupy(&mut self, key: &str) {
        let content = Bytes::from_static(b"somebody else's");
        self.objects.insert(key.to_owned(), Object { headers: BTreeMap::new(), content });
    }

    fn begin(&mut self, key: String, asked: &Asked) -> Answer {
        self.named += 1;
        let id = format!("u{}", self.named);
        let touched_by = BTreeSet::from([asked.caller.clone()]);
        let upload = Upload {
            key,
            headers: asked.described(),
            parts: BTreeMap::new(),
            touched_by,
            is_overtaken: false,
        };
        self.uploads.insert(id.clone(), upload);
        let text = format!("<UploadId>{id}</UploadId>");
        text_answer(200, &format!("<InitiateMultipartUploadResult>{text}</InitiateMultipartUploadResult>"))
    }

    fn put_part(&mut self, id: &str, asked: &Asked) -> Answer {
        self.named += 1;
        let etag = format!("\"p{}\"", self.named);
        let number = parameter(&asked.query, "partNumber").unwrap().parse().unwrap();
        let sha256 = asked.headers["x-amz-checksum-sha256"].clone();
        let part = Part { etag: etag.clone(), sha256, content: asked.body.clone() };
        let upload = self.uploads.get_mut(id).unwrap();
        upload.is_overtaken = self.objects.contains_key(&upload.key);
        upload.parts.insert(number, part);
        with_etag(&etag)
    }

    fn list(&self, id: &str) -> Answer {
        let parts = self.uploads[id].parts.iter().map(|(number, part)| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><ChecksumSHA256>{}</ChecksumSHA256></Part>",
                part.etag, part.sha256
            )
        });
        let parts: String = parts.collect();
        text_answer(
            200,
            &format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>"),
        )
    }

    /// The object is made of the parts that the request names, in the order of their numbers.
    fn complete(&mut self, id: &str, asked: &Asked) -> Answer {
        let upload = &self.uploads[id];
        let body = std::str::from_utf8(&asked.body).unwrap();
        let mut content = Vec::new();
        for part in body.split("<Part>").skip(1) {
            let number: usize = element(part, "PartNumber").parse().unwrap();
            let etag = element(part, "ETag").replace("&quot;", "\"");
            match upload.parts.get(&number).filter(|part| part.etag == etag) {
                Some(part) => content.extend_from_slice(&part.content),
                None => return fault(400, "InvalidPart"),
            }
        }
        let (key, headers) = (upload.key.clone(), upload.headers.clone());
        let answer = self.put(key, headers, content.into(), asked);
        if !answer.status().is_success() {
            return answer;
        }
        self.uploads.remove(id);
        self.completed += 1;
        text_answer(200, "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")
    }
}

impl Asked {
    /// What is kept beside the object's bytes.
    fn described(&self) -> BTreeMap<String, String> {
        let named = |name: &String| name.starts_with("x-amz-meta-") || name == "content-type";
        self.headers.clone().into_iter().filter(|(name, _)| named(name)).collect()
    }
}

pub fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
}

fn element<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
    rest.split_once("</").unwrap().0
}

fn with_etag(etag: &str) -> Answer {
    let mut answer = text_answer(200, "");
    answer.headers_mut().insert("etag", etag.to_owned());
    answer
}

pub fn fault(status: u16, code: &str) -> Answer {
    text_answer(status, &format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>"))
}
