//! The accept loop.
//!
//! It is our own because a ready-made server always answers: here a response marked [`Delivery::Dropped`] closes its
//! connection without one byte of an answer. Ending the loop ends every connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::faults::{Delivery, Dropped};

/// A running server. Dropping it ends it too, without waiting.
pub(crate) struct Server {
    address: SocketAddr,
    ending: Arc<Notify>,
    accepting: Mutex<JoinSet<()>>,
}

impl Server {
    pub(crate) async fn start(address: SocketAddr, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let ending = Arc::new(Notify::new());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, router, Arc::clone(&ending)));
        Ok(Self { address, ending, accepting: Mutex::new(accepting) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the port and every connection are closed; at once if they already were.
    pub(crate) async fn stop(&self) {
        self.ending.notify_one();
        while self.accepting.lock().await.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, router: Router, ending: Arc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = ending.notified() => break,
            accepted = listener.accept() => {
                // A client that left before it was accepted is nobody's error.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, router.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, router: Router) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            match response.extensions().get() {
                Some(Delivery::Dropped) => Err(Dropped),
                Some(Delivery::CutShort | Delivery::Dribbled(_)) | None => Ok(response),
            }
        }
    });
    // An answer written in two parts would otherwise wait for the client's acknowledgement of the first. Where this
    // cannot be set, answers are late, and still right.
    let _ = stream.set_nodelay(true);
    // Fails when a client leaves and when a fault cuts it off: both are meant.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

#[cfg(test)]
mod tests;
