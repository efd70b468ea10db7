//! Queries over many sessions. An index may be out of date, so each item that it finds is checked.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use toolrunner_serve::Timestamp;
use toolrunner_serve::store::{IDEMPOTENCY_TTL, Page, Query, Status, StoreError, Summary};
use uuid::Uuid;

use crate::DynamoStore;
use crate::item::{Item, Meta, key, n, number, s, session_key, text, uuid};
use crate::session::expiry;
use crate::table::{DUE, LIST, RUN, applied, failed};

/// The number of sessions that are removed at the same time.
const REMOVALS: usize = 16;

fn id_of(item: &Item) -> Option<Uuid> {
    text(item, "pk")?.strip_prefix("S#")?.parse().ok()
}

impl DynamoStore {
    pub(crate) async fn list_sessions(&self, query: Query) -> Result<Page, StoreError> {
        let limit = query.limit.max(1);
        let owner = format!("O#{}", query.owner);
        let mut page = Page::default();
        let mut after = query.after.clone().filter(|place| !place.is_empty());
        let mut last = String::new();
        loop {
            let range = after.map(|place| ("place > :range", s(place)));
            let (keys, next) = self.table.query_index(LIST, &owner, range, None, 100).await?;
            let ids: Vec<_> = keys.iter().filter_map(id_of).collect();
            let attributes = "pk gone owner metadata created updated status messages";
            let metas: HashMap<_, _> = self
                .table
                .read_metas(&ids, attributes)
                .await?
                .into_iter()
                .filter_map(|item| Some((id_of(&item)?, item)))
                .collect();
            for key in &keys {
                let (Some(id), Some(place)) = (id_of(key), text(key, "place")) else { continue };
                let Some(summary) = metas.get(&id).and_then(|item| summary(id, item, &query))
                else {
                    continue;
                };
                if page.sessions.len() == limit {
                    page.next = Some(last);
                    return Ok(page);
                }
                last = place.to_owned();
                page.sessions.push(summary);
            }
            after = keys.last().and_then(|key| text(key, "place")).map(str::to_owned);
            if next.is_none() || after.is_none() {
                return Ok(page);
            }
        }
    }

    pub(crate) async fn versions_of(&self, ids: &[Uuid]) -> Result<Vec<Option<u64>>, StoreError> {
        let different: Vec<_> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let found = self.table.read_metas(&different, "pk gone version").await?;
        let version =
            |item: &Item| (!item.contains_key("gone")).then(|| number(item, "version")).flatten();
        let versions: HashMap<_, _> =
            found.iter().filter_map(|item| Some((id_of(item)?, version(item)))).collect();
        Ok(ids.iter().map(|id| versions.get(id).copied().flatten()).collect())
    }

    pub(crate) async fn put_beat(&self, server: Uuid, until: Timestamp) -> Result<(), StoreError> {
        let mut item = key(&format!("SERVER#{server}"), "-");
        item.insert("until".into(), n(until.0));
        item.extend(expiry(until.after(IDEMPOTENCY_TTL)));
        self.table.put_item(item).send().await.map(|_| ()).map_err(failed)
    }

    async fn is_alive(&self, server: Uuid, now: Timestamp) -> Result<(Uuid, bool), StoreError> {
        let until = self
            .table
            .read(&format!("SERVER#{server}"), "-")
            .await?
            .and_then(|item| number(&item, "until"));
        Ok((server, until.is_some_and(|until| until > now.0)))
    }

    pub(crate) async fn find_orphans(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Uuid>, StoreError> {
        let (mut orphans, mut start) = (Vec::new(), None);
        let mut alive: HashMap<Uuid, bool> = HashMap::new();
        loop {
            let (keys, next) = self.table.query_index(RUN, "1", None, start, 100).await?;
            let ids: Vec<_> = keys.iter().filter_map(id_of).collect();
            let running: Vec<_> = self.table.read_metas(&ids, "pk gone status holder").await?;
            let running: Vec<_> = running
                .iter()
                .filter(|item| {
                    !item.contains_key("gone")
                        && (item.contains_key("holder")
                            || text(item, "status") == Some(Status::Running.name()))
                })
                .filter_map(|item| Some((id_of(item)?, uuid(item, "holder"))))
                .collect();
            let unknown: BTreeSet<_> = running
                .iter()
                .filter_map(|(_, holder)| *holder)
                .filter(|holder| !alive.contains_key(holder))
                .collect();
            alive.extend(
                try_join_all(unknown.into_iter().map(|server| self.is_alive(server, now))).await?,
            );
            for (id, holder) in running {
                if !holder.and_then(|holder| alive.get(&holder).copied()).unwrap_or(false) {
                    orphans.push(id);
                    if orphans.len() >= limit {
                        return Ok(orphans);
                    }
                }
            }
            start = next;
            if start.is_none() {
                return Ok(orphans);
            }
        }
    }

    pub(crate) async fn sweep_due(&self, now: Timestamp) -> Result<Vec<Uuid>, StoreError> {
        let (mut gone, mut start) = (Vec::new(), None);
        loop {
            let (keys, next) = self
                .table
                .query_index(DUE, "1", Some(("expires <= :range", n(now.0))), start, 100)
                .await?;
            let mut removals = stream::iter(keys)
                .map(|item| self.remove_due(item, now))
                .buffer_unordered(REMOVALS);
            while let Some(removed) = removals.next().await {
                gone.extend(removed?);
            }
            start = next;
            if start.is_none() {
                return Ok(gone);
            }
        }
    }

    /// Removes an item that the index found, if it is still due: a session, whose id is returned,
    /// or an answer or a server.
    async fn remove_due(&self, item: Item, now: Timestamp) -> Result<Option<Uuid>, StoreError> {
        let Some(id) = id_of(&item) else {
            return self.remove_item(&item, now).await.map(|()| None);
        };
        let Some(found) = self.table.read(&session_key(id), "META").await? else { return Ok(None) };
        match Meta::read(id, &found)? {
            // The session's removal was interrupted, or a tombstone blocks a creation.
            None if number(&found, "expires").is_some_and(|expires| expires <= now.0) => {
                self.bury(id, &found).await.map(|()| None)
            }
            // If the session changes now, the next sweep checks it again.
            Some(meta) if meta.record.expires.is_some_and(|expires| expires <= now) => {
                Ok(self.delete_version(&meta).await?.then_some(id))
            }
            _ => Ok(None),
        }
    }

    async fn remove_item(&self, item: &Item, now: Timestamp) -> Result<(), StoreError> {
        let (Some(pk), Some(sk)) = (text(item, "pk"), text(item, "sk")) else { return Ok(()) };
        let delete = self
            .table
            .delete_item(key(pk, sk))
            .condition_expression("expires <= :now")
            .expression_attribute_values(":now", n(now.0));
        applied(delete.send().await).map(|_| ())
    }
}

fn summary(id: Uuid, item: &Item, query: &Query) -> Option<Summary> {
    if item.contains_key("gone") || text(item, "owner") != Some(&query.owner) {
        return None;
    }
    let summary = Summary {
        id,
        metadata: serde_json::from_str(text(item, "metadata")?).ok()?,
        created: Timestamp(number(item, "created")?),
        updated: Timestamp(number(item, "updated")?),
        status: text(item, "status").and_then(Status::from_name)?,
        messages: number(item, "messages")?,
    };
    let fits = query.status.is_none_or(|status| status == summary.status)
        && query.metadata.iter().all(|(key, value)| summary.metadata.get(key) == Some(value));
    fits.then_some(summary)
}
