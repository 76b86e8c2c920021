//! How much of everything a peer may send.

/// What is done with field names that have an underscore: CGI and its children cannot tell `x_user` from `x-user`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Underscores {
    /// Such a field of a request is not forwarded.
    #[default]
    Drop,
    Keep,
    Refuse,
}

/// Each is the most that is accepted; one more is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Start line, field lines and the empty line. At most [`Limits::HEAD_BYTES_CEILING`] is obeyed.
    pub(crate) head_bytes_max: u32,
    /// Lines, those that are not forwarded included; in a trailer section as well.
    pub(crate) fields_max: u16,
    /// The request target, as it was sent.
    pub(crate) target_bytes_max: u32,
    /// One field line with its end.
    pub(crate) field_bytes_max: u32,
    /// What is announced by `Content-Length`, and what comes in chunks.
    pub(crate) body_bytes_max: u64,
    /// The extensions of one chunk; and of all chunks so far: this much, and as much as there was data.
    pub(crate) chunk_ext_bytes_max: u16,
    /// The trailer section with its empty line.
    pub(crate) trailer_bytes_max: u32,
    pub(crate) underscores: Underscores,
}

impl Limits {
    /// Offsets have 32 bits; nobody needs as many.
    pub(crate) const HEAD_BYTES_CEILING: u32 = 1 << 20;
    /// The longest registered method has 18 (`BASELINE-CONTROL` has 16, `UPDATEREDIRECTREF` 17).
    pub(super) const METHOD_BYTES_MAX: usize = 32;
    /// nginx and HAProxy have none; the longest registered field name has 42.
    pub(super) const NAME_BYTES_MAX: usize = 256;
    /// Options of all `Connection` lines. Each that is no known one is compared with every field.
    pub(super) const CONNECTION_OPTIONS_MAX: usize = 16;
    /// Interim responses before the final one.
    pub(super) const INTERIM_MAX: u8 = 16;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 << 10,
            fields_max: 100,
            target_bytes_max: 8 << 10,
            field_bytes_max: 16 << 10,
            body_bytes_max: u64::MAX,
            chunk_ext_bytes_max: 256,
            trailer_bytes_max: 8 << 10,
            underscores: Underscores::Drop,
        }
    }
}
