import HTTP
import JOSE

/// The Prometheus text format (version 0.0.4) of what the workers count. Not hot: made when somebody asks.
public enum MetricsText {
    /// The media type of the text.
    public static var contentType: StaticString { "text/plain; version=0.0.4; charset=utf-8" }

    /// All families, each summed over the workers. `linesLostByWriters` are those that the log's destination refused.
    public static func render(
        workers: [WorkerCounters], isReady: Bool, linesLostByWriters: UInt64
    ) -> String {
        var text = MetricFamilies()
        text.gauge("usher_workers", "Event-loop threads.", UInt64(workers.count))
        text.gauge("usher_ready", "1 while new requests are welcome.", isReady ? 1 : 0)
        appendRequests(workers, to: &text)
        for (counter, name, help) in plainCounters {
            text.counter(name, help, workers.sum { $0.value(of: counter) })
        }
        let opened = workers.sum { $0.value(of: .connectionsAccepted) }
        let closed = workers.sum { $0.value(of: .connectionsClosed) }
        // The two are read one after the other, while connections close.
        text.gauge(
            "usher_connections_open", "Client connections open now.", opened > closed ? opened - closed : 0)
        text.counter(
            "usher_access_log_lines_lost_total",
            "Access log lines lost because the destination could not keep up.",
            workers.sum { $0.value(of: .accessLinesLost) } + linesLostByWriters)
        return text.text
    }

    private static func appendRequests(_ workers: [WorkerCounters], to text: inout MetricFamilies) {
        text.family("usher_requests_total", "Requests answered, by class of status.", "counter")
        for digit in 1...5 {
            text.sample(
                "usher_requests_total", "class=\"\(digit)xx\"",
                workers.sum { $0.responses(statusClass: digit) })
        }
        text.family("usher_request_ends_total", "Requests, by why they ended as they did.", "counter")
        for reason in ReasonCode.allCases {
            let count = workers.sum { $0.ends(reason: reason) }
            if count > 0 { text.sample("usher_request_ends_total", "reason=\"\(reason.text)\"", count) }
        }
        text.family("usher_token_refusals_total", "Tokens refused, by what is wrong with them.", "counter")
        for refusal in TokenRefusal.allCases {
            let count = workers.sum { $0.refusals(refusal) }
            if count > 0 { text.sample("usher_token_refusals_total", "reason=\"\(refusal.code)\"", count) }
        }
    }

    private static let plainCounters: [(Counter, String, String)] = [
        (.connectionsAccepted, "usher_connections_accepted_total", "Client connections accepted."),
        (
            .connectionsRefused, "usher_connections_refused_total",
            "Client connections closed at once by a limit."
        ),
        (.bytesReceived, "usher_received_bytes_total", "Bytes read from clients."),
        (.bytesSent, "usher_sent_bytes_total", "Bytes written to clients."),
        (.upstreamConnects, "usher_upstream_connects_total", "Connections opened to upstream servers."),
        (
            .upstreamConnectFailures, "usher_upstream_connect_failures_total",
            "Attempts to open one that failed."
        ),
        (.tlsHandshakes, "usher_tls_handshakes_total", "TLS handshakes with clients that succeeded."),
        (
            .tlsResumptions, "usher_tls_resumptions_total",
            "TLS handshakes with clients that took up an earlier session."
        ),
        (
            .tlsHandshakeFailures, "usher_tls_handshake_failures_total",
            "TLS handshakes with clients that failed."
        ),
        (
            .upstreamRetries, "usher_upstream_retries_total",
            "Requests sent a second time on a fresh connection."
        ),
        (.tokenCacheHits, "usher_token_cache_hits_total", "Tokens whose verdict was in the cache."),
        (.tokenCacheMisses, "usher_token_cache_misses_total", "Tokens that had to be verified."),
    ]
}

/// Lines of the text format, family after family.
private struct MetricFamilies {
    private(set) var text = ""

    mutating func family(_ name: String, _ help: String, _ type: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    mutating func sample(_ name: String, _ labels: String, _ value: UInt64) {
        text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
    }

    mutating func counter(_ name: String, _ help: String, _ value: UInt64) {
        family(name, help, "counter")
        sample(name, "", value)
    }

    mutating func gauge(_ name: String, _ help: String, _ value: UInt64) {
        family(name, help, "gauge")
        sample(name, "", value)
    }
}

extension [WorkerCounters] {
    fileprivate func sum(_ count: (WorkerCounters) -> UInt64) -> UInt64 {
        reduce(0) { $0 &+ count($1) }
    }
}
