//! Sections about how much is taken on, and how bytes are moved.

use std::time::Duration;

use super::{
    Default, HOUR, Key, Kind, Section, duration, integer, size,
    upstream::{CONNECTIONS_MAX, POOL_IDLE, POOL_SIZE},
};

/// A page at least, because the kernel lends rings by pages; beyond 64 MiB one buffer would be most of a shard.
const BUFFER_SIZE: Kind = Kind::Size { min: 4 << 10, max: 64 << 20, power_of_two: true };
/// What the kernel gives a new pipe at least; beyond 1 GiB F_SETPIPE_SZ refuses by its own arithmetic.
const PIPE_SIZE: Kind = Kind::Size { min: 64 << 10, max: 1 << 30, power_of_two: true };

pub static SHARD: Section = Section {
    path: "performance.shard",
    header: "[performance.shard]",
    doc: "How much one shard takes on.",
    more: "",
    keys: &[
        Key::at_start(
            "max_tasks",
            integer(1, 1 << 24),
            Default::Is("65536"),
            "Tasks that may live at once on a shard; a forwarded connection is one.",
        )
        .more("Memory is only taken for tasks that live."),
        Key::at_start(
            "queue_size",
            integer(0, 1 << 24),
            Default::Is("10000"),
            "Tasks that may wait for admission beyond that, before the shard stops accepting.",
        )
        .more("What comes then waits in the kernel, in the backlog of the listener."),
        Key::at_start(
            "max_idle_time",
            duration(Duration::ZERO, HOUR),
            Default::Is("10s"),
            "How long memory freed after a burst is kept before the system gets it back.",
        ),
    ],
};

pub static BUFFER_POOL: Section = Section {
    path: "performance.buffer_pool",
    header: "[performance.buffer_pool]",
    doc: "Sizes of the buffers, and what all of them together may take.",
    more: "A connection that is quiet holds no buffer.",
    keys: &[
        Key::at_start(
            "small_size",
            BUFFER_SIZE,
            Default::Is("4KiB"),
            "Small buffers, which receive most messages. A power of two, as the other sizes.",
        ),
        Key::at_start("medium_size", BUFFER_SIZE, Default::Is("32KiB"), "Medium buffers. Larger than small_size."),
        Key::at_start("large_size", BUFFER_SIZE, Default::Is("64KiB"), "Large buffers. Larger than medium_size."),
        Key::at_start("huge_size", BUFFER_SIZE, Default::Is("1MiB"), "Huge buffers. Larger than large_size."),
        Key::at_start(
            "ring_buffers",
            Kind::Integer { min: 16, max: 32_768, power_of_two: true },
            Default::Is("1024"),
            "Small buffers that a shard lends to its receive ring, at most. A power of two.",
        )
        .more("A shard starts with few and grows to this when receives find the ring empty."),
        Key::at_start(
            "memory_max",
            size(64 << 10, 1 << 44),
            Default::Is("64MiB"),
            "What the buffers of all shards together may take. At least ring_buffers times small_size.",
        )
        .more(
            "When it is reached, receiving pauses until buffers come back; no connection fails. Pipes have a limit \
               of their own, performance.pipes.total_max.",
        ),
    ],
};

pub static FORWARD: Section = Section {
    path: "performance.forward",
    header: "[performance.forward]",
    doc: "When forward = \"auto\" changes the rung of a direction, and how much a direction may move at once.",
    more: "The two directions of a connection are judged apart from each other. A change of the rung costs a few \
           operations, so it takes several signs in a row, and more of them downwards than upwards. A reload holds for \
           connections that are accepted after it.",
    keys: &[
        Key::live(
            "promote_bytes",
            size(4 << 10, 64 << 20),
            Default::Is("8KiB"),
            "A burst of at least this size is a sign that a direction should splice.",
        )
        .more(
            "A burst is what can be received at one go. Splice moves pages instead of bytes and so costs the same \
               for much as for little: below some 16 KiB copying is cheaper.",
        ),
        Key::live(
            "promote_after",
            integer(1, 255),
            Default::Is("2"),
            "So many large bursts in a row promote a direction to splice.",
        ),
        Key::live(
            "demote_after",
            integer(1, 255),
            Default::Is("4"),
            "So many short reads in a row take a direction back to copy.",
        )
        .more(
            "A read is short when it moves less than half of promote_bytes. Each return doubles the number for that \
               direction, up to 255, so that traffic of both kinds does not make it swing.",
        ),
        Key::live(
            "splice_budget",
            size(64 << 10, 1 << 30),
            Default::Is("1MiB"),
            "Bytes that one direction may move per wake-up, before the other connections of the shard get their turn.",
        )
        .more("Smaller is fairer to small messages beside a bulk transfer, larger costs the transfer fewer wake-ups."),
        Key::live(
            "zc_min",
            size(4 << 10, 64 << 20),
            Default::Is("64KiB"),
            "The smallest send for which send-zc is used; smaller ones are copied.",
        )
        .more(
            "Sending without a copy pins pages and waits for a notification, which pays from some tens of KiB on, \
               and on loopback never. A send is never larger than performance.buffer_pool.huge_size.",
        ),
    ],
};

pub static PIPES: Section = Section {
    path: "performance.pipes",
    header: "[performance.pipes]",
    doc: "The pipes through which splice moves bytes.",
    more: "A direction borrows a pipe only while bytes are in it, so there are far fewer pipes than connections. Where \
           the kernel refuses a size (fs.pipe-max-size, or fs.pipe-user-pages-soft for users without \
           CAP_SYS_RESOURCE), smaller pipes are used; when there is none at all, the direction copies. No connection \
           fails for want of a pipe.",
    keys: &[
        Key::at_start(
            "size",
            PIPE_SIZE,
            Default::Is("256KiB"),
            "What a pipe holds at first. A power of two, from 64KiB.",
        ),
        Key::at_start(
            "size_max",
            PIPE_SIZE,
            Default::Is("1MiB"),
            "What a pipe may grow to when it runs full. A power of two, not below size.",
        )
        .more("Beyond 1MiB the kernel wants fs.pipe-max-size raised."),
        Key::at_start(
            "total_max",
            size(64 << 10, 1 << 44),
            Default::Is("256MiB"),
            "What the pipes of all shards together may hold. Not below size_max.",
        )
        .more("When it is reached, further directions do without a pipe: they bundle instead."),
    ],
};

pub static CONNECTION_POOL: Section = Section {
    path: "performance.connection_pool",
    header: "[performance.connection_pool]",
    doc: "What clusters keep of connections to endpoints, unless their own pool says otherwise.",
    more: "For listeners with protocol = \"http\".",
    keys: &[
        Key::live(
            "max_idle_per_host",
            POOL_SIZE,
            Default::Is("100"),
            "Connections without a request to one endpoint, over all shards. 0 keeps none.",
        ),
        Key::live(
            "max_conns_per_host",
            CONNECTIONS_MAX,
            Default::Is("unlimited"),
            "Connections to one endpoint, over all shards, where the endpoint has no max_connections of its own.",
        ),
        Key::live("idle_timeout", POOL_IDLE, Default::Is("55s"), "How long a connection without a request is kept.")
            .more("Shorter than what endpoints themselves allow; 60 seconds is common there."),
    ],
};
