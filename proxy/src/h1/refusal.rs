//! Why a message is refused, one code each, the same in logs and metrics.

/// Who sent the message that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A client: it gets the status of the reason.
    Request,
    /// An endpoint: the client gets a 502, whatever was wrong.
    Response,
}

/// A message that is not forwarded, and whose connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) side: Side,
    pub(crate) reason: Reason,
}

impl Refusal {
    pub(crate) const fn request(reason: Reason) -> Self {
        Self { side: Side::Request, reason }
    }

    pub(crate) const fn response(reason: Reason) -> Self {
        Self { side: Side::Response, reason }
    }

    /// The status that the client gets.
    pub(crate) const fn status(self) -> u16 {
        match self.side {
            Side::Request => self.reason.status(),
            Side::Response => 502,
        }
    }

    /// The word for logs and metrics; that of a response begins with `upstream_`.
    pub(crate) const fn code(self) -> &'static str {
        match self.side {
            Side::Request => self.reason.code(),
            Side::Response => self.reason.upstream_code(),
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $status:literal $code:literal,)*) => {
        /// What is wrong with a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Reason {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Reason {
            /// All of them, for metrics that exist from the start.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                }
            }

            const fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            const fn upstream_code(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("upstream_", $code),)*
                }
            }
        }
    };
}

