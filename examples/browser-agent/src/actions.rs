//! What the members of the toolset are made of: commands to a page, and waiting for it.

use core::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::Instant;
use toolrunner_core::tool::ToolError;
use toolrunner_std::builtin::{Navigation, Point, Screenshot, Target};

use crate::chromium::{Chromium, Page};
use crate::keys::{Chord, modifiers};

/// How long an action waits for the page that it may have asked for.
const SETTLE: Duration = Duration::from_secs(5);
/// The functions that the browser calls in a page.
const SCRIPT: &str = include_str!("page.js");

pub(crate) type Line = Result<Option<String>, ToolError>;

pub(crate) fn failed(reason: impl Into<String>) -> ToolError {
    ToolError::text(reason)
}

impl Chromium {
    pub(crate) async fn send(
        &self,
        page: &Page,
        method: &str,
        params: Value,
    ) -> Result<Value, ToolError> {
        self.devtools.call(&page.session, method, &params).await.map_err(failed)
    }

    pub(crate) fn tab(&self, tab: Option<&str>) -> Result<Page, ToolError> {
        self.page(tab).map_err(failed)
    }

    /// Calls a function of the script in a page.
    pub(crate) async fn run(
        &self,
        page: &Page,
        function: &str,
        arguments: &[Value],
    ) -> Result<Value, ToolError> {
        // The world of this name, which ends with the document, and with it the references.
        let world = json!({"frameId": page.target, "worldName": "toolrunner"});
        let world = self.send(page, "Page.createIsolatedWorld", world).await?;
        let arguments: Vec<_> = arguments.iter().map(Value::to_string).collect();
        let expression = format!(
            "globalThis.toolrunner ?? (() => {{ {SCRIPT} }})(); globalThis.toolrunner.{function}({})",
            arguments.join(",")
        );
        let params = json!({"contextId": world["executionContextId"], "expression": expression, "returnByValue": true, "timeout": 10_000});
        let result = self.send(page, "Runtime.evaluate", params).await?;
        if let Some(thrown) = result.pointer("/exceptionDetails/exception/description") {
            // The first line is `Error: …`, the rest is where it was thrown.
            let thrown =
                thrown.as_str().and_then(|text| text.lines().next()).unwrap_or("it failed");
            return Err(failed(thrown.strip_prefix("Error: ").unwrap_or(thrown)));
        }
        Ok(result.pointer("/result/value").cloned().unwrap_or_default())
    }

