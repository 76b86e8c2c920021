//! What a server does with a connection.

use super::Plain;
use crate::pattern::{Checker, Pattern};
use balance_engine::{
    Handle, Received,
    buf::Class,
    executor::Admission,
    net::{Listener, Socket},
};
use std::{future::poll_fn, task::Poll};

/// Accept until aborted.
pub(super) async fn accept_all(handle: Handle, mut listener: Listener, kind: Plain, shard: u32) {
    let mut count = 0_u32;
    loop {
        let accepted = poll_fn(|context| {
            if !handle.spend(context) {
                return Poll::Pending;
            }
            listener.poll_accept(context)
        });
        // An error is one client's that went away before it was accepted.
        let Ok(accepted) = accepted.await else { continue };
        count = count.wrapping_add(1);
        let socket = accepted.socket;
        // Never refused: the limit of tasks is above that of descriptors.
        let _admitted = match kind {
            Plain::Echo => handle.spawn(Admission::Always, echo(socket)),
            Plain::Source => handle.spawn(Admission::Always, source(socket, Pattern::new(count, shard))),
            Plain::Sink => handle.spawn(Admission::Always, sink(socket)),
        };
    }
}

/// Ends with the client's half: then everything was sent back, and the close says so.
async fn echo(mut socket: Socket) {
    while let Received::Data(chunk) = socket.recv().await {
        if socket.send_all(chunk.buffer, chunk.len).await.is_err() {
            return;
        }
    }
}

async fn source(mut socket: Socket, mut pattern: Pattern) {
    let Some(mut buffer) = socket.handle().pool().take(Class::Large) else { return };
    loop {
        pattern.fill(&mut buffer);
        let bytes = buffer.capacity() as u32;
        match socket.send_all(buffer, bytes).await {
            Ok(back) => buffer = back,
            Err(_) => return,
        }
    }
}

async fn sink(mut socket: Socket) {
    let handle = socket.handle().clone();
    let mut checker = Checker::UNKNOWN;
    loop {
        let received = poll_fn(|context| {
            if !handle.spend(context) {
                return Poll::Pending;
            }
            socket.poll_recv(context)
        });
        let Received::Data(chunk) = received.await else { return };
        if checker.check(&chunk.buffer[..chunk.len as usize]).is_err() {
            return socket.reset();
        }
    }
}
