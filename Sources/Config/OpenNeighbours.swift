// Warnings about what a protected route leaves to a wider open one: nothing is wrong with either, but together they
// say something that was hardly meant.

extension ConfigurationReader {
    /// Warns where another spelling or another method of a protected route's requests would go to an open route.
    func warnOfOpenNeighbours(_ routes: [RouteConfiguration]) {
        let open = routes.filter {
            $0.redirectPort == nil && $0.authentication == .open && $0.path.segments.last == .rest
        }
        guard !open.isEmpty else { return }
        for route in routes where route.authentication != .open {
            guard let wider = open.first(where: { $0.isWider(than: route) }) else { continue }
            if route.path.isExact {
                loader.warning(
                    route.position,
                    "\(route.path.text)/ is not this route and goes to the open route \(wider.path.text), though many "
                        + "backends serve both alike; write \"\(route.path.text)/**\" to cover it")
            }
            if !route.methods.isEmpty, wider.methods.isEmpty {
                loader.warning(
                    route.position,
                    "other methods than \(route.methods.joined(separator: ", ")) go to the open route "
                        + "\(wider.path.text), HEAD too if it is not named; leave \"methods\" out to cover them"
                )
            }
        }
    }
}

extension PathPattern {
    /// True where the path ends with a segment, so that the same path with a slash behind it is another.
    fileprivate var isExact: Bool {
        switch segments.last {
        case .rest, .literal(""), nil: false
        case .literal, .capture: true
        }
    }

    /// True where every path of the other pattern, whatever follows it, is one of this pattern, which ends with `**`.
    fileprivate func covers(_ other: PathPattern) -> Bool {
        let prefix = segments.dropLast()
        guard prefix.count <= other.segments.count else { return false }
        return zip(prefix, other.segments).allSatisfy { mine, its in
            if case .capture = mine { return its != .rest }
            return mine == its
        }
    }
}

extension RouteConfiguration {
    fileprivate func isWider(than other: RouteConfiguration) -> Bool {
        let sharesHost = hosts.isEmpty || other.hosts.isEmpty || hosts.contains { other.hosts.contains($0) }
        return sharesHost && path.covers(other.path)
    }
}
