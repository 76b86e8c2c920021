//! An HTTP load, and one of either protocol: their flags, checked as a whole.

use super::{Bytes, HttpPlan, MESSAGE_BYTES, Plan, Protocol, check_families};
use crate::{
    cli::{EitherArgs, HttpArgs, LoadArgs, Mode, RequestArgs, Speaks, TargetArgs},
    failure::Failure,
    http::{
        request::{BODY_MAX, Content, Form, Request},
        url::{self, Url},
    },
    values::Destination,
};
use std::{fs, path::Path, sync::Arc};

impl Plan {
    /// # Errors
    /// Flags that contradict each other, a file that cannot be read, a host without an address.
    pub(crate) fn http(args: &HttpArgs) -> Result<Self, Failure> {
        http(&args.request, &args.target, &args.load)
    }

    /// # Errors
    /// As [`Plan::http`].
    pub(crate) fn either(args: &EitherArgs) -> Result<Self, Failure> {
        let EitherArgs { mode, request, target, size, load } = args;
        let has_url = request.url.is_some() || request.urls.is_some();
        match mode.unwrap_or(if has_url { Speaks::Http } else { Speaks::Tcp }) {
            Speaks::Http if size.is_some() => {
                Err(Failure::usage("--size is that of a TCP message; --body-size is that of a request's body"))
            }
            Speaks::Http => http(request, target, load),
            Speaks::Tcp if has_url => {
                Err(Failure::usage("--mode tcp sends messages to --to; --url has no place in it"))
            }
            Speaks::Tcp if request.is_given() => {
                Err(Failure::usage("--mode tcp sends messages; what belongs to requests has no place in it"))
            }
            Speaks::Tcp if target.to.is_empty() => Err(Failure::usage("--mode tcp needs --to HOST:PORT")),
            Speaks::Tcp => {
                check_families(load, target.to.iter().chain(&target.backend))?;
                Ok(Self { size: size.unwrap_or(MESSAGE_BYTES), ..Self::of_load(load, &target.to) })
            }
        }
    }

    /// The same load on what is behind the target.
    pub(crate) fn on(&self, targets: &[Destination]) -> Self {
        let plan = Self { targets: targets.to_vec(), ..self.clone() };
        let Protocol::Http(http) = &self.protocol else { return plan };
        // Everybody is asked for everything: behind the proxy there are no other hosts.
        let all: Vec<Request> = http.requests.iter().flatten().cloned().collect();
        let requests = if http.requests.len() == 1 || self.targets.len() == 1 {
            vec![http.requests[0].clone(); targets.len()]
        } else {
            vec![all; targets.len()]
        };
        let (form, url) = (http.form.clone(), http.url.clone());
        let http = HttpPlan { requests, pipeline: http.pipeline, keep_alive: http.keep_alive, form, url };
        Self { protocol: Protocol::Http(Arc::new(http)), ..plan }
    }
}

fn http(args: &RequestArgs, target: &TargetArgs, load: &LoadArgs) -> Result<Plan, Failure> {
    let urls = urls(args)?;
    let form = Form {
        method: args.method.clone(),
        headers: args.headers.clone(),
        body: body(args)?,
        keep_alive: !args.no_keep_alive,
        checks: !load.any_bytes,
    };
    let (targets, requests) = group(&urls, &form, &target.to)?;
    check_families(load, targets.iter().chain(&target.backend))?;
    let url = format!("http://{}{}", urls[0].authority, urls[0].target);
    let (pipeline, keep_alive) = (args.pipeline, form.keep_alive);
    let http = HttpPlan { requests, pipeline, keep_alive, form, url };
    Ok(Plan {
        mode: Mode::Http,
        protocol: Protocol::Http(Arc::new(http)),
        bytes: if load.any_bytes { Bytes::Any } else { Bytes::Checked },
        ..Plan::of_load(load, &targets)
    })
}

