//! The pages: what is asked for, and nothing about how it travels.

use super::{DrainAnswer, ReloadAnswer, metrics, query, status};
use crate::{
    cli,
    control::{Control, Phase, Refusal, Reloaded, fleet::Answer, refusal_exit},
    report::ConnectionReport,
};
use axum::{
    Json, Router,
    extract::{Query, Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use balance_config::effective;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

type Shared = State<Arc<Control>>;
type Pairs = Query<Vec<(String, String)>>;

const INDEX: &str = "\
GET  /healthz      200 while every shard lives
GET  /readyz       200 while new connections are welcome, 503 from the start of a drain on
GET  /status       everything below in short, as JSON
GET  /connections  listener= cluster= endpoint= peer= state= idle_min=5s limit=1000
GET  /metrics      for Prometheus
GET  /config       the configuration in force, defaults included, as TOML
GET  /version
POST /reload       load the configuration again; answers with the outcome
POST /drain        deadline=30s; finish connections and end the process
";

pub(super) fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(async |State(c): Shared| Json(status::gather(&c).await)))
        .route("/version", get(async || Json(cli::version_json())))
        .route("/metrics", get(metrics_page))
        .route("/connections", get(connections))
        .route("/config", get(config))
        .route("/reload", post(reload))
        .route("/drain", post(drain))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(refuse_browsers))
        .with_state(control)
}

fn error(code: StatusCode, message: &str) -> Response {
    (code, Json(json!({ "error": message }))).into_response()
}

async fn unknown(uri: Uri) -> Response {
    let text = format!("there is no page {}; there are:\n{INDEX}", uri.path());
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let text = format!("{} does not take {method}\n", uri.path());
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}

/// A web page that an operator has open can send a POST to any address of their machine. Browsers name the page in
/// Origin, and no tool of ours sends one.
async fn refuse_browsers(request: Request, next: Next) -> Response {
    if request.method() == Method::POST && request.headers().contains_key(header::ORIGIN) {
        return error(StatusCode::FORBIDDEN, "orders are not taken from web pages");
    }
    next.run(request).await
}

async fn healthz(State(control): Shared) -> Response {
    let ended: Vec<String> =
        control.fleet.links().iter().filter(|l| l.finished()).map(|l| l.shard().to_string()).collect();
    if ended.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("shard {} has ended\n", ended.join(", "))).into_response()
}

async fn readyz(State(control): Shared) -> Response {
    match control.phase() {
        Phase::Running => "ready\n".into_response(),
        phase @ (Phase::Starting | Phase::Draining { .. }) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", phase.as_str())).into_response()
        }
    }
}

async fn metrics_page(State(control): Shared, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let format = metrics::Format::accepted_by(accepted.unwrap_or_default());
    match metrics::Scrape::gather(&control).await.text(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written down"),
    }
}

async fn connections(State(control): Shared, Query(pairs): Pairs) -> Response {
    let filter = match query::connections(&pairs) {
        Ok(filter) => filter,
        Err(message) => return error(StatusCode::BAD_REQUEST, &message),
    };
    let answers = control.fleet.connections(&filter).await;
    let links = control.fleet.links().iter();
    let silent: Vec<u16> = links
        .zip(&answers)
        .filter(|(_, answer)| !matches!(answer, Answer::Here(_)))
        .map(|(link, _)| link.shard())
        .collect();
    let rows: Vec<Value> = answers.into_iter().filter_map(Answer::here).flatten().map(|r| row(&r)).collect();
    let limited = rows.len() >= filter.limit;
    Json(json!({ "connections": rows, "limited": limited, "silent_shards": silent })).into_response()
}

fn row(from: &ConnectionReport) -> Value {
    json!({
        // A number of 64 bits would be rounded by JavaScript.
        "id": format!("{:016x}", from.id),
        "shard": from.shard,
        "peer": from.peer.map(|p| p.to_string()),
        "listener": &*from.listener,
        "cluster": from.cluster.as_deref(),
        "endpoint": from.endpoint.as_ref().map(ToString::to_string),
        "state": from.state.as_str(),
        "rung_up": from.rung_up.as_str(),
        "rung_down": from.rung_down.as_str(),
        "bytes_up": from.bytes_up,
        "bytes_down": from.bytes_down,
        "age_s": from.age.as_secs_f64(),
        "idle_s": from.idle.as_secs_f64(),
    })
}

async fn config(State(control): Shared) -> Response {
    match control.view() {
        Some(view) => {
            let toml = [(header::CONTENT_TYPE, "application/toml; charset=utf-8")];
            (toml, effective::render(&view.loaded)).into_response()
        }
        None => error(StatusCode::SERVICE_UNAVAILABLE, "starting"),
    }
}

async fn reload(State(control): Shared) -> Response {
    // On a task of its own: a client that hangs up must not stop a reload halfway.
    let task = tokio::spawn(async move { control.reload().await });
    let Ok(outcome) = task.await else {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "the reload failed; see the log");
    };
    match outcome {
        Ok(done) => Json(applied(done)).into_response(),
        Err(refusal) => {
            let code = match &refusal {
                Refusal::Config(_) | Refusal::Bind(_) => StatusCode::UNPROCESSABLE_ENTITY,
                Refusal::Stalled(_) => StatusCode::SERVICE_UNAVAILABLE,
                Refusal::Draining => StatusCode::CONFLICT,
            };
            (code, Json(refused(&refusal))).into_response()
        }
    }
}

fn applied(done: Reloaded) -> ReloadAnswer {
    ReloadAnswer {
        result: "applied".to_owned(),
        version: Some(done.version),
        reason: None,
        exit: 0,
        warnings: done.warnings,
        needs_restart: done.needs_restart,
        lagging_shards: done.lagging,
    }
}

fn refused(refusal: &Refusal) -> ReloadAnswer {
    ReloadAnswer {
        result: "refused".to_owned(),
        version: None,
        reason: Some(refusal.to_string()),
        exit: refusal_exit(refusal).code(),
        warnings: Vec::new(),
        needs_restart: Vec::new(),
        lagging_shards: Vec::new(),
    }
}

async fn drain(State(control): Shared, Query(pairs): Pairs) -> Response {
    let mut deadline = None;
    for (name, value) in &pairs {
        match (name.as_str(), query::duration(value)) {
            ("deadline", Ok(time)) => deadline = Some(time),
            ("deadline", Err(message)) => return error(StatusCode::BAD_REQUEST, &message),
            _ => return error(StatusCode::BAD_REQUEST, "the only parameter is \"deadline\""),
        }
    }
    let ordered = control.order_drain(deadline);
    let left = match control.phase() {
        Phase::Draining { deadline, .. } => deadline.saturating_duration_since(Instant::now()),
        Phase::Starting | Phase::Running => {
            deadline.unwrap_or_else(|| control.view().map_or_else(Default::default, |v| v.loaded.config.drain.deadline))
        }
    };
    let (code, result) =
        if ordered { (StatusCode::ACCEPTED, "draining") } else { (StatusCode::CONFLICT, "draining already") };
    let answer = DrainAnswer { result: result.to_owned(), deadline_s: left.as_secs_f64() };
    (code, Json(answer)).into_response()
}
