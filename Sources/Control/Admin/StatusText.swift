import Config
import HTTP
import Policy
import Proxy
import Reactor
import Telemetry
import Upstream

/// The object of `/status.json`: what the status page shows.
struct StatusText {
    private(set) var text = "{"
    private var isFirst = true

    mutating func member(_ name: String, _ json: String) {
        text += "\(isFirst ? "" : ",")\(JSONText.quoted(name)):\(json)"
        isFirst = false
    }

    mutating func member(_ name: String, text value: String?) {
        member(name, value.map { JSONText.quoted($0) } ?? "null")
    }

    mutating func member(_ name: String, number: some BinaryInteger) { member(name, "\(number)") }

    /// The object, closed.
    var object: String { text + "}" }

    static func object(_ fill: (inout StatusText) -> Void) -> String {
        var status = StatusText()
        fill(&status)
        return status.object
    }

    static func list<Element>(_ elements: [Element], _ json: (Element) -> String) -> String {
        "[" + elements.map(json).joined(separator: ",") + "]"
    }

    static func numbers(_ numbers: [some BinaryInteger]) -> String { list(numbers) { "\($0)" } }
}

extension Supervisor {
    /// Samples the counts, where there is a page that shows them, and asks the workers how soon they get to it.
    func runHistory(at now: Instant) {
        let isDue = history.sample(
            crew.counters, at: now, wallMilliseconds: wallClockMicroseconds() / 1000)
        if isDue { crew.send(Heartbeat(at: now)) }
    }

    /// What the status page shows.
    var statusText: String {
        let counters = crew.counters
        func sum(_ counter: Counter) -> UInt64 { counters.reduce(0) { $0 &+ $1.value(of: counter) } }
        return StatusText.object { status in
            status.member("version", text: Version.usher)
            status.member("time", number: wallClockMicroseconds() / 1000)
            status.member("started", number: startedMilliseconds)
            status.member("not_ready", text: notReadyReason)
            status.member("workers", number: crew.count)
            status.member("connections_open", number: TrafficHistory.open(counters))
            status.member("connections_accepted", number: sum(.connectionsAccepted))
            status.member("token_cache_hits", number: sum(.tokenCacheHits))
            status.member("token_cache_misses", number: sum(.tokenCacheMisses))
            status.member("upstream_connect_failures", number: sum(.upstreamConnectFailures))
            status.member("access_lines_lost", number: sum(.accessLinesLost) + accessWriter.linesLost)
            status.member("reloads", number: reloads.count)
            status.member("reloaded", number: reloads.lastMilliseconds)
            status.member("reload_failure", text: reloads.failure)
            status.member(
                "listeners",
                StatusText.list(listening) { listener in
                    StatusText.object {
                        $0.member("name", text: listener.name)
                        $0.member("address", text: listener.address.description)
                    }
                })
            status.member("history", historyObject)
            status.member("upstreams", upstreamList)
            status.member("issuers", issuerList)
            status.member(
                "routes",
                StatusText.list(configuration.routes) { route in
                    StatusText.list(RouteRow(route).texts) { JSONText.quoted($0) }
                })
            status.member("refusals", refusalList)
        } + "\n"
    }

    private var historyObject: String {
        let ring = history.ring
        return StatusText.object { object in
            object.member("end", number: history.endMilliseconds)
            for digit in 2...5 {
                object.member("\(digit)xx", StatusText.numbers(ring.map { $0.classes[digit - 1] }))
            }
            for (place, name) in ["p50", "p95", "p99"].enumerated() {
                object.member(name, StatusText.numbers(ring.map { $0.quantiles[place] }))
            }
            object.member("open", StatusText.numbers(ring.map(\.openConnections)))
            let codes = ReasonCode.allCases.filter { code in
                ring.contains { $0.reasons.contains { $0.code == code } }
            }
            object.member(
                "reasons",
                StatusText.object { reasons in
                    for code in codes {
                        reasons.member(
                            "\(code.text)",
                            StatusText.numbers(
                                ring.map { $0.reasons.first { $0.code == code }?.count ?? 0 }))
                    }
                })
        }
    }

    private var upstreamList: String {
        let now = Instant.now()
        return StatusText.list(backends.current) { upstream in
            StatusText.object {
                $0.member("name", text: upstream.name)
                $0.member(
                    "balance",
                    text: configuration.upstreams.first { $0.name == upstream.name }?.balance.rawValue)
                $0.member("waiting", number: upstream.state.waiting)
                $0.member("servers", StatusText.list(upstream.servers) { Self.object(of: $0, upstream, now) })
            }
        }
    }

    private static func object(
        of server: ServerSettings, _ upstream: UpstreamSettings, _ now: Instant
    ) -> String {
        let state = server.state
        let health =
            !state.isUp ? "down" : state.isEjected(at: now) ? "ejected" : upstream.health == nil ? nil : "up"
        return StatusText.object {
            $0.member("address", text: server.address.description)
            $0.member("weight", number: server.weight)
            $0.member("health", text: health)
            $0.member("in_flight", number: state.inFlight)
            $0.member("connections", number: state.openConnections)
            $0.member("failures", number: state.failures)
        }
    }

    private var issuerList: String {
        let fetched = keys.status(now: Instant.now())
        return StatusText.list(configuration.issuers) { issuer in
            StatusText.object { object in
                object.member("name", text: issuer.name)
                object.member("issuer", text: issuer.issuer)
                object.member(
                    "algorithms", text: issuer.algorithms.map(\.rawValue).joined(separator: ", "))
                let status = fetched.first { $0.issuer == issuer.name }
                object.member("source", text: issuer.keySource.kind)
                object.member("keys", status.map { "\($0.keys)" } ?? "null")
                object.member("age_seconds", status?.ageSeconds.map { "\($0)" } ?? "null")
                object.member("fetch_failures", status.map { "\($0.failures)" } ?? "null")
            }
        }
    }

    private var refusalList: String {
        let all = crew.counters.flatMap(\.refusals.all).sorted { $0.time > $1.time }
        return StatusText.list(Array(all.prefix(50))) { refusal in
            StatusText.object {
                $0.member("time", number: refusal.time)
                $0.member("status", number: refusal.status)
                $0.member("reason", text: "\(refusal.reason.text)")
                $0.member("detail", text: refusal.detail)
                $0.member("method", text: refusal.method)
                $0.member("path", text: refusal.path)
                $0.member("route", text: refusal.route)
                $0.member("client", text: refusal.client)
            }
        }
    }
}

extension KeySource {
    /// In a word, where the keys come from.
    fileprivate var kind: String {
        switch self {
        case .secret: "secret"
        case .publicKey: "public key"
        case .keySet: "file"
        case .remote: "network"
        case .introspection: "introspection"
        }
    }
}