    pub(crate) async fn read(
        &self,
        page: &Page,
        function: &str,
        arguments: &[Value],
    ) -> Result<String, ToolError> {
        let text = self.run(page, function, arguments).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page is loaded. Returns whether it is.
    pub(crate) async fn is_loaded(&self, page: &Page, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let params = json!({"expression": "document.readyState", "returnByValue": true});
            // A page that is busy does not answer.
            let state = self.send(page, "Runtime.evaluate", params);
            let state = tokio::time::timeout_at(end, state).await;
            let state = state.ok().and_then(Result::ok).unwrap_or_default();
            if state.pointer("/result/value").is_some_and(|state| state == "complete") {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for what an action has started: a page that it opened, or scripts that it called.
    pub(crate) async fn settle(&self, page: &Page) -> Line {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if self.is_loaded(page, SETTLE).await || self.page(Some(&page.id)).is_err() {
            return Ok(None);
        }
        Ok(Some(format!("The page is still loading after {} s.", SETTLE.as_secs())))
    }

    /// Returns the id of the document that the page shows.
    pub(crate) async fn document(&self, page: &Page) -> Result<Value, ToolError> {
        let tree = self.send(page, "Page.getFrameTree", json!({})).await?;
        Ok(tree.pointer("/frameTree/frame/loaderId").cloned().unwrap_or_default())
    }

    /// Waits until the page shows another document than `old`.
    pub(crate) async fn is_replaced(&self, page: &Page, old: &Value) -> Result<bool, ToolError> {
        let end = Instant::now() + self.limit;
        while self.document(page).await? == *old {
            if Instant::now() >= end {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(true)
    }

    pub(crate) async fn go(&self, page: &Page, to: Navigation<'_>) -> Result<(), ToolError> {
        let step = match to {
            Navigation::Url(url) => {
                let has_scheme = url.split_once(':').is_some_and(|(_, rest)| {
                    // `localhost:8080` has a port, not a scheme.
                    !rest.starts_with(|c: char| c.is_ascii_digit())
                });
                let url = if has_scheme { url.to_owned() } else { format!("https://{url}") };
                self.sites.check(&url).map_err(|reason| failed(format!("navigate: {reason}")))?;
                self.forget_status(&page.target);
                let reply = self.send(page, "Page.navigate", json!({"url": url})).await?;
                if let Some(error) = reply.get("errorText").and_then(Value::as_str) {
                    return Err(failed(format!("navigate: {error}")));
                }
                return Ok(());
            }
            Navigation::Reload => {
                let old = self.document(page).await?;
                self.send(page, "Page.reload", json!({})).await?;
                return if self.is_replaced(page, &old).await? {
                    Ok(())
                } else {
                    Err(failed("navigate: the page did not load again"))
                };
            }
            Navigation::Back => -1,
            Navigation::Forward => 1,
        };
        let history = self.send(page, "Page.getNavigationHistory", json!({})).await?;
        let entry =
            history["currentIndex"].as_i64().and_then(|now| usize::try_from(now + step).ok());
        let entry = entry.and_then(|entry| history["entries"].get(entry));
        let Some(entry) = entry else {
            return Err(failed("navigate: the history of the tab has no such page"));
        };
        let id = entry["id"].clone();
        self.send(page, "Page.navigateToHistoryEntry", json!({"entryId": id})).await?;
        let end = Instant::now() + self.limit;
        loop {
            let history = self.send(page, "Page.getNavigationHistory", json!({})).await?;
            let now = history["currentIndex"].as_u64().and_then(|now| usize::try_from(now).ok());
            if now.and_then(|now| history["entries"].get(now)).is_some_and(|now| now["id"] == id) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(failed("navigate: the page did not load"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the point of a target, and scrolls its element into view.
    pub(crate) async fn point(&self, page: &Page, target: &Target) -> Result<Point, ToolError> {
        let element = match target {
            Target::Point(point) => return Ok(*point),
            Target::Element(element) => element,
        };
        let point = self.run(page, "point", &[json!(element)]).await?;
        let side = |i: usize| point.get(i)?.as_u64()?.try_into().ok();
        match (side(0), side(1)) {
            (Some(x), Some(y)) => Ok(Point { x, y }),
            _ => Err(failed(format!("{element} cannot be scrolled into view"))),
        }
    }

    pub(crate) async fn mouse(
        &self,
        page: &Page,
        kind: &str,
        at: Point,
        more: Value,
    ) -> Result<(), ToolError> {
        let mut event = json!({"type": kind, "x": at.x, "y": at.y});
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        self.send(page, "Input.dispatchMouseEvent", event).await.map(drop)
    }

    pub(crate) async fn click(
        &self,
        tab: Option<&str>,
        at: &Target,
        held: Option<&str>,
        button: &str,
        times: u32,
    ) -> Line {
        let page = self.tab(tab)?;
        let held = modifiers(held.unwrap_or_default()).map_err(failed)?;
        let at = self.point(&page, at).await?;
        self.mouse(&page, "mouseMoved", at, json!({"modifiers": held})).await?;
        for count in 1..=times {
            let event = json!({"button": button, "clickCount": count, "modifiers": held});
            self.mouse(&page, "mousePressed", at, event.clone()).await?;
            self.mouse(&page, "mouseReleased", at, event).await?;
        }
        self.settle(&page).await
    }

    pub(crate) async fn press(
        &self,
        page: &Page,
        chord: &Chord,
        time: Duration,
    ) -> Result<(), ToolError> {
        self.send(page, "Input.dispatchKeyEvent", chord.down()).await?;
        tokio::time::sleep(time).await;
        self.send(page, "Input.dispatchKeyEvent", chord.up()).await.map(drop)
    }

    pub(crate) async fn capture(
        &self,
        page: &Page,
        clip: Option<Value>,
    ) -> Result<Screenshot, ToolError> {
        let mut params = json!({"format": "png"});
        if let Some((params, clip)) = params.as_object_mut().zip(clip) {
            params.insert("clip".to_owned(), clip);
        }
        let reply = self.send(page, "Page.captureScreenshot", params).await?;
        let data = reply.get("data").and_then(Value::as_str).unwrap_or_default();
        Ok(Screenshot::new(STANDARD.decode(data)?))
    }
}
