// `health` and `eject` of an upstream.

extension ConfigurationReader {
    func health(_ upstream: Section) -> HealthConfiguration? {
        guard let entry = upstream.table["health"] else { return nil }
        guard case .table(let table) = entry.node.value else {
            upstream.mismatch(entry, expected: "a table such as { path = \"/health\" }")
            return nil
        }
        let section = Section(
            "\"health\" of \(upstream.title)", table, at: entry.node.start,
            keys: ["path", "interval", "timeout", "healthy_after", "unhealthy_after"],
            loader: loader)
        let interval = section.duration(
            "interval", default: .seconds(5), in: .milliseconds(100) ... .seconds(3600))
        let timeout = section.duration(
            "timeout", default: .seconds(1), in: .milliseconds(10) ... .seconds(60))
        let healthyAfter = section.integer("healthy_after", default: 2, in: 1...100)
        let unhealthyAfter = section.integer("unhealthy_after", default: 3, in: 1...100)
        guard let path = healthPath(section) else { return nil }
        return HealthConfiguration(
            path: path, interval: interval, timeout: timeout, healthyAfter: healthyAfter,
            unhealthyAfter: unhealthyAfter)
    }

    private func healthPath(_ section: Section) -> String? {
        guard let path = section.string("path") else {
            if section.table["path"] == nil {
                section.missing("path", "what is asked for, such as \"/health\"")
            }
            return nil
        }
        let isVisible = path.value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "#") }
        guard path.value.hasPrefix("/"), isVisible, path.value.utf8.count <= 1024 else {
            loader.error(
                path.position,
                "\"path\" must begin with a slash and be visible ASCII without \"#\", at most 1 KiB")
            return nil
        }
        return path.value
    }

    func ejection(_ upstream: Section) -> EjectionConfiguration? {
        guard let entry = upstream.table["eject"] else { return nil }
        guard case .table(let table) = entry.node.value else {
            upstream.mismatch(
                entry, expected: "a table such as { consecutive_failures = 5, for = \"10s\" }")
            return nil
        }
        let section = Section(
            "\"eject\" of \(upstream.title)", table, at: entry.node.start,
            keys: ["consecutive_failures", "for"], loader: loader)
        return EjectionConfiguration(
            consecutiveFailures: section.integer("consecutive_failures", default: 5, in: 1...1000),
            duration: section.duration("for", default: .seconds(10), in: .milliseconds(100) ... .days(1)))
    }
}
