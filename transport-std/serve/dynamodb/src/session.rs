//! Operations on one session. Each change is one conditional write of `META`. Before it, only data
//! is written that nothing refers to yet; after it, only copies of data in `META`.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use bytes::Bytes;
use toolrunner_serve::Timestamp;
use toolrunner_serve::store::{
    Commit, CommitResult, DeleteResult, Holder, IdempotencyRecord, Part, Record, Row, Status,
    StoreError,
};
use uuid::Uuid;

use crate::item::{
    Item, Meta, Place, answer_key, key, n, read_answer, read_rows, row_key, s, session_key, text,
    uuid, write_answer, write_rows,
};
use crate::table::{DUE, RUN, applied, failed, is_refused};
use crate::{DynamoStore, LastCommit};

/// How long a tombstone is kept, so that a creation that it stopped cannot succeed later.
pub(crate) const TOMBSTONE: core::time::Duration = core::time::Duration::from_secs(60 * 60);

impl DynamoStore {
    pub(crate) async fn meta(&self, id: Uuid) -> Result<Option<Meta>, StoreError> {
        match self.table.read(&session_key(id), "META").await? {
            Some(item) => Meta::read(id, &item),
            None => Ok(None),
        }
    }

    pub(crate) async fn load_record(&self, id: Uuid) -> Result<Option<Record>, StoreError> {
        loop {
            let Some(meta) = self.meta(id).await? else { return Ok(None) };
            // If the document is missing, a later commit has replaced it: the loop reads the new
            // one.
            if let Some(document) = self.fetch(id, meta.life, &meta.document).await? {
                return Ok(Some(Record { document, ..meta.record }));
            }
        }
    }

    async fn fetch(
        &self,
        id: Uuid,
        life: Uuid,
        place: &Place,
    ) -> Result<Option<Bytes>, StoreError> {
        match place {
            Place::Here(bytes) => Ok(Some(bytes.clone())),
            Place::Parts { name, count } => self.table.read_parts(id, life, name, *count).await,
        }
    }

    pub(crate) async fn load_base(&self, id: Uuid) -> Result<Option<Bytes>, StoreError> {
        let Some(meta) = self.meta(id).await? else { return Ok(None) };
        match meta.base {
            Some(count) => self.table.read_parts(id, meta.life, "base", count).await,
            None => Ok(None),
        }
    }

    /// Returns the answer to a key. A claim counts as an answer only if the session that it names
    /// has the answer.
    pub(crate) async fn answer(
        &self,
        scope: &str,
        key: &str,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let Some(item) = self.table.read(&answer_key(scope, key), "-").await? else {
            return Ok(None);
        };
        if !item.contains_key("claim") {
            return Ok(read_answer(&item));
        }
        let Some(session) = uuid(&item, "claim") else { return Ok(None) };
        let answer = self.meta(session).await?.and_then(|meta| meta.answer);
        if let Some(answer) = answer.filter(|answer| answer.scope == scope && answer.key == key) {
            return Ok(Some(answer));
        }
        // The claim may have become an answer in the meantime.
        let item = self
            .table
            .read(&answer_key(scope, key), "-")
            .await?
            .filter(|item| !item.contains_key("claim"));
        Ok(item.as_ref().and_then(read_answer))
    }

    /// Records which session will have the answer, unless there is an answer. `expect` is the claim
    /// to replace; `None` for any. Returns whether the claim was recorded.
    pub(crate) async fn claim(
        &self,
        one: &IdempotencyRecord,
        session: Uuid,
        life: Uuid,
        expect: Option<Option<Uuid>>,
    ) -> Result<bool, StoreError> {
        let mut item = key(&answer_key(&one.scope, &one.key), "-");
        item.extend([("claim".into(), s(session)), ("life".into(), s(life))]);
        item.extend(expiry(one.expires));
        let put = self.table.put_item(item);
        let put = match expect {
            None => put.condition_expression("attribute_not_exists(pk) OR attribute_exists(claim)"),
            Some(None) => put.condition_expression("attribute_not_exists(pk)"),
            Some(Some(life)) => put
                .condition_expression("life = :life")
                .expression_attribute_values(":life", s(life)),
        };
        applied(put.send().await)
    }

