//! How servers tell each other that something has changed: `NOTIFY` after a commit, `LISTEN` on a
//! connection of its own.
//!
//! A notification is not part of the commit: Postgres lets transactions that notify commit only one
//! after another. One that is lost with its process costs the others at most [`POLL`].

use core::time::Duration;
use std::sync::Arc;

use deadpool_postgres::Pool;
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

const CHANNEL: &str = "toolrunner_changes";

/// Without a notification others look after this time.
pub(super) const POLL: Duration = Duration::from_millis(900);

/// Commits within this time share one notification.
const PAUSE: Duration = Duration::from_millis(5);

/// How long to wait before a lost connection is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The two tasks; both end when this is dropped.
#[derive(Debug)]
pub(super) struct Wake {
    /// Set by this process' commits.
    pub(super) own: Arc<Notify>,
    /// Set by those of others.
    pub(super) others: Arc<Notify>,
    tasks: [JoinHandle<()>; 2],
}

impl Wake {
    pub(super) fn start(pool: Pool, config: Config, tls: MakeRustlsConnect) -> Self {
        let (own, others) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let name = Uuid::now_v7().to_string();
        let tell = tokio::spawn(tell(pool, Arc::clone(&own), name.clone()));
        let listen = tokio::spawn(listen(config, tls, Arc::clone(&others), name));
        Self { own, others, tasks: [tell, listen] }
    }

    pub(super) fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn tell(pool: Pool, own: Arc<Notify>, name: String) {
    loop {
        own.notified().await;
        if let Ok(client) = pool.get().await
            && let Ok(notify) = client.prepare_cached("SELECT pg_notify($1, $2)").await
        {
            // If it fails, the others' poll finds the change.
            let _ = client.execute(&notify, &[&CHANNEL, &name]).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(config: Config, tls: MakeRustlsConnect, others: Arc<Notify>, name: String) {
    loop {
        if let Ok((client, mut connection)) = config.connect(tls.clone()).await {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            let listen = format!("LISTEN {CHANNEL}");
            let mut asked = core::pin::pin!(client.batch_execute(&listen));
            let mut is_listening = false;
            loop {
                let message = tokio::select! {
                    result = &mut asked, if !is_listening => {
                        is_listening = true;
                        // What came between the two connections was not heard.
                        others.notify_one();
                        if result.is_err() {
                            break;
                        }
                        continue;
                    }
                    message = messages.next() => message,
                };
                match message {
                    Some(Ok(AsyncMessage::Notification(notification)))
                        if notification.payload() != name =>
                    {
                        others.notify_one()
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
