//! The members of the toolset, in commands of the DevTools protocol.

use core::time::Duration;

use serde_json::json;
use toolrunner_core::tool::ToolError;
use toolrunner_std::builtin::{
    Browser, BrowserMember, BrowserReport, Display, FormValue, LoadedPage, Navigation, PageFilter,
    Point, Region, Screenshot, ScrollDirection, Target,
};

use crate::actions::{Line, failed};
use crate::chromium::Chromium;
use crate::keys::Chord;

/// The pixels of a notch of the scroll wheel.
const NOTCH: i32 = 100;

impl Browser for Chromium {
    const MEMBERS: &'static [BrowserMember] = &[
        BrowserMember::Navigate,
        BrowserMember::ListTabs,
        BrowserMember::NewTab,
        BrowserMember::SwitchTab,
        BrowserMember::CloseTab,
        BrowserMember::ReadPage,
        BrowserMember::GetPageText,
        BrowserMember::ReadConsole,
        BrowserMember::Find,
        BrowserMember::FormInput,
        BrowserMember::ScrollTo,
        BrowserMember::Screenshot,
        BrowserMember::Zoom,
        BrowserMember::LeftClick,
        BrowserMember::RightClick,
        BrowserMember::MiddleClick,
        BrowserMember::DoubleClick,
        BrowserMember::TripleClick,
        BrowserMember::Hover,
        BrowserMember::LeftClickDrag,
        BrowserMember::LeftMouseDown,
        BrowserMember::LeftMouseUp,
        BrowserMember::MouseMove,
        BrowserMember::Scroll,
        BrowserMember::Type,
        BrowserMember::Key,
        BrowserMember::HoldKey,
        BrowserMember::Wait,
    ];

    fn viewport(&self) -> Option<Display> {
        Some(self.viewport)
    }

    async fn report(&self) -> BrowserReport {
        self.report_tabs().await
    }

    async fn navigate(
        &self,
        tab: Option<&str>,
        to: Navigation<'_>,
    ) -> Result<LoadedPage, ToolError> {
        let page = self.tab(tab)?;
        self.go(&page, to).await?;
        if !self.is_loaded(&page, self.limit).await {
            let seconds = self.limit.as_secs_f64();
            return Err(failed(format!("navigate: the page did not load within {seconds} s")));
        }
        let report = self.send(&page, "Target.getTargetInfo", json!({})).await?;
        let text = |name: &str| report["targetInfo"][name].as_str().unwrap_or_default().to_owned();
        let status = self.tab(Some(&page.id))?.status;
        let title = Some(text("title")).filter(|title| !title.is_empty());
        Ok(LoadedPage { url: text("url"), title, status })
    }

    async fn new_tab(&self) -> Result<String, ToolError> {
        self.open().await.map_err(failed)
    }

    async fn switch_tab(&self, tab: &str) -> Result<(), ToolError> {
        self.switch(tab).await.map_err(failed)
    }

    async fn close_tab(&self, tab: &str) -> Result<(), ToolError> {
        Self::close_tab(self, tab).await.map_err(failed)
    }

    async fn read_page(
        &self,
        tab: Option<&str>,
        filter: Option<PageFilter>,
        root: Option<&str>,
        depth: u32,
    ) -> Result<String, ToolError> {
        let filter = match filter {
            Some(PageFilter::Interactive) => "interactive",
            Some(PageFilter::All) => "all",
            None => "visible",
        };
        let arguments = [json!(filter), json!(root), json!(depth)];
        self.read(&self.tab(tab)?, "read", &arguments).await
    }

    async fn get_page_text(&self, tab: Option<&str>) -> Result<String, ToolError> {
        self.read(&self.tab(tab)?, "text", &[]).await
    }

    async fn read_console(&self, tab: Option<&str>) -> Result<String, ToolError> {
        Ok(self.take_console(&self.tab(tab)?.id).join("\n"))
    }

    async fn find(&self, tab: Option<&str>, query: &str) -> Result<String, ToolError> {
        self.read(&self.tab(tab)?, "find", &[json!(query)]).await
    }

    async fn form_input(&self, tab: Option<&str>, element: &str, value: &FormValue) -> Line {
        let page = self.tab(tab)?;
        let value = match value {
            FormValue::Text(text) => json!(text),
            FormValue::Number(number) => json!(number),
            FormValue::Flag(flag) => json!(flag),
        };
        self.run(&page, "set", &[json!(element), value]).await?;
        self.settle(&page).await
    }

    async fn scroll_to(&self, tab: Option<&str>, element: &str) -> Line {
        let page = self.tab(tab)?;
        self.point(&page, &Target::Element(element.to_owned())).await?;
        Ok(None)
    }

    async fn screenshot(&self, tab: Option<&str>) -> Result<Screenshot, ToolError> {
        self.capture(&self.tab(tab)?, None).await
    }

    async fn zoom(&self, tab: Option<&str>, region: Region) -> Result<Screenshot, ToolError> {
        let page = self.tab(tab)?;
        let metrics = self.send(&page, "Page.getLayoutMetrics", json!({})).await?;
        let scrolled = |name: &str| metrics["cssVisualViewport"][name].as_f64().unwrap_or_default();
        let (width, height) = (region.right - region.left, region.bottom - region.top);
        let fit = |side: u32, all: u32| f64::from(all) / f64::from(side);
        let scale = fit(width, self.viewport.width).min(fit(height, self.viewport.height));
        let clip = json!({
            "x": f64::from(region.left) + scrolled("pageX"),
            "y": f64::from(region.top) + scrolled("pageY"),
            "width": width,
            "height": height,
            "scale": scale,
        });
        self.capture(&page, Some(clip)).await
    }

    async fn left_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.click(tab, at, held, "left", 1).await
    }

    async fn right_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.click(tab, at, held, "right", 1).await
    }

    async fn middle_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.click(tab, at, held, "middle", 1).await
    }

    async fn double_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.click(tab, at, held, "left", 2).await
    }

    async fn triple_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.click(tab, at, held, "left", 3).await
    }

    async fn hover(&self, tab: Option<&str>, at: &Target) -> Line {
        let page = self.tab(tab)?;
        let at = self.point(&page, at).await?;
        self.mouse(&page, "mouseMoved", at, json!({})).await?;
        Ok(None)
    }

    async fn left_click_drag(&self, tab: Option<&str>, from: Point, to: Point) -> Line {
        let page = self.tab(tab)?;
        let button = json!({"button": "left", "buttons": 1, "clickCount": 1});
        self.mouse(&page, "mouseMoved", from, json!({})).await?;
        self.mouse(&page, "mousePressed", from, button.clone()).await?;
        self.mouse(&page, "mouseMoved", to, button.clone()).await?;
        self.mouse(&page, "mouseReleased", to, button).await?;
        self.settle(&page).await
    }

    async fn left_mouse_down(&self, tab: Option<&str>, at: Point) -> Line {
        let page = self.tab(tab)?;
        self.mouse(&page, "mousePressed", at, json!({"button": "left", "clickCount": 1})).await?;
        Ok(None)
    }

    async fn left_mouse_up(&self, tab: Option<&str>, at: Point) -> Line {
        let page = self.tab(tab)?;
        self.mouse(&page, "mouseReleased", at, json!({"button": "left", "clickCount": 1})).await?;
        self.settle(&page).await
    }

    async fn mouse_move(&self, tab: Option<&str>, to: Point) -> Line {
        self.mouse(&self.tab(tab)?, "mouseMoved", to, json!({})).await?;
        Ok(None)
    }

    async fn scroll(
        &self,
        tab: Option<&str>,
        at: Point,
        direction: ScrollDirection,
        notches: u32,
    ) -> Line {
        let page = self.tab(tab)?;
        let length = NOTCH.saturating_mul(notches.try_into().unwrap_or(i32::MAX));
        let (x, y) = match direction {
            ScrollDirection::Up => (0, -length),
            ScrollDirection::Down => (0, length),
            ScrollDirection::Left => (-length, 0),
            ScrollDirection::Right => (length, 0),
        };
        self.mouse(&page, "mouseWheel", at, json!({"deltaX": x, "deltaY": y})).await?;
        self.settle(&page).await
    }

    async fn type_text(&self, tab: Option<&str>, text: &str) -> Line {
        let page = self.tab(tab)?;
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                let enter = Chord::parse("Return").map_err(failed)?;
                self.press(&page, &enter, Duration::ZERO).await?;
            }
            if !line.is_empty() {
                self.send(&page, "Input.insertText", json!({"text": line})).await?;
            }
        }
        self.settle(&page).await
    }

    async fn key(&self, tab: Option<&str>, keys: &str, times: u32) -> Line {
        let page = self.tab(tab)?;
        // All of them are known before the first is pressed.
        let chords: Result<Vec<_>, _> = keys.split_whitespace().map(Chord::parse).collect();
        let chords = chords.map_err(failed)?;
        for _ in 0..times {
            for chord in &chords {
                self.press(&page, chord, Duration::ZERO).await?;
            }
        }
        self.settle(&page).await
    }

    async fn hold_key(&self, tab: Option<&str>, keys: &str, time: Duration) -> Line {
        let page = self.tab(tab)?;
        self.press(&page, &Chord::parse(keys).map_err(failed)?, time).await?;
        self.settle(&page).await
    }

    async fn wait(&self, tab: Option<&str>, time: Duration) -> Line {
        self.tab(tab)?;
        tokio::time::sleep(time).await;
        Ok(None)
    }
}
