//! Every kind of condition, what it takes and what it leaves.

use super::{Ask, get, route, site};

/// The route takes the first requests and leaves the others.
#[track_caller]
fn check(when: &str, taken: &[Ask], left: &[Ask]) {
    let site = site("", &route(when, "a"));
    for ask in taken {
        assert_eq!(site.cluster(ask), "a", "{when} should take {ask:?}");
    }
    for ask in left {
        assert_eq!(site.cluster(ask), "f", "{when} should leave {ask:?}");
    }
}

fn gets<const N: usize>(urls: [&str; N]) -> [Ask; N] {
    urls.map(get)
}

#[test]
fn hosts() {
    check(
        "host = 'Example.com'",
        &gets(["example.com/", "EXAMPLE.com/", "example.com./", "example.com:8080/"]),
        &gets(["a.example.com/", "example.org/", "/", "example.com../", "xexample.com/"]),
    );
    check(
        "host = '*.example.com'",
        &gets(["a.example.com/", "a.b.EXAMPLE.com:1/"]),
        &gets(["example.com/", "xexample.com/", ".example.com/", "example.com.org/", "a.example.com.org/"]),
    );
    check("host = ['a.org', '*.b.org']", &gets(["a.org/", "x.b.org/"]), &gets(["b.org/", "x.a.org/"]));
    check("host = '::1'", &gets(["[::1]/", "[0:0::1]:80/"]), &gets(["[::2]/", "::1/"]));
    check("host = '10.0.0.1'", &gets(["10.0.0.1/", "10.0.0.1:80/"]), &gets(["10.0.0.2/"]));
}

#[test]
fn paths() {
    check(
        "path = '/a/b'",
        &gets(["h/a/b", "h/a/b?x", "h/a//b", "h/a/./b", "h/%61/b"]),
        &gets(["h/a/b/", "h/a", "h/a/b/c"]),
    );
    check("path = '/a/'", &gets(["h/a/", "h/a/b/.."]), &gets(["h/a", "h/a/b"]));
    check("path = '/'", &gets(["h/", "h", "h/a/.."]), &gets(["h/a"]));
    check("path_prefix = '/a'", &gets(["h/a", "h/a/", "h/a/b", "h/a?x"]), &gets(["h/ab", "h/", "h/b/a", "h/A"]));
    check("path_prefix = '/a/'", &gets(["h/a/", "h/a/b"]), &gets(["h/a", "h/ab"]));
    check("path_prefix = '/'", &gets(["h/", "h/a", "h"]), &gets(["h*"]));
    check("path_prefix = ['/a', '/b/c']", &gets(["h/a/x", "h/b/c"]), &gets(["h/b"]));
    check("path_regex = '/u/[0-9]+'", &gets(["h/u/1", "h/u/42?x"]), &gets(["h/u/", "h/u/1/", "h/x/u/1", "h/u/1a"]));
    check("path_regex = '(/a|/b).*'", &gets(["h/a", "h/bc"]), &gets(["h/c"]));
    check("path_regex = ['/a+', '/b+']", &gets(["h/aa", "h/b"]), &gets(["h/ab"]));
    // An encoded slash does not separate.
    check("path_prefix = '/a/b'", &gets(["h/a/b/x"]), &gets(["h/a%2Fb", "h/a%2fb/x"]));
    check("path = '/a%2Fb'", &gets(["h/a%2fb"]), &gets(["h/a/b"]));
}

#[test]
fn methods() {
    let get_x = || get("h/x");
    check("methods = 'GET'", &[get_x()], &[get_x().method("HEAD"), get_x().method("get"), get_x().method("PURGE")]);
    check(
        "methods = ['POST', 'PURGE']",
        &[get_x().method("POST"), get_x().method("PURGE")],
        &[get_x(), get_x().method("PURG")],
    );
}

