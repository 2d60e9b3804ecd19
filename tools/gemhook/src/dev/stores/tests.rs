use super::{testing::*, *};

#[tokio::test]
async fn a_folder_has_one_owner_at_a_time() {
    let first = TestStores::open().await;
    let (_shutdown, fires) = watch::channel(false);
    let second = open(first.folder.path(), port().await, port().await, fires).await;
    let rejection = second.err().unwrap().to_string();
    assert!(rejection.starts_with("another gemhook uses "), "{rejection}");
}

#[tokio::test]
async fn the_servers_stop_when_shutdown_fires() {
    let open = TestStores::open().await;
    let urls = [open.stores.dynamodb_url.clone(), open.stores.s3_url.clone()];
    open.s3().list_buckets().send().await.unwrap();
    open.close().await;
    for url in urls {
        let address = url.trim_start_matches("http://");
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "{url} still listens");
    }
}
