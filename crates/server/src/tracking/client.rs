//! What a `User-Agent` says of the program that opened a message or followed a link, and whether it was one that nobody sat
//! before.

use serde_json::{Value, json};

/// How much of a `User-Agent` is looked at and kept, in characters.
const USER_AGENT_CHARACTERS: usize = 512;

/// Programs that fetch what nobody has asked for, or for somebody who cannot be told from others: a part of their names in
/// lower case, and what they are called.
const BOTS: &[(&str, &str)] = &[
    ("googleimageproxy", "gmail"),
    ("ggpht.com", "gmail"),
    ("yahoomailproxy", "yahoo"),
    ("yahoocachesystem", "yahoo"),
    ("bingpreview", "microsoft"),
    ("skypeuripreview", "microsoft"),
    ("microsoft office existence discovery", "microsoft"),
    ("duckduckgo-mail", "generic_proxy"),
    ("barracuda", "generic"),
    ("proofpoint", "generic"),
    ("mimecast", "generic"),
    ("symantec", "generic"),
    ("trendmicro", "generic"),
    ("headlesschrome", "generic"),
    ("facebookexternalhit", "generic"),
    ("bot", "generic"),
    ("crawl", "generic"),
    ("spider", "generic"),
    ("scanner", "generic"),
    ("preview", "generic"),
    ("curl/", "generic"),
    ("wget/", "generic"),
    ("python", "generic"),
    ("java/", "generic"),
    ("okhttp", "generic"),
    ("go-http-client", "generic"),
    ("axios/", "generic"),
    ("node-fetch", "generic"),
    ("libwww", "generic"),
];

/// Mail programs and browsers; the first that is named is it, since each names those that it wants to be taken for.
const CLIENTS: &[(&str, &str, &str)] = &[
    ("thunderbird/", "Thunderbird", "email client"),
    ("microsoft outlook", "Outlook", "email client"),
    ("outlook-ios", "Outlook", "email client"),
    ("outlook-android", "Outlook", "email client"),
    ("msoffice", "Outlook", "email client"),
    ("edg/", "Edge", "browser"),
    ("edga/", "Edge", "browser"),
    ("edgios/", "Edge", "browser"),
    ("opr/", "Opera", "browser"),
    ("samsungbrowser/", "Samsung Internet", "browser"),
    ("firefox/", "Firefox", "browser"),
    ("fxios/", "Firefox", "browser"),
    ("crios/", "Chrome", "mobile browser"),
    ("chromium/", "Chromium", "browser"),
    ("chrome/", "Chrome", "browser"),
    ("trident/", "Internet Explorer", "browser"),
    ("msie ", "Internet Explorer", "browser"),
    ("version/", "Safari", "browser"),
    // Mail of Apple is WebKit without a browser's name.
    ("applewebkit/", "Apple Mail", "email client"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("windows", "Windows"),
    ("iphone", "iOS"),
    ("ipad", "iOS"),
    ("android", "Android"),
    ("cros ", "Chrome OS"),
    ("mac os x", "macOS"),
    ("macintosh", "macOS"),
    ("linux", "Linux"),
];

/// `client-info` of an event, in Mailgun's words. What cannot be told is `unknown`, and `bot` is empty.
pub(crate) fn client_info(user_agent: &str) -> Value {
    let user_agent = kept(user_agent);
    let lower = user_agent.to_ascii_lowercase();
    let bot = bot(&lower);
    let (name, kind) =
        match (bot.is_empty(), find(CLIENTS.iter().map(|(part, name, kind)| (*part, (*name, *kind))), &lower)) {
            (true, found) => found.unwrap_or(("unknown", "unknown")),
            (false, _) => ("unknown", "robot"),
        };
    let system = find(SYSTEMS.iter().copied(), &lower).unwrap_or("unknown");
    let device = match system {
        _ if !bot.is_empty() => "unknown",
        _ if lower.contains("ipad") || lower.contains("tablet") => "tablet",
        "Android" if !lower.contains("mobile") => "tablet",
        "iOS" | "Android" => "mobile",
        "unknown" => "unknown",
        _ => "desktop",
    };
    let kind = if kind == "browser" && matches!(device, "mobile" | "tablet") { "mobile browser" } else { kind };
    json!({
        "client-type": kind,
        "client-os": system,
        "device-type": device,
        "client-name": name,
        "user-agent": user_agent,
        "bot": bot,
    })
}

fn bot(lower: &str) -> &'static str {
    match lower.trim() {
        "" => "generic",
        // The proxies of Apple's Mail Privacy Protection say nothing more.
        "mozilla/5.0" => "apple",
        _ => find(BOTS.iter().copied(), lower).unwrap_or(""),
    }
}

fn find<T>(table: impl IntoIterator<Item = (&'static str, T)>, lower: &str) -> Option<T> {
    table.into_iter().find(|(part, _)| lower.contains(part)).map(|(_, found)| found)
}

fn kept(user_agent: &str) -> String {
    user_agent.chars().take(USER_AGENT_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_by_what_they_say() {
        for (user_agent, name, kind, system, device, bot) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
                "Chrome",
                "browser",
                "Windows",
                "desktop",
                "",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Edg/126.0",
                "Edge",
                "browser",
                "Windows",
                "desktop",
                "",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "Safari",
                "mobile browser",
                "iOS",
                "mobile",
                "",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                "Apple Mail",
                "email client",
                "macOS",
                "desktop",
                "",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0",
                "Thunderbird",
                "email client",
                "Linux",
                "desktop",
                "",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36",
                "Chrome",
                "mobile browser",
                "Android",
                "mobile",
                "",
            ),
            (
                "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0)",
                "Outlook",
                "email client",
                "Windows",
                "desktop",
                "",
            ),
            (
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                "unknown",
                "robot",
                "Windows",
                "unknown",
                "gmail",
            ),
            ("Mozilla/5.0", "unknown", "robot", "unknown", "unknown", "apple"),
            ("YahooMailProxy; https://help.yahoo.com/", "unknown", "robot", "unknown", "unknown", "yahoo"),
            ("Mozilla/5.0 (compatible; BingPreview/1.0b)", "unknown", "robot", "unknown", "unknown", "microsoft"),
            ("curl/8.5.0", "unknown", "robot", "unknown", "unknown", "generic"),
            ("", "unknown", "robot", "unknown", "unknown", "generic"),
            ("Something else", "unknown", "unknown", "unknown", "unknown", ""),
        ] {
            let expected = json!({
                "client-type": kind, "client-os": system, "device-type": device, "client-name": name,
                "user-agent": user_agent, "bot": bot,
            });
            assert_eq!(client_info(user_agent), expected);
        }
        let long = client_info(&format!("a\r\n{}", "ü".repeat(10_000)));
        assert_eq!(long["user-agent"].as_str().unwrap().chars().count(), USER_AGENT_CHARACTERS);
    }
}
