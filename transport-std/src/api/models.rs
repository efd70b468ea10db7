//! The models of the API: `/v1/models`.

use std::sync::Arc;

use http::Method;
use toolrunner_core::json::Value;

use super::{ApiRequest, FromJson, Pages, segment};
use crate::config::Settings;
use crate::error::Error;

/// Requests about models. Created by [`Client::models`](crate::Client::models).
#[derive(Clone, Debug)]
pub struct Models {
    settings: Arc<Settings>,
}

/// A model, as the API describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Model {
    /// The id, which a request names.
    pub id: String,
    /// The name for people.
    pub display_name: String,
    /// When the model was released: an RFC 3339 time.
    pub created_at: String,
    /// The maximum number of input tokens, if the server reports it.
    pub max_input_tokens: Option<u64>,
    /// The maximum value of `max_tokens`, if the server reports it.
    pub max_tokens: Option<u64>,
    /// `active`, `deprecated` or `retired`, if the server reports it.
    pub lifecycle: Option<String>,
    /// When the model is to be retired: an RFC 3339 time.
    pub retires_at: Option<String>,
    /// The whole object, as JSON.
    pub json: String,
}

impl Models {
    pub(crate) const fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    /// Lists the models, the newest first.
    pub fn list(&self) -> Pages<Model> {
        Pages::new(Arc::clone(&self.settings), "/v1/models", None)
    }

    /// Requests one model by its id or alias.
    ///
    /// # Errors
    /// See [`Error`]. An unknown model is [`Error::Api`] with status 404.
    pub async fn by_id(&self, id: &str) -> Result<Model, Error> {
        let path = format!("/v1/models/{}", segment(id)?);
        let reply = ApiRequest::new(&self.settings, Method::GET, &path).await?;
        Model::from_json(reply.value()?).ok_or_else(|| reply.unexpected())
    }
}

impl FromJson for Model {
    fn from_json(value: Value<'_>) -> Option<Self> {
        let text = |name: &str| value.member(name)?.as_text().map(|text| text.to_string());
        let number = |name: &str| value.member(name)?.as_u64();
        Some(Self {
            id: text("id")?,
            display_name: text("display_name")?,
            created_at: text("created_at").unwrap_or_default(),
            max_input_tokens: number("max_input_tokens"),
            max_tokens: number("max_tokens"),
            lifecycle: text("lifecycle"),
            retires_at: text("retires_at"),
            json: value.as_json().to_owned(),
        })
    }
}
