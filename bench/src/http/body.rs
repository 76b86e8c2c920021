//! Where a body ends (RFC 9112 sections 6 and 7), as its bytes come.

/// A body on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    /// The end of the connection is its end.
    UntilClose,
}

/// Bytes that no chunked body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// What a chunked body awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunked {
    /// Digits of a chunk's size; `digits` of them have come.
    Size {
        size: u64,
        digits: u8,
    },
    /// The rest of an extension, which means nothing to us.
    Extension {
        size: u64,
    },
    /// LF after a chunk's size.
    SizeEnd {
        size: u64,
    },
    /// So much of a chunk.
    Data {
        left: u64,
    },
    /// CR, then LF after a chunk.
    DataEnd,
    DataEndLf,
    /// A trailer line, of which so many bytes have come; all lines together are limited.
    Trailer {
        line: u32,
        all: u32,
    },
    /// LF of the last, empty line.
    LastLf,
}

/// More hexadecimal digits than these are no size.
const DIGITS_MAX: u8 = 15;
/// Of all trailers, and of one extension.
const TRAILERS_MAX: u32 = 16 << 10;

impl Chunked {
    pub(crate) const START: Self = Self::Size { size: 0, digits: 0 };
}

impl Body {
    pub(crate) const NONE: Self = Self::Length(0);

    /// Take what is the body's from the beginning of `bytes`; its content goes to `content`. Returns how much was taken
    /// and whether the body is over.
    ///
    /// # Errors
    /// A chunk that is none.
    pub(crate) fn take(&mut self, bytes: &[u8], mut content: impl FnMut(&[u8])) -> Result<(usize, bool), BadChunk> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                if taken > 0 {
                    content(&bytes[..taken]);
                }
                *left -= taken as u64;
                Ok((taken, *left == 0))
            }
            Self::UntilClose => {
                content(bytes);
                Ok((bytes.len(), false))
            }
            Self::Chunked(state) => {
                let mut taken = 0;
                while taken < bytes.len() {
                    if let Chunked::Data { left } = state {
                        let now = usize::try_from(*left).map_or(usize::MAX, |left| left).min(bytes.len() - taken);
                        content(&bytes[taken..taken + now]);
                        taken += now;
                        *left -= now as u64;
                        if *left == 0 {
                            *state = Chunked::DataEnd;
                        }
                        continue;
                    }
                    let Some(next) = state.after(bytes[taken])? else { return Ok((taken + 1, true)) };
                    *state = next;
                    taken += 1;
                }
                Ok((taken, false))
            }
        }
    }
}

impl Chunked {
    /// After a byte that is not content; `None`: the body is over.
    fn after(self, byte: u8) -> Result<Option<Self>, BadChunk> {
        Ok(Some(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(BadChunk),
            (Self::Size { size, .. } | Self::Extension { size }, b'\r') => Self::SizeEnd { size },
            (Self::Size { size, .. }, b';') => Self::Extension { size },
            (Self::Extension { size }, byte) if byte != b'\n' => Self::Extension { size },
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { line: 0, all: 0 },
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataEnd, b'\r') => Self::DataEndLf,
            (Self::DataEndLf, b'\n') => Self::START,
            (Self::Trailer { line: 0, .. }, b'\r') => Self::LastLf,
            (Self::Trailer { line: 0, .. }, b'\n') => return Err(BadChunk),
            (Self::Trailer { all, .. }, b'\n') => Self::Trailer { line: 0, all },
            (Self::Trailer { line, all }, _) if all < TRAILERS_MAX => Self::Trailer { line: line + 1, all: all + 1 },
            (Self::LastLf, b'\n') => return Ok(None),
            _ => return Err(BadChunk),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, and what was left over.
    fn read(mut body: Body, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let (mut content, mut taken, mut over) = (Vec::new(), 0, false);
        for part in bytes.chunks(piece) {
            if over {
                break;
            }
            let (now, end) = body.take(part, |bytes| content.extend_from_slice(bytes))?;
            taken += now;
            over = end;
        }
        Ok((content, bytes.len() - taken, over))
    }

    #[test]
    fn a_chunked_body_is_the_same_at_every_split() {
        let bytes = b"5\r\nhello\r\n1;a=\"b\"\r\n,\r\n00006\r\n world\r\n0\r\nX-T: 1\r\n\r\nHTTP";
        for piece in 1..=bytes.len() {
            let (content, left, over) = read(Body::Chunked(Chunked::START), bytes, piece).expect("right");
            assert!(over && content == b"hello, world", "{piece}: {content:?}");
            assert!(left <= 4 || piece > 1, "what follows is not taken");
        }
        let (_, left, _) = read(Body::Chunked(Chunked::START), bytes, bytes.len()).expect("right");
        assert_eq!(left, 4);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wrong in
            ["\r\n", "g\r\n", "5\nhello", "5\r\nhelloo\r\n", "5\r\nhello\n", "0\r\n\n", "1234567890abcdef0\r\n"]
        {
            assert_eq!(read(Body::Chunked(Chunked::START), wrong.as_bytes(), 3), Err(BadChunk), "{wrong:?}");
        }
        let endless = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(4000)].concat();
        assert_eq!(read(Body::Chunked(Chunked::START), &endless, 100), Err(BadChunk), "trailers without end");
    }

    #[test]
    fn a_length_is_kept_to() {
        assert_eq!(read(Body::Length(3), b"abcdef", 2), Ok((b"abc".to_vec(), 3, true)));
        assert_eq!(read(Body::UntilClose, b"abcdef", 4), Ok((b"abcdef".to_vec(), 0, false)));
    }
}