#[test]
fn headers() {
    let ask = || get("h/");
    let one = |value: &str| get("h/").with("X-Kind", value);
    check("headers = { x-kind = 'v 1' }", &[one("v 1")], &[ask(), one("V 1"), one("v 12"), one("")]);
    check("headers = { X-Kind = { exact = 'a' } }", &[one("b").with("x-kind", "a")], &[one("b")]);
    check("headers = { x-kind = { prefix = 'v' } }", &[one("v"), one("v1")], &[ask(), one("1v")]);
    check("headers = { x-kind = { regex = 'v[0-9]' } }", &[one("v1")], &[ask(), one("v12"), one("xv1")]);
    check("headers = { x-kind = { present = true } }", &[one(""), one("x")], &[ask()]);
    check("headers = { x-kind = { present = false } }", &[ask()], &[one("")]);
    // A name that every shard knows, and all of several.
    let both = || get("h/").with("Accept", "text/html").with("X-Kind", "1");
    check(
        "headers = { accept = { prefix = 'text/' }, x-kind = '1' }",
        &[both()],
        &[one("1"), get("h/").with("Accept", "text/html")],
    );
}

#[test]
fn queries() {
    check(
        "query = { a = '1 2' }",
        &gets(["h/?a=1+2", "h/?a=1%202", "h/?%61=1+2", "h/?b&a=0&a=1+2"]),
        &gets(["h/", "h/?", "h/?a=1%2B2", "h/?aa=1+2", "h/?a", "h/?A=1+2"]),
    );
    check("query = { a = { prefix = '1' } }", &gets(["h/?a=1", "h/?a=%31x"]), &gets(["h/?a=", "h/?a=21"]));
    check("query = { a = { regex = '[0-9 ]+' } }", &gets(["h/?a=1+2", "h/?a=%30"]), &gets(["h/?a=", "h/?a=x1"]));
    check("query = { a = { present = true } }", &gets(["h/?a", "h/?a="]), &gets(["h/", "h/?b=a"]));
    check("query = { a = { present = false } }", &gets(["h/", "h/?b=a"]), &gets(["h/?a"]));
    check(
        "query = { '' = 'x' }".replace("''", "'a b'").as_str(),
        &gets(["h/?a+b=x", "h/?a%20b=x"]),
        &gets(["h/?ab=x"]),
    );
}

#[test]
fn cookies() {
    let ask = |line: &str| get("h/").with("cookie", line);
    check(
        "cookies = { id = 'a' }",
        &[ask("id=a"), ask("x=1; id=a"), ask("x=1;id=a;y"), ask("y=1").with("Cookie", "id=a"), ask("id=b; id=a")],
        &[get("h/"), ask("id=ab"), ask("ID=a"), ask("xid=a"), ask("x=id=a"), ask("id")],
    );
    check("cookies = { id = { prefix = 'a' } }", &[ask("id=ab")], &[ask("id=ba")]);
    check("cookies = { id = { regex = '[ab]' } }", &[ask("id=b")], &[ask("id=c")]);
    check("cookies = { id = { present = true } }", &[ask("id=")], &[ask("di=")]);
    check("cookies = { id = { present = false } }", &[get("h/"), ask("di=")], &[ask("id=")]);
}

#[test]
fn all_of_a_match_must_match() {
    let when = "host = '*.org', path_prefix = '/x', methods = 'POST', headers = { x-a = '1' }, query = { q = '1' }, \
                cookies = { c = '1' }";
    let good = || get("a.org/x?q=1").method("POST").with("x-a", "1").with("cookie", "c=1");
    let mut without = vec![good().method("GET")];
    for left_out in 0..2 {
        let mut ask = good();
        ask.fields.remove(left_out);
        without.push(ask);
    }
    for (authority, path, query) in [("a.com", "/x", "q=1"), ("a.org", "/y", "q=1"), ("a.org", "/x", "q=2")] {
        let mut ask = good();
        (ask.authority, ask.path, ask.query) = (authority.into(), path.into(), Some(query.into()));
        without.push(ask);
    }
    check(when, &[good()], &without);
}

#[test]
fn the_server_as_a_whole_is_no_path() {
    let options = || get("h*").method("OPTIONS");
    let site = site("", &[route("path_prefix = '/'", "a"), route("host = 'h', methods = 'OPTIONS'", "b")].concat());
    assert_eq!(site.cluster(&options()), "b");
    assert_eq!(site.cluster(&get("x*").method("OPTIONS")), "f");
    assert_eq!(site.cluster(&get("x/")), "a");
}
