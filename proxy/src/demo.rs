//! Backends of the embedded example, in this process but off the shards: pages that say who answered, and echoes.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
};
use std::{io, net::SocketAddr, thread};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const PAGES: usize = 3;
const ECHOES: usize = 2;
const ECHO_BUFFER_BYTES: usize = 16 << 10;

/// Where they listen.
#[derive(Clone, Debug)]
pub(crate) struct Backends {
    pub(crate) pages: Vec<SocketAddr>,
    pub(crate) echoes: Vec<SocketAddr>,
}

/// Starts them on a thread of their own; they end with the process.
///
/// # Errors
/// The machine has no loopback ports or threads left.
pub(crate) fn start() -> io::Result<Backends> {
    let (pages, echoes) = (bind(PAGES)?, bind(ECHOES)?);
    let addresses = |sockets: &[std::net::TcpListener]| {
        sockets.iter().map(std::net::TcpListener::local_addr).collect::<io::Result<Vec<_>>>()
    };
    let backends = Backends { pages: addresses(&pages)?, echoes: addresses(&echoes)? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("demo".into()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(pages, echoes)) {
            tracing::error!(%error, "the demo backends have ended");
        }
    })?;
    Ok(backends)
}

fn bind(count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    (0..count)
        .map(|_| {
            let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .collect()
}

async fn serve(pages: Vec<std::net::TcpListener>, echoes: Vec<std::net::TcpListener>) -> io::Result<()> {
    for (index, socket) in pages.into_iter().enumerate() {
        let who = Who { number: index + 1, address: socket.local_addr()? };
        let router = Router::new().fallback(page).with_state(who);
        let socket = TcpListener::from_std(socket)?;
        tokio::spawn(async move { axum::serve(socket, router).await });
    }
    for socket in echoes {
        tokio::spawn(echo(TcpListener::from_std(socket)?));
    }
    std::future::pending().await
}

#[derive(Clone, Copy)]
struct Who {
    number: usize,
    address: SocketAddr,
}

/// A browser gets a page with the backend's colour, everything else one line.
async fn page(State(who): State<Who>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    // No connection is kept: a reload of the page is a new connection, and shows the next backend.
    let close = [(header::CONNECTION, "close")];
    if accept.is_some_and(|a| a.contains("text/html")) {
        (close, Html(html(who))).into_response()
    } else {
        let text = format!("Hello from demo backend {} at {}\n", who.number, who.address);
        (close, text).into_response()
    }
}

fn html(who: Who) -> String {
    let colour = ["#2563eb", "#059669", "#d97706"][(who.number - 1) % PAGES];
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Balance demo</title>\
         <style>body{{font:18px/1.5 system-ui;margin:0;min-height:100vh;display:grid;place-items:center;\
         background:{colour};color:#fff}}\
         main{{text-align:center}}b{{display:block;font-size:6rem}}</style>\
         <main><b>{}</b>answered this request<br><small>{}; reload for the next one</small></main></html>\n",
        who.number, who.address
    )
}

async fn echo(socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(echo_one(stream));
            }
            // Out of descriptors: wait for one to come back rather than spin.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

async fn echo_one(mut stream: TcpStream) {
    let mut buffer = vec![0; ECHO_BUFFER_BYTES];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}
