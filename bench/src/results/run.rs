//! One run of the load generator, read back from its JSON.

use crate::hdr;
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde_json::Value;

/// What `bench tcp --json` and its like print, as far as it is compared or plotted.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// What the user calls it: the name of its file.
    pub(crate) name: String,
    pub(crate) bench: String,
    pub(crate) version: String,
    pub(crate) commit: Option<String>,
    pub(crate) machine: Value,
    /// As `(key, value)`, in the order of the file.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) to: Vec<String>,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) wall_s: f64,
    pub(crate) requests_per_s: f64,
    /// Both ways.
    pub(crate) bytes_per_s: f64,
    pub(crate) connections: u64,
    pub(crate) client_cpu_s: f64,
    pub(crate) target_cpu_s: Option<f64>,
    /// `(key, µs)`: min, mean, p50 and so on to max; empty where nothing was answered.
    pub(crate) latency_us: Vec<(String, f64)>,
    /// In nanoseconds; corrected for coordinated omission where the load had a schedule.
    pub(crate) histogram: Option<Histogram<u64>>,
    /// The same, uncorrected, where there are both.
    pub(crate) uncorrected: Option<Histogram<u64>>,
    pub(crate) series: Vec<Moment>,
    pub(crate) client_bound: bool,
    /// The same load without the proxy, where it was measured too.
    pub(crate) direct: Option<Box<Self>>,
}

/// A second of a run, or what is left of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Moment {
    /// Its end, counted from the beginning of the measured time.
    pub(crate) t_s: f64,
    #[serde(default = "one_second")]
    pub(crate) span_s: f64,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) bytes: u64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    #[serde(default)]
    pub(crate) target_cpu_s: Option<f64>,
}

fn one_second() -> f64 {
    1.0
}

impl Run {
    /// # Errors
    /// What is missing or of the wrong kind, in words.
    pub(crate) fn read(name: &str, value: &Value) -> Result<Self, String> {
        let proxy = &value["proxy"];
        if !proxy.is_object() {
            return Err("it has no `proxy` with the figures of a run".into());
        }
        let number = |at: &str| proxy.pointer(at).and_then(Value::as_f64);
        let needed = |at: &str| number(at).ok_or_else(|| format!("`proxy{}` is no number", at.replace('/', ".")));
        let latency = &value["latency"];
        let corrected = histogram(&latency["corrected_hdr"], "corrected_hdr")?;
        let raw = histogram(&latency["raw_hdr"], "raw_hdr")?;
        let (histogram, uncorrected) = match corrected {
            Some(corrected) => (Some(corrected), raw),
            None => (raw, None),
        };
        let series = match value.get("series").filter(|series| !series.is_null()) {
            Some(series) => Vec::deserialize(series).map_err(|e| format!("`series`: {e}"))?,
            None => Vec::new(),
        };
        Ok(Self {
            name: name.into(),
            bench: text(&value["bench"]),
            version: text(&value["version"]),
            commit: value["commit"].as_str().map(ToOwned::to_owned),
            machine: value["machine"].clone(),
            settings: settings(&value["settings"]),
            to: proxy["to"].as_array().into_iter().flatten().map(text).collect(),
            requests: proxy["requests"].as_u64().unwrap_or(0),
            errors: needed("/errors/total")? as u64,
            wall_s: needed("/wall_s")?,
            requests_per_s: needed("/requests_per_s")?,
            bytes_per_s: (needed("/in/mb_per_s")? + needed("/out/mb_per_s")?) * 1e6,
            connections: number("/connections/established").unwrap_or(0.0) as u64,
            client_cpu_s: needed("/client_cpu_s")?,
            target_cpu_s: number("/target_cpu_s"),
            latency_us: figures(&proxy["latency_us"]),
            histogram,
            uncorrected,
            series,
            client_bound: value["client_bound"] == true,
            direct: Self::read_direct(name, value)?.map(Box::new),
        })
    }

    /// It stands there as `proxy` does, with its own series and latencies in it.
    fn read_direct(name: &str, value: &Value) -> Result<Option<Self>, String> {
        let Some(direct) = value.get("direct").filter(|direct| direct.is_object()) else { return Ok(None) };
        let mut as_proxy = value.clone();
        as_proxy["proxy"] = direct.clone();
        as_proxy["direct"] = Value::Null;
        as_proxy["series"] = direct["series"].clone();
        as_proxy["latency"] = direct["latency"].clone();
        as_proxy["client_bound"] = direct["client_bound"].clone();
        Self::read(&format!("{name}, direct"), &as_proxy).map(Some).map_err(|why| format!("in `direct`: {why}"))
    }

    pub(crate) fn latency(&self, key: &str) -> Option<f64> {
        self.latency_us.iter().find(|(name, _)| name == key).map(|(_, us)| *us)
    }

    /// Microseconds a request or seconds a GB, whichever is counted.
    pub(crate) fn target_cpu_per_unit(&self) -> Option<f64> {
        let cpu = self.target_cpu_s?;
        let bytes = self.bytes_per_s * self.wall_s;
        match self.requests {
            0 if bytes > 0.0 => Some(cpu * 1e9 / bytes),
            0 => None,
            requests => Some(cpu * 1e6 / requests as f64),
        }
    }
}

