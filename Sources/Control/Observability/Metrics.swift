import Config
import JOSE
import Policy
import Proxy
import Reactor
import TLS
import Telemetry

// What /metrics shows. The labels are names of the configuration and codes of closed lists: never users, paths, addresses
// of clients or anything else that a request brings along.

/// The labels of what workers count by number.
struct CountLabels {
    private(set) var routes = LabelBook(unlabelled: "none", capacity: RouteCounts.rowCount)
    private(set) var rateLimits = LabelBook(
        unlabelled: "failed-authentications", capacity: WorkerCounters.rateLimitRows)

    /// The rows of a policy's routes and limits.
    mutating func rows(of policy: PolicySpec) -> CountRows {
        var rows = CountRows()
        rows.routes = routes.rows(of: policy.routes.map(\.name))
        rows.rateLimits = rateLimits.rows(of: policy.rateLimits.map(\.name))
        return rows
    }
}

extension Supervisor {
    /// The whole text of /metrics.
    var metricsText: String {
        let now = Instant.now()
        let (workers, reason) = (crew.counters, notReadyReason)
        return MetricsText.render(
            workers: workers, active: crew.count, isReady: reason == nil,
            linesLostByWriters: accessWriter.linesLost)
            + MetricsText.routes(workers, labels.routes.labels)
            + MetricsText.rateLimits(workers, labels.rateLimits.labels)
            + MetricsText.loops(workers, active: crew.count, now: now.microseconds)
            + KeyStatus.metrics(keys.status(now: now)) + QuestionStatus.metrics(verdicts.status)
            + revocationText + backends.metrics(now: now) + shared.metrics(now: now)
            + spanExporter.metrics(crew.spans) + certificateText + reloadText + processText
    }

    private var revocationText: String {
        guard revocations.isEnabled else { return "" }
        var text = MetricFamilies()
        text.gauge("usher_revocations", "Entries of the list of revoked tokens.", revocations.list.count)
        return text.text
    }

    private var reloadText: String {
        var text = MetricFamilies()
        let name = "usher_config_reloads_total"
        text.family(name, "Reloads of the configuration, by what came of them.", "counter")
        text.sample(name, ["result": "success"], reloads.count)
        text.sample(name, ["result": "failure"], reloads.failures)
        text.gauge(
            "usher_config_last_reload_successful",
            "0 while the file is not what is in force, because it has a mistake.",
            reloads.failure == nil ? 1 : 0)
        text.family(
            "usher_config_last_success_timestamp_seconds", "When the configuration in force was read.",
            "gauge")
        text.sample(
            "usher_config_last_success_timestamp_seconds", [:],
            text: LatencyBuckets.seconds(reloads.successMilliseconds * 1000))
        return text.text
    }

    /// Until when the certificates of the listeners hold. Those of the files that are in force are looked at.
    private var certificateText: String {
        let secure = configuration.listeners.compactMap { listener in
            listener.tls.map { (listener.name, $0) }
        }
        guard !secure.isEmpty else { return "" }
        var text = MetricFamilies()
        let name = "usher_tls_certificate_expiry_timestamp_seconds"
        text.family(name, "Until when a certificate of a listener holds.", "gauge")
        for (listener, tls) in secure {
            // Who names a file twice has one series of it.
            var told: Set<String> = []
            for (files, pair) in zip(tls.files, tls.settings.certificates) {
                guard let facts = try? pair.check(), told.insert(files.certificate).inserted else { continue }
                text.sample(name, ["listener": listener, "certificate": files.certificate], facts.notAfter)
            }
        }
        return text.text
    }

    private var processText: String {
        var text = MetricFamilies()
        text.family("usher_build_info", "What runs; always 1.", "gauge")
        text.sample("usher_build_info", ["version": Version.usher, "swift": Version.swift], 1)
        let limits = settings.limits
        text.gauge(
            "usher_connections_limit", "Client connections that there may be.",
            limits.connectionLimit(workers: max(crew.count, 1)))
        if let bytes = limits.bufferBytes {
            text.gauge("usher_buffer_limit_bytes", "From where on new requests are refused.", bytes)
        }
        let usage = ProcessUsage.current()
        text.family("process_cpu_seconds_total", "User and system CPU time of the process.", "counter")
        text.sample("process_cpu_seconds_total", [:], text: LatencyBuckets.seconds(usage.cpuMicroseconds))
        text.gauge("process_resident_memory_bytes", "Resident memory of the process.", usage.residentBytes)
        text.gauge("process_virtual_memory_bytes", "Virtual memory of the process.", usage.virtualBytes)
        text.gauge("process_open_fds", "Open file descriptors.", usage.openDescriptors)
        text.gauge("process_max_fds", "File descriptors that there may be.", usage.descriptorLimit)
        text.family("process_start_time_seconds", "When the process started, since 1970.", "gauge")
        text.sample(
            "process_start_time_seconds", [:], text: LatencyBuckets.seconds(startedMilliseconds * 1000))
        return text.text
    }
}
