//! The control thread's end of a shard: what it needs to start one, and how it talks to one that runs.

use crate::{command::Command, descriptors::Descriptors};
use balance_config::model::{BufferPool, IoChoice, ShardLimits};
use balance_engine::{buf::Budget, pipe::PipeSizes};
use std::{fmt, io, sync::Arc};

/// What a shard is started with. Nothing here changes while it runs; everything that may is in the snapshot.
#[derive(Clone, Debug)]
pub struct ShardSpec {
    /// Counts from 0 without gaps.
    pub shard: u16,
    /// `None`: not pinned, because the process may not choose.
    pub core: Option<u16>,
    /// How many shards there are.
    pub shards: usize,
    pub io: IoChoice,
    /// Ring features to do without, for tests and for kernels with bugs.
    pub uring_without: Vec<String>,
    pub limits: ShardLimits,
    pub buffers: BufferPool,
    /// One for all shards: what their buffers together may take.
    pub budget: Arc<Budget>,
    pub pipes: PipeSizes,
    /// What the pipes of all shards together may hold.
    pub pipe_budget: Arc<Budget>,
    /// For shards whose sockets are real descriptors.
    pub descriptors: Arc<Descriptors>,
}

/// A running shard. Dropping the link does not end it; [`Command::Stop`] does.
pub trait ShardLink: Send + Sync {
    fn shard(&self) -> u16;
    fn core(&self) -> Option<u16>;
    fn driver(&self) -> &DriverInfo;

    /// Never blocks.
    ///
    /// # Errors
    /// The mailbox is full, or the shard has ended.
    fn send(&self, command: Command) -> Result<(), SendError>;

    /// True once the shard's thread has ended, for whatever reason.
    fn finished(&self) -> bool;
}

/// The driver a shard found at start.
#[derive(Clone, Debug)]
pub struct DriverInfo {
    /// "uring", "epoll" or "sim".
    pub name: &'static str,
    /// Optional features that the probe found and the shard uses.
    pub features: Vec<&'static str>,
}

pub enum SendError {
    /// Here it is back: trying again later is safe.
    Full(Box<Command>),
    Closed,
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed => "Closed",
        })
    }
}

/// Why a shard could not start.
#[derive(Debug)]
pub enum StartError {
    /// The driver that was demanded cannot run here; says which operation or feature, and what forbids it.
    MissingFeature(String),
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingFeature(what) => f.write_str(what),
            Self::Io(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}