/// # Errors
/// What is no URL, or no list of them.
fn urls(args: &RequestArgs) -> Result<Vec<Url>, Failure> {
    let base = args.url.as_deref().map(Url::parse).transpose();
    let base = base.map_err(|why| Failure::usage(format!("--url: {why}")))?;
    let Some(path) = &args.urls else {
        return base.map(|url| vec![url]).ok_or_else(|| Failure::usage("what to ask for? give --url or --urls"));
    };
    let wrong = |why: String| Failure::usage(format!("--urls: {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    url::list(&text, base.as_ref()).map_err(wrong)
}

/// # Errors
/// A file that cannot be read, or what is too large to be kept.
fn body(args: &RequestArgs) -> Result<Content, Failure> {
    if args.body_size.is_some_and(|size| size > BODY_MAX) {
        return Err(Failure::usage("--body-size: a body has at most 1GiB"));
    }
    match (&args.body_file, args.body_size) {
        (Some(path), _) => read_body(path).map(Content::Bytes),
        (None, Some(size)) => Ok(Content::Pattern(size)),
        (None, None) => Ok(Content::None),
    }
}

fn read_body(path: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |why: String| Failure::usage(format!("--body-file: {}: {why}", path.display()));
    let length = fs::metadata(path).map_err(|e| wrong(e.to_string()))?.len();
    if length > BODY_MAX {
        return Err(wrong("a body has at most 1GiB".into()));
    }
    fs::read(path).map_err(|e| wrong(e.to_string()))
}

type Groups = (Vec<Destination>, Vec<Vec<Request>>);

/// Targets, and the requests of each. Where `to` says where to connect, all requests go there.
fn group(urls: &[Url], form: &Form, to: &[Destination]) -> Result<Groups, Failure> {
    if !to.is_empty() {
        let all: Vec<Request> = urls.iter().map(|url| Request::new(form, url)).collect();
        return Ok((to.to_vec(), vec![all; to.len()]));
    }
    let (mut hosts, mut targets, mut requests): (Vec<&str>, _, Vec<Vec<Request>>) = Default::default();
    for url in urls {
        let place = match hosts.iter().position(|host| *host == url.authority) {
            Some(place) => place,
            None => {
                let found = url.destination().map_err(|why| Failure::usage(format!("{}: {why}", url.authority)))?;
                hosts.push(&url.authority);
                Vec::push(&mut targets, found);
                requests.push(Vec::new());
                hosts.len() - 1
            }
        };
        requests[place].push(Request::new(form, url));
    }
    Ok((targets, requests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Args;
    use clap::Parser;
    use std::time::Duration;

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        what: Args,
    }

    fn parsed(line: &str) -> Result<Plan, String> {
        let words = ["bench"].into_iter().chain(line.split_ascii_whitespace());
        match Program::try_parse_from(words).map_err(|e| e.to_string())?.what {
            Args::Http(args) => Plan::http(&args),
            Args::Latency(args) => Plan::either(&args.either),
            _ => panic!("neither http nor latency"),
        }
        .map_err(|failure| failure.message)
    }

    #[track_caller]
    fn refused(line: &str, words: &str) {
        let message = parsed(line).expect_err(line);
        assert!(message.contains(words), "{line}: {message}");
    }

    fn http_of(plan: &Plan) -> &HttpPlan {
        let Protocol::Http(http) = &plan.protocol else { panic!("not http") };
        http
    }

    #[test]
    fn names_of_the_origin_work() {
        let plan = parsed("latency --url http://127.0.0.1:81/x --requests 500 --concurrency 7").unwrap();
        assert_eq!((plan.mode, plan.connections, plan.targets[0].to_string()), (Mode::Http, 7, "127.0.0.1:81".into()));
        let plan = parsed("latency --mode tcp --tcp 127.0.0.1:82 --size 10").unwrap();
        assert_eq!((plan.mode, plan.size, plan.targets[0].to_string()), (Mode::PingPong, 10, "127.0.0.1:82".into()));
    }

    #[test]
    fn targets_have_their_requests() {
        let plan = parsed("http --url http://a.test/x --to 127.0.0.1:1,127.0.0.1:2 --rate 2k --duration 3s").unwrap();
        let http = http_of(&plan);
        assert_eq!((plan.targets.len(), http.requests.len(), plan.rate), (2, 2, Some(2000.0)));
        assert_eq!(plan.warm, Duration::from_secs(1));
        let behind = plan.on(&[Destination::Ip(([127, 0, 0, 1], 9).into())]);
        assert_eq!((behind.targets.len(), http_of(&behind).requests.len()), (1, 1));
    }

    #[test]
    fn contradictions_are_named() {
        refused("http", "--url");
        refused("http --to 127.0.0.1:1", "give --url");
        refused("http --url https://127.0.0.1/", "only http");
        refused("http --url http://127.0.0.1:0/", "port 0");
        refused("http --url http://127.0.0.1/ --urls nowhere.txt", "nowhere.txt");
        refused("http --url http://127.0.0.1/ --body-file nowhere", "nowhere");
        refused("http --url http://127.0.0.1/ --body-file x --body-size 5", "cannot be used with");
        refused("http --url http://127.0.0.1/ --body-size 2GiB", "1GiB");
        refused("http --url http://127.0.0.1/ --pipeline 2 --no-keep-alive", "cannot be used with");
        refused("http --url http://127.0.0.1/ --pipeline 0", "0");
        refused("http --url http://127.0.0.1/ --header nonsense", "Name: value");
        refused("http --url http://127.0.0.1/ --method CONNECT", "tunnel");
        refused("http --url http://127.0.0.1/ --rate=-1", "a second");
        refused("http --url http://[::1]/ --sources 2", "other family");
        refused("latency --mode tcp --url http://127.0.0.1/", "no place");
        refused("latency --tcp 127.0.0.1:1 --pipeline 2", "no place");
        refused("latency --tcp 127.0.0.1:1 --header a:b", "no place");
        refused("latency --mode http --to 127.0.0.1:1", "give --url");
        refused("latency --url http://127.0.0.1/ --size 5", "--body-size");
        refused("latency --url http://127.0.0.1/ --target p99", "p99=10ms");
    }
}
