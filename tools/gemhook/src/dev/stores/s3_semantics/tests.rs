use std::{collections::BTreeSet, time::Duration};

use aws_sdk_s3::{presigning::PresigningConfig, primitives::ByteStream};
use tokio::{io::AsyncWriteExt, task::JoinSet};

use crate::dev::stores::testing::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_racing_puts_exactly_one_creates_the_object() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    for round in 0..10 {
        let key = format!("race/{round}");
        let mut puts = JoinSet::new();
        for racer in 0..32 {
            let body = ByteStream::from(format!("racer {racer}").into_bytes());
            let put = s3.put_object().bucket(BUCKET).key(&key).if_none_match("*").body(body);
            puts.spawn(async move { (racer, put.send().await) });
        }
        let mut winners = Vec::new();
        for (racer, done) in puts.join_all().await {
            match done {
                Ok(_) => winners.push(racer),
                Err(error) => assert_eq!(code(&error), "PreconditionFailed"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(read(&s3, &key).await, format!("racer {}", winners[0]).into_bytes());
    }
}

#[tokio::test]
async fn a_put_with_a_wrong_checksum_leaves_what_was_there() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    let wrong = |key: &str| {
        let put = s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"not empty"));
        put.checksum_sha256("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").send()
    };
    assert_eq!(code(&wrong("a").await.unwrap_err()), "BadDigest");
    assert!(head(&s3, "a").await.is_none());
    assert_eq!(files(&open.folder.path().join("s3")), BTreeSet::new());

    s3.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"first")).send().await.unwrap();
    assert_eq!(code(&wrong("a").await.unwrap_err()), "BadDigest");
    assert_eq!(read(&s3, "a").await, b"first");
}

#[tokio::test]
async fn a_key_that_is_no_plain_path_is_refused_and_writes_nothing() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    let before = files(open.folder.path());
    let long = "k".repeat(1025);
    let unstorable = "k".repeat(200);
    let bad = ["../a", "a/../../b", "..", ".", "a/./b", "a//b", "/a", "/etc/a", "a/", "a\\b", "a\0b", "a\nb"];
    for key in bad.into_iter().chain([long.as_str(), unstorable.as_str()]) {
        let put = s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"x")).send().await;
        let put = put.expect_err(key);
        assert!(matches!(code(&put), "InvalidArgument" | "KeyTooLongError"), "{key:?}: {put:?}");
        assert_eq!(put.raw_response().unwrap().status().as_u16(), 400, "{key:?}");
        let create = s3.create_multipart_upload().bucket(BUCKET).key(key).send().await.expect_err(key);
        assert_eq!(code(&create), code(&put), "{key:?}");
        let copy = s3.copy_object().bucket(BUCKET).key(key).copy_source("gemhook-results/a").send().await;
        assert_eq!(code(&copy.expect_err(key)), code(&put), "{key:?}");
    }
    assert_eq!(files(open.folder.path()), before);
    let staging =
        s3.put_object().bucket(".staging").key("a").body(ByteStream::from_static(b"x")).send().await;
    assert!(staging.is_err());
    let nowhere = s3.put_object().bucket("nowhere").key("a").body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(code(&nowhere.unwrap_err()), "NoSuchBucket");
    assert_eq!(files(open.folder.path()), before);
}

#[tokio::test]
async fn a_key_is_an_object_or_a_folder_but_not_both() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    let put = |key| s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"x")).send();
    put("a/b").await.unwrap();
    assert_eq!(code(&put("a").await.unwrap_err()), "InvalidRequest");
    assert_eq!(code(&put("a/b/c").await.unwrap_err()), "InvalidRequest");
    assert!(head(&s3, "a").await.is_none());
    s3.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(read(&s3, "a/b").await, b"x");
}

