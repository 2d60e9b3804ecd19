//! The comparison at the end of the soak. It reads the tables and the bucket with the AWS SDK and the jobs from the
//! simulated API, and asks nothing of the code under test.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    time::Duration,
};

use gemhook::aws;
use gemhook_cli::dev::{Addresses, stores::plain_config};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::clients::{Answer, Sent};
use crate::support::{Row, end, text};

/// How often the rows may look the same before nothing is taken to happen any more, half a second apart.
const LOOKS: u32 = 240;

struct Stores {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    http: reqwest::Client,
    at: Addresses,
}

pub async fn compare(at: &Addresses, sent: Vec<Sent>, folder: &Path) -> String {
    let stores = Stores::of(at);
    let deliveries = stores.ended_deliveries().await;
    let jobs = stores.by(&at.jobs_table, "job_id").await;
    let objects = stores.objects().await;

    let mut ids = BTreeSet::new();
    let mut events = BTreeMap::new();
    for (id, (event, answer)) in sent.iter().flat_map(|sent| &sent.answers) {
        assert!(ids.insert(event.key()));
        *events.entry(format!("{answer:?}")).or_insert(0) += 1;
        let row = deliveries.get(&event.key());
        match answer {
            Answer::Accepted => {
                let row = row.unwrap_or_else(|| panic!("{id} was answered 2xx and is lost"));
                assert!(!id.starts_with("forged-"), "{id} was accepted");
                let wanted: &[&str] = match &event.job {
                    Some(_) if event.is_foreign() => &["done/foreign"],
                    Some(_) => &["done/archived", "done/repeated"],
                    None => &["done/recorded"],
                };
                assert!(wanted.contains(&end(row).as_str()), "{id}: {row:?}");
            }
            Answer::Rejected => {
                assert!(id.starts_with("forged-"), "{id} is genuine and was rejected");
                assert_eq!(row, None, "{id} was rejected and has a row");
            }
            Answer::Unknown => assert!(row.is_none() || !id.starts_with("forged-"), "{id} is forged"),
        }
    }
    for (id, row) in &deliveries {
        // The simulator's own ids begin so.
        assert!(ids.contains(id) || id.starts_with("msg_"), "nobody sent {id}");
        assert!(end(row).starts_with("done/"), "{id}: {row:?}");
    }
    for (event, _) in
        sent.iter().flat_map(|sent| sent.answers.values()).filter(|(_, it)| *it == Answer::Accepted)
    {
        if let Some(job) = &event.job {
            assert_eq!(jobs.contains_key(&job.name), !event.is_foreign(), "the row of {}", job.name);
        }
    }

    // A run in which nothing was accepted proves nothing.
    assert!(events["Accepted"] > ids.len() / 2, "{events:?}");

    let mut bytes = 0;
    let mut named = BTreeSet::new();
    let announced = announced(&folder.join("data/events.jsonl"));
    for (name, row) in &jobs {
        each_once(name, row, &deliveries);
        assert!(announced.contains(name), "the end of {name} was not announced");
        let served = stores.served(name).await;
        let outputs = row["outputs"].as_l().unwrap();
        assert_eq!(outputs.len(), served.len(), "{name}: {row:?}");
        for output in outputs {
            let output = output.as_m().unwrap();
            let key = text(output, "key");
            let object = objects.get(key).unwrap_or_else(|| panic!("{key} is not in the bucket"));
            let file = key.rsplit('/').next().unwrap();
            assert!(served[file] == *object, "{key} differs from what the API serves");
            assert_eq!(text(output, "sha256"), sha256(object), "{key}");
            assert!(named.insert(key.to_owned()), "{key} belongs to two jobs");
            bytes += object.len();
        }
    }
    let all: BTreeSet<String> = objects.keys().cloned().collect();
    assert_eq!(all, named, "the bucket holds something else");
    report(&sent, &events, &deliveries, &jobs, named.len(), bytes)
}

