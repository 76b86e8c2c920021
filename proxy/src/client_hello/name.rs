//! What is a host name in a hello, and how one is compared.

/// RFC 1035 section 2.3.4: 255 bytes on the wire, which are 253 in text.
pub(super) const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The name in `bytes`, without a trailing dot; `None` for what is no DNS name.
///
/// RFC 6066 section 3 wants the name "without a trailing dot", but those who send one mean the same host. "Literal IPv4
/// and IPv6 addresses are not permitted".
pub(super) fn host(bytes: &[u8]) -> Option<&str> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    if bytes.len() > NAME_BYTES_MAX || !bytes.split(|byte| *byte == b'.').all(is_label) {
        return None;
    }
    // RFC 1123 section 2.1: an address in dotted decimal is told from a name by its last label, which in a name "will
    // be alphabetic". Digits alone would be some form of an IPv4 address to somebody.
    let last = bytes.rsplit(|byte| *byte == b'.').next()?;
    if last.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(bytes).ok()
}

/// RFC 1123 section 2.1, and underscores, which no host name has and names in use do.
fn is_label(label: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.iter().all(inner)
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-')
}

/// `name`, which has at most [`NAME_BYTES_MAX`] bytes, as names are compared: without regard to case (RFC 4343).
pub(super) fn lowered<'b>(name: &str, buffer: &'b mut [u8; NAME_BYTES_MAX]) -> &'b [u8] {
    let lowered = &mut buffer[..name.len()];
    lowered.copy_from_slice(name.as_bytes());
    lowered.make_ascii_lowercase();
    lowered
}
