//! Creation of sessions. See [`session`](crate::session).

use aws_sdk_dynamodb::types::AttributeValue;
use toolrunner_serve::Timestamp;
use toolrunner_serve::store::{CreateResult, IdempotencyRecord, NewSession, Status, StoreError};
use uuid::Uuid;

use crate::item::{
    Place, answer_key, key, n, read_answer, s, session_key, uuid, write_answer, write_metadata,
};
use crate::session::TOMBSTONE;
use crate::table::{DUE, LIST, applied};
use crate::{DynamoStore, LastCommit};

/// How often the claim of another creation is checked, before that creation is made impossible.
const CLAIM_TRIES: u32 = 40;
const CLAIM_PAUSE: core::time::Duration = core::time::Duration::from_millis(50);

impl DynamoStore {
    pub(crate) async fn create_session(&self, new: NewSession) -> Result<CreateResult, StoreError> {
        let life = Uuid::new_v4();
        if let Some(one) = &new.idempotent
            && let Some(answer) = self.claim_creation(one, new.id, life, new.now).await?
        {
            return Ok(CreateResult::Replay(answer));
        }
        let created = self.create_claimed(&new, life).await;
        if let (Ok(CreateResult::Exists | CreateResult::Full), Some(one)) =
            (&created, &new.idempotent)
        {
            // A refused creation does not use up its key.
            let delete = self.table.delete_item(key(&answer_key(&one.scope, &one.key), "-"));
            let delete = delete
                .condition_expression("life = :life")
                .expression_attribute_values(":life", s(life));
            // If it is refused, another creation holds the claim and has stopped this one: its
            // answer counts.
            if !applied(delete.send().await)?
                && let Some(answer) = self.claim_creation(one, new.id, life, new.now).await?
            {
                return Ok(CreateResult::Replay(answer));
            }
        }
        created
    }

    /// Claims the key for a creation. Returns the answer if there is one.
    async fn claim_creation(
        &self,
        one: &IdempotencyRecord,
        id: Uuid,
        life: Uuid,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let mut tries = 0;
        loop {
            if self.claim(one, id, life, Some(None)).await? {
                return Ok(None);
            }
            let Some(item) = self.table.read(&answer_key(&one.scope, &one.key), "-").await? else {
                continue;
            };
            let (Some(session), Some(other)) = (uuid(&item, "claim"), uuid(&item, "life")) else {
                return Ok(read_answer(&item));
            };
            if other == life {
                return Ok(None);
            }
            let meta = self.meta(session).await?;
            if let Some(meta) = meta.filter(|meta| meta.life == other) {
                if meta
                    .answer
                    .as_ref()
                    .is_some_and(|answer| answer.scope == one.scope && answer.key == one.key)
                {
                    self.settle(&meta).await?;
                }
                continue;
            }
            // The creation that holds the claim is still running, or its server is dead.
            tries += 1;
            if tries < CLAIM_TRIES {
                tokio::time::sleep(CLAIM_PAUSE).await;
                continue;
            }
            // A tombstone at its id makes the other creation fail, however late it arrives.
            let mut item = key(&session_key(session), "META");
            item.extend([("gone".into(), n(1)), ("life".into(), s(Uuid::new_v4()))]);
            item.extend([(DUE.into(), s("1")), ("expires".into(), n(now.after(TOMBSTONE).0))]);
            let put = self.table.put_item(item).condition_expression("attribute_not_exists(pk)");
            applied(put.send().await)?;
            // If the other creation was faster, its session exists now.
            if self.meta(session).await?.is_none_or(|meta| meta.life != other)
                && self.claim(one, id, life, Some(Some(other))).await?
            {
                return Ok(None);
            }
        }
    }

    async fn create_claimed(
        &self,
        new: &NewSession,
        life: Uuid,
    ) -> Result<CreateResult, StoreError> {
        let id = new.id;
        match self.table.read(&session_key(id), "META").await? {
            Some(item) if !item.contains_key("gone") => return Ok(CreateResult::Exists),
            Some(item) => self.bury(id, &item).await?,
            None => {}
        }
        if !self.table.add_to_count(1, new.limit).await? {
            return Ok(CreateResult::Full);
        }
        let made = self.put_new(new, life).await;
        if !matches!(made, Ok(CreateResult::Done)) {
            self.table.add_to_count(-1, None).await?;
        }
        made
    }

    async fn put_new(&self, new: &NewSession, life: Uuid) -> Result<CreateResult, StoreError> {
        let id = new.id;
        let mut item = key(&session_key(id), "META");
        if let Some(base) = &new.base {
            self.table.put_parts(id, life, "base", base).await?;
            item.insert("base_parts".into(), n(base.len().div_ceil(crate::item::PART) as u64));
        }
        let document = Place::of(&new.document, || "first".into());
        if let Place::Parts { name, .. } = &document {
            self.table.put_parts(id, life, name, &new.document).await?;
        }
        document.write("document", &mut item);
        item.extend([
            ("life".into(), s(life)),
            ("owner".into(), s(&new.owner)),
            ("metadata".into(), s(write_metadata(&new.metadata))),
            ("created".into(), n(new.now.0)),
            ("updated".into(), n(new.now.0)),
            ("version".into(), n(1)),
            ("head".into(), n(0)),
            ("status".into(), s(Status::Idle.name())),
            ("messages".into(), n(new.messages)),
            ("fence".into(), n(0)),
            ("token".into(), s(Uuid::nil())),
            (LIST.into(), s(format!("O#{}", new.owner))),
            ("place".into(), s(self.next_place(new.now))),
        ]);
        if let Some(expires) = new.expires {
            item.extend([("expires".into(), n(expires.0)), (DUE.into(), s("1"))]);
        }
        if let Some(answer) = &new.idempotent {
            item.insert("answer".into(), AttributeValue::M(write_answer(answer)));
        }
        let put = self.table.put_item(item).condition_expression("attribute_not_exists(pk)");
        if !applied(put.send().await)? {
            // The SDK repeats requests without a reply, so the item may be our own.
            let item = self.table.read(&session_key(id), "META").await?;
            if item.and_then(|item| uuid(&item, "life")) != Some(life) {
                return Ok(CreateResult::Exists);
            }
        }
        // If this fails, the next commit repeats it.
        if self.settle_parts(id, life, 0, None, new.idempotent.as_ref()).await.is_ok() {
            self.know(id, LastCommit { life, version: 1, document: Some(document) });
        }
        Ok(CreateResult::Done)
    }
}
