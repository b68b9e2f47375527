//! Style, script and icon, within the program. Their addresses change with what they hold, so that a browser may keep
//! them and never has old ones.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::http::header;
use axum::routing::get;

use super::Console;

pub(super) static STYLE: Asset =
    Asset { name: "console.css", kind: "text/css; charset=utf-8", text: include_str!("assets/console.css") };
pub(super) static SCRIPT: Asset =
    Asset { name: "console.js", kind: "text/javascript; charset=utf-8", text: include_str!("assets/console.js") };
pub(super) static ICON: Asset =
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("assets/icon.svg") };

/// A file that every page needs.
#[derive(Debug)]
pub(super) struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    /// Where browsers find it as it is now.
    pub(super) fn path(&self) -> String {
        format!("/assets/{}?{}", self.name, *VERSION)
    }
}

/// Stands for all of them.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = [&STYLE, &SCRIPT, &ICON].map(|asset| asset.text).concat();
    digest(&SHA256, all.as_bytes()).as_ref()[..6].iter().map(|octet| format!("{octet:02x}")).collect()
});

pub(super) fn routes() -> Router<Console> {
    [&STYLE, &SCRIPT, &ICON].into_iter().fold(Router::new(), |router, asset| {
        let headers =
            [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
        router.route(&format!("/assets/{}", asset.name), get(move || async move { (headers, asset.text) }))
    })
}
