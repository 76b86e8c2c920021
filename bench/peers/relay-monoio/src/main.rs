//! A TCP relay on monoio: one thread, one io_uring, buffers owned by the operation.
#![forbid(unsafe_code)]

use common::Args;
use monoio::{
    IoUringDriver, RuntimeBuilder,
    io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable},
    net::{TcpListener, TcpStream},
};
use std::io;

fn main() -> io::Result<()> {
    let args = Args::get("relay-monoio", 16 << 10);
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(4096).build()?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(common::listen(args.listen)?)?;
        loop {
            // An error is one client's that went away before it was accepted.
            let Ok((client, _)) = listener.accept().await else { continue };
            monoio::spawn(relay(client, args));
        }
    })
}

/// A failure ends this connection and nothing else.
async fn relay(client: TcpStream, args: Args) {
    let Ok(server) = TcpStream::connect_addr(args.to).await else { return };
    let _ = server.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let _ = monoio::join!(
        copy(&mut from_client, &mut to_server, args.buffer),
        copy(&mut from_server, &mut to_client, args.buffer)
    );
}

/// Until the end of `from`, which is passed on.
async fn copy(from: &mut impl AsyncReadRent, to: &mut impl AsyncWriteRent, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    loop {
        let (read, back) = from.read(buffer).await;
        if read? == 0 {
            return to.shutdown().await;
        }
        let (written, back) = to.write_all(back).await;
        written?;
        buffer = back;
        buffer.clear();
    }
}
