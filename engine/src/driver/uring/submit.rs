//! Submitting, an operation each.

use super::{registered::batch_entry, *};
use crate::driver;

impl UringDriver {
    pub(super) fn accept(&mut self, key: OpKey, listener: Desc) -> Token {
        let (lane, slot) = match self.slot_for_new() {
            Ok(place) => place,
            Err(errno) => return self.fail(key, errno),
        };
        let mut addr = self.held.take_addr();
        let (addr_ptr, len_ptr) = (addr.as_mut_ptr(), addr.len_mut_ptr());
        let data = self.hold(lane, key, What::Accept { slot, addr });
        let flags = libc::SOCK_NONBLOCK | if slot.is_none() { libc::SOCK_CLOEXEC } else { 0 };
        let entry = on!(listener, |fd| opcode::Accept::new(fd, addr_ptr, len_ptr)
            .file_index(slot.and_then(destination))
            .flags(flags)
            .build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    /// Where a new descriptor goes: a lane and a slot there, or the process's own table.
    pub(super) fn slot_for_new(&mut self) -> Result<(usize, Option<u32>), Errno> {
        if !self.direct() {
            return Ok((0, None));
        }
        let lane = self.lane_with_slot()?;
        Ok((lane, self.lanes[lane].take_slot()))
    }

    pub(super) fn connect(&mut self, key: OpKey, to: &driver::Target, options: driver::StreamOptions) -> Token {
        let opened = AddrBuf::try_from(to).and_then(|addr| Ok((addr, self.open(to, options)?)));
        let (addr, desc) = match opened {
            Ok(opened) => opened,
            Err(errno) => return self.fail(key, errno),
        };
        let mut kept = self.held.take_addr();
        *kept = addr;
        let (addr_ptr, addr_len) = (kept.as_ptr(), kept.len());
        let lane = desc.lane();
        let data = self.hold(lane, key, What::Connect { desc, addr: kept });
        let entry = on!(desc, |fd| opcode::Connect::new(fd, addr_ptr, addr_len).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    /// An unconnected socket with its options. In the ring if it can be, with a system call where an address must be
    /// bound first.
    pub(super) fn open(&mut self, to: &driver::Target, options: driver::StreamOptions) -> Result<Desc, Errno> {
        let (lane, slot) = self.slot_for_new()?;
        let Some(slot) = slot else {
            let fd = addr::open_stream(to, options)?;
            self.real_open += 1;
            return Ok(Desc::real(fd.into_raw_fd()));
        };
        if let driver::Target::Ip { from: Some(_), .. } = to {
            let placed = addr::open_stream(to, options).and_then(|fd| self.register(lane, slot, &fd));
            return placed.inspect_err(|_| self.lanes[lane].give_slot(slot));
        }
        self.open_in_ring(lane, slot, to, options);
        Ok(Desc::direct(lane, slot))
    }

    /// # Errors
    /// Those of IORING_REGISTER_FILES_UPDATE.
    pub(super) fn register(&mut self, lane: usize, slot: u32, fd: &OwnedFd) -> Result<Desc, Errno> {
        self.lanes[lane].ring.submitter().register_files_update(slot, &[fd.as_raw_fd()])?;
        Ok(Desc::direct(lane, slot))
    }

    /// The kernel issues entries in order, and these never block: the connect that follows finds the socket made. If
    /// making it failed, connecting says EBADF.
    pub(super) fn open_in_ring(&mut self, lane: usize, slot: u32, to: &driver::Target, options: driver::StreamOptions) {
        let family = match to {
            driver::Target::Ip { to, .. } if to.is_ipv4() => libc::AF_INET,
            driver::Target::Ip { .. } => libc::AF_INET6,
            driver::Target::Unix(_) => libc::AF_UNIX,
        };
        let entry = opcode::Socket::new(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)
            .file_index(destination(slot))
            .build();
        self.push_silent(lane, entry);
        if family != libc::AF_UNIX {
            for option in addr::stream_options(options).into_iter().flatten() {
                self.set_option(lane, slot, option);
            }
        }
    }

    pub(super) fn push_silent(&mut self, lane: usize, entry: squeue::Entry) {
        self.push(lane, &entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(silent(lane)));
    }

    pub(super) fn set_option(&mut self, lane: usize, slot: u32, option: SocketOption) {
        let value = static_value(option.value);
        let entry = opcode::SetSockOpt::new(
            types::Fixed(slot),
            option.level.unsigned_abs(),
            option.name.unsigned_abs(),
            std::ptr::from_ref(value).cast(),
            size_of::<i32>() as u32,
        );
        self.push_silent(lane, entry.build());
    }

    pub(super) fn recv(&mut self, key: OpKey, desc: Desc, bulk: bool, once: bool) -> Token {
        let (lane, index) = (desc.lane(), key.index());
        if index >= 1 << INDEX_BITS {
            return self.fail(key, Errno(libc::ENOMEM));
        }
        let scarce = self.pool.is_scarce();
        let bulk = self.receives_bulk(bulk) && !once;
        let bundle = bulk && self.config.features.has(Feature::Bundle);
        let group = match self.lanes[lane].group(bulk, &self.config, &self.pool) {
            Ok(group) => group,
            Err(error) => return self.fail(key, error.into()),
        };
        let kind = if bulk { Kind::BulkRecv } else { Kind::Recv };
        let data = user_data(lane, kind, index, key.generation());
        let entry = if scarce || once {
            // One buffer and no more: a receive that goes on takes up to 32 before it hears that it is to stop.
            let entry = on!(desc, |fd| opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(group).build());
            entry.flags(squeue::Flags::BUFFER_SELECT)
        } else if bundle {
            on!(desc, |fd| opcode::RecvMultiBundle::new(fd, group).build())
        } else {
            on!(desc, |fd| opcode::RecvMulti::new(fd, group).build())
        };
        self.receives += 1;
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    pub(super) fn send(&mut self, key: OpKey, desc: Desc, buffer: Buffer, from: u32, to: u32) -> Token {
        debug_assert!(from <= to && to as usize <= buffer.len(), "a range outside the buffer");
        let entry = send_entry(desc, &buffer, from, to);
        let data = self.hold(desc.lane(), key, What::Send { buffer, desc, from, to, waits: Waits::Not });
        self.push(desc.lane(), &entry.user_data(data));
        Token(data)
    }

    pub(super) fn send_batch(&mut self, key: OpKey, desc: Desc, mut batch: Box<Batch>, zero_copy: bool) -> Token {
        if zero_copy {
            // A refusal was told of to whoever expected otherwise.
            let _ = self.register_memory(desc.lane());
        }
        let region = self.registered.of(&self.lanes[desc.lane()]);
        let (entry, how) = batch_entry(desc, &mut batch, zero_copy, region, self.config.features);
        self.registered.note(how);
        let data = self.hold(desc.lane(), key, What::Batch { batch, desc, how, waits: Waits::Not });
        self.push(desc.lane(), &entry.user_data(data));
        Token(data)
    }

    pub(super) fn splice_in_ring(&mut self, key: OpKey, from: Desc, pipe: Box<Pipe>, max: u32) -> Token {
        let (lane, write) = (from.lane(), types::Fd(pipe.write_fd()));
        let data = self.hold(lane, key, What::Splice { pipe });
        let entry = on!(from, |fd| opcode::Splice::new(fd, -1, write, -1, max).flags(pipe::FLAGS).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    pub(super) fn splice_out_ring(&mut self, key: OpKey, pipe: Box<Pipe>, to: Desc, max: u32) -> Token {
        let (lane, read) = (to.lane(), types::Fd(pipe.read_fd()));
        let data = self.hold(lane, key, What::Splice { pipe });
        let entry = on!(to, |fd| opcode::Splice::new(read, -1, fd, -1, max).flags(pipe::FLAGS).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    /// IORING_OP_SHUTDOWN always goes to a worker thread, which costs more than the rest of a short connection. So a
    /// direct descriptor is installed for a moment, shut down by a plain system call, and closed.
    pub(super) fn shutdown(&mut self, key: OpKey, desc: Desc) -> Token {
        match (self.real_fd(desc), desc.target()) {
            (Ok(fd), _) | (_, Target::Real(fd)) => {
                self.finish(key, done_or_failed(addr::shutdown_write(fd)));
                Token::NONE
            }
            (_, Target::Direct { lane, slot }) => {
                let data = self.hold(lane, key, What::Shutdown { desc });
                let entry = opcode::FixedFdInstall::new(types::Fixed(slot), 0).build().user_data(data);
                self.push(lane, &entry);
                Token(data)
            }
        }
    }

    pub(super) fn poll(&mut self, key: OpKey, desc: Desc, interest: Interest) -> Token {
        let lane = desc.lane();
        let data = self.hold(lane, key, What::Poll { desc, interest, waits: Waits::Not });
        let events = match interest {
            Interest::Read => libc::POLLIN | libc::POLLRDHUP,
            Interest::Write => libc::POLLOUT,
        };
        let entry = on!(desc, |fd| opcode::PollAdd::new(fd, events as u32).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    pub(super) fn unacked(&mut self, key: OpKey, desc: Desc) -> Token {
        match (self.real_fd(desc), desc.target()) {
            (Ok(fd), _) | (_, Target::Real(fd)) => {
                self.finish(key, unacked_or_failed(addr::unacked(fd)));
                Token::NONE
            }
            (_, Target::Direct { lane, slot }) => {
                let data = self.hold(lane, key, What::Unacked { desc });
                self.push(lane, &opcode::UringCmd16::new(types::Fixed(slot), SIOCOUTQ).build().user_data(data));
                Token(data)
            }
        }
    }

    pub(super) fn install(&mut self, key: OpKey, desc: Desc) -> Token {
        match desc.target() {
            Target::Direct { lane, slot } if !self.lanes[lane].installed.contains_key(&slot) => {
                let data = self.hold(lane, key, What::Install { desc });
                let entry = opcode::FixedFdInstall::new(types::Fixed(slot), 0).build().user_data(data);
                self.push(lane, &entry);
                Token(data)
            }
            _ => {
                self.finish(key, Outcome::Done);
                Token::NONE
            }
        }
    }

    /// The socket closes for its peer only when its last descriptor does, so the installed one goes first.
    pub(super) fn uninstall(&mut self, desc: Desc) {
        if let Target::Direct { lane, slot } = desc.target() {
            self.lanes[lane].installed.remove(&slot);
        }
    }

    /// The real descriptor behind a descriptor.
    pub(super) fn real_fd(&self, desc: Desc) -> Result<RawFd, Errno> {
        match desc.target() {
            Target::Real(fd) => Ok(fd),
            Target::Direct { lane, slot } => {
                self.lanes[lane].installed.get(&slot).map(AsRawFd::as_raw_fd).ok_or(Errno(libc::EBADF))
            }
        }
    }

    pub(super) fn close(&mut self, key: OpKey, desc: Desc, how: CloseHow) -> Token {
        let lane = desc.lane();
        self.uninstall(desc);
        if how == CloseHow::Reset {
            match desc.target() {
                // An error means that there is no connection to reset.
                Target::Real(fd) => drop(addr::set_linger_zero(fd)),
                Target::Direct { slot, .. } => {
                    let linger = std::ptr::from_ref(&LINGER_ZERO).cast();
                    let entry = opcode::SetSockOpt::new(
                        types::Fixed(slot),
                        libc::SOL_SOCKET as u32,
                        libc::SO_LINGER as u32,
                        linger,
                        size_of::<libc::linger>() as u32,
                    );
                    self.push_silent(lane, entry.build());
                }
            }
        }
        let data = self.hold(lane, key, What::Close { desc });
        let entry = on!(desc, |fd| opcode::Close::new(fd).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }
}

/// DONTWAIT: when a socket takes nothing, we wait for it, in [`super::writable`], and not the kernel; see there.
/// WAITALL must not be: after a short send the kernel would go on, take a reset that has come meanwhile off the socket,
/// and report the bytes instead. The next send would then say EPIPE, as after an orderly end.
pub(super) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

pub(super) fn send_entry(desc: Desc, buffer: &Buffer, from: u32, to: u32) -> squeue::Entry {
    let bytes = buffer[from as usize..].as_ptr();
    on!(desc, |fd| opcode::Send::new(fd, bytes, to - from).flags(SEND_FLAGS).build())
}
