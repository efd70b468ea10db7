//! Results of MCP tools as blocks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock as McpBlock, ResourceContents};
use toolrunner_std::machine::tool::{ContentBlock, Output, Source, ToolError, ToolOutput};

/// The media types of images that the API accepts.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// The result of a call.
#[derive(Debug)]
pub(crate) struct Contents(pub(crate) CallToolResult);

impl ToolOutput for Contents {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        let CallToolResult { content, structured_content, is_error, .. } = self.0;
        let failed = is_error == Some(true);
        match structured_content {
            Some(structured) if content.is_empty() => out.text(&structured.to_string())?,
            // The API accepts only text in a failed result.
            _ if failed => {
                let texts: Vec<String> = content.into_iter().map(text_of).collect();
                out.text(&texts.join("\n"))?;
            }
            _ => {
                for block in content {
                    write(block, out)?;
                }
            }
        }
        if failed { Err(ToolError::written()) } else { Ok(()) }
    }
}

fn write(content: McpBlock, out: &mut Output<'_>) -> Result<(), ToolError> {
    match content {
        McpBlock::Text(text) => out.block(ContentBlock::text(&text.text))?,
        McpBlock::Image(image) if is_image(&image.mime_type) && is_base64(&image.data) => {
            let (media_type, data) = (&*image.mime_type, &*image.data);
            out.block(ContentBlock::image(Source::Base64 { media_type, data }))?;
        }
        McpBlock::Resource(embedded) => resource(embedded.resource, out)?,
        other => out.block(ContentBlock::text(&text_of(other)))?,
    }
    Ok(())
}

fn resource(contents: ResourceContents, out: &mut Output<'_>) -> Result<(), ToolError> {
    match &contents {
        ResourceContents::TextResourceContents { text, mime_type, .. }
            if is_text(mime_type.as_deref()) =>
        {
            out.block(ContentBlock::document(Source::Text(text)))?;
        }
        ResourceContents::BlobResourceContents { blob, mime_type, .. } if is_base64(blob) => {
            let media_type = mime_type.as_deref();
            match media_type {
                Some(media_type) if is_image(media_type) => {
                    out.block(ContentBlock::image(Source::Base64 { media_type, data: blob }))?;
                }
                Some(media_type @ "application/pdf") => {
                    out.block(ContentBlock::document(Source::Base64 { media_type, data: blob }))?;
                }
                _ => match decoded(blob).and_then(|bytes| String::from_utf8(bytes).ok()) {
                    Some(text) if is_text(media_type) => {
                        out.block(ContentBlock::document(Source::Text(&text)))?;
                    }
                    _ => out.block(ContentBlock::text(&resource_text(&contents)))?,
                },
            }
        }
        _ => out.block(ContentBlock::text(&resource_text(&contents)))?,
    }
    Ok(())
}

/// Returns the text of a block, or a note in the place of a block without text.
fn text_of(content: McpBlock) -> String {
    match content {
        McpBlock::Text(text) => text.text,
        McpBlock::Image(image) => left_out("an image", &image.mime_type, &image.data),
        McpBlock::Audio(audio) => left_out("a recording", &audio.mime_type, &audio.data),
        McpBlock::Resource(embedded) => resource_text(&embedded.resource),
        McpBlock::ResourceLink(link) => {
            let mut text = format!("Resource {}: {}", link.name, link.uri);
            for more in [link.title, link.description].into_iter().flatten() {
                text.push('\n');
                text.push_str(&more);
            }
            text
        }
        other => serde_json::to_string(&other).unwrap_or_default(),
    }
}

fn resource_text(contents: &ResourceContents) -> String {
    match contents {
        ResourceContents::TextResourceContents { text, .. } => text.clone(),
        ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
            let media_type = mime_type.as_deref().unwrap_or("of unknown type");
            left_out(&format!("the resource {uri}"), media_type, blob)
        }
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

fn left_out(what: &str, media_type: &str, encoded: &str) -> String {
    let bytes = encoded.trim_end_matches('=').len() * 3 / 4;
    format!("[{what} ({media_type}, {bytes} bytes) cannot be shown]")
}

fn is_image(media_type: &str) -> bool {
    IMAGES.contains(&media_type)
}

fn is_text(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|media_type| media_type.starts_with("text/"))
}

/// Returns whether a text is base64. The API would refuse the whole request otherwise.
fn is_base64(data: &str) -> bool {
    decoded(data).is_some_and(|bytes| !bytes.is_empty())
}

fn decoded(data: &str) -> Option<Vec<u8>> {
    STANDARD.decode(data).ok()
}
