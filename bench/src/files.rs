//! What a run leaves in files.

use crate::{
    cli::OutputArgs,
    failure::Failure,
    hdr, page,
    report::{Outcome, Report},
    series::Point,
};
use hdrhistogram::{
    Histogram,
    serialization::{V2DeflateSerializer, interval_log::IntervalLogWriterBuilder},
};
use std::{fmt::Write as _, fs::File, io::Write as _, path::Path};

const NANOS_PER_MS: f64 = 1e6;
/// Lines of the table for each half of the way to 100 %; what HdrHistogram's own tools take.
const TICKS_PER_HALF: u32 = 5;

/// Created before the run, so that a path that cannot be written is known at once.
pub(crate) struct Files {
    open: Vec<(Kind, File, String)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Json,
    Hgrm,
    HdrLog,
    Csv,
    Html,
}

impl Files {
    /// # Errors
    /// A file that cannot be created.
    pub(crate) fn create(args: &OutputArgs) -> Result<Self, Failure> {
        let wanted = [
            (Kind::Json, &args.json_file),
            (Kind::Hgrm, &args.hgrm),
            (Kind::HdrLog, &args.hdr_log),
            (Kind::Csv, &args.csv),
            (Kind::Html, &args.html),
        ];
        let create = |(kind, path): (Kind, &Path)| match File::create(path) {
            Ok(file) => Ok((kind, file, path.display().to_string())),
            Err(error) => Err(Failure::usage(format!("cannot write {}: {error}", path.display()))),
        };
        let open = wanted.into_iter().filter_map(|(kind, path)| Some((kind, path.as_deref()?))).map(create);
        Ok(Self { open: open.collect::<Result<_, _>>()? })
    }

    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(self, report: &Report) -> Result<(), Failure> {
        for (kind, mut file, path) in self.open {
            let bytes = match kind {
                Kind::Json => format!("{}\n", report.json()).into_bytes(),
                Kind::Hgrm => hgrm(report.proxy.tally.waits()).into_bytes(),
                Kind::HdrLog => hdr_log(&report.proxy),
                Kind::Csv => csv(&report.proxy.points).into_bytes(),
                Kind::Html => page::of_report(report)?.into_bytes(),
            };
            file.write_all(&bytes).map_err(|error| Failure::runtime(format!("cannot write {path}: {error}")))?;
        }
        Ok(())
    }
}

/// HdrHistogram's percentile distribution, as its plotters read it; values in milliseconds.
fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / NANOS_PER_MS, step.quantile_iterated_to());
        let _ = write!(text, "{value:12.3} {quantile:14.12} {count:10}");
        let _ = if quantile < 1.0 { writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let ms = |nanos: f64| nanos / NANOS_PER_MS;
    let _ =
        writeln!(text, "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]", ms(histogram.mean()), ms(histogram.stdev()));
    let _ = writeln!(text, "#[Max     = {:12.3}, Total count    = {:12}]", ms(histogram.max() as f64), histogram.len());
    let _ = writeln!(text, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), 1 << 11);
    text
}

/// HdrHistogram's interval log; what its line calls the maximum is in milliseconds.
fn hdr_log(outcome: &Outcome) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Histograms of latencies in nanoseconds, by balance-shard bench]");
    builder.with_max_value_divisor(NANOS_PER_MS).with_start_time(outcome.started);
    // Writing to memory does not fail, and what is written was read from the same form.
    if let Ok(mut log) = builder.begin_log_with(&mut bytes, &mut serializer) {
        for point in &outcome.points {
            let Some(histogram) = hdr::decode(&point.histogram) else { continue };
            let _ = log.write_histogram(&histogram, point.end - point.span, point.span, None);
        }
    }
    bytes
}

fn csv(points: &[Point]) -> String {
    let mut text = String::from("t_s,span_s,requests,errors,bytes,p50_us,p99_us,p999_us,max_us,cpu_s,target_cpu_s\n");
    for point in points {
        let us = |nanos: u64| if point.requests > 0 { format!("{:.1}", nanos as f64 / 1e3) } else { String::new() };
        let target = point.target_cpu.map_or_else(String::new, |cpu| format!("{:.3}", cpu.as_secs_f64()));
        let _ = writeln!(
            text,
            "{:.3},{:.3},{},{},{},{},{},{},{},{:.3},{target}",
            point.end.as_secs_f64(),
            point.span.as_secs_f64(),
            point.requests,
            point.errors,
            point.bytes,
            us(point.p50),
            us(point.p99),
            us(point.p999),
            us(point.max),
            point.cpu.as_secs_f64(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Mode;
    use crate::report::tests::outcome;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn a_table_of_percentiles() {
        let mut histogram = Histogram::<u64>::new_with_max(3_600_000_000_000, 3).unwrap();
        for ms in 1..=100_u64 {
            histogram.saturating_record(ms * 1_000_000);
        }
        let text = hgrm(&histogram);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().expect("a number")).collect())
            .collect();
        assert!(rows.len() > 20, "{text}");
        assert_eq!(rows[0][1..3], [0.0, 1.0]);
        let median = rows.iter().find(|row| row[1] >= 0.5).expect("a row for it");
        assert_eq!((median[1], median[2], median[3]), (0.5, 50.0, 2.0));
        assert!((median[0] - 50.0).abs() < 0.05, "{median:?}");
        let last = rows.last().expect("rows");
        assert_eq!(last[1..], [1.0, 100.0], "the last has no fourth column");
        assert!(text.contains("Total count    =          100]"), "{text}");
    }

    #[test]
    fn an_interval_log_can_be_read_again() {
        let bytes = hdr_log(&outcome(Mode::PingPong, 50));
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("#[StartTime: "), "{text}");
        let entries: Vec<_> = IntervalLogIterator::new(&bytes).map(|entry| entry.expect("readable")).collect();
        let intervals: Vec<_> =
            entries.iter().filter_map(|e| if let LogEntry::Interval(i) = e { Some(i) } else { None }).collect();
        assert_eq!(intervals.len(), 1);
        assert!(intervals[0].encoded_histogram().starts_with("HISTFAAA"));
        assert!((intervals[0].max() - 0.05).abs() < 0.001, "milliseconds");
    }

    #[test]
    fn a_table_second_by_second() {
        let text = csv(&outcome(Mode::PingPong, 50).points);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
        assert!(lines[1].starts_with("1.000,1.000,2000,0,4000000,50.0"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_known_before_the_run() {
        let args = OutputArgs {
            json: false,
            json_file: Some("/nowhere/at/all.json".into()),
            hgrm: None,
            html: None,
            hdr_log: None,
            csv: None,
            progress: crate::cli::Progress::Off,
        };
        let message = Files::create(&args).err().expect("no such directory").message;
        assert!(message.starts_with("cannot write /nowhere/at/all.json"), "{message}");
    }
}
