//! A connected stream: it receives continuously, sends one buffer at a time, and owns its descriptor.

use crate::{
    buf::Buffer,
    core::Handle,
    driver::{CloseHow, Desc, Errno, Op, Outcome, Peer, StreamOptions, Target},
    ops::Received,
    slab::Key,
};
use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A send that has come to its end; the buffer is yours again.
#[derive(Debug)]
pub struct SendDone {
    pub buffer: Buffer,
    /// Bytes taken by the kernel, or why none was.
    pub result: Result<u32, Errno>,
}

/// A stream socket, plain TCP or unix.
///
/// Dropping it cancels what is in flight, in this order: receive, send, then the descriptor is closed. Memory in flight
/// stays with the driver until the kernel is done with it.
pub struct Socket {
    handle: Handle,
    desc: Desc,
    recv: Option<Key>,
    send: Option<Key>,
    closed: bool,
}

impl Socket {
    pub(crate) fn new(handle: Handle, desc: Desc) -> Self {
        Self { handle, desc, recv: None, send: None, closed: false }
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The next thing received. The first call arms the receive, which then stays armed: data is in a buffer by the
    /// time anybody asks, and an idle socket owns none.
    pub fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Received> {
        let key = match self.recv {
            Some(key) => key,
            None => self.arm(),
        };
        let (received, followup) = self.handle.0.ops.borrow_mut().poll_stream(key, context);
        self.handle.follow(followup);
        received
    }

    /// Ready when the peer has reset the connection, while nobody reads yet: what has come waits.
    pub fn poll_broken(&mut self, context: &Context<'_>) -> Poll<Errno> {
        let key = match self.recv {
            Some(key) => key,
            None => self.arm(),
        };
        self.handle.0.ops.borrow_mut().poll_broken(key, context)
    }

    /// A receive has been told of a reset; what came before it may still be there to be read.
    pub fn is_broken(&self) -> bool {
        self.recv.is_some_and(|key| self.handle.0.ops.borrow().is_broken(key))
    }

    /// Something has come that was not read yet, be it the end. The receive must be armed for it to be known, and
    /// nobody is woken: this is for sockets that lie idle, before they are used again.
    pub fn has_news(&self) -> bool {
        self.recv.is_some_and(|key| self.handle.0.ops.borrow().has_news(key))
    }

    fn arm(&mut self) -> Key {
        let key = self.handle.0.ops.borrow_mut().stream(self.desc);
        self.handle.submit_as(key, Op::Recv { desc: self.desc, bulk: false, once: false });
        self.recv = Some(key);
        key
    }

    /// # Cancel safety
    /// Nothing is lost: what has come stays with the socket.
    pub async fn recv(&mut self) -> Received {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// Take no more from the kernel for now. What is under way still comes.
    pub fn pause_recv(&mut self) {
        let Some(key) = self.recv else { return };
        let token = self.handle.0.ops.borrow_mut().pause(key);
        if let Some(token) = token {
            self.handle.cancel(token);
        }
    }

    pub fn resume_recv(&mut self) {
        let Some(key) = self.recv else { return };
        let followup = self.handle.0.ops.borrow_mut().resume(key);
        self.handle.follow(followup);
    }

    /// Receive into larger buffers, several at once where the driver can, or go back to small ones. For a stream under
    /// way this takes effect when what is in flight has come.
    pub fn set_bulk_recv(&mut self, bulk: bool) {
        let key = match self.recv {
            Some(key) => key,
            None => self.arm(),
        };
        self.handle.0.ops.borrow_mut().set_bulk(key, bulk);
        self.pause_recv();
        self.resume_recv();
    }

    /// Receive one small buffer at a time and pause after each, until [`Socket::resume_recv`]: for a stream whose next
    /// bytes are wanted, and those behind them in another way, by splice. Or go back to receiving all there is.
    pub fn set_once_recv(&mut self, once: bool) {
        let key = match self.recv {
            Some(key) => key,
            None => self.arm(),
        };
        self.handle.0.ops.borrow_mut().set_once(key, once);
        self.pause_recv();
        self.resume_recv();
    }

    /// Zero-copy sends to this socket are about to come: see that there is registered memory, from which bulk receives
    /// take their buffers first. An error says why there is none; they work without.
    ///
    /// # Errors
    /// Those of [`crate::driver::Driver::expect_zero_copy`].
    pub fn expect_zero_copy(&self) -> Result<(), Errno> {
        self.handle.expect_zero_copy(self.desc)
    }

    /// The receive was paused, has come to rest, and everything that came was read: from here on the socket may be read
    /// in another way, by splice. Whoever polls the receive meanwhile is woken when that is so.
    pub fn recv_is_quiet(&self) -> bool {
        self.recv.is_some_and(|key| self.handle.0.ops.borrow().is_quiet(key))
    }

    /// Our own address. The socket must have been installed ([`super::Installing`]).
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> Result<Peer, Errno> {
        self.handle.local_addr(self.desc)
    }

    pub(crate) fn desc(&self) -> Desc {
        self.desc
    }

    /// Begin to send `buffer[from..to]`. One send at a time: collect its end by [`Socket::poll_sent`].
    ///
    /// # Panics
    /// In debug builds, when the last send is not collected yet.
    pub fn start_send(&mut self, buffer: Buffer, from: u32, to: u32) {
        debug_assert!(self.send.is_none(), "two sends at once on one socket");
        self.send = Some(self.handle.submit(Op::Send { desc: self.desc, buffer, from, to }));
    }

    pub fn is_sending(&self) -> bool {
        self.send.is_some()
    }

    /// The end of the send under way; pending for ever when there is none.
    pub fn poll_sent(&mut self, context: &Context<'_>) -> Poll<SendDone> {
        let Some(key) = self.send else { return Poll::Pending };
        let outcome = ready!(self.handle.0.ops.borrow_mut().poll_single(key, context));
        self.send = None;
        match outcome {
            Outcome::Sent { buffer, sent } => Poll::Ready(SendDone { buffer, result: Ok(sent) }),
            Outcome::SendFailed { buffer, errno } => Poll::Ready(SendDone { buffer, result: Err(errno) }),
            other => unreachable!("a send gives its buffer back, not {other:?}"),
        }
    }

    /// Send `buffer[..len]` to the last byte.
    ///
    /// # Errors
    /// The first error; how much was sent before is not known.
    ///
    /// # Cancel safety
    /// A part may have been sent; the connection is of no use after.
    pub async fn send_all(&mut self, mut buffer: Buffer, len: u32) -> Result<Buffer, Errno> {
        let mut from = 0;
        while from < len {
            self.start_send(buffer, from, len);
            let done = std::future::poll_fn(|context| self.poll_sent(context)).await;
            from += done.result?;
            buffer = done.buffer;
        }
        Ok(buffer)
    }

    /// Close the write half, after all that was sent.
    pub fn shutdown(&mut self) {
        debug_assert!(self.send.is_none(), "shut down while a send is under way");
        self.handle.submit_orphan(Op::Shutdown { desc: self.desc });
    }

    /// End the connection with RST: the peer must not take it for an orderly end.
    pub fn reset(mut self) {
        self.end(CloseHow::Reset);
    }

    fn end(&mut self, how: CloseHow) {
        if mem::replace(&mut self.closed, true) {
            return;
        }
        for key in [self.recv.take(), self.send.take()].into_iter().flatten() {
            self.handle.abandon(key);
        }
        self.handle.close(self.desc, how);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.end(CloseHow::Graceful);
    }
}

/// A connect under way. Dropping it gives it up.
pub struct Connect {
    handle: Handle,
    key: Option<Key>,
}

/// Open a connection.
pub fn connect(handle: &Handle, to: Target, options: StreamOptions) -> Connect {
    let key = handle.submit(Op::Connect { to, options });
    Connect { handle: handle.clone(), key: Some(key) }
}

impl Future for Connect {
    type Output = Result<Socket, Errno>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(key) = self.key else { return Poll::Pending };
        let outcome = ready!(self.handle.0.ops.borrow_mut().poll_single(key, context));
        self.key = None;
        Poll::Ready(match outcome {
            Outcome::Connected(desc) => Ok(Socket::new(self.handle.clone(), desc)),
            Outcome::Failed(errno) => Err(errno),
            other => unreachable!("connecting ends connected or failed, not with {other:?}"),
        })
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.handle.abandon(key);
        }
    }
}