    /// Copies the rows and the answer of the last commit to separate items.
    pub(crate) async fn settle(&self, meta: &Meta) -> Result<(), StoreError> {
        self.settle_parts(
            meta.record.id,
            meta.life,
            meta.record.head,
            meta.tail.as_ref(),
            meta.answer.as_ref(),
        )
        .await
    }

    pub(crate) async fn settle_parts(
        &self,
        id: Uuid,
        life: Uuid,
        head: u64,
        tail: Option<&Place>,
        answer: Option<&IdempotencyRecord>,
    ) -> Result<(), StoreError> {
        let mut items = Vec::new();
        if let Some(tail) = tail {
            let mut item = key(&session_key(id), &row_key(life, head));
            tail.write("rows", &mut item);
            items.push(item);
        }
        if let Some(answer) = answer {
            let mut item = key(&answer_key(&answer.scope, &answer.key), "-");
            item.extend(write_answer(answer));
            item.extend(expiry(answer.expires));
            items.push(item);
        }
        if items.is_empty() { Ok(()) } else { self.table.put(items).await }
    }

    pub(crate) async fn commit_change(&self, commit: Commit) -> Result<CommitResult, StoreError> {
        let id = commit.id;
        let known = match self.known(id, commit.expect) {
            Some(known) => known,
            None => {
                let Some(meta) = self.meta(id).await? else { return self.refusal(&commit).await };
                self.settle(&meta).await?;
                if meta.record.version != commit.expect {
                    return self.refusal(&commit).await;
                }
                LastCommit {
                    life: meta.life,
                    version: meta.record.version,
                    document: Some(meta.document),
                }
            }
        };
        if let Some(one) = &commit.idempotent
            && !self.claim(one, id, known.life, None).await?
        {
            return self.refusal(&commit).await;
        }
        let life = known.life;
        let name = |what: &str| format!("{}{what}", commit.token.simple());
        let rows = write_rows(&commit.rows);
        let document = Place::of(&commit.document, || name("d"));
        let tail = (!commit.rows.is_empty()).then(|| Place::of(&rows, || name("t")));
        for (place, bytes) in [(Some(&document), &commit.document), (tail.as_ref(), &rows)] {
            if let Some(Place::Parts { name, .. }) = place {
                self.table.put_parts(id, life, name, bytes).await?;
            }
        }
        match self.update(&commit, life, &document, tail.as_ref()).await? {
            None => {
                let refusal = self.refusal(&commit).await?;
                if refusal != CommitResult::Done {
                    // Nothing refers to these parts.
                    for place in [Some(&document), tail.as_ref()].into_iter().flatten() {
                        self.forget_parts(id, life, place).await;
                    }
                }
                Ok(refusal)
            }
            Some(head) => {
                let settled = self
                    .settle_parts(id, life, head, tail.as_ref(), commit.idempotent.as_ref())
                    .await;
                if let Some(old) = &known.document {
                    self.forget_parts(id, life, old).await;
                }
                // If it failed, the next commit repeats it.
                if settled.is_ok() {
                    self.know(
                        id,
                        LastCommit { life, version: commit.expect + 1, document: Some(document) },
                    );
                }
                Ok(CommitResult::Done)
            }
        }
    }

    /// Removes parts that nothing refers to any more. If that fails, they stay until the session is
    /// removed.
    async fn forget_parts(&self, id: Uuid, life: Uuid, place: &Place) {
        if let Place::Parts { name, count } = place {
            let _ = self.table.remove_parts(id, life, name, *count).await;
        }
    }

