//! That every part runs and that its candidates agree. How long they take is no test's business.

use super::*;
use std::time::Duration;

const SHORT: Effort = Effort { rounds: 2, sample: Duration::from_nanos(1) };

fn suite(part: Part) -> Suite {
    let results = measure(&mut part.cases(), SHORT).unwrap_or_else(|e| panic!("{}: {e}", part.name()));
    Suite { name: part.name(), effort: SHORT, core: None, results }
}

#[test]
fn every_part_runs_and_its_candidates_agree() {
    for part in Part::ALL {
        let suite = suite(part);
        assert!(!suite.results.is_empty());
        for case in &suite.results {
            assert!(case.candidates.len() > 1, "{}: nothing to compare with", case.name);
            for figures in &case.candidates {
                assert_eq!(figures.rounds.len(), 2, "{}: {}", case.name, figures.name);
                assert!(figures.rounds.iter().all(|nanos| nanos.is_finite() && *nanos >= 0.0));
                assert!(figures.least() <= figures.median() && figures.median() <= figures.most());
            }
        }
    }
}

#[test]
fn text_and_json_show_every_candidate() {
    let suite = suite(Part::Timers);
    let text = suite.text();
    let json = table::json(&[suite]);
    assert_eq!((&json["bench"], &json["parts"][0]["part"]), (&"micro".into(), &"timers".into()));
    let cases = json["parts"][0]["cases"].as_array().expect("a list");
    for case in cases {
        let candidates = case["candidates"].as_array().expect("a list");
        assert!(text.contains(case["name"].as_str().expect("a name")), "{text}");
        for candidate in candidates {
            assert!(text.contains(candidate["name"].as_str().expect("a name")), "{text}");
            assert!(candidate["ns"]["median"].is_number() && candidate["ratio"].is_number(), "{candidate}");
            assert_eq!(candidate["rounds"].as_array().map(Vec::len), Some(2));
        }
    }
}

#[test]
fn candidates_that_disagree_are_an_error() {
    let answers = |name, answer| Candidate::new(name, 1, move |watch| watch.time(|| answer));
    let case = |answer| Case {
        name: "sum",
        operation: "step",
        candidates: vec![answers("ours", 1), answers("theirs", answer)],
    };
    assert!(measure(&mut [case(1)], SHORT).is_ok());
    let message = measure(&mut [case(2)], SHORT).err().expect("they disagree").message;
    assert!(message.starts_with("sum: ") && message.contains("answers"), "{message}");
}
