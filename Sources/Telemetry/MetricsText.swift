import HTTP
import JOSE

/// The Prometheus text format (version 0.0.4) of what the workers count. Not hot: made when somebody asks.
public enum MetricsText {
    /// The media type of the text.
    public static var contentType: StaticString { "text/plain; version=0.0.4; charset=utf-8" }

    /// All families, each summed over the workers, those that have ended too; `active` is how many there are now, the
    /// first ones, nil for all. `linesLostByWriters` are those that the log's destination refused.
    public static func render(
        workers: [WorkerCounters], active: Int? = nil, isReady: Bool, linesLostByWriters: UInt64
    ) -> String {
        var text = MetricFamilies()
        text.gauge("usher_workers", "Event-loop threads.", UInt64(active ?? workers.count))
        text.gauge("usher_ready", "1 while new requests are welcome.", isReady ? 1 : 0)
        appendRequests(workers, to: &text)
        for (counter, name, help) in plainCounters {
            text.counter(name, help, workers.sum { $0.value(of: counter) })
        }
        for (gauge, name, help) in gauges {
            text.gauge(name, help, workers.reduce(0) { $0 + $1.value(of: gauge) })
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

    private static let gauges: [(Gauge, String, String)] = [
        (.requestsInFlight, "usher_requests_in_flight", "Requests under way now, tunnels included."),
        (.bufferBytes, "usher_buffer_bytes", "Memory of the buffers that requests hold now."),
        (.cachedTokens, "usher_token_cache_entries", "Tokens in the verified-token caches now."),
        (.cachedTokenBytes, "usher_token_cache_bytes", "Memory of the tokens in these caches."),
    ]

    /// What is counted for each route, by the labels of a book.
    public static func routes(_ workers: [WorkerCounters], _ labels: [String]) -> String {
        var text = MetricFamilies()
        text.family(
            "usher_route_requests_total", "Requests answered, by route and class of status.", "counter")
        for (row, label) in labels.enumerated() {
            for digit in 1...5 {
                text.sample(
                    "usher_route_requests_total", ["route": label, "class": "\(digit)xx"],
                    workers.sum { $0.routes.responses(row: row, statusClass: digit) })
            }
        }
        let name = "usher_request_duration_seconds"
        text.family(
            name, "From the end of a request's head to the end of its answer, by route.", "histogram")
        for (row, label) in labels.enumerated() {
            var sum = LatencyHistogram()
            for worker in workers { sum.add(worker.routes.durations(row: row)) }
            text.histogram(name, ["route": label], sum)
        }
        return text.text
    }

    /// Requests that rate limits refused, by the labels of a book.
    public static func rateLimits(_ workers: [WorkerCounters], _ labels: [String]) -> String {
        var text = MetricFamilies()
        let name = "usher_rate_limit_refusals_total"
        text.family(name, "Requests refused by a rate limit.", "counter")
        for (row, label) in labels.enumerated() {
            text.sample(name, ["limit": label], workers.sum { $0.exceeded(rateLimit: row) })
        }
        return text.text
    }

    /// How soon the workers' loops get to what happens; `now` in microseconds of the monotonic clock. `active` is how many
    /// there are now, the first ones, nil for all.
    public static func loops(_ workers: [WorkerCounters], active: Int? = nil, now: Int64) -> String {
        var text = MetricFamilies()
        var lag = LatencyHistogram()
        for worker in workers { lag.add(worker.lag) }
        text.family(
            "usher_worker_lag_seconds", "How long an event waits for its worker, asked once a second.",
            "histogram")
        text.histogram("usher_worker_lag_seconds", [:], lag)
        let name = "usher_worker_answer_age_seconds"
        text.family(name, "Since a worker answered that question last.", "gauge")
        for (index, worker) in workers.prefix(active ?? workers.count).enumerated() {
            guard let last = worker.lastAnswer else { continue }
            text.sample(name, ["worker": "\(index)"], text: LatencyBuckets.seconds(max(now - last, 0)))
        }
        return text.text
    }

    private static func appendRequests(_ workers: [WorkerCounters], to text: inout MetricFamilies) {
        text.family("usher_requests_total", "Requests answered, by class of status.", "counter")
        for digit in 1...5 {
            text.sample(
                "usher_requests_total", ["class": "\(digit)xx"],
                workers.sum { $0.responses(statusClass: digit) })
        }
        text.family("usher_request_ends_total", "Requests, by why they ended as they did.", "counter")
        // All of them, at zero too: the first of a kind would be no increase of a series that began with it.
        for reason in ReasonCode.allCases {
            text.sample(
                "usher_request_ends_total", ["reason": "\(reason.text)"],
                workers.sum { $0.ends(reason: reason) })
        }
        text.family("usher_token_refusals_total", "Tokens refused, by what is wrong with them.", "counter")
        for refusal in TokenRefusal.allCases {
            text.sample(
                "usher_token_refusals_total", ["reason": "\(refusal.code)"],
                workers.sum { $0.refusals(refusal) })
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
        (.tokensVerified, "usher_tokens_verified_total", "Tokens that were verified and found good."),
        (
            .tokensEvicted, "usher_token_cache_evictions_total",
            "Good tokens that made way for others in the cache."
        ),
        (
            .upstreamTLSHandshakes, "usher_upstream_tls_handshakes_total",
            "TLS handshakes with upstream servers that succeeded."
        ),
        (
            .upstreamTLSHandshakeFailures, "usher_upstream_tls_handshake_failures_total",
            "TLS handshakes with upstream servers that failed."
        ),
    ]
}

extension [WorkerCounters] {
    fileprivate func sum(_ count: (WorkerCounters) -> UInt64) -> UInt64 {
        reduce(0) { $0 &+ count($1) }
    }
}