    /// Performs the conditional write. Returns the new head, or `None` if the write was refused.
    async fn update(
        &self,
        commit: &Commit,
        life: Uuid,
        document: &Place,
        tail: Option<&Place>,
    ) -> Result<Option<u64>, StoreError> {
        let mut set: Item = [
            ("updated".into(), n(commit.now.0)),
            ("status".into(), s(commit.status.name())),
            ("messages".into(), n(commit.messages)),
            ("token".into(), s(commit.token)),
            ("version".into(), n(commit.expect + 1)),
        ]
        .into();
        document.write("document", &mut set);
        if let Some(tail) = tail {
            tail.write("tail", &mut set);
        }
        if let Some(answer) = &commit.idempotent {
            set.insert("answer".into(), AttributeValue::M(write_answer(answer)));
        }
        if let Some(expires) = commit.expires {
            set.extend([("expires".into(), n(expires.0)), (DUE.into(), s("1"))]);
        }
        let is_running = commit.status == Status::Running;
        if is_running || matches!(commit.holder, Holder::Take(_)) {
            set.insert(RUN.into(), s("1"));
        }
        if let Holder::Take(server) = commit.holder {
            set.insert("holder".into(), s(server));
        }
        let optional = [
            "document",
            "document_at",
            "document_parts",
            "tail",
            "tail_at",
            "tail_parts",
            "answer",
            "expires",
            DUE,
        ];
        let mut remove: Vec<_> =
            optional.into_iter().filter(|name| !set.contains_key(*name)).collect();
        if commit.holder == Holder::Release {
            remove.push("holder");
            if !is_running {
                remove.push(RUN);
            }
        }
        let mut update = self.table.update_item(key(&session_key(commit.id), "META"));
        let mut assignments = vec!["#head = #head + :rows".to_owned()];
        for (name, value) in set {
            assignments.push(format!("#{name} = :{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        if matches!(commit.holder, Holder::Take(_)) {
            assignments.push("#fence = #fence + :one".into());
            update = update.expression_attribute_values(":one", n(1));
        }
        let removals: Vec<_> = remove.iter().map(|name| format!("#{name}")).collect();
        for name in remove {
            update = update.expression_attribute_names(format!("#{name}"), name);
        }
        let mut condition = "#version = :expect AND #life = :life".to_owned();
        if let Some(fence) = commit.fence {
            condition.push_str(" AND #fence = :held");
            update = update.expression_attribute_values(":held", n(fence));
        }
        if commit.fence.is_some() || matches!(commit.holder, Holder::Take(_)) {
            update = update.expression_attribute_names("#fence", "fence");
        }
        let update = update
            .update_expression(format!(
                "SET {} REMOVE {}",
                assignments.join(", "),
                removals.join(", ")
            ))
            .condition_expression(condition)
            .expression_attribute_names("#head", "head")
            .expression_attribute_names("#life", "life")
            .expression_attribute_values(":life", s(life))
            .expression_attribute_values(":expect", n(commit.expect))
            .expression_attribute_values(":rows", n(commit.rows.len() as u64))
            .return_values(ReturnValue::UpdatedNew);
        match update.send().await {
            Ok(answer) => {
                // The head matters only with rows; moto does not return attributes that did not
                // change.
                let head = answer.attributes().and_then(|item| crate::item::number(item, "head"));
                let head = head.or_else(|| commit.rows.is_empty().then_some(0));
                head.map(Some)
                    .ok_or_else(|| StoreError::new("DynamoDB did not return the updated item"))
            }
            Err(error) if is_refused(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns why a commit was refused. Returns `Done` if it was applied: the SDK repeats requests
    /// without a reply, and the second attempt is refused.
    async fn refusal(&self, commit: &Commit) -> Result<CommitResult, StoreError> {
        self.forget(commit.id);
        let record = self.load_record(commit.id).await?;
        if record.as_ref().is_some_and(|record| record.token == commit.token) {
            return Ok(CommitResult::Done);
        }
        if let Some(one) = &commit.idempotent
            && let Some(answer) = self.answer(&one.scope, &one.key).await?
        {
            return Ok(CommitResult::Replay(answer));
        }
        Ok(CommitResult::Conflict(record.map(Box::new)))
    }

    pub(crate) async fn delete_session(
        &self,
        id: Uuid,
        expect: Option<u64>,
    ) -> Result<DeleteResult, StoreError> {
        loop {
            let Some(meta) = self.meta(id).await? else { return Ok(DeleteResult::Missing) };
            if expect.is_some_and(|expect| expect != meta.record.version) {
                return Ok(DeleteResult::Conflict);
            }
            if self.delete_version(&meta).await? {
                return Ok(DeleteResult::Done);
            }
        }
    }

    /// Removes the session if it still has this version. Returns whether it was removed.
    pub(crate) async fn delete_version(&self, meta: &Meta) -> Result<bool, StoreError> {
        let id = meta.record.id;
        // The answer outlives the session.
        self.settle(meta).await?;
        let mut tombstone = key(&session_key(id), "META");
        tombstone.extend([
            ("gone".into(), n(1)),
            ("life".into(), s(meta.life)),
            (DUE.into(), s("1")),
            ("expires".into(), n(0)),
        ]);
        let put = self
            .table
            .put_item(tombstone.clone())
            .condition_expression("#version = :version AND life = :life")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(meta.record.version))
            .expression_attribute_values(":life", s(meta.life));
        if !applied(put.send().await)? {
            return Ok(false);
        }
        self.forget(id);
        self.table.add_to_count(-1, None).await?;
        // If this fails, the next sweep repeats it.
        let _ = self.bury(id, &tombstone).await;
        Ok(true)
    }

    /// Removes all items of a deleted session, its tombstone last.
    pub(crate) async fn bury(&self, id: Uuid, tombstone: &Item) -> Result<(), StoreError> {
        let mut start = None;
        loop {
            let query = self.table.query_session(id, start).key_condition_expression("pk = :pk");
            let answer = query.projection_expression("pk, sk").send().await.map_err(failed)?;
            let keys = answer
                .items
                .unwrap_or_default()
                .into_iter()
                .filter(|item| text(item, "sk") != Some("META"))
                .collect();
            self.table.remove(keys).await?;
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        let life = tombstone.get("life").cloned().unwrap_or_else(|| s(""));
        let delete = self
            .table
            .delete_item(key(&session_key(id), "META"))
            .condition_expression("attribute_exists(gone) AND life = :life")
            .expression_attribute_values(":life", life);
        applied(delete.send().await).map(|_| ())
    }

    pub(crate) async fn read_log(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        max_bytes: usize,
        part: Part,
    ) -> Result<Vec<Row>, StoreError> {
        let (mut rows, mut size) = (Vec::new(), 0);
        let Some(meta) = self.meta(id).await? else { return Ok(rows) };
        let (life, head) = (meta.life, meta.record.head);
        if after >= head {
            return Ok(rows);
        }
        // Returns `true` once there is enough.
        let mut take = |commit: Bytes| {
            for row in read_rows(commit)? {
                let row = match (part, &row.patch) {
                    _ if row.seq <= after => continue,
                    (Part::Events, _) => Row { patch: None, ..row },
                    (Part::Patches, Some(_)) => Row { event: Bytes::new(), ..row },
                    (Part::Patches, None) => continue,
                };
                if rows.len() >= limit || (size >= max_bytes && !rows.is_empty()) {
                    return Ok(true);
                }
                size += row.event.len() + row.patch.as_ref().map_or(0, Bytes::len);
                rows.push(row);
            }
            Ok::<_, StoreError>(rows.len() >= limit)
        };
        let lost =
            || StoreError::new(format!("rows of session {id} are missing in the DynamoDB table"));
        let (mut start, mut is_whole) = (None, false);
        let last = match &meta.tail {
            Some(_) => head - 1,
            None => head,
        };
        // The tail may have no item of its own yet; the previous commit has one.
        while after < last && !is_whole {
            let query = self
                .table
                .query_session(id, start.take())
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":from", s(row_key(life, after + 1)))
                .expression_attribute_values(":to", s(row_key(life, last)));
            let answer = query.send().await.map_err(failed)?;
            for item in answer.items() {
                let place = Place::read("rows", item).ok_or_else(lost)?;
                if take(self.fetch(id, life, &place).await?.ok_or_else(lost)?)? {
                    return Ok(rows);
                }
            }
            start = answer.last_evaluated_key;
            is_whole = start.is_none();
        }
        if let Some(tail) = &meta.tail {
            take(self.fetch(id, life, tail).await?.ok_or_else(lost)?)?;
        }
        Ok(rows)
    }
}

/// Returns the attributes for the index of due items, and for DynamoDB's own expiry in seconds.
pub(crate) fn expiry(at: Timestamp) -> [(String, AttributeValue); 3] {
    [("expires".into(), n(at.0)), (DUE.into(), s("1")), ("ttl".into(), n(at.0 / 1_000 + 1))]
}
