//! The playground: a page that uses only this server's own HTTP interface.
//!
//! The files are embedded in the binary and served unchanged. The page needs no build step and no
//! other host. It has no special access: if the server has tokens, the page asks the user for one.

/// A file of the playground.
pub(crate) struct Asset {
    /// The path at which the file is served.
    pub(crate) path: &'static str,
    /// The file's media type.
    pub(crate) content_type: &'static str,
    /// The file's text.
    pub(crate) body: &'static str,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// All files of the page. The first is the page itself.
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

/// The security policy of every file: only this server's own scripts and styles run, and no other
/// site may frame the page. `data:` is allowed for images in tool results.
pub(crate) const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