reasons! {
    /// Not `method SP target SP version CRLF` (RFC 9112, 3), or not `version SP status SP reason CRLF` (4).
    StartLine = 400 "start_line",
    /// More than one empty line before the request (RFC 9112, 2.2: at least one should be ignored).
    EmptyLines = 400 "empty_lines",
    /// A method that is no token (RFC 9110, 9.1).
    Method = 400 "method",
    /// A method longer than any that exists (RFC 9112, 3).
    MethodTooLong = 501 "method_too_long",
    /// CONNECT asks for a tunnel to anywhere (RFC 9110, 9.3.6), and this is no forward proxy.
    Connect = 501 "connect",
    /// TRACE with a body (RFC 9110, 9.3.8).
    TraceBody = 400 "trace_body",
    /// A byte in the target that is not visible US-ASCII, or the `#` of a fragment (RFC 9112, 3.2; RFC 3986, 2).
    TargetByte = 400 "target_byte",
    /// None of the four forms, or not the one for this method (RFC 9112, 3.2).
    TargetForm = 400 "target_form",
    /// The authority of an absolute target is empty, no host and port, or has user information (RFC 9110, 4.2.4).
    TargetAuthority = 400 "target_authority",
    /// Longer than `target_bytes_max` (RFC 9112, 3).
    TargetTooLong = 414 "target_too_long",
    /// A start line without version: HTTP/0.9, which no header can follow.
    Http09 = 400 "http_0_9",
    /// What looks like a version and is not `HTTP/` digit `.` digit (RFC 9112, 2.3).
    Version = 400 "version",
    /// Neither HTTP/1.0 nor HTTP/1.1 (RFC 9110, 15.6.6).
    VersionUnsupported = 505 "version_unsupported",
    /// The connection preface of HTTP/2 where HTTP/1 is spoken (RFC 9113, 3.4).
    Http2Preface = 505 "http2_preface",
    /// A status that is not three digits from 100 to 599 (RFC 9110, 15).
    Status = 400 "status",
    /// A byte in the reason phrase that may not be there (RFC 9112, 4).
    Phrase = 400 "reason_phrase",
    /// A line that ends without CR (RFC 9112, 2.2 allows to accept it, and that is how smuggling begins).
    BareLf = 400 "bare_lf",
    /// A CR that is not before an LF (RFC 9112, 2.2).
    BareCr = 400 "bare_cr",
    /// A line that begins with white space: obsolete line folding (RFC 9112, 5.2; 2.2 for the first line).
    ObsFold = 400 "obs_fold",
    /// A field line without colon, or a byte in the name that is no token character (RFC 9110, 5.1).
    FieldName = 400 "field_name",
    /// A field line that begins with a colon (RFC 9110, 5.1).
    FieldNameEmpty = 400 "field_name_empty",
    /// A name longer than any has reason to be.
    FieldNameTooLong = 431 "field_name_too_long",
    /// A name with an underscore, where the configuration refuses them.
    FieldNameUnderscore = 400 "field_name_underscore",
    /// White space between name and colon (RFC 9112, 5.1).
    SpaceBeforeColon = 400 "space_before_colon",
    /// NUL or another control character in a value (RFC 9110, 5.5).
    FieldValue = 400 "field_value",
    /// A field line longer than `field_bytes_max` (RFC 6585, 5).
    FieldTooLong = 431 "field_too_long",
    /// More field lines than `fields_max` (RFC 6585, 5).
    TooManyFields = 431 "too_many_fields",
    /// Head longer than `head_bytes_max` (RFC 6585, 5).
    HeadTooLong = 431 "head_too_long",
    /// HTTP/1.1 without `Host` (RFC 9112, 3.2).
    HostMissing = 400 "host_missing",
    /// More than one `Host` (RFC 9112, 3.2).
    HostDuplicate = 400 "host_duplicate",
    /// A `Host` that is empty or no host with an optional port (RFC 9112, 3.2; RFC 9110, 4.2.1).
    HostInvalid = 400 "host_invalid",
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112, 6.1, 6.3).
    LengthAndChunked = 400 "length_and_chunked",
    /// `Content-Length` that is not digits, or too many of them (RFC 9110, 8.6).
    ContentLength = 400 "content_length",
    /// More than one `Content-Length`, or a list, even of equal ones (RFC 9112, 6.3).
    ContentLengthDuplicate = 400 "content_length_duplicate",
    /// `Transfer-Encoding` empty, given twice, or with `chunked` twice or not last (RFC 9112, 6.1, 6.3, 7).
    TransferEncoding = 400 "transfer_encoding",
    /// A transfer coding other than `chunked` (RFC 9112, 6.1).
    TransferCoding = 501 "transfer_coding",
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112, 6.1).
    TransferEncodingHttp10 = 400 "transfer_encoding_http_1_0",
    /// `Transfer-Encoding` where there can be no body: 1xx and 204 (RFC 9112, 6.1).
    TransferEncodingNoBody = 400 "transfer_encoding_no_body",
    /// A body longer than `body_bytes_max` (RFC 9110, 15.5.14).
    BodyTooLong = 413 "body_too_long",
    /// An element of `Connection` that is no token (RFC 9110, 7.6.1).
    Connection = 400 "connection",
    /// More elements in `Connection` than anybody has reason to.
    ConnectionTooMany = 400 "connection_too_many",
    /// A field of which there can be one, given twice.
    FieldDuplicate = 400 "field_duplicate",
    /// `Expect` with anything but `100-continue` (RFC 9110, 10.1.1).
    Expectation = 417 "expectation",
    /// A chunk size that is not 1 to 16 hexadecimal digits (RFC 9112, 7.1).
    ChunkSize = 400 "chunk_size",
    /// A chunk extension with a control character (RFC 9112, 7.1.1).
    ChunkExtension = 400 "chunk_extension",
    /// Chunk extensions longer than `chunk_ext_bytes_max`, for one chunk or per `chunk` of data (RFC 9112, 7.1.1).
    ChunkExtensionTooLong = 400 "chunk_extension_too_long",
    /// The data of a chunk is not followed by CRLF (RFC 9112, 7.1).
    ChunkEnd = 400 "chunk_end",
    /// A trailer field that frames or routes (RFC 9110, 6.5.1).
    TrailerField = 400 "trailer_field",
    /// A switch of protocols that nobody asked for, or to another than was asked for (RFC 9110, 15.2.2, 7.8).
    SwitchUnasked = 400 "switch_unasked",
    /// The connection ended within a message (RFC 9112, 8).
    Incomplete = 400 "incomplete",
    /// More interim responses than anybody has reason to send (RFC 9110, 15.2).
    TooManyInterim = 400 "too_many_interim",
}
