//! The door to blobs: as much of Azure Storage's REST API as uploading a file takes, for bearers of the hub's signatures.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;

use super::call::{Call, discard};
use crate::shell::Shell;
use crate::uploads::{Place, Problem, Shown};

const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");
/// The longest list of blocks: a thousand take a tenth of it.
const LIST_BYTES_MAX: usize = 1024 * 1024;
const ID_MAX: usize = 128;

/// Whether a request comes with a signature of Azure Storage for one blob. The hub's own calls have theirs in a header.
pub(super) fn is_ours(uri: &Uri) -> bool {
    let mut fields = uri.query().unwrap_or_default().split('&');
    let is_signed = fields.clone().any(|field| field.starts_with("sig="));
    is_signed && fields.any(|field| field == "sr=b")
}

/// Answers as the storage account would. Nothing of the body is read before the signature is known to be good.
pub(super) async fn answer(shell: &Shell, request: Request) -> Response {
    let (call, body) = match Call::head(request) {
        Ok(read) => read,
        Err(refusal) => return failed(400, "InvalidUri", &refusal.text),
    };
    let field = |name| call.parameter(name).unwrap_or_default();
    let shown = Shown { signature: field("sig"), expiry: field("se"), permissions: field("sp") };
    let place = Place::parse(&call.segments.join("/")).ok();
    let unlocked = place.and_then(|place| Some((shell.uploads.unlock(&place, &shown, shell.clock.now())?, place)));
    let Some((blobs, place)) = unlocked else {
        discard(body).await;
        return failed(403, "AuthenticationFailed", "the signature does not open this blob, or no longer");
    };
    if call.method != "PUT" {
        let mut response = failed(405, "UnsupportedHttpVerb", "blobs are only written here");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("PUT"));
        return response;
    }
    let written = match (call.parameter("comp"), call.header("x-ms-blob-type")) {
        (None, Some("BlockBlob")) => blobs.put(&place, body).await,
        (None, _) => return failed(400, "InvalidHeaderValue", "x-ms-blob-type must be BlockBlob"),
        (Some("block"), _) => match call.parameter("blockid").filter(|id| (1..=ID_MAX).contains(&id.len())) {
            Some(id) => blobs.put_block(&place, id, body).await,
            None => return failed(400, "InvalidQueryParameterValue", "blockid must have 1 to 128 characters"),
        },
        (Some("blocklist"), _) => match read_list(body).await {
            // Files may be long: nothing for the threads that serve connections.
            Ok(ids) => {
                let put = tokio::task::spawn_blocking(move || blobs.put_list(&place, &ids)).await;
                put.unwrap_or_else(|e| Err(Problem::Broken(std::io::Error::other(e))))
            }
            Err(reason) => return failed(400, "InvalidXmlDocument", reason),
        },
        (Some(_), _) => return failed(400, "InvalidQueryParameterValue", "comp must be block or blocklist"),
    };
    written.map_or_else(|problem| refused(&problem), |()| created())
}

async fn read_list(body: Body) -> Result<Vec<String>, &'static str> {
    let read = axum::body::to_bytes(body, LIST_BYTES_MAX).await.map_err(|_| "the list of blocks is too long")?;
    let text = std::str::from_utf8(&read).map_err(|_| "the list of blocks is not UTF-8")?;
    block_ids(text).ok_or("not a list of blocks: <BlockList><Latest>{id}</Latest>…</BlockList>")
}

/// The ids in a `BlockList`. They are base64, so nothing in them is ever escaped.
fn block_ids(text: &str) -> Option<Vec<String>> {
    let (_, list) = text.split_once("<BlockList")?;
    let (_, list) = list.split_once('>')?;
    let mut rest = list.split_once("</BlockList>").map_or("", |(list, _)| list).trim();
    let mut ids = Vec::new();
    while !rest.is_empty() {
        let (kind, after) = rest.strip_prefix('<')?.split_once('>')?;
        if !matches!(kind, "Latest" | "Uncommitted") {
            return None;
        }
        let (id, after) = after.split_once("</")?;
        rest = after.strip_prefix(kind)?.strip_prefix('>')?.trim_start();
        ids.push(id.trim().to_owned());
    }
    Some(ids)
}

fn refused(problem: &Problem) -> Response {
    match problem {
        Problem::TooLarge => failed(413, "RequestBodyTooLarge", "a blob has at most 256 MiB, in at most 1000 blocks"),
        Problem::NoSuchBlock => failed(400, "InvalidBlockList", "a block of the list has not been put"),
        Problem::Broken(error) => {
            tracing::warn!(%error, "a blob was not written");
            // 409 rather than 500: clients would try again and again what no trying mends.
            failed(409, "InvalidOperation", "the blob cannot be written; the emulator's log says why")
        }
    }
}

fn created() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(VERSION, HeaderValue::from_static("2018-03-28"));
    response
}

/// An error as Azure Storage words it.
fn failed(status: u16, code: &'static str, text: &str) -> Response {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{text}</Message></Error>"
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response.headers_mut().insert(ERROR_CODE, HeaderValue::from_static(code));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_by_example() {
        let ids = |text: &str| block_ids(text).map(|ids| ids.join(" "));
        let list = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>\n <Latest>YQ==</Latest>\n \
            <Uncommitted>Yg==</Uncommitted></BlockList>";
        assert_eq!(ids(list).as_deref(), Some("YQ== Yg=="));
        assert_eq!(ids("<BlockList xmlns:x=\"y\"></BlockList>").as_deref(), Some(""));
        for text in [
            "",
            "<List></List>",
            "<BlockList>YQ==</BlockList>",
            "<BlockList><Committed>YQ==</Committed></BlockList>",
            "<BlockList><Latest>YQ==</Uncommitted></BlockList>",
        ] {
            assert_eq!(ids(text), None, "{text}");
        }
    }

    #[test]
    fn the_hub_keeps_its_own_paths() {
        assert!(is_ours(&Uri::from_static("/files/press-1/a.txt?sv=2018-03-28&sr=b&sig=x&se=y&sp=rw")));
        for text in ["/devices/a?api-version=2021-04-12", "/devices/a?sr=b", "/devices/a?sig=x", "/devices/a"] {
            assert!(!is_ours(&Uri::from_static(text)), "{text}");
        }
    }
}