#[tokio::test]
async fn a_copy_carries_metadata_and_a_conditional_overwrite_wants_the_right_object() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    let put = s3.put_object().bucket(BUCKET).key("a").metadata("gemhook-job", "1").content_type("text/plain");
    put.body(ByteStream::from_static(b"one")).send().await.unwrap();
    s3.copy_object().bucket(BUCKET).key("b").copy_source("gemhook-results/a").send().await.unwrap();
    let copied = head(&s3, "b").await.unwrap();
    assert_eq!(copied.metadata().unwrap()["gemhook-job"], "1");
    assert_eq!(read(&s3, "b").await, b"one");

    let over = s3.put_object().bucket(BUCKET).key("b").body(ByteStream::from_static(b"two"));
    let refused = over.if_match("\"0123\"").send().await.unwrap_err();
    assert_eq!(code(&refused), "PreconditionFailed");
    let over = s3.put_object().bucket(BUCKET).key("b").body(ByteStream::from_static(b"two"));
    over.if_match(copied.e_tag().unwrap()).send().await.unwrap();
    assert_eq!(read(&s3, "b").await, b"two");
    assert!(head(&s3, "b").await.unwrap().metadata().is_none_or(|metadata| metadata.is_empty()));
}

#[tokio::test]
async fn what_a_kill_left_is_removed_and_whole_objects_stay() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    for key in ["jobs/whole", "jobs/torn"] {
        let put =
            s3.put_object().bucket(BUCKET).key(key).metadata("gemhook-job", "1").content_type("text/plain");
        put.body(ByteStream::from_static(b"content")).send().await.unwrap();
    }
    let (id, list) = upload(&s3, "jobs/parts", &[b"in parts".to_vec()]).await;
    let complete = s3.complete_multipart_upload().bucket(BUCKET).key("jobs/parts").upload_id(id);
    complete.multipart_upload(list).send().await.unwrap();

    let folder = open.close().await;
    let root = folder.path().join("s3");
    let whole = files(&root);
    let torn = whole.iter().find(|name| name.ends_with(".internal.json") && name.contains("am9icy90b3Ju"));
    std::fs::remove_file(root.join(torn.unwrap())).unwrap();
    std::fs::write(root.join(".tmp.7.internal.part"), b"half").unwrap();
    std::fs::write(root.join(".staging/half"), b"half").unwrap();

    let open = TestStores::open_in(folder).await;
    let (id, _) = upload(&open.s3(), "jobs/unfinished", &[b"part".to_vec()]).await;
    let open = open.reopen().await;
    let s3 = open.s3();
    let left = files(&root);
    assert_eq!(
        left,
        whole.into_iter().filter(|name| !name.contains("torn") && !name.contains("am9icy90b3Ju")).collect()
    );
    assert!(head(&s3, "jobs/torn").await.is_none());
    let head = head(&s3, "jobs/whole").await.unwrap();
    assert_eq!(
        (head.content_type(), head.metadata().unwrap()["gemhook-job"].as_str()),
        (Some("text/plain"), "1")
    );
    assert_eq!(read(&s3, "jobs/parts").await, b"in parts");
    let gone = s3.abort_multipart_upload().bucket(BUCKET).key("jobs/unfinished").upload_id(id).send().await;
    assert_eq!(code(&gone.unwrap_err()), "NoSuchUpload");
    let put = s3.put_object().bucket(BUCKET).key("jobs/torn").if_none_match("*");
    put.body(ByteStream::from_static(b"again")).send().await.unwrap();
    let list = s3.list_objects_v2().bucket(BUCKET).prefix("jobs/").send().await.unwrap();
    let keys: Vec<_> = list.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["jobs/parts", "jobs/torn", "jobs/whole"]);
}

#[tokio::test]
async fn a_put_that_stalls_holds_nobody_up_and_leaves_nothing_when_it_breaks() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    let minute = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let signed = s3.put_object().bucket(BUCKET).key("a").presigned(minute).await.unwrap();
    let host = open.stores.s3_url.trim_start_matches("http://");
    let path = signed.uri().strip_prefix(&open.stores.s3_url).unwrap();
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 100\r\n\r\nhalf");
    socket.write_all(head.as_bytes()).await.unwrap();
    let root = open.folder.path().join("s3");
    until(|| files(&root).iter().any(|name| name.starts_with(".tmp."))).await;

    let put = s3.put_object().bucket(BUCKET).key("a").if_none_match("*");
    put.body(ByteStream::from_static(b"whole")).send().await.unwrap();
    drop(socket);
    until(|| !files(&root).iter().any(|name| name.starts_with(".tmp."))).await;
    assert_eq!(read(&s3, "a").await, b"whole");
    assert_eq!(files(&root.join(".staging")), BTreeSet::new());
}
