use super::*;

const SIZE: usize = 150_000;

/// A simulator that nobody hears of, and a generated file of it: its path and its bytes.
async fn start(folder: &tempfile::TempDir) -> (Running, String, Vec<u8>) {
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let name = running.film(&format!("simulate: {{\"size\": {SIZE}}}")).await;
    let operation = running.ended(&name).await;
    let uri = &operation["response"]["generateVideoResponse"]["generatedSamples"][0]["video"]["uri"];
    let path = uri.as_str().unwrap().trim_start_matches(&running.base_url).to_owned();
    let whole = running.request("GET", &path).send().await.unwrap();
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let whole = whole.bytes().await.unwrap().to_vec();
    assert_eq!(whole.len(), SIZE);
    (running, path, whole)
}

/// What comes of a download before it ends or breaks off.
async fn take(mut answer: reqwest::Response) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}

#[tokio::test]
async fn a_range_is_a_part_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (running, path, whole) = start(&folder).await;
    let last = SIZE - 1;
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=1000-70000".to_owned(), 1000, 70_000),
        ("bytes=149990-".to_owned(), 149_990, last),
        ("bytes=-5".to_owned(), SIZE - 5, last),
    ] {
        let answer = running.request("GET", &path).header("range", &range).send().await.unwrap();
        assert_eq!(answer.status(), 206, "{range}");
        assert_eq!(answer.headers()["content-range"], format!("bytes {from}-{to}/{SIZE}").as_str());
        assert_eq!(answer.bytes().await.unwrap(), whole[from..=to], "{range}");
    }
    let (status, answer) = {
        let answer = running.request("GET", &path).header("range", "bytes=150000-").send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!((status.as_u16(), &answer["error"]["status"]), (416, &json!("OUT_OF_RANGE")));
    for (name, value) in [("range", "lines=1-2"), ("range", "bytes=0-1,5-6"), ("if-range", "\"other\"")] {
        let request = running.request("GET", &path).header("range", "bytes=5-9").header(name, value);
        let request =
            if name == "range" { running.request("GET", &path).header(name, value) } else { request };
        assert_eq!(request.send().await.unwrap().status(), 200, "{name}: {value}");
    }
    running.faults(json!([{"fault": "no_ranges"}])).await;
    let answer = running.request("GET", &path).header("range", "bytes=5-9").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get("accept-ranges")), (200, None));
}

/// Recorded from the SDKs of Python and JavaScript: they know an address by `https` only.
#[tokio::test]
async fn an_sdk_that_takes_our_address_for_an_id_gets_the_file_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (running, path, whole) = start(&folder).await;
    let asked = format!("/v1/files/{}{path}:download?alt=media", running.base_url);
    assert!(running.request("GET", &asked).send().await.unwrap().bytes().await.unwrap() == whole);
}

#[tokio::test]
async fn a_file_on_the_disk_has_ranges_too() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let input = running.upload(&json!({"key": "a", "request": request("hi")}).to_string()).await;
    let name = running.create(json!({"inputConfig": {"fileName": input}})).await;
    let batch = running.ended(&name).await;
    let path = format!("/v1/{}:download?alt=media", batch["response"]["responsesFile"].as_str().unwrap());
    let whole = running.request("GET", &path).send().await.unwrap().text().await.unwrap();
    let part = running.request("GET", &path).header("range", "bytes=1-5").send().await.unwrap();
    assert_eq!(part.text().await.unwrap(), whole[1..=5]);
}

#[tokio::test]
async fn a_download_that_was_cut_can_be_taken_up_where_it_broke_off() {
    let folder = tempfile::tempdir().unwrap();
    let (running, path, whole) = start(&folder).await;
    running.faults(json!([{"fault": "cut", "after": 100_000, "calls": 1}])).await;
    let (mut came, complete) = take(running.request("GET", &path).send().await.unwrap()).await;
    assert!(!complete && came.len() <= 100_000, "{} bytes", came.len());
    let range = format!("bytes={}-", came.len());
    let (rest, complete) =
        take(running.request("GET", &path).header("range", range).send().await.unwrap()).await;
    assert!(complete);
    came.extend(rest);
    assert!(came == whole);
}

#[tokio::test]
async fn a_length_can_be_wrong_either_way() {
    let folder = tempfile::tempdir().unwrap();
    let (running, path, whole) = start(&folder).await;
    running
        .faults(json!([{"fault": "wrong_length", "by": 7, "calls": 1}, {"fault": "wrong_length", "by": -7}]))
        .await;
    let (came, complete) = take(running.request("GET", &path).send().await.unwrap()).await;
    assert!(!complete && came == whole);
    let (came, complete) = take(running.request("GET", &path).send().await.unwrap()).await;
    assert!(complete && came == whole[..SIZE - 7]);
}

#[tokio::test]
async fn a_redirected_download_is_elsewhere_for_whoever_keeps_the_key_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (running, path, whole) = start(&folder).await;
    running.faults(json!([{"fault": "redirected"}])).await;
    let careful = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request = careful.get(format!("{}{path}", running.base_url)).header("x-goog-api-key", "k");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 302);
    let elsewhere = answer.headers()["location"].to_str().unwrap();
    assert!(elsewhere.starts_with("http://localhost:"), "{elsewhere}");
    let told = careful.get(elsewhere).header("x-goog-api-key", "k").send().await.unwrap();
    assert_eq!(told.status(), 403);
    assert!(careful.get(elsewhere).send().await.unwrap().bytes().await.unwrap() == whole);
    running.faults(json!([{"fault": "redirected", "to": "http://elsewhere.example/"}])).await;
    let request = careful.get(format!("{}{path}", running.base_url)).header("x-goog-api-key", "k");
    let location = request.send().await.unwrap().headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("http://elsewhere.example/redirected/files/"), "{location}");
}

#[tokio::test]
async fn generated_files_expire_and_uploaded_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (running, path, _) = start(&folder).await;
    let input = running.upload("{}").await;
    for (status, name) in [(404, "NOT_FOUND"), (403, "PERMISSION_DENIED")] {
        running.faults(json!([{"fault": "expired", "status": status}])).await;
        for path in [path.as_str(), path.split(':').next().unwrap()] {
            let (got, answer) = running.call("GET", path, None).await;
            assert_eq!((got, &answer["error"]["status"]), (status, &json!(name)));
        }
        running.get(&format!("/v1/{input}")).await;
    }
}

#[tokio::test]
async fn calls_are_slow_throttled_or_refused_as_often_as_a_fault_says() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    running
        .faults(json!([
            {"fault": "throttled", "wait": 1.5, "calls": 2, "on": "/batches"},
            {"fault": "unavailable", "calls": 1},
            {"fault": "slow", "wait": 0.05},
        ]))
        .await;
    let mut statuses = Vec::new();
    for path in ["/v1/files/none", "/v1/batches", "/v1/batches", "/v1/batches", "/v1/files/none"] {
        let (status, answer) = running.call("GET", path, None).await;
        if status == 429 {
            let detail = &answer["error"]["details"][0];
            assert_eq!(detail["@type"], "type.googleapis.com/google.rpc.RetryInfo");
            assert_eq!(detail["retryDelay"], "1.5s");
            assert_eq!(answer["error"]["status"], "RESOURCE_EXHAUSTED");
        }
        statuses.push(status);
    }
    assert_eq!(statuses, [503, 429, 429, 200, 404]);
    assert_eq!(running.get("/simulator/faults").await, json!([{"fault": "slow", "wait": 0.05}]));
    running.faults(json!([])).await;
}
