//! The table's creation, and the requests that all methods share.

use core::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, DeleteRequest, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, KeysAndAttributes, Projection, ProjectionType, PutRequest, ScalarAttributeType,
    TableStatus, TimeToLiveSpecification, WriteRequest,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use toolrunner_serve::store::StoreError;
use uuid::Uuid;

use crate::item::{Item, PART, blob, key, n, number, part_key, s, session_key};

/// The version of the layout. A table with another version is refused.
const SCHEMA: u64 = 1;

/// The index by owner, in order of creation.
pub(crate) const LIST: &str = "list";
/// The index of sessions that are running or held. An entry changes only when a session is taken or
/// released.
pub(crate) const RUN: &str = "run";
/// The index of expiring items, by time.
pub(crate) const DUE: &str = "due";

/// How often unprocessed items are sent again before the request fails.
const TRIES: u32 = 12;

/// The number of parts that are read at the same time.
const READS: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
}

/// Describes an error. The description never contains the request.
pub(crate) fn failed<E>(error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + core::error::Error + 'static,
    SdkError<E>: core::error::Error,
{
    if let Some(service) = error.as_service_error() {
        let (code, text) = (
            service.code().unwrap_or("an error without a code"),
            service.message().unwrap_or_default(),
        );
        return StoreError::new(format!("DynamoDB: {code}: {text}"));
    }
    let mut text = error.to_string();
    let mut source = core::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    StoreError::new(format!("DynamoDB cannot be reached: {text}"))
}

fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> StoreError {
    StoreError::new("a request to DynamoDB").because(error)
}

/// Returns whether a conditional write was refused.
pub(crate) fn is_refused<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
        == Some("ConditionalCheckFailedException")
}

