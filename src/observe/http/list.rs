//! `/listz`: what the running proxy believes, a page of rows at a time, as JSON.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::about::About;
use crate::listing::{ListFilter, ListSubject, list};
use crate::observe::serve::FromThisHost;

/// The most rows of one answer.
const MAX_LIST_ROWS: usize = 1_000;

/// All lists together take one thread.
static LISTING: Semaphore = Semaphore::const_new(1);

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct ListRequest {
    subject: ListSubject,
    filter: ListFilter,
    after: Option<String>,
}

impl ListRequest {
    /// Parses `of=SUBJECT`, and `in=NAMESPACE` or `in=NAMESPACE/SERVICE`, and `after=PLACE`.
    fn parse(query: &str) -> Result<Self, String> {
        let (mut subject, mut filter, mut after) = (None, ListFilter::default(), None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("of", word)) => subject = ListSubject::ALL.into_iter().find(|subject| subject.word() == word),
                Some(("in", name)) => filter = ListFilter::parse(name)?,
                Some(("after", place)) => after = Some(place.to_owned()),
                _ => return Err(format!("{part:?} is not understood: expected of=, in= and after=")),
            }
        }
        let subject = subject.ok_or("of= must be services, endpoints, frontends or clashes")?;
        Ok(Self { subject, filter, after })
    }
}

/// The page, for clients on this host alone: unlike the other pages it says who serves what.
pub(super) async fn page(
    State(about): State<Arc<About>>,
    Extension(FromThisHost(from_this_host)): Extension<FromThisHost>,
    uri: Uri,
) -> Response {
    if !from_this_host {
        return (StatusCode::FORBIDDEN, "this page is for clients on this host\n").into_response();
    }
    let request = match ListRequest::parse(uri.query().unwrap_or_default()) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error + "\n").into_response(),
    };
    // Fails only if the semaphore were closed.
    let permit = LISTING.acquire().await.ok();
    let Some(snapshot) = about.board.snapshot().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the loop does not answer\n").into_response();
    };
    // The thread keeps the permit: it goes on when the client is gone.
    let listed = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let ListRequest { subject, filter, after } = request;
        let page = list(&snapshot, subject, &filter, after.as_deref(), MAX_LIST_ROWS)?;
        serde_json::to_string(&page).map_err(|error| error.to_string())
    });
    match listed.await {
        Ok(Ok(page)) => {
            ([(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")], page).into_response()
        }
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, error + "\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "a list could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_a_subject_and_where_to_begin_and_nothing_else() {
        let filter = ListFilter::parse("shop/cart").unwrap();
        let (subject, after) = (ListSubject::Frontends, Some("10.0.0.1,tcp,80".to_owned()));
        let request = ListRequest::parse("of=frontends&in=shop/cart&after=10.0.0.1,tcp,80").unwrap();
        assert_eq!(request, ListRequest { subject, filter, after });
        for wrong in ["", "of=pods", "of=services&limit=1000000", "of=services&in=a/b/c", "of=services&in=%2e"] {
            assert!(ListRequest::parse(wrong).is_err(), "{wrong}");
        }
    }
}
