//! The dashboard and the alerts of doc/monitoring, on a real Prometheus that looks at the real
//! server under a real load: each query finds something, and each alert fires when it must.

mod load;
mod picture;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::prometheus::{Prometheus, command};
use crate::support::server::Folder;
use crate::support::server::KEY;
use crate::support::tls::Authority;
use crate::support::{Schema, Server, until};
use load::Load;

const DASHBOARD: &str = include_str!("../../doc/monitoring/grafana.json");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What Grafana puts in for a Prometheus that looks every second.
const WINDOW: &str = "5s";

/// A panel of the dashboard: its title, its unit, and its queries with their legends.
struct Panel {
    title: String,
    unit: String,
    queries: Vec<(String, String)>,
}

fn panels() -> Vec<Panel> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let panel = |panel: &Value| Panel {
        title: text(&panel["title"]),
        unit: text(&panel["fieldConfig"]["defaults"]["unit"]),
        queries: panel["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| {
                let query = text(&target["expr"]).replace("$__rate_interval", WINDOW);
                (query, text(&target["legendFormat"]))
            })
            .collect(),
    };
    dashboard["panels"].as_array().unwrap().iter().map(panel).collect()
}

/// The name and the query of each alert, as Prometheus has read them.
fn alerts(prometheus: &Prometheus) -> Vec<(String, String)> {
    let groups = prometheus.ask("/api/v1/rules?type=alert");
    let rules =
        groups["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rules.map(|rule| (text(&rule["name"]), text(&rule["query"]))).collect()
}

/// The query without the comparison at its end, which finds nothing while all is well.
fn compared(query: &str) -> &str {
    let ends = [" > ", " < ", " == "].map(|sign| query.rfind(sign));
    &query[..ends.into_iter().flatten().max().unwrap_or_else(|| panic!("{query} compares nothing"))]
}

/// A server with TLS, which alone has a certificate to tell of.
fn with_certificate(schema: &Schema) -> (Server, Folder) {
    let folder = Folder::new();
    let chain = folder.0.join("fullchain.pem");
    fs::write(&chain, Authority::new().issue(&KEY, 2)).unwrap();
    let server = Server::start(schema, &[("GATEWAY_TLS_CERTIFICATE", chain.to_str().unwrap())]);
    (server, folder)
}

/// The dashboard as it is now; `make monitoring-picture` asks for a longer one, for README.
fn draw(prometheus: &Prometheus) {
    let seconds = picture::seconds();
    thread::sleep(Duration::from_secs(seconds));
    let panels = panels();
    let svg = picture::draw(prometheus, &panels, seconds);
    for panel in &panels {
        let (_, drawn) = svg.split_once(&format!(">{}<", panel.title)).unwrap();
        let drawn = drawn.split("</g>").next().unwrap();
        assert!(drawn.contains("<polyline"), "no curve in {}", panel.title);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("monitoring");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("dashboard.svg"), svg).unwrap();
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn every_query_finds_something_under_load_and_alerts_fire() {
    let schema = Schema::new();
    let server = Server::start(&schema, &load::SETTINGS);
    let (secure, _folder) = with_certificate(&schema);
    let prometheus = Prometheus::start(&[&server.admin, &secure.admin]);
    let load = Load::start(&server);
    for (query, _) in panels().into_iter().flat_map(|panel| panel.queries) {
        until(&format!("the dashboard finds {query}"), || !prometheus.query(&query).is_empty());
    }
    until("all alerts are evaluated", || {
        let groups = prometheus.ask("/api/v1/rules");
        let rules = groups["groups"][0]["rules"].as_array().unwrap();
        rules.iter().all(|rule| rule["health"] == "ok")
    });
    for (name, query) in alerts(&prometheus) {
        let query = compared(&query);
        until(&format!("{name} finds {query}"), || !prometheus.query(query).is_empty());
    }
    load::met(&prometheus);
    draw(&prometheus);
    load.stop();

    let fires = |name: &str, label: &str, value: &str| {
        let (_, query) = alerts(&prometheus).into_iter().find(|alert| alert.0 == name).unwrap();
        until(&format!("{name} would fire"), || {
            prometheus.query(&query).iter().any(|(labels, _)| labels[label] == value)
        });
    };
    schema.execute("RENAME TABLE users TO hidden");
    fires("GatewayDatabaseAway", "database", "be");
    let instance = server.admin.clone();
    server.stop();
    fires("GatewayDown", "instance", &instance);
}

#[test]
fn the_rules_and_the_metrics_are_as_prometheus_wants_them() {
    let promtool = || command("promtool");
    succeeds(promtool().args(["check", "rules", "doc/monitoring/alerts.yml"]).current_dir(ROOT));
    succeeds(
        promtool().args(["check", "config", "doc/monitoring/prometheus.yml"]).current_dir(ROOT),
    );
    let alerts = "test/integration/monitoring/alerts.yml";
    succeeds(promtool().args(["test", "rules", alerts]).current_dir(ROOT));

    let schema = Schema::new();
    let (server, folder) = with_certificate(&schema);
    let metrics = folder.0.join("metrics");
    fs::write(&metrics, server.metrics()).unwrap();
    let input = fs::File::open(metrics).unwrap();
    succeeds(promtool().args(["check", "metrics"]).stdin(input));
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut places: Vec<_> = panels
        .iter()
        .map(|panel| {
            for key in ["title", "description"] {
                assert!(!panel[key].as_str().unwrap().is_empty(), "{panel}");
            }
            (panel["gridPos"]["y"].as_u64().unwrap(), panel["gridPos"]["x"].as_u64().unwrap())
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), panels.len(), "two panels stand at one place");
    // Every metric of ours is somewhere to be seen.
    let schema = Schema::new();
    let (server, _folder) = with_certificate(&schema);
    for line in server.metrics().lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(DASHBOARD.contains(name) || name.ends_with("timestamp_seconds"), "{name}");
    }
}
