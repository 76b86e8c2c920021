//! A small HTTP client for the admin endpoint of a running proxy.

use super::args::{At, Environment};
use crate::{
    admin::{Surroundings, find},
    exit::{Exit, Failure},
    source::{Chosen, Origin, Source},
};
use balance_config::model::Address;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::{Body, Bytes},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

/// A reload may wait for a port and then for the shards.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// A hundred thousand connections, as JSON, take 30 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the embedded example listens: the last guess, when no socket is where one would be by default.
const EMBEDDED_EXAMPLE: Address = Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901));

/// A running proxy's admin endpoint.
pub(super) struct Client {
    address: Address,
    runtime: tokio::runtime::Runtime,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(at: &At, env: &Environment) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::runtime(e.to_string()))?;
        Ok(Self { address: address(at, env)?, runtime })
    }

    /// # Errors
    /// Nothing answers there.
    pub(super) fn ask(&self, method: Method, path: &str) -> Result<Answer, Failure> {
        self.runtime.block_on(async {
            match timeout(ANSWER_WAIT, self.exchange(method, path)).await {
                Ok(answer) => answer.map_err(|e| self.unreachable(&e.to_string())),
                Err(_) => Err(self.unreachable("no answer in time")),
            }
        })
    }

    fn unreachable(&self, why: &str) -> Failure {
        let text = format!(
            "no proxy answers at {}: {why}\nhint: is it running? --admin or --config say where it listens",
            self.address
        );
        Failure::new(Exit::Unavailable, text)
    }

    pub(super) fn pause(&self, time: Duration) {
        // The timer is made inside, because it belongs to the runtime.
        self.runtime.block_on(async { sleep(time).await });
    }

    async fn exchange(&self, method: Method, path: &str) -> io::Result<Answer> {
        match &self.address {
            Address::Ip(a) => request(TcpStream::connect(a).await?, method, path).await,
            Address::Unix(p) => request(UnixStream::connect(p).await?, method, path).await,
        }
    }
}

async fn request<S>(stream: S, method: Method, path: &str) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        Ok(Answer { status, body: read(response.into_body()).await? })
    };
    // The connection is a future of its own, which moves the bytes while the answer is waited for.
    let connection = tokio::spawn(connection);
    let answer = answer.await;
    connection.abort();
    answer
}

async fn read(body: impl Body<Data = Bytes, Error = hyper::Error>) -> io::Result<Bytes> {
    let collected = Limited::new(Box::pin(body), ANSWER_BYTES_MAX).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(io::Error::other)
}

fn address(at: &At, env: &Environment) -> Result<Address, Failure> {
    if let Some(text) = &at.admin {
        return parse(text)
            .ok_or_else(|| Failure::usage(format!("--admin: \"{text}\" is neither IP:PORT nor unix:/path")));
    }
    let file = at.config.as_ref().or(env.config.as_ref());
    // A file that is broken must not keep `reload` from being told so by the proxy itself.
    let configured = file.and_then(|path| {
        let chosen = Chosen { origin: Origin::File(path.clone()), overrides: Vec::new() };
        chosen.load().ok()?.config.admin.listen
    });
    let by_rule = || find(&Surroundings::of_process()).map(Address::Unix);
    Ok(configured.or_else(by_rule).unwrap_or(EMBEDDED_EXAMPLE))
}

/// As the banner and the configuration write it.
fn parse(text: &str) -> Option<Address> {
    let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(Address::Unix(path.into()));
    }
    if text.starts_with('/') {
        return Some(Address::Unix(text.into()));
    }
    text.parse().ok().map(Address::Ip)
}
