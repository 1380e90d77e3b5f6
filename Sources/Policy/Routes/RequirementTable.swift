internal import Bytes
internal import JOSE

/// What the routes ask of a token: claims with values, and scopes. Each claim that any route asks for has a number,
/// and cached tokens keep the values of those claims alone.
struct RequirementTable: ~Copyable {
    /// The claims, each once.
    let claims: [ClaimPath]
    /// True where some route asks for scopes.
    let wantsScopes: Bool
    private var routes: FixedArray<RouteRequirements>
    private var tables: FixedArray<ByteRange>
    private var entries: FixedArray<CompiledRequirement>
    private var values: FixedArray<ByteRange>
    private var parts: FixedArray<CompiledPart>
    private var scopes: FixedArray<ByteRange>
    private var literals = ByteArray()
    private let inPlace = InPlace()

    init(_ specs: [RouteSpec]) throws(PolicyError) {
        let all = specs.flatMap(\.require)
        let requirements = all.flatMap { $0 }
        let anyOf = requirements.flatMap(\.anyOf)
        var names: [String] = []
        for requirement in requirements where !names.contains(requirement.claim) {
            names.append(requirement.claim)
        }
        var paths: [ClaimPath] = []
        for name in names {
            guard let path = ClaimPath(name) else { throw .badClaim(name) }
            paths.append(path)
        }
        claims = paths
        wantsScopes = specs.contains { !$0.scopes.isEmpty }
        routes = FixedArray(capacity: max(specs.count, 1))
        tables = FixedArray(capacity: max(all.count, 1))
        entries = FixedArray(capacity: max(requirements.count, 1))
        values = FixedArray(capacity: max(anyOf.count, 1))
        parts = FixedArray(capacity: max(anyOf.reduce(0) { $0 + $1.parts.count }, 1))
        scopes = FixedArray(capacity: max(specs.reduce(0) { $0 + $1.scopes.count }, 1))
        for spec in specs { append(spec, names) }
    }

    /// True where the route asks for anything.
    func asks(_ route: Int) -> Bool { !routes[route].tables.isEmpty || !routes[route].scopes.isEmpty }

    /// True where one of the route's tables holds in full for the token of this entry, or there is none.
    func holds(
        _ route: Int, for entry: borrowing VerifiedTokenEntry, _ captures: Captures, _ bytes: Span<UInt8>
    ) -> Bool {
        let range = routes[route].tables
        guard !range.isEmpty else { return true }
        for table in range.bounds {
            if tableHolds(tables[table], entry, captures, bytes) { return true }
        }
        return false
    }

    /// What a token lacks for a route.
    enum Lack {
        /// One of the claims.
        case claim
        /// One of the scopes.
        case scope
    }

    /// What the token lacks for the route, claims before scopes; nil where it has all. One call for both, because the
    /// compiler hands over a copy of the entry with each.
    func lack(
        _ entry: borrowing VerifiedTokenEntry, _ route: Int, _ captures: Captures, _ bytes: Span<UInt8>
    ) -> Lack? {
        guard holds(route, for: entry, captures, bytes) else { return .claim }
        return hasScopes(route, entry) ? nil : .scope
    }

    /// True where the token has every scope that the route asks for.
    func hasScopes(_ route: Int, _ entry: borrowing VerifiedTokenEntry) -> Bool {
        for index in routes[route].scopes.bounds {
            guard entry.hasScope(literals.span(scopes[index])) else { return false }
        }
        return true
    }

    /// The length in bytes of what `appendScopes` adds, and of a space more.
    func scopeByteCount(_ route: Int) -> Int {
        routes[route].scopes.bounds.reduce(0) { $0 + literals.span(scopes[$1]).count + 1 }
    }

    /// Adds the scopes of the route, one space between them; false where they do not fit.
    func appendScopes(_ route: Int, to buffer: inout Buffer) -> Bool {
        let range = routes[route].scopes
        for index in range.bounds {
            if index > Int(range.start), !buffer.append(ASCII.space) { return false }
            guard buffer.append(literals.span(scopes[index])) else { return false }
        }
        return true
    }

