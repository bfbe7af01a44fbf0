//! The body of an answer, which reports to the connection state when a piece of it arrives and when it breaks off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use metrics::counter;

use crate::metrics::API_RECEIVED;
use crate::state::Kind;
use crate::watch::Connection;

/// A body whose pieces are noted.
pub struct MonitoredBody {
    body: kube::client::Body,
    kind: Kind,
    connection: Connection,
}

impl MonitoredBody {
    /// Notes what arrives in `body` for a kind's watch.
    pub fn new(body: kube::client::Body, kind: Kind, connection: Connection) -> Self {
        Self { body, kind, connection }
    }
}

impl Body for MonitoredBody {
    type Data = <kube::client::Body as Body>::Data;
    type Error = <kube::client::Body as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(piece)) => {
                self.connection.heard(self.kind);
                if let Some(data) = piece.data_ref() {
                    counter!(API_RECEIVED, "kind" => self.kind.label()).increment(data.len() as u64);
                }
            }
            Some(Err(_)) => self.connection.lost(self.kind),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_its_end_and_its_size_as_the_body_does() {
        let monitored = |body| MonitoredBody::new(body, Kind::Service, Connection::default());
        let empty = monitored(kube::client::Body::empty());
        assert_eq!((empty.is_end_stream(), empty.size_hint().exact()), (true, Some(0)));
        let full = monitored(b"text".to_vec().into());
        assert_eq!((full.is_end_stream(), full.size_hint().exact()), (false, Some(4)));
    }
}