/// Returns whether a conditional write was applied: `false` if it was refused.
pub(crate) fn applied<T, E>(result: Result<T, SdkError<E>>) -> Result<bool, StoreError>
where
    E: ProvideErrorMetadata + core::error::Error + 'static,
    SdkError<E>: core::error::Error,
{
    match result {
        Ok(_) => Ok(true),
        Err(error) if is_refused(&error) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

impl Table {
    /// Creates the table if it does not exist, and waits until it can be used.
    pub(crate) async fn prepare(&self) -> Result<(), StoreError> {
        let mut pause = Duration::from_millis(50);
        let mut tries = 0;
        loop {
            match self.client.describe_table().table_name(&self.name).send().await {
                Ok(answer)
                    if answer.table().and_then(|table| table.table_status())
                        == Some(&TableStatus::Active) =>
                {
                    break;
                }
                Ok(_) if tries < 100 => tokio::time::sleep(pause).await,
                Ok(_) => {
                    return Err(StoreError::new(format!(
                        "the DynamoDB table {} did not become active",
                        self.name
                    )));
                }
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|error| error.is_resource_not_found_exception()) =>
                {
                    self.create().await?;
                }
                Err(error) => return Err(failed(error)),
            }
            tries += 1;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        let put = self.put_item(key("SCHEMA", "-")).item("version", n(SCHEMA));
        if applied(put.condition_expression("attribute_not_exists(pk)").send().await)? {
            return Ok(());
        }
        let found = self
            .read("SCHEMA", "-")
            .await?
            .and_then(|item| number(&item, "version"))
            .unwrap_or_default();
        if found == SCHEMA {
            return Ok(());
        }
        let text = format!(
            "another version of this program uses the DynamoDB table {} (schema {found}, this version knows {SCHEMA})",
            self.name
        );
        Err(StoreError::new(text))
    }

    async fn create(&self) -> Result<(), StoreError> {
        let element = |name: &str, kind: KeyType| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
                .map_err(incomplete)
        };
        let attribute = |name: &str, kind: ScalarAttributeType| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(kind)
                .build()
                .map_err(incomplete)
        };
        let index = |name: &str, range: &str| {
            GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(element(name, KeyType::Hash)?)
                .key_schema(element(range, KeyType::Range)?)
                .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
                .build()
                .map_err(incomplete)
        };
        let text = ScalarAttributeType::S;
        let create = self
            .client
            .create_table()
            .table_name(&self.name)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(element("pk", KeyType::Hash)?)
            .key_schema(element("sk", KeyType::Range)?)
            .attribute_definitions(attribute("pk", text.clone())?)
            .attribute_definitions(attribute("sk", text.clone())?)
            .attribute_definitions(attribute(LIST, text.clone())?)
            .attribute_definitions(attribute("place", text.clone())?)
            .attribute_definitions(attribute(RUN, text.clone())?)
            .attribute_definitions(attribute(DUE, text)?)
            .attribute_definitions(attribute("expires", ScalarAttributeType::N)?)
            .global_secondary_indexes(index(LIST, "place")?)
            .global_secondary_indexes(index(RUN, "pk")?)
            .global_secondary_indexes(index(DUE, "expires")?);
        match create.send().await {
            Ok(_) => {}
            // Another server was faster.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_in_use_exception()) =>
            {
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        }
        // Only answers and servers have a `ttl`: DynamoDB removes them if no server sweeps. An
        // implementation that does not know this call works without it.
        let spec = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name("ttl")
            .build()
            .map_err(incomplete)?;
        let _ = self
            .client
            .update_time_to_live()
            .table_name(&self.name)
            .time_to_live_specification(spec)
            .send()
            .await;
        Ok(())
    }

    pub(crate) fn put_item(&self, item: Item) -> PutItemFluentBuilder {
        self.client.put_item().table_name(&self.name).set_item(Some(item))
    }

    pub(crate) fn update_item(&self, key: Item) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.name).set_key(Some(key))
    }

    pub(crate) fn delete_item(&self, key: Item) -> DeleteItemFluentBuilder {
        self.client.delete_item().table_name(&self.name).set_key(Some(key))
    }

    /// Returns a query for the current items of a session, whose `pk` is `:pk`. `start` is the end
    /// of the previous page.
    pub(crate) fn query_session(&self, id: Uuid, start: Option<Item>) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.name).consistent_read(true);
        query.set_exclusive_start_key(start).expression_attribute_values(":pk", s(session_key(id)))
    }

    /// Reads the current state of one item.
    pub(crate) async fn read(&self, pk: &str, sk: &str) -> Result<Option<Item>, StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key(pk, sk)))
            .consistent_read(true);
        Ok(get.send().await.map_err(failed)?.item)
    }

    /// Reads some attributes of the `META` items of these sessions, which must be distinct. Returns
    /// those that exist, in any order.
    pub(crate) async fn read_metas(
        &self,
        ids: &[Uuid],
        attributes: &str,
    ) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        for ids in ids.chunks(100) {
            // Reserved words such as `status` must not appear in an expression.
            let names: Vec<_> =
                attributes.split(' ').map(|name| (format!("#{name}"), name.to_owned())).collect();
            let projection =
                names.iter().map(|(alias, _)| alias.as_str()).collect::<Vec<_>>().join(", ");
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(ids.iter().map(|id| key(&session_key(*id), "META")).collect()))
                .set_expression_attribute_names(Some(names.into_iter().collect()))
                .projection_expression(projection)
                .consistent_read(true)
                .build()
                .map_err(incomplete)?;
            let mut open = Some([(self.name.clone(), wanted)].into());
            let mut tries = 0;
            while let Some(wanted) = open.take() {
                let answer = self
                    .client
                    .batch_get_item()
                    .set_request_items(Some(wanted))
                    .send()
                    .await
                    .map_err(failed)?;
                found.extend(answer.responses.unwrap_or_default().into_values().flatten());
                open = answer.unprocessed_keys.filter(|keys| !keys.is_empty());
                if open.is_some() {
                    self.pause(&mut tries).await?;
                }
            }
        }
        Ok(found)
    }

    async fn pause(&self, tries: &mut u32) -> Result<(), StoreError> {
        *tries += 1;
        if *tries > TRIES {
            return Err(StoreError::new(format!("the DynamoDB table {} is overloaded", self.name)));
        }
        tokio::time::sleep(Duration::from_millis(5 << (*tries).min(9))).await;
        Ok(())
    }

    async fn write(&self, requests: Vec<WriteRequest>) -> Result<(), StoreError> {
        for requests in requests.chunks(25) {
            let mut open = requests.to_vec();
            let mut tries = 0;
            loop {
                let answer = self
                    .client
                    .batch_write_item()
                    .request_items(&self.name, open)
                    .send()
                    .await
                    .map_err(failed)?;
                open = answer
                    .unprocessed_items
                    .unwrap_or_default()
                    .remove(&self.name)
                    .unwrap_or_default();
                if open.is_empty() {
                    break;
                }
                self.pause(&mut tries).await?;
            }
        }
        Ok(())
    }

    /// Writes items that no other request writes.
    pub(crate) async fn put(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let request = |item| {
            Ok(WriteRequest::builder()
                .put_request(
                    PutRequest::builder().set_item(Some(item)).build().map_err(incomplete)?,
                )
                .build())
        };
        self.write(items.into_iter().map(request).collect::<Result<_, _>>()?).await
    }

    pub(crate) async fn remove(&self, keys: Vec<Item>) -> Result<(), StoreError> {
        let request = |key| {
            Ok(WriteRequest::builder()
                .delete_request(
                    DeleteRequest::builder().set_key(Some(key)).build().map_err(incomplete)?,
                )
                .build())
        };
        self.write(keys.into_iter().map(request).collect::<Result<_, _>>()?).await
    }

    /// Writes bytes in parts, before anything refers to them.
    pub(crate) async fn put_parts(
        &self,
        id: Uuid,
        life: Uuid,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let item = |(number, part)| {
            let mut item = key(&session_key(id), &part_key(life, name, number));
            item.insert("bytes".into(), crate::item::b(part));
            item
        };
        // A request can have 16 MB.
        let items: Vec<_> = bytes.chunks(PART).enumerate().map(item).collect();
        self.put(items).await
    }

    /// Reads the bytes. Returns `None` if some parts are missing.
    pub(crate) async fn read_parts(
        &self,
        id: Uuid,
        life: Uuid,
        name: &str,
        count: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        let pk = session_key(id);
        let keys = (0..count).map(|part| part_key(life, name, part));
        let mut parts = stream::iter(keys.map(|sk| self.read_part(&pk, sk))).buffered(READS);
        let mut bytes = BytesMut::new();
        while let Some(part) = parts.next().await {
            let Some(part) = part? else { return Ok(None) };
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes.freeze()))
    }

    async fn read_part(&self, pk: &str, sk: String) -> Result<Option<Bytes>, StoreError> {
        Ok(self.read(pk, &sk).await?.and_then(|item| blob(&item, "bytes")))
    }

    pub(crate) async fn remove_parts(
        &self,
        id: Uuid,
        life: Uuid,
        name: &str,
        count: usize,
    ) -> Result<(), StoreError> {
        self.remove(
            (0..count).map(|part| key(&session_key(id), &part_key(life, name, part))).collect(),
        )
        .await
    }

    /// Adds to the number of sessions. Returns `false` if the number would exceed the limit.
    pub(crate) async fn add_to_count(
        &self,
        difference: i64,
        limit: Option<u64>,
    ) -> Result<bool, StoreError> {
        let update = self.update_item(key("COUNT", "-"));
        let update = update.update_expression("ADD sessions :difference, changes :one");
        let update = update.expression_attribute_values(
            ":difference",
            aws_sdk_dynamodb::types::AttributeValue::N(difference.to_string()),
        );
        let mut update = update.expression_attribute_values(":one", n(1));
        if let Some(limit) = limit {
            let condition = if limit == 0 {
                "sessions < :limit"
            } else {
                "attribute_not_exists(sessions) OR sessions < :limit"
            };
            update = update
                .condition_expression(condition)
                .expression_attribute_values(":limit", n(limit));
        }
        applied(update.send().await)
    }

    /// Returns a page of keys of an index. `after` is the end of the previous page.
    pub(crate) async fn query_index(
        &self,
        index: &str,
        hash: &str,
        range: Option<(&str, aws_sdk_dynamodb::types::AttributeValue)>,
        start: Option<Item>,
        limit: i32,
    ) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.name)
            .index_name(index)
            .limit(limit)
            .set_exclusive_start_key(start);
        query = query
            .expression_attribute_names("#hash", index)
            .expression_attribute_values(":hash", s(hash));
        query = match range {
            Some((condition, value)) => query
                .key_condition_expression(format!("#hash = :hash AND {condition}"))
                .expression_attribute_values(":range", value),
            None => query.key_condition_expression("#hash = :hash"),
        };
        let answer = query.send().await.map_err(failed)?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}
