//! The playground: a page that talks to this server's own HTTP interface and to nothing else.
//!
//! The files are embedded in the binary and served as they are: the page needs no build step and no
//! other host. It has no access of its own; with tokens configured, it asks the user for one.

/// A file of the playground.
pub(crate) struct Asset {
    /// The path that serves it.
    pub(crate) path: &'static str,
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// Its text.
    pub(crate) body: &'static str,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Everything that the page consists of. The first is the page.
pub(crate) static ASSETS: [Asset; 7] = [
    Asset {
        path: "/playground",
        content_type: "text/html; charset=utf-8",
        body: include_str!("page.html"),
    },
    Asset {
        path: "/playground/style.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("style.css"),
    },
    Asset { path: "/playground/app.js", content_type: JAVASCRIPT, body: include_str!("app.js") },
    Asset { path: "/playground/api.js", content_type: JAVASCRIPT, body: include_str!("api.js") },
    Asset {
        path: "/playground/model.js",
        content_type: JAVASCRIPT,
        body: include_str!("model.js"),
    },
    Asset { path: "/playground/view.js", content_type: JAVASCRIPT, body: include_str!("view.js") },
    Asset {
        path: "/playground/timeline.js",
        content_type: JAVASCRIPT,
        body: include_str!("timeline.js"),
    },
];

/// Sent with every file: only this server's own scripts and styles run, and no other site may frame
/// the page. `data:` is for images in results of tools.
pub(crate) const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
