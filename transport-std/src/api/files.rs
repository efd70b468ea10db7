//! The files of the API: `/v1/files`.

use std::sync::Arc;

use http::Method;
use toolrunner_core::json::Value;

use super::request::RequestBody;
use super::{ApiReply, ApiRequest, FromJson, Pages, segment};
use crate::config::Settings;
use crate::error::Error;
use crate::http::HttpBody;

/// The beta of the Files API, which a request that names a file needs too.
pub const FILES_BETA: &str = "files-api-2025-04-14";

const PATH: &str = "/v1/files";

/// Requests about files. Created by [`Client::files`](crate::Client::files). All of them send
/// [`FILES_BETA`].
#[derive(Clone, Debug)]
pub struct Files {
    settings: Arc<Settings>,
}

/// An uploaded file, as the API describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// The id, for [`Source::File`](crate::Source::File).
    pub id: String,
    /// The name.
    pub filename: String,
    /// The media type.
    pub mime_type: String,
    /// The number of bytes.
    pub size_bytes: u64,
    /// When the file was uploaded: an RFC 3339 time.
    pub created_at: String,
    /// When the file expires: an RFC 3339 time, or `None` if never.
    pub expires_at: Option<String>,
    /// Whether the file can be downloaded. Files that a client uploaded cannot.
    pub downloadable: bool,
    /// The whole object, as JSON.
    pub json: String,
}

impl Files {
    pub(crate) const fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    fn request(&self, method: Method, path: &str) -> ApiRequest {
        ApiRequest::new(&self.settings, method, path).beta(FILES_BETA)
    }

    fn of(&self, method: Method, id: &str, rest: &str) -> Result<ApiRequest, Error> {
        Ok(self.request(method, &format!("{PATH}/{}{rest}", segment(id)?)))
    }

    /// Lists the files.
    pub fn list(&self) -> Pages<File> {
        Pages::new(Arc::clone(&self.settings), PATH, Some(FILES_BETA))
    }

    /// Uploads a file. If the upload is sent again because its reply was lost, the file may exist
    /// twice. The content is not copied.
    ///
    /// # Errors
    /// See [`Error`]. Returns `Setup` if `mime_type` contains a control character.
    pub async fn upload(
        &self,
        filename: &str,
        mime_type: &str,
        content: impl Into<Arc<Vec<u8>>>,
    ) -> Result<File, Error> {
        if mime_type.chars().any(char::is_control) {
            return Err(crate::SetupError::HeaderValue("content-type".to_owned()).into());
        }
        let content = content.into();
        let boundary = boundary(&content);
        let body = RequestBody {
            before: format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{}\"\r\ncontent-type: {mime_type}\r\n\r\n",
                quoted(filename)
            )
            .into_bytes(),
            content,
            after: format!("\r\n--{boundary}--\r\n").into_bytes(),
        };
        let request = self.request(Method::POST, PATH);
        let reply =
            request.body(body, &format!("multipart/form-data; boundary={boundary}")).await?;
        file_of(&reply)
    }

    /// Requests the description of a file.
    ///
    /// # Errors
    /// See [`Error`]. An unknown file is [`Error::Api`] with status 404.
    pub async fn metadata(&self, id: &str) -> Result<File, Error> {
        file_of(&self.of(Method::GET, id, "")?.await?)
    }

    /// Requests the content of a file that a tool of the server created. The caller reads it from
    /// [`ApiReply::body`], which is not limited in size.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn download(&self, id: &str) -> Result<ApiReply<HttpBody>, Error> {
        self.of(Method::GET, id, "/content")?.open().await
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// See [`Error`]. An unknown file is [`Error::Api`] with status 404.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        self.of(Method::DELETE, id, "")?.await.map(|_| ())
    }
}

impl FromJson for File {
    fn from_json(value: Value<'_>) -> Option<Self> {
        let text = |name: &str| value.member(name)?.as_text().map(|text| text.to_string());
        Some(Self {
            id: text("id")?,
            filename: text("filename")?,
            mime_type: text("mime_type")?,
            size_bytes: value.member("size_bytes")?.as_u64()?,
            created_at: text("created_at").unwrap_or_default(),
            expires_at: text("expires_at"),
            downloadable: value.member("downloadable").and_then(Value::as_bool) == Some(true),
            json: value.as_json().to_owned(),
        })
    }
}

fn file_of(reply: &ApiReply) -> Result<File, Error> {
    File::from_json(reply.value()?).ok_or_else(|| reply.unexpected())
}

/// Escapes a name as the HTML standard does for `multipart/form-data`.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// Returns a boundary that does not occur in the content.
fn boundary(content: &[u8]) -> String {
    let mut n = 0_u64;
    loop {
        let boundary = format!("toolrunner-{n:016x}");
        let mark = boundary.as_bytes();
        if !content.windows(mark.len()).any(|window| window == mark) {
            return boundary;
        }
        n += 1;
    }
}
