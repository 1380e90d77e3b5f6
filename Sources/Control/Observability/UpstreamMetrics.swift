import Reactor
import Telemetry
import Upstream

/// The metrics of upstreams and their servers. The labels are names of the configuration, and addresses that a name
/// has now: as many as there are servers.
enum UpstreamMetrics {
    private typealias OfServer = (
        name: String, type: String, help: String, value: @Sendable (ServerState, Instant) -> Int
    )
    private typealias OfUpstream = (
        name: String, type: String, help: String, value: @Sendable (UpstreamState) -> Int
    )

    private static let servers: [OfServer] = [
        (
            "usher_upstream_server_up", "gauge",
            "1 while the health checks of the server pass, or there are none.",
            { state, _ in state.isUp ? 1 : 0 }
        ),
        (
            "usher_upstream_server_ejected", "gauge",
            "1 while the server is taken out because requests fail.",
            { state, now in state.isEjected(at: now) ? 1 : 0 }
        ),
        (
            "usher_upstream_server_ejections_total", "counter", "How often the server was taken out.",
            { state, _ in state.ejections }
        ),
        (
            "usher_upstream_server_requests_in_flight", "gauge", "Requests that the server is working on.",
            { state, _ in state.inFlight }
        ),
        (
            "usher_upstream_server_connections", "gauge", "Connections to the server, idle ones included.",
            { state, _ in state.openConnections }
        ),
        (
            "usher_upstream_server_connections_idle", "gauge", "Connections that wait for a request.",
            { state, _ in state.idleConnections }
        ),
        (
            "usher_upstream_server_connections_opened_total", "counter",
            "Connections opened to the server, or tried.", { state, _ in state.connectionsOpened }
        ),
        (
            "usher_upstream_server_requests_total", "counter", "Requests given to the server.",
            { state, _ in state.requests }
        ),
        (
            "usher_upstream_server_failures_total", "counter", "Requests that failed by the server's fault.",
            { state, _ in state.failures }
        ),
    ]

    private static let upstreams: [OfUpstream] = [
        ("usher_upstream_waiting", "gauge", "Requests that wait for a connection.", { $0.waiting }),
        (
            "usher_upstream_queue_refused_total", "counter", "Requests refused because too many waited.",
            { $0.refused }
        ),
        (
            "usher_upstream_unavailable_total", "counter", "Requests that found no server to go to.",
            { $0.unavailable }
        ),
        ("usher_upstream_retried_total", "counter", "Requests sent once more.", { $0.retries }),
        (
            "usher_upstream_retries_refused_total", "counter", "Retries that the budget did not pay for.",
            { $0.retriesRefused }
        ),
    ]

    /// The text of all families; empty without upstreams.
    static func text(_ settings: [UpstreamSettings], now: Instant) -> String {
        guard !settings.isEmpty else { return "" }
        var text = MetricFamilies()
        for family in upstreams {
            text.family(family.name, family.help, family.type)
            for upstream in settings {
                text.sample(family.name, ["upstream": upstream.name], family.value(upstream.state))
            }
        }
        for family in servers {
            text.family(family.name, family.help, family.type)
            for upstream in settings {
                for server in upstream.servers {
                    text.sample(
                        family.name, ["upstream": upstream.name, "server": "\(server.address)"],
                        family.value(server.state, now))
                }
            }
        }
        addAnswers(of: settings, to: &text)
        return text.text
    }

    /// How servers answered, by upstream.
    private static func addAnswers(of settings: [UpstreamSettings], to text: inout MetricFamilies) {
        let requests = "usher_upstream_responses_total"
        text.family(requests, "Answers of servers, by class of status.", "counter")
        for upstream in settings {
            for digit in 1...5 {
                text.sample(
                    requests, ["upstream": upstream.name, "class": "\(digit)xx"],
                    upstream.state.responses(statusClass: digit))
            }
        }
        let durations = "usher_upstream_response_duration_seconds"
        text.family(
            durations, "From the end of a request to the head of the server's answer.", "histogram")
        for upstream in settings {
            text.histogram(durations, ["upstream": upstream.name], upstream.state.durations)
        }
        let limit = "usher_upstream_connections_limit"
        text.family(limit, "Connections that each server of the upstream may have.", "gauge")
        for upstream in settings {
            text.sample(limit, ["upstream": upstream.name], upstream.maximumConnections)
        }
    }
}
