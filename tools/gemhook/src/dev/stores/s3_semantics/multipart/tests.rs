use std::collections::BTreeSet;

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use tokio::task::JoinSet;

use crate::dev::stores::testing::*;

const FIVE_MIB: usize = 5 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_racing_completions_exactly_one_creates_the_object() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    for round in 0..8 {
        let key = format!("race/{round}");
        let mut completions = JoinSet::new();
        for racer in [b'a', b'b'] {
            let (id, list) = upload(&s3, &key, &[vec![racer; 1000]]).await;
            let complete = s3.complete_multipart_upload().bucket(BUCKET).key(&key).upload_id(id);
            let complete = complete.multipart_upload(list).if_none_match("*");
            completions.spawn(async move { (racer, complete.send().await) });
        }
        let mut winners = Vec::new();
        for (racer, done) in completions.join_all().await {
            match done {
                Ok(_) => winners.push(racer),
                Err(error) => assert_eq!(code(&error), "PreconditionFailed"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(read(&s3, &key).await, vec![winners[0]; 1000]);
    }
}

#[tokio::test]
async fn a_refused_completion_leaves_the_upload_open() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    let (id, list) = upload(&s3, "a", &[b"new".to_vec()]).await;
    s3.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"old")).send().await.unwrap();
    let complete =
        s3.complete_multipart_upload().bucket(BUCKET).key("a").upload_id(&id).multipart_upload(list);
    let refused = complete.clone().if_none_match("*").send().await.unwrap_err();
    assert_eq!(code(&refused), "PreconditionFailed");
    assert_eq!(read(&s3, "a").await, b"old");
    let done = complete.clone().send().await.unwrap();
    assert_eq!((done.bucket(), done.key()), (Some(BUCKET), Some("a")));
    assert_eq!(read(&s3, "a").await, b"new");
    assert_eq!(code(&complete.send().await.unwrap_err()), "NoSuchUpload");
}

#[tokio::test]
async fn an_upload_in_parts_keeps_its_metadata_and_no_old_checksum() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    s3.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"old")).send().await.unwrap();
    s3.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    let parts = [vec![1; FIVE_MIB], vec![2; 7]];
    let (id, list) = upload(&s3, "a", &parts).await;
    let listed = s3.list_parts().bucket(BUCKET).key("a").upload_id(&id).send().await.unwrap();
    assert_eq!(
        listed.parts().iter().map(|part| part.size().unwrap()).collect::<Vec<_>>(),
        [FIVE_MIB as i64, 7]
    );
    let complete =
        s3.complete_multipart_upload().bucket(BUCKET).key("a").upload_id(id).multipart_upload(list);
    complete.send().await.unwrap();
    assert_eq!(read(&s3, "a").await, parts.concat());
    assert_eq!(head(&s3, "a").await.unwrap().metadata().unwrap()["gemhook-job"], "batches/1");
}

#[tokio::test]
async fn an_upload_is_held_to_its_key_and_its_parts() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    let (id, list) = upload(&s3, "a", &[vec![1; 10], vec![2; 10]]).await;
    let complete = s3.complete_multipart_upload().bucket(BUCKET).upload_id(&id);
    let other = complete.clone().key("b").multipart_upload(list.clone()).send().await.unwrap_err();
    assert_eq!(code(&other), "NoSuchUpload");
    let small = complete.clone().key("a").multipart_upload(list).send().await.unwrap_err();
    assert_eq!(code(&small), "EntityTooSmall");
    let list_of = |number| {
        let part = CompletedPart::builder().part_number(number).build();
        CompletedMultipartUpload::builder().parts(part).build()
    };
    let gap = complete.key("a").multipart_upload(list_of(3)).send().await.unwrap_err();
    assert_eq!(code(&gap), "InvalidPartOrder");
    let (empty, _) = upload(&s3, "b", &[]).await;
    let missing = s3.complete_multipart_upload().bucket(BUCKET).key("b").upload_id(&empty);
    let missing = missing.multipart_upload(list_of(1)).send().await.unwrap_err();
    assert_eq!(code(&missing), "InvalidPart");
    s3.abort_multipart_upload().bucket(BUCKET).key("b").upload_id(empty).send().await.unwrap();
    let wrong = s3.upload_part().bucket(BUCKET).key("a").upload_id(&id).part_number(2);
    let wrong = wrong.checksum_sha256("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    let wrong = wrong.body(ByteStream::from_static(b"not empty")).send().await.unwrap_err();
    assert_eq!(code(&wrong), "BadDigest");
    s3.abort_multipart_upload().bucket(BUCKET).key("a").upload_id(&id).send().await.unwrap();
    assert_eq!(files(&open.folder.path().join("s3")), BTreeSet::new());
}

#[tokio::test]
async fn parts_are_listed_in_pages_with_the_checksums_they_were_sent_with() {
    let open = TestStores::open().await;
    let s3 = open.s3();
    let create = s3.create_multipart_upload().bucket(BUCKET).key("a");
    let create = create.checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Sha256);
    let id = create.send().await.unwrap().upload_id.unwrap();
    // The SHA-256 of "a" and of "b" by `sha256sum`, in base64.
    let sums =
        ["ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=", "PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0="];
    let mut tags = Vec::new();
    for (number, sum) in [(2, sums[1]), (1, sums[0])] {
        let body = ByteStream::from_static(if number == 1 { b"a" } else { b"b" });
        let part = s3.upload_part().bucket(BUCKET).key("a").upload_id(&id).part_number(number).body(body);
        tags.push(part.checksum_sha256(sum).send().await.unwrap().e_tag);
    }
    let mut pages =
        s3.list_parts().bucket(BUCKET).key("a").upload_id(&id).into_paginator().page_size(1).send();
    for (number, tag) in [(1, &tags[1]), (2, &tags[0])] {
        let page = pages.next().await.unwrap().unwrap();
        let [part] = page.parts() else { panic!("{page:?}") };
        assert_eq!((part.part_number(), part.e_tag()), (Some(number), tag.as_deref()));
        assert_eq!(part.checksum_sha256(), Some(sums[number as usize - 1]));
    }
    assert!(pages.next().await.is_none());
}
