//! Notifies other servers of changes: `NOTIFY` after a commit, and `LISTEN` on a separate
//! connection.
//!
//! A notification is not part of the commit, because Postgres commits transactions that notify one
//! at a time. If a process dies before it notifies, the others notice the change after at most
//! [`POLL`].

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

/// The interval at which a server checks for changes without a notification.
pub(super) const POLL: Duration = Duration::from_millis(900);

/// Commits within this time share one notification.
const PAUSE: Duration = Duration::from_millis(5);

/// How long to wait before reconnecting.
const RETRY: Duration = Duration::from_millis(500);

/// The two tasks. Both end when this is dropped.
#[derive(Debug)]
pub(super) struct Wake {
    /// Set by commits of this process.
    pub(super) own: Arc<Notify>,
    /// Set by commits of other processes.
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
            // If this fails, the other servers' polls find the change.
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
                        // Notifications between the two connections were missed.
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
