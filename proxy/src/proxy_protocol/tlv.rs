//! What else a version 2 header says, as type, length and value, one after another (spec 2.2).

use super::{Invalid, crc32c};

/// The registered types, and the second level inside of [`kind::SSL`].
pub(crate) mod kind {
    pub(crate) const ALPN: u8 = 0x01;
    pub(crate) const AUTHORITY: u8 = 0x02;
    pub(crate) const CRC32C: u8 = 0x03;
    pub(crate) const NOOP: u8 = 0x04;
    pub(crate) const UNIQUE_ID: u8 = 0x05;
    pub(crate) const SSL: u8 = 0x20;
    pub(crate) const SSL_VERSION: u8 = 0x21;
    pub(crate) const SSL_COMMON_NAME: u8 = 0x22;
    pub(crate) const NETNS: u8 = 0x30;
}

/// Spec 2.2.5: "an opaque byte sequence of up to 128 bytes".
const UNIQUE_ID_BYTES_MAX: usize = 128;
/// Type and length.
pub(super) const TLV_HEADER_BYTES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tlv<'a> {
    /// One of [`kind`], or anything else.
    pub(crate) kind: u8,
    pub(crate) value: &'a [u8],
}

/// The TLVs of a header: those with a meaning here by name, each at most once, and all of them by [`Tlvs::iter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tlvs<'a> {
    /// Splits into TLVs without rest.
    bytes: &'a [u8],
    /// The protocol spoken inside, as in TLS.
    pub(crate) alpn: Option<&'a [u8]>,
    /// The host name that the client asked for. Not a checked one: only its encoding is.
    pub(crate) authority: Option<&'a str>,
    pub(crate) unique_id: Option<&'a [u8]>,
    pub(crate) ssl: Option<Ssl<'a>>,
    /// The name of the network namespace; ASCII.
    pub(crate) netns: Option<&'a str>,
    /// A checksum was there, and it was right.
    pub(crate) checked: bool,
}

impl<'a> Tlvs<'a> {
    /// Those of `header` from `start` on. The header is whole: a checksum covers all of it.
    pub(super) fn parse(header: &'a [u8], start: usize) -> Result<Self, Invalid> {
        let bytes = &header[start..];
        let mut tlvs = Self { bytes, ..Self::default() };
        let mut checksum = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (tlv, after) = split(rest).ok_or(Invalid::Tlv)?;
            rest = after;
            match tlv.kind {
                kind::CRC32C => {
                    once(&mut checksum, header.len() - rest.len() - tlv.value.len()..header.len() - rest.len())?
                }
                _ => tlvs.keep(tlv)?,
            }
        }
        if let Some(place) = checksum {
            verify(header, place)?;
            tlvs.checked = true;
        }
        Ok(tlvs)
    }

    /// The specification does not say what a second ALPN or name would mean. Whoever takes the first and whoever takes
    /// the last would disagree, and that is what somebody would send it for.
    fn keep(&mut self, Tlv { kind, value }: Tlv<'a>) -> Result<(), Invalid> {
        match kind {
            kind::ALPN => once(&mut self.alpn, value),
            kind::AUTHORITY => once(&mut self.authority, str::from_utf8(value).map_err(|_| Invalid::Tlv)?),
            kind::UNIQUE_ID if value.len() > UNIQUE_ID_BYTES_MAX => Err(Invalid::Tlv),
            kind::UNIQUE_ID => once(&mut self.unique_id, value),
            kind::SSL => once(&mut self.ssl, Ssl::parse(value).ok_or(Invalid::Tlv)?),
            kind::NETNS if !value.is_ascii() => Err(Invalid::Tlv),
            kind::NETNS => once(&mut self.netns, str::from_utf8(value).map_err(|_| Invalid::Tlv)?),
            // NOOP, what others have defined for themselves, and what is still to be defined.
            _ => Ok(()),
        }
    }

    /// All of them in their order, also those of unknown types.
    pub(crate) fn iter(&self) -> TlvIter<'a> {
        TlvIter(self.bytes)
    }
}

/// Goes through TLVs that have been checked.
#[derive(Clone, Debug)]
pub(crate) struct TlvIter<'a>(&'a [u8]);

impl<'a> Iterator for TlvIter<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let (tlv, rest) = split(self.0)?;
        self.0 = rest;
        Some(tlv)
    }
}

/// What the sender says of the client's TLS (spec 2.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ssl<'a> {
    /// Bits: 1 over TLS, 2 a certificate on this connection, 4 one at some time in this session.
    pub(crate) client: u8,
    /// Zero exactly when the client presented a certificate and it was found good.
    pub(crate) verify: u32,
    /// Splits into TLVs without rest.
    bytes: &'a [u8],
}

impl<'a> Ssl<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let (&[client, a, b, c, d], bytes) = value.split_first_chunk()?;
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = split(rest)?;
        }
        Some(Self { client, verify: u32::from_be_bytes([a, b, c, d]), bytes })
    }

    /// The first TLV of this type on the second level, such as [`kind::SSL_VERSION`].
    pub(crate) fn get(&self, kind: u8) -> Option<&'a [u8]> {
        TlvIter(self.bytes).find(|tlv| tlv.kind == kind).map(|tlv| tlv.value)
    }
}

/// The first TLV and what follows it; `None` when it is not all there.
fn split(bytes: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk::<TLV_HEADER_BYTES>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    Some((Tlv { kind, value }, rest))
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Invalid> {
    match slot.replace(value) {
        Some(_) => Err(Invalid::DuplicateTlv),
        None => Ok(()),
    }
}

/// Spec 2.2.3: "replace the 32 bits of the checksum field in the received PROXY header with all '0's and calculate a
/// CRC32c checksum value of the whole PROXY header."
fn verify(header: &[u8], place: std::ops::Range<usize>) -> Result<(), Invalid> {
    let received = <[u8; 4]>::try_from(&header[place.clone()]).map_err(|_| Invalid::Tlv)?;
    let computed = crc32c::of(&[&header[..place.start], &[0; 4], &header[place.end..]]);
    // In network order, like every number of the header.
    if received == computed.to_be_bytes() { Ok(()) } else { Err(Invalid::Checksum) }
}
