//! What a path says about how it is to be answered.

use balance_config::units;
use std::time::Duration;

/// What `/` answers.
pub(super) const HELP: &str = "\
A path says how it is answered; parts follow each other, as in /delay/10ms/size/1KiB:

/size/SIZE            a body of so many bytes
/chunked/SIZE         the same, in chunks
/until-close/SIZE     the same, ended by the end of the connection
/delay/TIME           after so long; /delay/1ms:0.9,20ms:0.1: after one of several, with these shares
/stall/TIME           nobody is answered for so long, on no connection
/status/NUMBER        this status, from 200 to 599
/error-rate/SHARE     503 for this share of requests, from 0 to 1
/echo                 the body of the request
/close                then the connection is closed
/half                 half of the body, and the connection is closed
/extra                bytes after the answer that nobody asked for
/wrong                a wrong byte in the body
/reset                the connection is reset
/never                no answer at all
";

/// The largest body.
const BODY_MAX: u64 = 1 << 40;

/// How the end of a body is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    #[default]
    Length,
    Chunked,
    UntilClose,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sin {
    #[default]
    None,
    Half,
    Extra,
    Wrong,
    Reset,
    Never,
}

/// Where a body comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// So many bytes of the pattern of the request's target.
    Pattern(u64),
    /// The request.
    Echo,
    /// What there is.
    Help,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Behaviour {
    /// One of these waits, with the share up to which it is taken; the last share is 1.
    pub(super) delays: Vec<(Duration, f64)>,
    pub(super) stall: Duration,
    pub(super) status: u16,
    pub(super) error_rate: f64,
    pub(super) form: Form,
    pub(super) source: Source,
    pub(super) closes: bool,
    pub(super) sin: Sin,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            delays: Vec::new(),
            stall: Duration::ZERO,
            status: 200,
            error_rate: 0.0,
            form: Form::Length,
            source: Source::Pattern(0),
            closes: false,
            sin: Sin::None,
        }
    }
}

impl Behaviour {
    /// Of a request's target. `None`: the path says nothing that is known.
    pub(super) fn parse(target: &[u8]) -> Option<Self> {
        let path = std::str::from_utf8(target).ok()?;
        let path = path.split('?').next().unwrap_or_default().strip_prefix('/')?;
        let mut this = Self::default();
        if path.is_empty() {
            this.source = Source::Help;
            return Some(this);
        }
        let mut parts = path.split('/');
        while let Some(part) = parts.next() {
            match part {
                "size" => this.set_body(Form::Length, parts.next()?)?,
                "chunked" => this.set_body(Form::Chunked, parts.next()?)?,
                "until-close" => this.set_body(Form::UntilClose, parts.next()?)?,
                "delay" => this.delays = delays(parts.next()?)?,
                "stall" => this.stall = units::parse_duration(parts.next()?).ok()?,
                "status" => {
                    this.status = parts.next()?.parse().ok().filter(|status| (200..600).contains(status))?;
                }
                "error-rate" => this.error_rate = share(parts.next()?)?,
                "echo" => this.source = Source::Echo,
                "close" => this.closes = true,
                "half" => this.sin = Sin::Half,
                "extra" => this.sin = Sin::Extra,
                "wrong" => this.sin = Sin::Wrong,
                "reset" => this.sin = Sin::Reset,
                "never" => this.sin = Sin::Never,
                _ => return None,
            }
        }
        // A body of nothing can be neither half nor wrong.
        if matches!(this.sin, Sin::Half | Sin::Wrong) && this.source == Source::Pattern(0) {
            this.source = Source::Pattern(64);
        }
        this.closes |= this.form == Form::UntilClose || this.sin == Sin::Half;
        Some(this)
    }

    fn set_body(&mut self, form: Form, size: &str) -> Option<()> {
        let size = units::parse_size(size).ok().filter(|size| *size <= BODY_MAX)?;
        (self.form, self.source) = (form, Source::Pattern(size));
        Some(())
    }

    /// Answered at once and whole, with a body that is known beforehand.
    pub(super) fn is_plain(&self) -> bool {
        self.delays.is_empty()
            && self.stall.is_zero()
            && self.error_rate == 0.0
            && self.sin == Sin::None
            && self.source != Source::Echo
    }

    /// The wait of a request that has drawn this number, from 0 to 1.
    pub(super) fn delay(&self, drawn: f64) -> Duration {
        let chosen = self.delays.iter().find(|(_, up_to)| drawn < *up_to).or(self.delays.last());
        chosen.map_or(Duration::ZERO, |(delay, _)| *delay)
    }
}

/// `10ms`, or `1ms:0.9,20ms:0.1`: shares that make one.
fn delays(text: &str) -> Option<Vec<(Duration, f64)>> {
    let mut sum = 0.0;
    let mut all = Vec::new();
    for part in text.split(',') {
        let (time, part) = part.split_once(':').unwrap_or((part, "1"));
        sum += share(part)?;
        all.push((units::parse_duration(time).ok()?, sum));
    }
    ((sum - 1.0).abs() < 1e-6).then_some(all)
}

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Behaviour {
        Behaviour::parse(path.as_bytes()).unwrap_or_else(|| panic!("{path}"))
    }

    #[test]
    fn paths_and_what_they_say() {
        assert!(parsed("/size/1KiB?x=1").is_plain());
        assert_eq!(parsed("/size/1KiB").source, Source::Pattern(1024));
        assert_eq!(parsed("/chunked/10").form, Form::Chunked);
        assert_eq!((parsed("/status/503").status, parsed("/").source), (503, Source::Help));
        let both = parsed("/delay/10ms/size/5");
        assert_eq!((both.delay(0.5), both.source), (Duration::from_millis(10), Source::Pattern(5)));
        assert!(parsed("/half").closes && parsed("/until-close/5").closes && !parsed("/echo").closes);
        assert_eq!(parsed("/half").source, Source::Pattern(64));
        assert_eq!(parsed("/stall/2s").stall, Duration::from_secs(2));
        for wrong in ["", "/nothing", "/size", "/size/x", "/status/99", "/error-rate/2", "/delay/1ms:0.5", "x", "//"] {
            assert_eq!(Behaviour::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn one_of_several_delays_by_its_share() {
        let both = parsed("/delay/1ms:0.9,20ms:0.1");
        let millis = |drawn| both.delay(drawn).as_millis();
        assert_eq!((millis(0.0), millis(0.899), millis(0.901), millis(0.9999)), (1, 1, 20, 20));
    }
}