fn report(
    sent: &[Sent],
    events: &BTreeMap<String, usize>,
    deliveries: &HashMap<String, Row>,
    jobs: &HashMap<String, Row>,
    objects: usize,
    bytes: usize,
) -> String {
    let (mut statuses, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for (status, count) in sent.iter().flat_map(|sent| &sent.statuses) {
        *statuses.entry(status).or_insert(0) += count;
    }
    for row in deliveries.values() {
        *ends.entry(end(row)).or_insert(0) += 1;
    }
    let broken: u64 = sent.iter().map(|sent| sent.broken).sum();
    let crashes: i64 = deliveries.values().map(|row| crate::support::number(row, "crashes")).sum();
    format!(
        "answers by status {statuses:?}, connections that broke {broken}\nids {events:?}\n\
         {} deliveries {ends:?}, taken over from a dead worker {crashes}\n{} jobs, {objects} objects, {bytes} bytes",
        deliveries.len(),
        jobs.len(),
    )
}

/// One delivery has archived the job; every other one found it archived.
fn each_once(name: &str, job: &Row, deliveries: &HashMap<String, Row>) {
    assert_eq!(text(job, "outcome"), "archived", "{job:?}");
    let of_job = deliveries.iter().filter(|(_, row)| text(row, "job_id") == name);
    let archived = of_job.filter(|(_, row)| end(row) == "done/archived").map(|(id, _)| id.as_str());
    assert_eq!(archived.collect::<Vec<_>>(), [text(job, "ended_by")], "{name}");
}

/// The jobs whose ends the bus was told.
fn announced(file: &Path) -> BTreeSet<String> {
    let lines = std::fs::read_to_string(file).unwrap();
    // The process may have been killed while it wrote a line.
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.map(|event| event["detail"]["job"].as_str().unwrap().to_owned()).collect()
}

impl Stores {
    fn of(at: &Addresses) -> Self {
        let keys = (at.aws_access_key_id.as_str(), at.aws_secret_access_key.as_str());
        let config = |url: &str| plain_config(url, keys, &at.aws_region, aws::archiver_timeouts());
        let s3 = aws_sdk_s3::config::Builder::from(&config(&at.s3_url)).force_path_style(true).build();
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(&config(&at.dynamodb_url)),
            s3: aws_sdk_s3::Client::from_conf(s3),
            http: reqwest::Client::new(),
            at: at.clone(),
        }
    }

    /// All deliveries, once no row is open and the simulator has sent what it owed.
    async fn ended_deliveries(&self) -> HashMap<String, Row> {
        let (mut before, mut looks) = (Vec::new(), 0);
        loop {
            let rows = self.by(&self.at.deliveries_table, "webhook_id").await;
            let mut open: Vec<_> = rows
                .iter()
                .filter(|(_, row)| !matches!(text(row, "state"), "done" | "failed"))
                .map(|(id, row)| (id.clone(), text(row, "state").to_owned()))
                .collect();
            open.sort();
            let now = (rows.len(), open);
            if now.1.is_empty() && before == [now.clone()] && looks > 10 {
                return rows;
            }
            looks = if before == [now.clone()] { looks + 1 } else { 0 };
            assert!(looks < LOOKS, "rows that do not end: {:?}", now.1);
            before = vec![now];
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn by(&self, table: &str, key: &str) -> HashMap<String, Row> {
        let mut pages =
            self.dynamodb.scan().table_name(table).consistent_read(true).into_paginator().items().send();
        let mut rows = HashMap::new();
        while let Some(row) = pages.next().await {
            let row = row.unwrap();
            rows.insert(text(&row, key).to_owned(), row);
        }
        rows
    }

    async fn objects(&self) -> HashMap<String, Vec<u8>> {
        let mut pages = self.s3.list_objects_v2().bucket(&self.at.bucket).into_paginator().send();
        let mut objects = HashMap::new();
        while let Some(page) = pages.next().await {
            for object in page.unwrap().contents() {
                let key = object.key().unwrap();
                let got = self.s3.get_object().bucket(&self.at.bucket).key(key).send().await.unwrap();
                objects.insert(key.to_owned(), got.body.collect().await.unwrap().to_vec());
            }
        }
        objects
    }

    /// What must be in the bucket of a job, by the last part of its key, read from the API once more.
    async fn served(&self, job: &str) -> HashMap<String, Vec<u8>> {
        let raw = self.get(&format!("{}/v1beta/{job}", self.at.gemini_url)).await;
        let answer: Value = serde_json::from_slice(&raw).unwrap();
        let mut served = HashMap::new();
        if job.starts_with("interactions/") {
            let text: String = texts(&answer).concat();
            served.insert("interaction.json".to_owned(), raw);
            served.insert("text.md".to_owned(), text.into_bytes());
        } else if job.starts_with("batches/") {
            let lines = match answer["metadata"]["output"]["responsesFile"].as_str() {
                Some(file) => self.download(file).await,
                None => inline(&answer),
            };
            served.insert("responses.jsonl".to_owned(), lines);
        } else {
            let samples = answer["response"]["generateVideoResponse"]["generatedSamples"].as_array().unwrap();
            for (number, sample) in samples.iter().enumerate() {
                let video = self.get(sample["video"]["uri"].as_str().unwrap()).await;
                served.insert(format!("{number}.mp4"), video);
            }
            served.insert("operation.json".to_owned(), raw);
        }
        served
    }

    async fn download(&self, file: &str) -> Vec<u8> {
        self.get(&format!("{}/download/v1beta/{file}:download?alt=media", self.at.gemini_url)).await
    }

    async fn get(&self, url: &str) -> Vec<u8> {
        let answer = self.http.get(url).header("x-goog-api-key", "k").send().await.unwrap();
        answer.error_for_status().unwrap().bytes().await.unwrap().to_vec()
    }
}

/// The lines that are made of responses inside of the answer.
fn inline(answer: &Value) -> Vec<u8> {
    let responses = &answer["metadata"]["output"]["inlinedResponses"]["inlinedResponses"];
    let lines = responses.as_array().unwrap().iter().map(|response| format!("{response}\n"));
    lines.collect::<String>().into_bytes()
}

fn texts(answer: &Value) -> Vec<&str> {
    let steps = answer["steps"].as_array().unwrap().iter().filter(|step| step["type"] == "model_output");
    let contents = steps.flat_map(|step| step["content"].as_array().unwrap());
    contents.filter_map(|content| content["text"].as_str()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
