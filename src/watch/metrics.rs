//! Names of the metrics that sources count.

/// Counter: lists and watches that were started again after the first, for whatever reason (a watch that ran into its
/// timeout, which is normal every few minutes; a cut connection; an error). Label `kind`.
pub const WATCH_RESTARTS: &str = "pointsman_watch_restarts_total";

/// Counter: requests to the API server. Labels `kind` and `code`: the HTTP status, or `error` when there was no answer.
pub const API_REQUESTS: &str = "pointsman_api_requests_total";
