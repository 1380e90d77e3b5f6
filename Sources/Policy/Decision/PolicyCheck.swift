internal import JOSE

extension PolicySpec {
    /// Finds what would make a snapshot unsafe or meaningless; the tables find the rest while they are made.
    func check() throws(PolicyError) {
        guard (1...Self.largestCacheCount).contains(tokensCached),
            (1...TokenVerifier.largestTokenLimitBytes).contains(tokenBytes)
        else { throw .badLimit }
        for rate in rateLimits.map(\.rate) + [failedAuthentications].compactMap({ $0 }) {
            guard (1...1_000_000).contains(rate.requests), (1...86_400).contains(rate.perSeconds),
                (1...1_000_000).contains(rate.burst)
            else { throw .badLimit }
        }
        guard issuers.count + sessions.count <= TokenVerifier.largestIssuerCount,
            sessions.allSatisfy({ $0.remote.map { remoteSources.indices.contains($0) } ?? true }),
            remoteSources.allSatisfy({ $0.cacheForSeconds >= 1 }),
            issuers.compactMap(\.dpop).allSatisfy({
                (1...SeenProofs.longestLifetimeSeconds).contains($0.lifetimeSeconds)
            })
        else { throw .badLimit }
        for index in routes.indices { try check(routes[index], index) }
        if let conflict = RouteOrder.conflicts(routes).first {
            throw .equallySpecific(first: conflict.first, second: conflict.second)
        }
    }

    /// The most tokens that a worker may be told to remember: beyond, the table alone would take gigabytes.
    private static var largestCacheCount: Int { 1 << 22 }

    private func check(_ route: RouteSpec, _ index: Int) throws(PolicyError) {
        guard route.redirectPort != nil || upstreams.indices.contains(route.upstream),
            route.rateLimit.map({ rateLimits.indices.contains($0) }) ?? true,
            route.crossOrigin.map({ crossOrigins.indices.contains($0) }) ?? true
        else { throw .danglingReference(route: index) }
        switch route.authentication {
        case .none:
            guard route.require.isEmpty, route.scopes.isEmpty else {
                throw .requirementWithoutAuthentication(route: index)
            }
        case .required(let issuers), .optional(let issuers):
            try check(issuers, of: index)
        }
        try checkRequirements(route, index)
        if let scope = route.scopes.first(where: { !Scopes.isValid($0) }) {
            throw .badScope(route: index, scope: scope)
        }
        guard route.stripPrefix.map({ isPrefix($0, of: route.path) }) ?? true else {
            throw .badStripPrefix(route: index)
        }
    }

    private func check(_ accepted: [Int], of route: Int) throws(PolicyError) {
        let placeCount = issuers.count + sessions.count
        guard !accepted.isEmpty, accepted.allSatisfy({ $0 >= 0 && $0 < placeCount && $0 < 64 }) else {
            throw .danglingReference(route: route)
        }
        let accepted = accepted.filter { issuers.indices.contains($0) }
        for (place, first) in accepted.enumerated() {
            for second in accepted[(place + 1)...]
            where first != second && areConfusable(first, second) {
                throw .issuersNotDistinct(route: route, first: first, second: second)
            }
        }
    }

    /// True where a token could be for either. Those that are asked about theirs share them with nobody who has keys.
    private func areConfusable(_ first: Int, _ second: Int) -> Bool {
        let asked = introspectingIssuers
        guard !asked.contains(index: first), !asked.contains(index: second) else {
            return asked.contains(index: first) && asked.contains(index: second)
        }
        return !issuers[first].spec.isDistinct(from: issuers[second].spec)
    }

    private func checkRequirements(_ route: RouteSpec, _ index: Int) throws(PolicyError) {
        let captures = route.path.captureNames
        for table in route.require {
            guard !table.isEmpty, table.allSatisfy({ !$0.anyOf.isEmpty }) else {
                throw .emptyRequirement(route: index)
            }
            let names = table.flatMap(\.anyOf).flatMap(\.captureNames)
            if let unknown = names.first(where: { !captures.contains($0) }) {
                throw .unknownCapture(route: index, name: unknown)
            }
        }
    }

    /// True where every request of the route starts with the prefix: its segments are the template's first ones.
    private func isPrefix(_ prefix: String, of path: PathTemplate) -> Bool {
        guard prefix.utf8.first == UInt8(ascii: "/"), prefix.utf8.count > 1 else { return false }
        let parts = prefix.utf8.dropFirst().split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count <= path.segments.count else { return false }
        return zip(parts, path.segments).allSatisfy { part, segment in
            !part.isEmpty && segment == .literal(Array(part))
        }
    }
}
