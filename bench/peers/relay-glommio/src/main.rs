//! A TCP relay on glommio: one executor, `copy` of its futures both ways.
#![forbid(unsafe_code)]

use common::Args;
use futures_lite::{
    AsyncReadExt, AsyncWriteExt,
    future::zip,
    io::{AsyncRead, AsyncWrite, split},
};
use glommio::{
    LocalExecutorBuilder, Placement,
    net::{TcpListener, TcpStream},
};
use std::io;

fn main() -> io::Result<()> {
    let args = Args::get("relay-glommio", 16 << 10);
    let executor = LocalExecutorBuilder::new(Placement::Unbound).name("relay").make().map_err(failed)?;
    executor.run(async move {
        // It makes its socket itself, and has no way to take another's.
        let listener = TcpListener::bind(args.listen).map_err(failed)?;
        loop {
            // An error is one client's that went away before it was accepted.
            let Ok(client) = listener.accept().await else { continue };
            glommio::spawn_local(relay(client, args)).detach();
        }
    })
}

/// Its errors may not leave their thread.
fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// A failure ends this connection and nothing else.
async fn relay(client: TcpStream, args: Args) {
    let Ok(server) = TcpStream::connect(args.to).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let _ = zip(copy(from_client, to_server, args.buffer), copy(from_server, to_client, args.buffer)).await;
}

/// Until the end of `from`, which is passed on.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.close().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