/// Base 64 of HdrHistogram's V2 form, compressed or not; `None` for null.
fn histogram(value: &Value, key: &str) -> Result<Option<Histogram<u64>>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let wrong = |why: String| format!("`latency.{key}` is no histogram: {why}");
    let text = value.as_str().ok_or_else(|| wrong("it is no text".into()))?;
    let bytes = STANDARD.decode(text).map_err(|e| wrong(e.to_string()))?;
    hdr::decode(&bytes).map(Some).ok_or_else(|| wrong("it is not in the V2 form".into()))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What was set to something; lists are written with commas.
fn settings(value: &Value) -> Vec<(String, String)> {
    let list = |value: &Value| match value.as_array() {
        Some(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        None => text(value),
    };
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), list(value))).filter(|(_, value)| !value.is_empty()).collect()
}

/// In the order in which they rise.
const LATENCIES: [&str; 9] = ["min", "mean", "p50", "p90", "p95", "p99", "p99_9", "p99_99", "max"];

fn figures(value: &Value) -> Vec<(String, f64)> {
    LATENCIES.iter().filter_map(|key| Some(((*key).to_owned(), value[*key].as_f64()?))).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    fn hdr(values: &[u64]) -> String {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits");
        values.iter().for_each(|value| histogram.record(*value).expect("it grows"));
        hdr::text(&histogram)
    }

    /// `seconds` of 1,000 requests each, of which each takes `us`, and every second 1 % more.
    pub(crate) fn value(us: f64, seconds: usize) -> Value {
        let moment = |second: usize| {
            let us = us * (1.0 + second as f64 / 100.0);
            json!({
                "t_s": second + 1, "span_s": 1.0, "requests": 1000, "errors": 0, "bytes": 128_000,
                "p50_us": us, "p99_us": us * 2.0, "p999_us": us * 3.0, "cpu_s": 0.5, "target_cpu_s": us / 1e3,
            })
        };
        json!({
            "bench": "tcp", "version": "0.1.0", "commit": "abc", "machine": { "kernel": "6.18", "cores": 2 },
            "settings": { "mode": "ping-pong", "connections": 100, "cores": [0, 1], "requests": null },
            "proxy": {
                "to": ["127.0.0.1:9000"],
                "connections": { "established": 100 },
                "requests": 1000 * seconds,
                "requests_per_s": 1000.0,
                "out": { "mb_per_s": 0.064 }, "in": { "mb_per_s": 0.064 },
                "errors": { "reset": 2, "total": 2 },
                "latency_us": { "p50": us, "p99": us * 2.0, "p99_9": us * 3.0, "max": us * 4.0 },
                "client_cpu_s": 0.5 * seconds as f64, "target_cpu_s": us / 1e3 * seconds as f64,
                "wall_s": seconds as f64,
            },
            "series": (0..seconds).map(moment).collect::<Value>(),
            "latency": { "raw_hdr": hdr(&[(us * 1e3) as u64, (us * 4e3) as u64]), "corrected_hdr": null },
        })
    }

    #[test]
    fn everything_is_found() {
        let run = Run::read("a", &value(50.0, 8)).expect("a run");
        assert_eq!((run.requests, run.errors, run.series.len(), run.connections), (8000, 2, 8, 100));
        assert_eq!((run.latency("p99"), run.latency("p99_99")), (Some(100.0), None));
        assert_eq!(run.bytes_per_s, 128_000.0);
        assert!((run.target_cpu_per_unit().expect("it has") - 50.0).abs() < 1e-9);
        let pairs = [("cores", "0,1"), ("connections", "100"), ("mode", "ping-pong")];
        for (key, value) in pairs {
            assert!(run.settings.contains(&(key.into(), value.into())), "{:?}", run.settings);
        }
        assert!(!run.settings.iter().any(|(key, _)| key == "requests"), "null is not set");
        let histogram = run.histogram.expect("raw counts where nothing is corrected");
        assert_eq!((histogram.len(), run.uncorrected.is_none()), (2, true));
        assert!((49_900..50_100).contains(&histogram.min()));
    }

    #[test]
    fn corrected_latencies_go_first() {
        let mut value = value(50.0, 8);
        value["latency"]["corrected_hdr"] = hdr(&[1, 2, 3]).into();
        let run = Run::read("a", &value).expect("a run");
        assert_eq!((run.histogram.map(|h| h.len()), run.uncorrected.map(|h| h.len())), (Some(3), Some(2)));
    }

    #[test]
    fn runs_of_programs_without_a_series_can_be_read() {
        let mut value = value(50.0, 8);
        for key in ["series", "latency", "machine", "commit"] {
            value.as_object_mut().expect("an object").remove(key);
        }
        let run = Run::read("a", &value).expect("a run");
        assert_eq!((run.series.len(), run.histogram.is_none(), run.commit), (0, true, None));
    }

    #[test]
    fn nonsense_is_named() {
        let refused = |change: &dyn Fn(&mut Value), words: &str| {
            let mut value = value(50.0, 8);
            change(&mut value);
            let message = Run::read("a", &value).expect_err(words);
            assert!(message.contains(words), "{message}");
        };
        refused(&|v| v["proxy"] = json!(1), "no `proxy`");
        refused(&|v| v["proxy"]["errors"] = json!("none"), "`proxy.errors.total` is no number");
        refused(&|v| v["latency"]["raw_hdr"] = json!("%"), "`latency.raw_hdr` is no histogram");
        refused(&|v| v["latency"]["raw_hdr"] = json!("AAAA"), "`latency.raw_hdr` is no histogram");
        refused(&|v| v["series"] = json!([{ "t_s": "now" }]), "`series`");
    }
}
