//! Limits on the size of a request, and on the time in which its body must arrive.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::{StreamExt, poll};
use poem::error::ReadBodyError;
use poem::http::header;
use poem::{Body, Endpoint, Request, Result};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::http::error::Error;
use crate::http::waiting_room::WaitingRoom;

/// The largest body of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The longest URL; the page's own stay below 2 KiB.
const MAX_ADDRESS_BYTES: usize = 8 * 1024;
/// The largest headers, names and values.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Passes on complete requests and rejects those that are too large or do not arrive in time.
pub(crate) async fn request_limits<E: Endpoint>(
    next: Arc<E>,
    mut request: Request,
    limit: Duration,
    senders: WaitingRoom,
) -> Result<E::Output> {
    if request.uri().path_and_query().is_some_and(|address| address.as_str().len() > MAX_ADDRESS_BYTES) {
        return Err(Error::LongAddress.into());
    }
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head > MAX_HEAD_BYTES {
        return Err(Error::LargeHead.into());
    }
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(Error::PackedBody.into());
    }
    let mut body = pin!(whole(request.take_body()));
    let body = match poll!(body.as_mut()) {
        Poll::Ready(body) => body,
        Poll::Pending => {
            let give_way = Arc::new(Notify::new());
            let _seat = senders.enter(&give_way);
            tokio::select! {
                body = &mut body => body,
                () = give_way.notified() => Err(Error::SlowRequest.into()),
                () = sleep(limit) => Err(Error::SlowRequest.into()),
            }
        }
    };
    request.set_body(body?);
    next.call(request).await
}

/// Returns a body within the limit. Drains somewhat more than that: a client that is still sending would not see the
/// error.
async fn whole(body: Body) -> Result<Vec<u8>> {
    let (mut parts, mut whole, mut size) = (body.into_bytes_stream(), Vec::new(), 0);
    while let Some(part) = parts.next().await {
        let part = part.map_err(ReadBodyError::Io)?;
        size += part.len();
        match size {
            0..=MAX_BODY_BYTES => whole.extend_from_slice(&part),
            _ if size > 16 * MAX_BODY_BYTES => break,
            _ => whole = Vec::new(),
        }
    }
    if size > MAX_BODY_BYTES { Err(Error::TooLarge.into()) } else { Ok(whole) }
}
