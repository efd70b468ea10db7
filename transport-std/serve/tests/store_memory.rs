//! The memory store keeps the promises of all stores.

use std::sync::Arc;

use toolrunner_serve::store::conformance::{Subject, suite};
use toolrunner_serve::store::{MemoryStore, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_promises() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let open = move || {
        let store = Arc::clone(&store);
        Box::pin(async move { store }) as _
    };
    suite(Subject {
        open: Box::new(open),
        shared: false,
        crowd: 230,
        history: 10_000,
        largest: 16 << 20,
        rounds: 30,
    })
    .await;
}