    private func tableHolds(
        _ table: ByteRange, _ entry: borrowing VerifiedTokenEntry, _ captures: Captures, _ bytes: Span<UInt8>
    ) -> Bool {
        for index in table.bounds {
            guard entryHolds(entries[index], entry, captures, bytes) else { return false }
        }
        return true
    }

    /// True where one of the claim's values (an array has several) is one of the required ones.
    private func entryHolds(
        _ requirement: CompiledRequirement, _ entry: borrowing VerifiedTokenEntry, _ captures: Captures,
        _ bytes: Span<UInt8>
    ) -> Bool {
        var cursor = entry.values(ofClaim: Int(requirement.claim))
        while let range = entry.nextValue(&cursor) {
            for index in requirement.values.bounds
            where matches(values[index], entry.bytes(range), captures, bytes) {
                return true
            }
        }
        return false
    }

    private func matches(
        _ template: ByteRange, _ value: Span<UInt8>, _ captures: Captures, _ bytes: Span<UInt8>
    ) -> Bool {
        var offset = 0
        for index in template.bounds {
            let part = parts[index]
            if part.capture >= 0 {
                let capture = bytes.slice(captures[Int(part.capture)])
                guard Self.skip(decoded: capture, in: value, &offset) else { return false }
            } else {
                let end = offset &+ Int(part.literal.count)
                guard end <= value.count,
                    ASCII.equals(value.extracting(offset..<end), literals.span(part.literal))
                else { return false }
                offset = end
            }
        }
        return offset == value.count
    }

    /// Compares a path segment, percent-encoding undone as the backend will, with the value from `offset` on. A segment
    /// with a parameter equals nothing: a backend that cuts it off would see somebody else's name.
    private static func skip(decoded segment: Span<UInt8>, in value: Span<UInt8>, _ offset: inout Int) -> Bool
    {
        var index = 0
        while index < segment.count {
            let octet = RoutedPath.octet(segment, &index)
            guard offset < value.count, value[offset] == octet, octet != UInt8(ascii: ";") else {
                return false
            }
            offset &+= 1
        }
        return true
    }

    // MARK: Compiling

    private mutating func append(_ spec: RouteSpec, _ names: [String]) {
        let firstTable = tables.count
        let captureNames = spec.path.captureNames
        for table in spec.require {
            let firstEntry = entries.count
            for requirement in table {
                let firstValue = values.count
                for value in requirement.anyOf { _ = values.append(append(value, captureNames)) }
                let claim = names.firstIndex(of: requirement.claim) ?? 0
                _ = entries.append(
                    CompiledRequirement(
                        claim: Int32(claim), values: ByteRange(from: firstValue, to: values.count)))
            }
            _ = tables.append(ByteRange(from: firstEntry, to: entries.count))
        }
        let firstScope = scopes.count
        for scope in spec.scopes { _ = scopes.append(add(Array(scope.utf8))) }
        _ = routes.append(
            RouteRequirements(
                tables: ByteRange(from: firstTable, to: tables.count),
                scopes: ByteRange(from: firstScope, to: scopes.count)))
    }

    private mutating func append(_ value: RequiredValue, _ captureNames: [String]) -> ByteRange {
        let first = parts.count
        for part in value.parts {
            switch part {
            case .literal(let bytes): _ = parts.append(CompiledPart(capture: -1, literal: add(bytes)))
            case .capture(let name):
                let place = captureNames.firstIndex(of: name) ?? 0
                _ = parts.append(CompiledPart(capture: Int32(place), literal: .empty))
            }
        }
        return ByteRange(from: first, to: parts.count)
    }

    private mutating func add(_ bytes: [UInt8]) -> ByteRange {
        let start = literals.count
        literals.append(bytes.span)
        return literals.range(since: start)
    }
}

/// What one route asks for: places in the arrays of the table.
struct RouteRequirements: BitwiseCopyable {
    let tables: ByteRange
    let scopes: ByteRange
}

/// One entry of a `require` table.
struct CompiledRequirement: BitwiseCopyable {
    let claim: Int32
    let values: ByteRange
}

/// One part of a required value; `capture` is -1 for a literal.
struct CompiledPart: BitwiseCopyable {
    let capture: Int32
    let literal: ByteRange
}
