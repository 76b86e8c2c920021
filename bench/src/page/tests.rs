use super::{html::tests::assert_well_formed, *};
use crate::{
    results::{Missing, a_duel, run_value},
    scratch::Scratch,
};
use serde_json::{Value, json};

fn run(name: &str, us: f64, seconds: usize) -> Run {
    Run::read(name, &run_value(us, seconds)).expect("a run")
}

#[track_caller]
fn assert_has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

#[test]
fn a_run_shows_its_figures_and_every_second() {
    let page = of_runs(&[run("a <run>", 50.0, 8)]).expect("a page");
    assert_well_formed(&page);
    assert_has(&page, &["<title>bench tcp: a &lt;run&gt;</title>", "Linux 6.18", "balance-shard 0.1.0 (abc)"]);
    // Tiles, a second's p99.9, the curve's end, a setting.
    assert_has(&page, &["<b>1,000 <small>/s</small></b>", "<b>100 <small>µs</small></b><span>p99</span>"]);
    assert_has(&page, &["p99.9: 156 µs at 5 s", "a &lt;run&gt;: 1000 at 8 s", "<dt>mode</dt><dd>ping-pong</dd>"]);
    assert_has(&page, &["Latency by percentile", "Cores that the target used", "class=\"tile bad\"><b>2 "]);
    assert!(!page.contains("Errors a second") && !page.contains("beside"), "{page}");
}

#[test]
fn runs_beside_each_other_are_compared() {
    let page = of_runs(&[run("before", 50.0, 8), run("after", 100.0, 8)]).expect("a page");
    assert_well_formed(&page);
    assert_has(
        &page,
        &["<title>before · after</title>", "after beside before", "2.000, worse", "before, p99", "after, p50"],
    );
}

#[test]
fn the_path_without_the_proxy_is_plotted_too() {
    let mut value = run_value(50.0, 8);
    let direct = run_value(20.0, 8);
    value["direct"] = direct["proxy"].clone();
    value["direct"]["series"] = direct["series"].clone();
    let page = of_runs(&[Run::read("a", &value).expect("a run")]).expect("a page");
    assert_well_formed(&page);
    assert_has(&page, &["a, direct, p99: 40 µs at 1 s"]);
}

#[test]
fn a_run_of_which_little_is_known_is_a_page_all_the_same() {
    let mut value = run_value(50.0, 8);
    for key in ["series", "latency", "machine", "commit"] {
        value[key] = Value::Null;
    }
    let page = of_runs(&[Run::read("a", &value).expect("a run")]).expect("a page");
    assert_well_formed(&page);
    assert_has(&page, &["Nothing was measured for this.", "a: 50 µs at 50 %"]);
    value["proxy"]["latency_us"] = Value::Null;
    value["proxy"]["requests"] = json!(0);
    let page = of_runs(&[Run::read("a", &value).expect("a run")]).expect("a page");
    assert_well_formed(&page);
    assert_has(&page, &["MB a second"]);
}

#[test]
fn a_duel_shows_everybody_and_who_is_missing() {
    let mut duel = a_duel();
    duel.scenarios[0].proxies[1].name = "balance".into();
    duel.scenarios[0].proxies[1].rounds[0].sample.as_mut().expect("a sample").run = run_value(50.0, 2);
    duel.missing.push(Missing { proxy: "envoy".into(), program: "envoy".into(), get: "pip install <it>".into() });
    let mut second = duel.scenarios[0].clone();
    second.name = "second".into();
    duel.scenarios.push(second);
    let page = of_duel(&duel);
    assert_well_formed(&page);
    assert_has(
        &page,
        &["envoy did not take part", "pip install &lt;it&gt;", "a &lt;fast&gt; one", "Over all scenarios"],
    );
    // The bar, the ratio in the overview and beside the dot, a failure, a version.
    assert_has(&page, &["balance: 10.0 (5.0–24.0)", ">0.50 <small>(0.50–0.60)</small>", "balance: 0.50"]);
    assert_has(&page, &["failed: it said no", "<small>1.0</small>", "Latency by percentile, all rounds"]);
}

#[test]
fn files_make_pages_and_kinds_do_not_mix() {
    let directory = Scratch::new().expect("a directory");
    let path = |name: &str| directory.join(name);
    results::write(&path("a.json"), &run_value(50.0, 8).to_string()).expect("written");
    results::write(&path("d.json"), &serde_json::to_string(&a_duel()).expect("JSON")).expect("written");
    let made = |names: &[&str]| {
        let args = ReportArgs { files: names.iter().map(|name| path(name)).collect(), html: path("page.html") };
        command(&args).map_err(|e| e.message)
    };
    for names in [&["a.json"][..], &["a.json", "a.json"], &["d.json"]] {
        made(names).expect("a page");
        assert_well_formed(&std::fs::read_to_string(path("page.html")).expect("written"));
    }
    assert!(made(&["a.json", "d.json"]).is_err_and(|e| e.contains("one duel, or runs")));
    assert!(made(&["d.json", "d.json"]).is_err_and(|e| e.contains("bench compare")));
    let args = ReportArgs { files: vec![path("a.json")], html: path("no/such/page.html") };
    assert!(command(&args).is_err_and(|e| e.message.contains("cannot write")));
}
