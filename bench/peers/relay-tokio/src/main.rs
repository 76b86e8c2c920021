//! A TCP relay on tokio: one current-thread runtime and its own `copy_bidirectional`.
#![forbid(unsafe_code)]

use common::Args;
use std::io;
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

fn main() -> io::Result<()> {
    let args = Args::get("relay-tokio", 16 << 10);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::from_std(common::listen(args.listen)?)?;
        loop {
            // An error is one client's that went away before it was accepted.
            let Ok((client, _)) = listener.accept().await else { continue };
            tokio::task::spawn_local(relay(client, args));
        }
    })
}

/// A failure ends this connection and nothing else.
async fn relay(mut client: TcpStream, args: Args) {
    let Ok(mut server) = TcpStream::connect(args.to).await else { return };
    let _ = server.set_nodelay(true);
    let _ = copy_bidirectional_with_sizes(&mut client, &mut server, args.buffer, args.buffer).await;
}
