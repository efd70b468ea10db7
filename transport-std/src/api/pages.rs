//! Lists that arrive in pages.

use core::marker::PhantomData;
use std::sync::Arc;

use http::Method;
use toolrunner_core::json::Value;

use super::ApiRequest;
use crate::config::Settings;
use crate::error::Error;

/// A type that is read from an item of a list.
pub trait FromJson: Sized {
    /// Returns the item, or `None` if a member that the API always sends is missing or has another
    /// type.
    fn from_json(value: Value<'_>) -> Option<Self>;
}

/// A list that is requested page by page.
#[derive(Debug)]
#[must_use = "a list does nothing until a page of it is requested"]
pub struct Pages<T> {
    settings: Arc<Settings>,
    path: &'static str,
    beta: Option<&'static str>,
    query: Vec<(String, String)>,
    /// The parameter that selects the next page. `None` for the first one.
    cursor: Option<(&'static str, String)>,
    is_done: bool,
    item: PhantomData<fn() -> T>,
}

impl<T: FromJson> Pages<T> {
    pub(super) const fn new(
        settings: Arc<Settings>,
        path: &'static str,
        beta: Option<&'static str>,
    ) -> Self {
        Self {
            settings,
            path,
            beta,
            query: Vec::new(),
            cursor: None,
            is_done: false,
            item: PhantomData,
        }
    }

    /// Sets the number of items of a page. The API accepts 1 to 1000; its default is 20.
    pub fn limit(self, items: u32) -> Self {
        self.query("limit", &items.to_string())
    }

    /// Adds `name=value` to the query of every page, such as a filter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Requests the next page, or returns `None` after the last one. After an error, another call
    /// requests the same page again.
    ///
    /// # Errors
    /// See [`Error`]. Returns `Protocol` if the reply is not a page of this list, or if the server
    /// names the same next page twice.
    pub async fn next_page(&mut self) -> Result<Option<Vec<T>>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let mut request = ApiRequest::new(&self.settings, Method::GET, self.path);
        if let Some(beta) = self.beta {
            request = request.beta(beta);
        }
        let cursor = self.cursor.iter().map(|(name, value)| (*name, value));
        let query = self.query.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in query.chain(cursor) {
            request = request.query(name, value);
        }
        let reply = request.await?;
        let value = reply.value()?;
        let data = value.member("data").ok_or_else(|| reply.unexpected())?;
        let items: Option<Vec<T>> = data.elements().map(T::from_json).collect();
        let items = items.ok_or_else(|| reply.unexpected())?;
        let text = |name: &str| value.member(name)?.as_text().map(|text| text.to_string());
        let next = match text("next_page") {
            Some(page) => Some(("page", page)),
            // Lists with `has_more` continue after their last item.
            None if value.member("has_more").and_then(Value::as_bool) == Some(true) => {
                text("last_id").map(|id| ("after_id", id))
            }
            None => None,
        };
        if next.is_some() && next == self.cursor {
            return Err(reply.unexpected());
        }
        self.is_done = next.is_none();
        self.cursor = next;
        Ok(Some(items))
    }

    /// Requests all pages and returns their items.
    ///
    /// # Errors
    /// Returns the errors of [`next_page`](Self::next_page).
    pub async fn all(mut self) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        while let Some(page) = self.next_page().await? {
            items.extend(page);
        }
        Ok(items)
    }
}
